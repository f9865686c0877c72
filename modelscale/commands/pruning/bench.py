"""What every step of a pruning needs: the data, the first model, and a way to train again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from modelscale.commands.ensembling.workshop import Begin, Each, Workshop
from modelscale.errors import Diverged
from modelscale.runs.part import RunPart
from modelscale.seeds import derive

if TYPE_CHECKING:
    from torch import Tensor, nn

    from modelscale.data.prepared import Prepared
    from modelscale.evaluation.metrics.base import MetricSpec
    from modelscale.models.edits.base import EditSpec
    from modelscale.pruning.budget import Loss
    from modelscale.pruning.graph.roles import AttentionCut
    from modelscale.pruning.section import Retrain
    from modelscale.pruning.structure import Structure
    from modelscale.training.artifact import Model
    from modelscale.training.replica import Replica
    from modelscale.training.session import Session

BATCHES = 8
BATCH_ROWS = 256
MOST_EPOCHS = 3.0
"""Times the epochs of the first training that a re-training takes at most."""


@dataclass(frozen=True)
class Retrained:
    """A model after it was trained again.

    Attributes:
        model: On the CPU.
        step: Optimizer steps after which its weights were kept.
        facts: How the training went, for the document.
    """

    model: Model
    step: int
    facts: dict[str, Any]


class Finder:
    """Follows networks, each once: it takes seconds, and several ways to cut need it."""

    def __init__(self) -> None:
        self._known: list[tuple[nn.Module, AttentionCut, Structure]] = []

    def find(
        self, network: nn.Module, examples: tuple[Tensor, ...], attention: AttentionCut
    ) -> Structure:
        """Return the units of a network of these very weights' shapes."""
        from modelscale.pruning.structure import find_units

        for known, cut, structure in self._known:
            if known is network and cut == attention:
                return structure
        structure = find_units(network, examples, attention=attention)
        self._known = [*self._known[-3:], (network, attention, structure)]
        return structure


def examples_of(data: Prepared) -> tuple[Tensor, ...]:
    """Return two training examples, to follow a network with."""
    x = data.x.take(data.rows["train"][:2].to(data.y.device)).cpu()
    return (x if len(x) == 2 else x.repeat(2, *[1] * (x.dim() - 1)),)


