"""What an ensemble is worth beside its members, on rows that decided nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modelscale.commands.ensembling.judging import Built, answers_for, in_units, network_of
from modelscale.ensembling.diversity import Diversity, of_classes, of_values
from modelscale.evaluation.intervals import paired_difference, paired_difference_from_mean
from modelscale.evaluation.metric_names import metric_for
from modelscale.tensors import Part, Task

if TYPE_CHECKING:
    from torch import Tensor

    from modelscale.commands.assembly import Assembly
    from modelscale.commands.measuring import Measured
    from modelscale.data.prepared import Prepared
    from modelscale.evaluation.metrics.base import MetricSpec
    from modelscale.evaluation.section import EvaluateSection
    from modelscale.training.artifact import Model

_ALWAYS: dict[Task, tuple[str, ...]] = {
    "classification": ("accuracy", "log_loss", "calibration_error"),
    "regression": ("rmse",),
}
_DECIDING: dict[Task, tuple[str, ...]] = {
    "classification": ("accuracy", "log_loss"),
    "regression": ("rmse",),
}
_MEAN_OF = 16
"""Members, evenly chosen, whose mean the ensemble is compared with: an interval over more
would take longer than training them."""
_RANDOM_ORDERS = 16


@dataclass(frozen=True)
class Singles:
    """What each member says by itself.

    Attributes:
        labels: Of the candidates.
        best: Place of the best one by the rows that decide.
        candidates: Predictions (M, N, A) in the data's units, by part.
        models: Those of every single model (K, N, A), by part.
        answers: The candidates' answers (M, N, A) as the combination takes them, by part.
    """

    labels: tuple[str, ...]
    best: int
    candidates: dict[Part, Tensor]
    models: dict[Part, Tensor]
    answers: dict[Part, Tensor]


def evidence_metrics(assembly: Assembly) -> tuple[MetricSpec, ...]:
    """Return the spec's metrics and those without which an ensemble cannot be judged."""
    task = assembly.loaded.task
    found = {metric.label(): metric for metric in assembly.goal.metrics}
    for name in _ALWAYS[task]:
        found.setdefault(name, metric_for(name, task))
    return tuple(found.values())


def singles_of(built: Built, data: Prepared, parts: Sequence[Part]) -> Singles:
    """Return what the members say, each by itself; the reference where they are no models."""
    if built.reference is not None:
        network = network_of([built.reference], data.task)
        labels: tuple[str, ...] = ("alone",)
        scores: tuple[float, ...] = (0.0,)
    else:
        network = network_of(built.members, data.task, built.group)
        labels, scores = built.labels, built.scores
    ranked = [score if score == score else -float("inf") for score in scores]
    best = max(range(len(labels)), key=lambda m: (ranked[m] if ranked else 0.0, -m))
    answers = {part: answers_for(network, data, data.rows[part]) for part in parts}
    alone = {part: answers_for(network, data, data.rows[part], singly=True) for part in parts}
    return Singles(
        labels=labels,
        best=best,
        candidates={part: in_units(found, data) for part, found in answers.items()},
        models={part: in_units(found, data) for part, found in alone.items()},
        answers=answers,
    )


