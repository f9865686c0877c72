"""Soups: branches of one training whose weights are averaged, where that helps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from modelscale.commands.ensembling.candidates import candidates_of
from modelscale.commands.ensembling.judging import (
    Built,
    Judged,
    answers_for,
    as_answers,
    judged,
    network_of,
)
from modelscale.commands.ensembling.together import whole
from modelscale.ensembling.answers import Combined
from modelscale.ensembling.averaging import average
from modelscale.ensembling.methods.soup import Soup
from modelscale.errors import Diverged, SpecError

if TYPE_CHECKING:
    from torch import Tensor

    from modelscale.commands.assembly import Assembly
    from modelscale.commands.ensembling.workshop import Workshop
    from modelscale.data.prepared import Prepared
    from modelscale.training.cohort import Weights
    from modelscale.training.ensemble_artifact import MemberFiles
    from modelscale.training.ensemble_network import EnsembleNetwork
    from modelscale.training.replica import Replica
    from modelscale.training.session import Session


@dataclass(frozen=True)
class Cooked:
    """A soup, or the member that is better than it.

    Attributes:
        files: Of the one model.
        chosen: Members whose weights it is the mean of.
        score: Of it on the rows that decide; larger is better.
        refused: Why there is no mean, if there is none.
    """

    files: dict[str, bytes]
    chosen: tuple[int, ...]
    score: float
    refused: str | None


def build(shop: Workshop) -> Built:
    """Train the shared part, then the branches, then average.

    Raises:
        Diverged: If all branches did.
        TryAgain: If a stop was asked for; the state is saved.
    """
    assembly = shop.assembly
    section = assembly.experiment.ensemble
    assert isinstance(section, Soup)
    candidates = candidates_of(assembly)
    replicas = [assembly.replica(0, c.seed, c.variant) for c in candidates]
    trunk = replicas[0]
    if any(_shape(replica) != _shape(trunk) for replica in replicas):
        raise assembly.fault("ensemble.vary", "weights of different models have no mean")
    epochs = trunk.plan.epochs
    shared = min(max(1, round(section.shared * epochs)), max(1, epochs - 1))
    plan = trunk.plan.model_copy(
        update={"epochs": shared, "keep": "last", "early_stopping": None}
    )
    shop.plan("trunk", [trunk])
    (outcome,) = shop.train("trunk", [replace(trunk, plan=plan)], ["trunk"])
    if outcome.ending == "diverged":
        raise Diverged(shop.divergences[0])
    branches = [
        replace(r, plan=r.plan.model_copy(update={"epochs": max(1, epochs - shared)}))
        for r in replicas
    ]
    labels = [candidate.label for candidate in candidates]

    def begin(session: Session) -> None:
        give(session, outcome.weights)

    outcomes = shop.train_all("branches", branches, labels, begin=begin)
    trained = whole(candidates, branches, labels, outcomes, 1)
    built = cook(trained.members, trunk.data, [trunk.rows], assembly)
    return replace(
        built,
        labels=tuple(candidate.label for candidate in trained.candidates),
        candidates={candidate.label: candidate for candidate in trained.candidates},
        step=trained.step + outcome.step,
    )


def give(session: Session, weights: Weights) -> None:
    """Let a cohort begin from the weights of one trained replica; rates stay its own."""
    from modelscale.models.modules.dropout import Dropout
    from modelscale.training.cohort import Weights

    trainer = session.trainer
    own, count = trainer.cohort.weights, len(trainer.cohort)
    layers = trainer.cohort.network.named_modules()
    rates = {f"{name}.rate" for name, layer in layers if isinstance(layer, Dropout)}
    same = weights.take([0] * count)
    buffers = {n: own.buffers_K[n] if n in rates else b for n, b in same.buffers_K.items()}
    trainer.cohort.replace(Weights(same.theta_KP, buffers))
    if trainer.average_KP is not None:
        trainer.average_KP = same.theta_KP.clone()


def cook(
    members: Sequence[MemberFiles],
    data: Prepared,
    learnt: Sequence[Tensor],
    assembly: Assembly,
) -> Built:
    """Average weights of members of one structure, where it helps on the validation part."""
    section = assembly.experiment.ensemble
    assert isinstance(section, Soup)
    network = network_of(members, data.task)
    if len(network.stacks) > 1:
        raise SpecError("ensemble: soup: weights of different models have no mean")
    choice = judged(network, data, data.rows["validation"], assembly, learnt)
    cooked = _cook(members, choice, data, assembly, uniform=section.choose == "uniform")
    answer = answers_for(_one(cooked.files, data), data, choice.rows)
    notes: dict[str, object] = {
        "averaged": [members[k].label for k in cooked.chosen],
        "refused": cooked.refused,
        "score": cooked.score,
        "best_score": max(choice.scores()),
    }
    plain = average(choice.answers)
    return Built(
        members=tuple(members),
        labels=tuple(member.label for member in members),
        candidates={},
        group=1,
        combined=Combined(plain.combination, cooked.chosen, answer[0], {}),
        origin=choice.origin,
        rows=choice.rows,
        scores=choice.scores(),
        step=0,
        single=cooked.files,
        notes=notes,
    )


def _cook(
    members: Sequence[MemberFiles],
    choice: Judged,
    data: Prepared,
    assembly: Assembly,
    *,
    uniform: bool,
) -> Cooked:
    scores = choice.scores()
    ranked = sorted(range(len(members)), key=lambda k: (-scores[k], k))
    best = ranked[0]
    train = data.rows["train"]

    def tried(chosen: Sequence[int]) -> tuple[dict[str, bytes], float]:
        files = mean_files([members[k] for k in chosen], data, train)
        found = answers_for(_one(files, data), data, choice.rows)
        judged_answers = as_answers(found, data, choice.rows, assembly)
        return files, float(judged_answers.score(judged_answers.plain())[0])

    alone = dict(members[best].files)
    if uniform:
        files, score = tried(range(len(members)))
        if score >= scores[best]:
            return Cooked(files, tuple(range(len(members))), score, None)
        reason = f"the mean of all members scores {score:.5g}, {members[best].label} alone "
        return Cooked(alone, (best,), scores[best], f"{reason}{scores[best]:.5g}")
    chosen, files, score = [best], alone, scores[best]
    for k in ranked[1:]:
        found, value = tried([*chosen, k])
        if value >= score:
            chosen, files, score = [*chosen, k], found, value
    refused = None
    if len(chosen) == 1:
        refused = f"no mean of weights is as good as {members[best].label} alone"
    return Cooked(files, tuple(chosen), score, refused)


def mean_files(
    members: Sequence[MemberFiles], data: Prepared, rows: Tensor
) -> dict[str, bytes]:
    """Return the files of the model whose weights are the mean of the members'."""
    from modelscale.training.artifact import dump_network, load_model
    from modelscale.training.averaging import mean_network

    models = [load_model(member.files) for member in members]
    made = mean_network([model.network for model in models], data.x.take(rows).cpu())
    return dump_network(replace(models[0], network=made))


def _one(files: dict[str, bytes], data: Prepared) -> EnsembleNetwork:
    from modelscale.training.ensemble_artifact import MemberFiles

    return network_of([MemberFiles("soup", files)], data.task)


def _shape(replica: Replica) -> dict[str, object]:
    return replica.model.model_dump(exclude=set(replica.model.per_replica))