class Bench:
    """Where one model is made smaller.

    Attributes:
        shop: Trains, and knows the run.
        first: The model as it came, on the CPU: the teacher.
        fold: Round of cross-validation that it belongs to.
        seed: Of everything random.
    """

    def __init__(
        self,
        shop: Workshop,
        first: Model,
        fold: int,
        seed: int | None = None,
        units: Finder | None = None,
    ) -> None:
        """Set it up.

        Args:
            shop: Trains, and knows the run.
            first: The model as it came.
            fold: Round of cross-validation that it belongs to.
            seed: Of everything random; the spec's when left out.
            units: What has followed the first network already.
        """
        self.shop, self.first, self.fold = shop, first, fold
        self.seed = shop.assembly.experiment.seed if seed is None else seed
        self.units = units or Finder()

    @cached_property
    def replica(self) -> Replica:
        """The first model as a replica: its data, loss and optimizer."""
        # It goes on from its own weights, not from those that its training began with.
        return replace(self.shop.assembly.replica(self.fold, self.seed), start=None)

    @property
    def data(self) -> Prepared:
        """The data."""
        return self.replica.data

    @property
    def example(self) -> tuple[int, ...]:
        """Shape of one example."""
        return self.first.inputs.shape

    @property
    def metric(self) -> MetricSpec:
        """The metric that decides: the spec's first one."""
        return self.shop.assembly.goal.metrics[0]

    @cached_property
    def examples(self) -> tuple[Tensor, ...]:
        """Two examples, to follow a network with."""
        return examples_of(self.data)

    def structure(self, network: nn.Module, attention: AttentionCut) -> Structure:
        """Return the units of a network; the same one is followed once."""
        return self.units.find(network, self.examples, attention)

    @cached_property
    def batches(self) -> list[tuple[Tensor, Tensor]]:
        """Some training examples in batches, drawn by the run's seed."""
        import torch

        rows = self.data.rows["train"].cpu()
        draws = torch.Generator().manual_seed(derive(self.seed, "prune"))
        chosen = rows[torch.randperm(len(rows), generator=draws)[: BATCHES * BATCH_ROWS]]
        device = self.data.y.device
        return [
            (self.data.x.take(some.to(device)).cpu(), self.data.y[some.to(device)].cpu())
            for some in chosen.split(BATCH_ROWS)
        ]

    @property
    def has_validation(self) -> bool:
        """Whether there are rows that may decide."""
        return len(self.data.rows["validation"]) > 0

    def score(self, model: Model) -> float:
        """Return what a model is worth on the validation part; larger is better."""
        from modelscale.commands.measuring import targets_of

        targets = targets_of(self.data, self.data.rows["validation"].cpu())
        value = float(self.metric.compute(self.answers(model), targets))
        return value if self.metric.direction == "maximize" else -value

    @cached_property
    def first_answers(self) -> Tensor:
        """What the first model answers on the validation part."""
        return self.answers(self.first)

    def answers(self, model: Model) -> Tensor:
        """Return what a model answers on the validation part."""
        from modelscale.commands.measuring import predict

        return predict(model, self.data, self.data.rows["validation"].cpu())

    def drop(self, model: Model) -> float:
        """Return how much of the metric a model has lost on the validation part.

        In the metric's units where larger is better, else as a share of what it was.
        """
        return self.loss_of(model, None).drop

    def loss_of(self, model: Model, confidence: float | None) -> Loss:
        """Return what a model has lost on the validation part, with the most that it may have.

        Args:
            model: What has become of the first one.
            confidence: Of the bound; None for no bound.
        """
        from modelscale.commands.measuring import targets_of
        from modelscale.pruning.budget import loss_between

        targets = targets_of(self.data, self.data.rows["validation"].cpu())
        answers = self.answers(model)
        return loss_between(self.metric, self.first_answers, answers, targets, confidence)

    def changed(self, model: Model, network: nn.Module, edit: EditSpec) -> Model:
        """Return a model whose network an edit has made another one."""
        return replace(model, network=network.eval(), edits=(*model.edits, edit))

    def retrain(
        self,
        name: str,
        start: Model,
        how: Retrain,
        epochs: int | None = None,
        *,
        each: Each | None = None,
    ) -> Retrained:
        """Train a model that was made smaller, from its weights on.

        Args:
            name: Of the state's folder and of the lines in the metric log.
            start: With the weights to begin with.
            how: The schedule.
            epochs: In place of those that `how` says.
            each: Sees every epoch before anything of it is saved.

        Raises:
            Diverged: If it did.
            TryAgain: If a stop was asked for; the state is saved.
        """
        from modelscale.training.artifact import dump_model, load_model
        from modelscale.training.cohort import build_network
        from modelscale.training.layout import Layout

        count = self.epochs(how, self.left(start)) if epochs is None else epochs
        if count == 0:
            return Retrained(start, 0, {"epochs": 0})
        student = self.student(start, how, count)
        goal = None
        if how.distill:
            from modelscale.training.scoring import Monitor
            from modelscale.training.session import Goal

            goal = Goal((), Monitor("loss", maximize=False))
        network = _initial(student, start) if how.rewind == "weights" else start.network
        begin = begin_with(network)
        with self.shop.tell.progress(name, student.plan.epochs) as progress:
            (outcome,) = self.shop.train(
                name,
                [student],
                [name],
                goal=goal,
                begin=begin,
                each=each,
                progress=(progress, 0.0),
            )
        if outcome.ending == "diverged":
            raise Diverged(self.shop.divergences[-1] if self.shop.divergences else "diverged")
        kept = replace(self.replica, model=start.spec, edits=start.edits)
        files = dump_model(kept, outcome.weights, Layout.of(build_network(kept)))
        best = outcome.progress.best_epoch > 0 and student.plan.keep == "best"
        facts = {
            "epochs": outcome.epoch,
            "best_epoch": outcome.progress.best_epoch if best else outcome.epoch,
            "ending": outcome.ending,
        }
        step = outcome.progress.best_step if best else outcome.step
        return Retrained(load_model(files), step, facts)

    def left(self, model: Model) -> float:
        """Return the share of the first model's MACs that a model has."""
        from modelscale.evaluation.macs import count_macs

        whole = count_macs(self.first.network, self.example)
        return count_macs(model.network, self.example) / max(1, whole)

    def epochs(self, how: Retrain, left: float) -> int:
        """Return how many epochs a re-training takes.

        Where nothing is said, as much arithmetic as the first training, up to `MOST_EPOCHS`
        times its epochs: a network of few weights learns slowly, and its epochs are cheap.

        Args:
            how: What is asked for.
            left: Share of the first model's MACs that the smaller one has.
        """
        if how.epochs is not None:
            return how.epochs
        usual = self.shop.assembly.experiment.train.epochs
        return round(usual * min(MOST_EPOCHS, max(1.0, 1 / left)))

    def student(self, start: Model, how: Retrain, epochs: int) -> Replica:
        """Return what is trained: the smaller network, its schedule and its targets."""
        from modelscale.optimizers.schedules.base import ScheduleSpec

        plan = self.replica.plan.model_copy(
            update={"epochs": epochs, "seeds": 1, "keep": self.replica.plan.keep}
        )
        student = replace(self.replica, model=start.spec, edits=start.edits, plan=plan)
        if how.rewind == "none":
            rate = how.lr or student.optimizer.lr / 10
            student = replace(
                student,
                optimizer=student.optimizer.model_copy(update={"lr": rate}),
                scheduler=ScheduleSpec.model_validate("constant"),
            )
        if how.distill:
            from modelscale.commands.pruning.teaching import taught

            student = taught(student, self.first, how.distill)
        return student

    def cached(self, name: str) -> tuple[Model, dict[str, Any]] | None:
        """Return a starting point that was kept, with its facts; None if there is none yet."""
        from modelscale.training.artifact import load_model

        part = self.shop.run.sub(f"stages/{name}")
        facts = part.result()
        if facts is None:
            return None
        found = part.checkpoints().newest_valid(("model.json",))
        return None if found is None else (load_model(found.files), facts)

    def keep(self, name: str, model: Model, facts: dict[str, Any], step: int = 0) -> RunPart:
        """Keep a model of a stage with its facts, so that a resumed run goes on from it."""
        from modelscale.training.artifact import dump_network

        part = self.shop.run.sub(f"stages/{name}")
        store = part.checkpoints()
        store.save(step, dump_network(model))
        store.point("best", step)
        store.prune(keep={step}, newest=1)
        part.write_result(facts)
        return part


def _initial(student: Replica, start: Model) -> nn.Module:
    """Return the smaller network with the weights that the first training began with."""
    from modelscale.training.cohort import build_network

    network = build_network(student)
    masks = {n: b for n, b in start.network.named_buffers() if n.endswith(".mask")}
    for name, buffer in network.named_buffers():
        if name in masks:
            buffer.copy_(masks[name])
    return network


def begin_with(network: nn.Module) -> Begin:
    """Return what lets a cohort of one begin with a network's weights."""

    def begin(session: Session) -> None:
        from modelscale.training.cohort import Weights

        trainer = session.trainer
        theta_KP = trainer.cohort.layout.flatten(network)[None].to(trainer.cohort.device)
        named = dict(network.named_buffers())
        buffers = {
            name: named[name].detach()[None].clone().to(trainer.cohort.device)
            for name in trainer.cohort.weights.buffers_K
        }
        trainer.cohort.replace(Weights(theta_KP, buffers))
        if trainer.average_KP is not None:
            trainer.average_KP = theta_KP.clone()

    return begin
