"""Back to one: a single model of the spec, trained on what the ensemble answers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from modelscale.commands.ensembling.judging import Built
from modelscale.evaluation.metric_names import metric_for
from modelscale.losses.base import LossSpec
from modelscale.seeds import derive

if TYPE_CHECKING:
    from torch import Tensor

    from modelscale.commands.assembly import Assembly
    from modelscale.commands.ensembling.workshop import Workshop
    from modelscale.commands.measuring import Measured
    from modelscale.data.prepared import Prepared
    from modelscale.ensembling.section import Distillation
    from modelscale.evaluation.metrics.base import MetricSpec
    from modelscale.tensors import Part, Task
    from modelscale.training.artifact import Model
    from modelscale.training.replica import Replica

PART = "members/distilled"


def distill(
    shop: Workshop,
    teacher: Model,
    built: Built,
    section: Distillation,
    metrics: tuple[MetricSpec, ...],
) -> dict[Part, Measured] | None:
    """Train one model on the ensemble's answers; return what it is worth, by part.

    It is kept in `members/distilled`. Where the ensemble was judged out of fold, its answers
    for training rows are those of models that had not seen them.

    Returns:
        None if it diverged.

    Raises:
        TryAgain: If a stop was asked for; the state is saved.
    """
    from modelscale.commands.measuring import measure
    from modelscale.training.artifact import dump_model, load_model
    from modelscale.training.cohort import build_network
    from modelscale.training.layout import Layout
    from modelscale.training.scoring import Monitor
    from modelscale.training.session import Goal

    student = _student(shop.assembly, teacher, built, section)
    goal = Goal((), Monitor("loss", maximize=False))
    with shop.tell.progress("distill", student.plan.epochs) as progress:
        (outcome,) = shop.train(
            "distilled", [student], ["distilled"], goal=goal, progress=(progress, 0.0)
        )
    if outcome.ending == "diverged":
        return None
    original = shop.assembly.replica(0, shop.assembly.experiment.seed)
    kept = replace(original, loss=student.loss)
    files = dump_model(kept, outcome.weights, Layout.of(build_network(kept)))
    best = outcome.progress.best_step or outcome.step
    store = shop.run.sub(PART).checkpoints()
    store.save(best, files)
    store.point("best", best)
    model, evaluate = load_model(files), shop.assembly.experiment.evaluate
    names: tuple[Part, ...] = ("validation", "test")
    return {
        part: measure(model, original.data, part, metrics, evaluate)
        for part in names
        if len(original.data.rows[part])
    }


def _student(
    assembly: Assembly, teacher: Model, built: Built, section: Distillation
) -> Replica:
    replica = assembly.replica(0, assembly.experiment.seed)
    data, share = replica.data, section.share
    truth = _truth(data)
    y = truth.clone()
    rows = data.rows["train"].cpu()
    y[rows] = share * _taught(teacher, built, data, rows) + (1 - share) * truth[rows]
    loss = replica.loss
    if data.task == "classification" and loss.outputs(data.targets) > 1:
        loss = LossSpec.model_validate("cross_entropy")  # the plain one takes soft targets
    elif data.task == "classification":
        loss = LossSpec.model_validate("binary_cross_entropy")
        y = y[:, 1]
    plan = replica.plan.model_copy(update={"epochs": section.epochs or replica.plan.epochs})
    soft = replace(data, y=y.to(data.y.device))
    train_rows = None
    extra = round(section.synthetic * len(rows))
    if extra and len(data.inputs.shape) == 1 and data.inputs.vocabulary is None:
        soft, train_rows = _with_synthetic(soft, teacher, extra, assembly.experiment.seed)
    parts: dict[Part, Tensor] = soft.rows
    assert len(parts["train"]) == len(rows)
    return replace(replica, loss=loss, plan=plan, data=soft, train_rows=train_rows)


def _truth(data: Prepared) -> Tensor:
    """Return the true targets in the form of the soft ones: shares (N, C), or values."""
    from torch.nn import functional as F

    y = data.y.cpu()
    if data.task == "regression":
        return y.clone()
    return F.one_hot(y, data.targets).float()


def _taught(teacher: Model, built: Built, data: Prepared, rows: Tensor) -> Tensor:
    """Return the ensemble's answers for training rows, out of fold as far as there are such."""
    import torch

    answers = _answers(teacher, data.x.take(rows.to(data.y.device)).cpu())
    unseen = None
    if built.out_of_bag is not None:
        unseen = built.out_of_bag.rows, built.out_of_bag.mean
    elif built.origin == "out-of-fold":
        unseen = built.rows, built.combined.held_out
    if unseen is not None:
        own_rows, held_out = unseen
        if data.task == "classification":
            held_out = held_out.softmax(dim=1)
        place = {row: k for k, row in enumerate(rows.tolist())}
        places = torch.tensor([place[row] for row in own_rows.tolist()], dtype=torch.int64)
        answers[places] = held_out
    return answers


def _answers(teacher: Model, x: Tensor) -> Tensor:
    """Return shares (N, C), or values as networks see them (N, T)."""
    import torch

    with torch.no_grad():
        outputs = teacher.network(x).float()
    return teacher.loss.predictions(outputs)


def _with_synthetic(
    data: Prepared, teacher: Model, count: int, seed: int
) -> tuple[Prepared, Tensor]:
    """Return data with further training examples between pairs of them, and all their rows."""
    import torch

    from modelscale.data.examples import TensorExamples

    device = data.y.device
    rows = data.rows["train"].cpu()
    draws = torch.Generator().manual_seed(derive(seed, "synthetic"))
    a, b = (rows[torch.randint(len(rows), (count,), generator=draws)] for _ in range(2))
    share = torch.rand(count, 1, generator=draws)
    x = torch.lerp(data.x.take(b.to(device)).cpu(), data.x.take(a.to(device)).cpu(), share)
    y = _answers(teacher, x)
    y = y[:, 1] if data.y.dim() == 1 else y
    every = torch.arange(len(data.y))
    made = replace(
        data,
        x=TensorExamples(torch.cat([data.x.take(every.to(device)).cpu(), x]).to(device)),
        y=torch.cat([data.y.cpu(), y]).to(device),
    )
    fresh = torch.arange(len(every), len(every) + count)
    return made, torch.cat([rows, fresh]).to(device)


def told(
    found: dict[Part, Measured],
    comparison: dict[str, Any],
    measured: Measured,
    part: Part,
    task: Task,
) -> dict[str, Any]:
    """Return what the distilled model keeps of the ensemble's gain, by metric.

    `kept` is None where there is no gain over the best member to keep.
    """
    kept = {}
    for label, entry in comparison.items():
        own = found[part].evaluation.metrics[label].value
        whole = measured.evaluation.metrics[label].value
        sign = 1 if metric_for(label, task).direction == "maximize" else -1
        gain = whole - entry["best_member"]
        kept[label] = {
            "value": own,
            "ensemble": whole,
            "best_member": entry["best_member"],
            "kept": (own - entry["best_member"]) / gain if sign * gain > 0 else None,
        }
    return kept