def compared(
    measured: Measured,
    singles: Singles,
    part: Part,
    metrics: Sequence[MetricSpec],
    section: EvaluateSection,
) -> dict[str, Any]:
    """Return each metric of the ensemble less that of the best and of the mean member."""
    best = singles.candidates[part][singles.best]
    models = singles.models[part]
    some = models[:: max(1, -(-len(models) // _MEAN_OF))]
    how = (section.resamples, section.confidence, section.seed)
    own, targets = measured.predictions, measured.targets
    mean = paired_difference_from_mean(metrics, own, some, targets, *how)
    document = {}
    for metric, over_mean in zip(metrics, mean, strict=True):
        over_best = paired_difference(metric, own, best, targets, *how)
        every = metric.compute(models, targets)
        document[metric.label()] = {
            "best_member": float(metric.compute(best, targets)),
            "mean_member": float(every.mean()),
            "over_best": over_best.to_json(),
            "over_mean": over_mean.to_json(),
        }
    return document


def diversity_of(
    singles: Singles, measured: Measured, part: Part, task: Task
) -> Diversity | None:
    """Return how different the members are; None for a single one."""
    models = singles.models[part]
    if len(models) < 2:
        return None
    of = of_classes if task == "classification" else of_values
    return of(models, measured.targets)


def curve_of(
    built: Built, singles: Singles, data: Prepared, part: Part, metrics: Sequence[MetricSpec]
) -> list[dict[str, Any]]:
    """Return what the first members are worth together, for rising numbers of them.

    A mean is taken over random orders, a selection in the order of choice, rounds in theirs.
    Temperature is left out.
    """
    from modelscale.commands.measuring import targets_of
    from modelscale.training.combination import Sum, Votes

    if built.single is not None:
        return []
    targets = targets_of(data, data.rows[part].cpu())
    combination = built.combined.combination
    if isinstance(combination, (Votes, Sum)):
        found = _of_rounds(built, data, part)
    elif "order" in built.combined.notes:
        found = _of_choices(built, singles.answers[part])
    else:
        found = _of_means(singles.answers[part], data.task)
    curve = []
    for count, answers in found:
        predictions = in_units(answers, data)
        values = {m.label(): float(m.compute(predictions, targets).mean()) for m in metrics}
        curve.append({"members": count, **values})
    return curve


def _counts(total: int, step: int = 1) -> list[int]:
    """Return 1, 2, 4, … times `step` and the total."""
    counts, count = [], step
    while count < total:
        counts.append(count)
        count *= 2
    return [*counts, total]


def _of_means(answers_MNA: Tensor, task: Task) -> list[tuple[int, Tensor]]:
    import torch

    from modelscale.training.combination import Mean

    total = len(answers_MNA)
    draws = torch.Generator().manual_seed(0)
    orders = [torch.randperm(total, generator=draws) for _ in range(_RANDOM_ORDERS)]
    found = []
    for count in _counts(total):
        mean = Mean(task, torch.full((count,), 1 / count))
        chosen = orders[:1] if count == total else orders
        found.append((count, torch.stack([mean(answers_MNA[o[:count]]) for o in chosen])))
    return found


def _of_choices(built: Built, answers_MNA: Tensor) -> list[tuple[int, Tensor]]:
    import torch

    from modelscale.training.combination import Mean

    order, shares = (built.combined.notes[name] for name in ("order", "shares"))
    assert isinstance(order, list)
    assert isinstance(shares, list)
    task = built.combined.combination.task
    found = []
    for count in _counts(len(order)):
        share = torch.tensor(shares[:count])
        mean = Mean(task, share / share.sum())
        found.append((count, mean(answers_MNA[order[:count]])[None]))
    return found


def _of_rounds(built: Built, data: Prepared, part: Part) -> list[tuple[int, Tensor]]:
    from modelscale.training.combination import Combination, Sum, Votes

    combination = built.combined.combination
    outputs = isinstance(combination, Sum)
    network = network_of(built.members, data.task, outputs=outputs)
    answers = answers_for(network, data, data.rows[part], singly=True)
    chains = built.notes["chains"]
    assert isinstance(chains, int)
    found = []
    for count in _counts(len(answers), chains):
        first: Combination
        if isinstance(combination, Sum):
            first = Sum(data.task, combination.scale_M[:count], combination.start_A)
        else:
            assert isinstance(combination, Votes)
            first = Votes(data.task, combination.weight_M[:count])
        found.append((count, first(answers[:count])[None]))
    return found


@dataclass(frozen=True)
class Verdict:
    """Whether the ensemble is worth it.

    Attributes:
        worth_it: True where a metric that decides is better than chance could make it, and
            none is worse; None where nothing is certain.
        text: The reason, for people.
    """

    worth_it: bool | None
    text: str


def verdict_of(comparison: dict[str, Any], task: Task, part: Part, times: float) -> Verdict:
    """Return whether the gain over the best member is more than chance.

    Args:
        comparison: As `compared` returns it.
        task: What is learnt.
        part: Where it was measured.
        times: Operations of the ensemble, as a multiple of one model's.
    """
    better, worse, told = [], [], []
    for name in _DECIDING[task]:
        entry = comparison[name]["over_best"]
        sign = 1 if metric_for(name, task).direction == "maximize" else -1
        low, high = entry["low"], entry["high"]
        told.append(f"{name} {entry['value']:+.4g} ({_bound(low)} to {_bound(high)})")
        if low is not None and high is not None:
            if sign * low > 0 and sign * high > 0:
                better.append(name)
            if sign * low < 0 and sign * high < 0:
                worse.append(name)
    against = f"{part}, against the best single member: {', '.join(told)}"
    cost = f"at {times:.3g} times the operations"
    if worse:
        return Verdict(False, f"not worth it: {' and '.join(worse)} got worse. {against}")
    if better:
        names = " and ".join(better)
        return Verdict(True, f"worth it in {names} if you can pay {cost}. {against}")
    return Verdict(
        None, f"not worth it on this evidence: no gain beyond chance, {cost}. {against}"
    )


def _bound(value: float | None) -> str:
    return "?" if value is None else f"{value:+.4g}"


def uncalibrated(model: Model, data: Prepared, part: Part) -> Tensor:
    """Return an ensemble's probabilities for a part without its temperature."""
    import torch

    from modelscale.training.ensemble_network import EnsembleNetwork

    network = model.network
    assert isinstance(network, EnsembleNetwork)
    rows = data.rows[part]
    with torch.no_grad():
        pieces = [
            network(data.x.take(some).cpu()) * network.temperature for some in rows.split(2048)
        ]
    return torch.cat(pieces).softmax(dim=-1)
