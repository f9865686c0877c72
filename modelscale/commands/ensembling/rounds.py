"""Members that are trained one round after another: boosting, in one or more chains."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from modelscale.commands.ensembling.judging import (
    Built,
    Origin,
    answers_for,
    judged,
    network_of,
)
from modelscale.ensembling.answers import Combined
from modelscale.ensembling.gradients import best_step, loss_of, residuals, start_values
from modelscale.ensembling.methods.boosting import Boosting
from modelscale.ensembling.samme import boost, equal_weights
from modelscale.errors import Diverged
from modelscale.losses.base import LossSpec

if TYPE_CHECKING:
    from torch import Tensor

    from modelscale.commands.assembly import Assembly
    from modelscale.commands.ensembling.workshop import Workshop
    from modelscale.data.prepared import Prepared
    from modelscale.training.ensemble_artifact import MemberFiles
    from modelscale.training.ensemble_network import EnsembleNetwork
    from modelscale.training.replica import Replica
    from modelscale.training.session import Goal
    from modelscale.training.trainer import Outcome

_GRADIENT_SHRINKAGE = 0.3


@dataclass(frozen=True)
class Weak:
    """A weak learner that is part of the ensemble.

    Attributes:
        member: Its model.
        chain: The sequence that it belongs to.
        round: Its number in it.
        part: Weight of its vote, or factor on its outputs.
        step: Optimizer steps of its training.
    """

    member: MemberFiles
    chain: int
    round: int
    part: float
    step: int


def build(shop: Workshop) -> Built:
    """Train all rounds and combine them.

    Raises:
        Diverged: If the very first models did, or are no better than chance.
        TryAgain: If a stop was asked for; the state is saved.
    """
    section = shop.assembly.experiment.ensemble
    assert isinstance(section, Boosting)
    if section.resolved_method(shop.assembly.loaded.task) == "samme":
        return _by_votes(shop, section)
    return _by_gradients(shop, section)


def _by_votes(shop: Workshop, section: Boosting) -> Built:
    import torch

    from modelscale.training.combination import Votes

    assembly = shop.assembly
    plain = _plain(assembly, section.chains)
    data, rows = plain[0].data, plain[0].rows.cpu()
    y_N = data.y.cpu()[rows]
    weights = dict.fromkeys(range(section.chains), equal_weights(len(rows)))
    weak: list[Weak] = []
    with shop.tell.progress("rounds", section.members) as progress:
        for number in range(section.members):
            living = sorted(weights)
            if not living:
                break
            replicas = [
                replace(
                    plain[chain],
                    seed=_seed(assembly, number, chain, section.chains),
                    weights=_as_weights(plain[chain], torch.from_numpy(weights[chain])),
                )
                for chain in living
            ]
            found = _round(shop, number, living, replicas, assembly.goal)
            for chain, (learner, outcome) in found.items():
                network = network_of([learner], data.task)
                answers_NC = _ask(network, data, rows)[0]
                wrong_N = (answers_NC.argmax(dim=1) != y_N).numpy()
                step = boost(weights[chain], wrong_N, data.targets, section.shrinkage or 1.0)
                if step is not None:
                    weak.append(Weak(learner, chain, number, step.vote, outcome.step))
                    weights[chain] = step.weight_N
                if step is None or not step.goes_on:
                    del weights[chain]
            for chain in set(living) - set(found):
                del weights[chain]
            progress.update(number + 1)
    if not weak:
        raise Diverged(
            "no weak learner is better than chance; give the model more to work with"
        )
    votes = torch.tensor([learner.part for learner in weak], dtype=torch.float64)
    total = {c: sum(w.part for w in weak if w.chain == c) for c in {w.chain for w in weak}}
    share = torch.tensor([total[w.chain] for w in weak]).double() * len(total)
    combination = Votes(data.task, votes / share)
    members = tuple(learner.member for learner in weak)
    choice = judged(
        network_of(members, data.task), data, data.rows["validation"], assembly, [rows]
    )
    kept = tuple(range(len(weak)))
    combined = Combined(combination, kept, combination(choice.answers.answers_MNA.float()), {})
    return _built(weak, combined, choice.origin, choice.rows, choice.scores())


def _by_gradients(shop: Workshop, section: Boosting) -> Built:
    import torch

    from modelscale.training.combination import Sum
    from modelscale.training.scoring import Monitor
    from modelscale.training.session import Goal

    assembly = shop.assembly
    plain = _plain(assembly, section.chains)
    data = plain[0].data
    boosting, goal = _Gradients(data, section), Goal((), Monitor("loss", maximize=False))
    weak: list[Weak] = []
    with shop.tell.progress("rounds", section.members) as progress:
        for number in range(section.members):
            living = sorted(boosting.values)
            if not living or boosting.is_stale(number):
                break
            replicas = [
                replace(
                    plain[chain],
                    seed=_seed(assembly, number, chain, section.chains),
                    loss=LossSpec.model_validate("mean_squared_error"),
                    data=boosting.left(chain),
                )
                for chain in living
            ]
            found = _round(shop, number, living, replicas, goal)
            for chain in set(living) - set(found):
                del boosting.values[chain]
            for chain, (learner, outcome) in found.items():
                factor = boosting.add(chain, _ask_outputs(learner, data))
                if factor > 0:
                    weak.append(Weak(learner, chain, number, factor, outcome.step))
            boosting.close(number)
            progress.update(number + 1)
    weak = [w for w in weak if w.round <= boosting.best_round]
    if not weak:
        raise Diverged("no round of boosting improves on the constant answer")
    scales = torch.tensor([w.part for w in weak], dtype=torch.float64) / section.chains
    combination = Sum(data.task, scales, boosting.start)
    rows = data.rows["validation"].cpu()
    network = network_of([w.member for w in weak], data.task, outputs=True)
    with torch.no_grad():
        held_out = combination(_ask(network, data, rows)) if len(rows) else torch.zeros(0, 1)
    origin: Origin = "validation" if len(rows) else "none"
    combined = Combined(combination, tuple(range(len(weak))), held_out, {})
    built = _built(weak, combined, origin, rows, ())
    return replace(built, reference=_alone(shop, plain[0]))


class _Gradients:
    """The state of gradient boosting: what each chain says of every row so far.

    Attributes:
        values: F for all rows of the data (N, A) float64, by chain.
        best_round: The last round of the best sequence so far.
    """

    def __init__(self, data: Prepared, section: Boosting) -> None:
        self.data, self.section = data, section
        self.y = data.y.cpu()
        self.train, self.validation = (data.rows[p].cpu() for p in ("train", "validation"))
        classes = data.targets if data.task == "classification" else None
        self.start = start_values(self.y[self.train], classes)
        begin = self.start.expand(len(self.y), -1)
        self.values: dict[int, Tensor] = {c: begin.clone() for c in range(section.chains)}
        self.everywhere = dict(self.values)  # also of chains that have ended
        self.best_round, self.best_loss = -1, float("inf")

    def left(self, chain: int) -> Prepared:
        """Return the data with what a chain still gets wrong as targets."""
        left_NA = residuals(self.values[chain], self.y, self.data.task)
        return replace(
            self.data,
            task="regression",
            targets=left_NA.shape[1],
            y=left_NA.float().to(self.data.y.device),
        )

    def add(self, chain: int, outputs_NA: Tensor) -> float:
        """Add a network to a chain; return its factor, 0 where it helps nothing."""
        rows, values_NA = self.train, self.values[chain]
        outputs_NA = outputs_NA.double()
        task = self.data.task
        step = best_step(values_NA[rows], outputs_NA[rows], self.y[rows], task)
        factor = (self.section.shrinkage or _GRADIENT_SHRINKAGE) * step
        if factor > 0:
            self.values[chain] = values_NA + factor * outputs_NA
            self.everywhere[chain] = self.values[chain]
        else:
            del self.values[chain]
        return factor

    def close(self, number: int) -> None:
        """End a round: note whether it was the best."""
        import torch

        if len(self.validation) == 0:
            self.best_round = number
            return
        rows = self.validation
        mean_NA = torch.stack([v[rows] for v in self.everywhere.values()]).mean(dim=0)
        loss = loss_of(mean_NA, self.y[rows], self.data.task)
        if loss < self.best_loss:
            self.best_round, self.best_loss = number, loss

    def is_stale(self, number: int) -> bool:
        """Return whether too many rounds in turn have brought nothing."""
        patience = self.section.patience
        return patience is not None and number - 1 - self.best_round >= patience


def _plain(assembly: Assembly, chains: int) -> list[Replica]:
    return [assembly.replica(0, assembly.experiment.seed + k) for k in range(chains)]


def _seed(assembly: Assembly, number: int, chain: int, chains: int) -> int:
    return assembly.experiment.seed + number * chains + chain


def _round(
    shop: Workshop, number: int, chains: list[int], replicas: list[Replica], goal: Goal
) -> dict[int, tuple[MemberFiles, Outcome]]:
    """Train one round of some chains as a cohort; return the models that did not diverge."""
    from modelscale.training.artifact import dump_model
    from modelscale.training.cohort import build_network
    from modelscale.training.ensemble_artifact import MemberFiles
    from modelscale.training.layout import Layout

    if number == 0:
        shop.plan("rounds", replicas[:1])  # for the threads; chains are few, and one cohort
    labels = [_label(number, chain) for chain in chains]
    outcomes = shop.train(f"round-{number:03d}", replicas, labels, goal=goal)
    layout = Layout.of(build_network(replicas[0]))
    return {
        chain: (MemberFiles(label, dump_model(replica, outcome.weights, layout)), outcome)
        for chain, label, replica, outcome in zip(
            chains, labels, replicas, outcomes, strict=True
        )
        if outcome.ending != "diverged"
    }


def _alone(shop: Workshop, replica: Replica) -> MemberFiles | None:
    """Return the spec's model trained as ever, since the rounds' models alone are none."""
    from modelscale.training.artifact import dump_model
    from modelscale.training.cohort import build_network
    from modelscale.training.ensemble_artifact import MemberFiles
    from modelscale.training.layout import Layout

    (outcome,) = shop.train("alone", [replica], ["alone"])
    if outcome.ending == "diverged":
        return None
    layout = Layout.of(build_network(replica))
    return MemberFiles("alone", dump_model(replica, outcome.weights, layout))


def _ask(network: EnsembleNetwork, data: Prepared, rows: Tensor) -> Tensor:
    return answers_for(network, data, rows, singly=True)


def _ask_outputs(learner: MemberFiles, data: Prepared) -> Tensor:
    """Return a learner's outputs for every row of the data."""
    import torch

    network = network_of([learner], data.task, outputs=True)
    return _ask(network, data, torch.arange(len(data.y)))[0]


