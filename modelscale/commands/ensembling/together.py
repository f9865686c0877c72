"""Members that are trained all at once: average, bagging, greedy selection, stacking."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from modelscale.commands.ensembling.candidates import Candidate, candidates_of
from modelscale.commands.ensembling.judging import (
    Built,
    Judged,
    OutOfBag,
    answers_for,
    as_answers,
    judged,
    network_of,
    out_of_fold,
    plain,
)
from modelscale.ensembling.bootstrap import bootstrap_counts, out_of_bag_mean
from modelscale.ensembling.folds import InnerFold, inner_folds
from modelscale.ensembling.methods.bagging import Bagging

if TYPE_CHECKING:
    from torch import Tensor

    from modelscale.commands.assembly import Assembly
    from modelscale.commands.ensembling.workshop import Workshop
    from modelscale.data.prepared import Prepared
    from modelscale.training.ensemble_artifact import MemberFiles
    from modelscale.training.replica import Replica
    from modelscale.training.trainer import Outcome

_MIXES_GROUPS = ("group", "time")
"""Splits that keep something apart which random folds would put together."""


@dataclass(frozen=True)
class Trained:
    """What came out of training.

    Attributes:
        candidates: Those of which every model came to its end.
        replicas: Of them, candidate by candidate.
        members: Their models, in the same order.
        step: Optimizer steps of the longest training.
    """

    candidates: list[Candidate]
    replicas: list[Replica]
    members: list[MemberFiles]
    step: int


def folds_of(assembly: Assembly) -> list[InnerFold]:
    """Return the folds within the training part that the section asks for; none without.

    Raises:
        SpecError: If rows are too few, or random folds would break what the split keeps apart.
    """
    section = assembly.experiment.ensemble
    assert section is not None
    if section.inner_folds is None:
        return []
    split = assembly.experiment.data.split
    if split.own_kind() in _MIXES_GROUPS:
        raise assembly.fault(
            "ensemble.folds",
            f"random folds would mix what split kind {split.own_kind()!r} keeps apart; "
            "folds: null judges on the validation part",
        )
    data = assembly.data(0, assembly.experiment.model.encoding)
    classes_N = data.y.cpu() if data.task == "classification" else None
    rows = data.rows["train"].cpu()
    try:
        return inner_folds(rows, classes_N, section.inner_folds, assembly.experiment.seed)
    except ValueError as error:
        raise assembly.fault("ensemble.folds", str(error)) from None


def replicas_of(
    assembly: Assembly, candidates: Sequence[Candidate], folds: Sequence[InnerFold]
) -> list[Replica]:
    """Return what is to be trained, candidate by candidate, fold by fold.

    Raises:
        SpecError: If members would need the data in different forms.
    """
    section = assembly.experiment.ensemble
    found = []
    for candidate in candidates:
        replica = assembly.replica(0, candidate.seed, candidate.variant)
        if isinstance(section, Bagging):
            found.append(replace(replica, weights=_weights(replica, section.share)))
        elif folds:
            found += [
                replace(replica, train_rows=fold.learnt.to(replica.data.y.device))
                for fold in folds
            ]
        else:
            found.append(replica)
    # Bins are a network's own affair; what is put to all members at once must be the same.
    forms = [replace(replica.data.inputs, quantiles=()) for replica in found]
    if any(form != forms[0] for form in forms):
        raise assembly.fault(
            "ensemble.vary", "members need one form of the data, with categories alike"
        )
    return found


def build(shop: Workshop, chosen: list[Candidate] | None = None) -> Built:
    """Train all members and combine them.

    Args:
        shop: Where they are trained.
        chosen: The members; by default those that the section draws.

    Raises:
        Diverged: If no member came to its end.
        TryAgain: If a stop was asked for; the state is saved.
    """
    assembly = shop.assembly
    section = assembly.experiment.ensemble
    assert section is not None
    candidates = candidates_of(assembly) if chosen is None else chosen
    folds = folds_of(assembly)
    replicas = replicas_of(assembly, candidates, folds)
    group = max(1, len(folds))
    labels = [
        f"{candidate.label}-fold-{fold}" if folds else candidate.label
        for candidate in candidates
        for fold in range(group)
    ]
    outcomes = shop.train_all("members", replicas, labels)
    trained = whole(candidates, replicas, labels, outcomes, group)
    data = replicas[0].data
    bag = _out_of_bag(trained, data, assembly) if isinstance(section, Bagging) else None
    choice = _choice(trained, folds, data, assembly)
    combined, scores = section.combine(choice.answers), choice.scores()
    origin, rows = choice.origin, choice.rows
    if bag is not None and origin == "none":
        origin, rows, scores = "out-of-bag", bag.rows, bag.scores
        combined = replace(combined, held_out=bag.mean)
    return Built(
        members=tuple(trained.members),
        labels=tuple(candidate.label for candidate in trained.candidates),
        candidates={candidate.label: candidate for candidate in trained.candidates},
        group=group,
        combined=combined,
        origin=origin,
        rows=rows,
        scores=scores,
        step=trained.step,
        out_of_bag=bag,
    )


def _choice(
    trained: Trained, folds: Sequence[InnerFold], data: Prepared, assembly: Assembly
) -> Judged:
    """Return the candidates' answers for the rows that decide about them.

    Raises:
        SpecError: If there are none, and the method needs some.
    """
    network = network_of(trained.members, data.task, max(1, len(folds)))
    learnt = [replica.rows for replica in trained.replicas]
    if folds:
        held = [fold.held for fold in folds]
        return out_of_fold(network, data, held, learnt, assembly)
    return judged(network, data, data.rows["validation"], assembly, learnt)


def check_rows(assembly: Assembly) -> None:
    """Raise SpecError where nothing could decide, and the method has to decide something."""
    section = assembly.experiment.ensemble
    validates = len(assembly.loaded.folds[0].validation) > 0
    decides = section is not None and section.decides
    if decides and not validates and folds_missing(assembly):
        raise assembly.fault(
            "ensemble", "needs a validation part or ensemble.folds: something must decide"
        )


def folds_missing(assembly: Assembly) -> bool:
    """Return whether the section asks for no folds."""
    section = assembly.experiment.ensemble
    return section is None or section.inner_folds is None


def _out_of_bag(trained: Trained, data: Prepared, assembly: Assembly) -> OutOfBag:
    """Return what the members say of rows that they never drew."""
    import torch

    rows = data.rows["train"].cpu()
    network = network_of(trained.members, data.task)
    found_KNA = answers_for(network, data, rows, singly=True)
    weights = [replica.weights for replica in trained.replicas]
    count_KN = torch.stack([w.cpu()[rows] for w in weights if w is not None])
    mean_NA, known_N = out_of_bag_mean(plain(found_KNA, data.task).double(), count_KN)
    scores = []
    for k, count_N in enumerate(count_KN):
        unseen = (count_N == 0).nonzero()[:, 0]
        own = as_answers(found_KNA[k : k + 1, unseen], data, rows[unseen], assembly)
        scores.append(float(own.score(own.plain())[0]))
    mean_NA = mean_NA[known_N]
    if data.task == "classification":
        mean_NA = mean_NA.clamp_min(torch.finfo(torch.float32).tiny).log()
    return OutOfBag(rows[known_N], mean_NA.float(), tuple(scores))


def _weights(replica: Replica, share: float) -> Tensor:
    """Return bootstrap weights of every row of the data; their mean over a sample is 1."""
    import torch

    rows = replica.rows.cpu()
    counts = bootstrap_counts(replica.seed, len(rows), share).float()
    weight_N = torch.zeros(len(replica.data.y))
    weight_N[rows] = counts / counts.mean()
    return weight_N.to(replica.data.y.device)


def whole(
    candidates: Sequence[Candidate],
    replicas: Sequence[Replica],
    labels: Sequence[str],
    outcomes: Sequence[Outcome],
    group: int,
) -> Trained:
    """Return the candidates of which no model diverged, with their models as files."""
    from modelscale.training.artifact import dump_model
    from modelscale.training.cohort import build_network
    from modelscale.training.ensemble_artifact import MemberFiles
    from modelscale.training.layout import Layout

    kept: list[Candidate] = []
    chosen: list[int] = []
    for place, candidate in enumerate(candidates):
        own = range(place * group, (place + 1) * group)
        if all(outcomes[k].ending != "diverged" for k in own):
            kept.append(candidate)
            chosen += own
    members = [
        MemberFiles(
            labels[k],
            dump_model(replicas[k], outcomes[k].weights, Layout.of(build_network(replicas[k]))),
        )
        for k in chosen
    ]
    step = max((outcomes[k].step for k in chosen), default=0)
    return Trained(kept, [replicas[k] for k in chosen], members, step)