def _as_weights(replica: Replica, weight_N: Tensor) -> Tensor:
    """Return weights of every row of the data, of mean 1 over the training part."""
    import torch

    rows = replica.rows.cpu()
    full_N = torch.zeros(len(replica.data.y))
    full_N[rows] = (weight_N * len(rows)).float()
    return full_N.to(replica.data.y.device)


def _built(
    weak: list[Weak],
    combined: Combined,
    origin: Origin,
    rows: Tensor,
    scores: tuple[float, ...],
) -> Built:
    return Built(
        members=tuple(w.member for w in weak),
        labels=tuple(w.member.label for w in weak),
        candidates={},
        group=1,
        combined=combined,
        origin=origin,
        rows=rows,
        scores=scores,
        step=max(w.step for w in weak),
        notes={
            "rounds": 1 + max(w.round for w in weak),
            "chains": 1 + max(w.chain for w in weak),
        },
    )


def _label(number: int, chain: int) -> str:
    return f"round-{number:03d}-chain-{chain}"


def check(assembly: Assembly) -> None:
    """Raise SpecError where the method does not fit the task."""
    section = assembly.experiment.ensemble
    if isinstance(section, Boosting):
        values = assembly.loaded.task == "regression"
        if values and section.resolved_method("regression") == "samme":
            raise assembly.fault("ensemble.method", "samme is for classes; use gradient")
