"""Members' answers on rows of the data, and the rows that may decide about members."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from modelscale.ensembling.answers import Answers, Combined
from modelscale.ensembling.folds import check_unseen
from modelscale.evaluation.metric_names import metric_for

if TYPE_CHECKING:
    from torch import Tensor

    from modelscale.commands.assembly import Assembly
    from modelscale.commands.ensembling.candidates import Candidate
    from modelscale.data.prepared import Prepared
    from modelscale.evaluation.metrics.base import MetricSpec
    from modelscale.tensors import Task
    from modelscale.training.ensemble_artifact import MemberFiles
    from modelscale.training.ensemble_network import EnsembleNetwork

Origin = Literal["out-of-fold", "out-of-bag", "validation", "none"]
_NUMBERS_AT_ONCE = 65_536  # examples times members


@dataclass(frozen=True)
class Built:
    """Members that are trained, and how their answers are combined.

    Attributes:
        members: All models, candidate by candidate.
        labels: Of the candidates, in order; those that diverged are not among them.
        candidates: Their settings, by label, where they were trained here.
        group: Models of one candidate: the folds.
        combined: What is kept, and how.
        origin: Which rows decided.
        rows: These rows.
        scores: Of each candidate on these rows; larger is better.
        step: Optimizer steps of a member; names the checkpoint.
        out_of_bag: What bagging's members say of rows that they never drew.
        reference: The spec's model trained as ever, where the members alone are none; else the
            members are what the ensemble is compared with.
        single: The one model that answers in place of all members: a soup.
        notes: What else the document says.
    """

    members: tuple[MemberFiles, ...]
    labels: tuple[str, ...]
    candidates: dict[str, Candidate]
    group: int
    combined: Combined
    origin: Origin
    rows: Tensor
    scores: tuple[float, ...]
    step: int
    out_of_bag: OutOfBag | None = None
    reference: MemberFiles | None = None
    single: Mapping[str, bytes] | None = None
    notes: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class OutOfBag:
    """What members say of training rows that they never drew.

    Attributes:
        rows: Those that at least one member has not seen.
        mean: Mean answer of these members for each, log-probabilities or values (N, A).
        scores: Of each member on the rows that it has not seen; larger is better.
    """

    rows: Tensor
    mean: Tensor
    scores: tuple[float, ...]


@dataclass(frozen=True)
class Judged:
    """Candidates' answers for the rows that decide.

    Attributes:
        origin: Which rows these are.
        rows: Their places in the data.
        answers: Of the candidates for them.
    """

    origin: Origin
    rows: Tensor
    answers: Answers

    def scores(self) -> tuple[float, ...]:
        """Return how good each candidate is; larger is better."""
        return tuple(self.answers.score(self.answers.plain()).tolist())


def network_of(
    members: Sequence[MemberFiles], task: Task, group: int = 1, *, outputs: bool = False
) -> EnsembleNetwork:
    """Return members as one network with the plain mean as its combination.

    Args:
        members: As they are stored.
        task: What they answer.
        group: Members of one candidate.
        outputs: Whether raw outputs are wanted of them, not answers.
    """
    import torch

    from modelscale.training.artifact import load_model
    from modelscale.training.combination import Combination, Mean, Sum
    from modelscale.training.ensemble_network import EnsembleNetwork, Trained

    models = [load_model(member.files) for member in members]
    trained = [Trained(model.network, model.loss) for model in models]
    equal = torch.ones(len(members) // group)
    plain: Combination = Mean(task, equal)
    if outputs:
        plain = Sum(task, equal, torch.zeros(1))
    return EnsembleNetwork(trained, plain, group).eval()


def answers_for(
    network: EnsembleNetwork, data: Prepared, rows: Tensor, *, singly: bool = False
) -> Tensor:
    """Return what candidates answer for rows of prepared data, (M, N, A) on the CPU.

    Args:
        network: Of the members.
        data: The data.
        rows: Of them.
        singly: Whether each member's own answer is wanted, not its candidate's.
    """
    import torch

    device = data.y.device
    network = network.to(device)
    ask = network.members if singly else network.candidates
    size = max(32, _NUMBERS_AT_ONCE // network.count)
    if len(rows) == 0:
        count = network.count if singly else network.count // network.group
        return torch.zeros(count, 0, data.targets)
    with torch.no_grad():
        pieces = [ask(data.x.take(part)).cpu() for part in rows.to(device).split(size)]
    return torch.cat(pieces, dim=1)


def plain(answers: Tensor, task: Task) -> Tensor:
    """Return probabilities, or values as the networks see them, of answers (…, A)."""
    return answers.exp() if task == "classification" else answers


def in_units(answers: Tensor, data: Prepared) -> Tensor:
    """Return probabilities, or values in the data's units, of answers (…, A)."""
    if data.task == "classification":
        return answers.softmax(dim=-1)
    return data.preprocessing.inverse_target(answers)


def targets_for(data: Prepared, rows: Tensor) -> Tensor:
    """Return the targets of rows as networks see them, on the CPU."""
    return data.y.cpu()[rows.cpu()]


def judged(
    network: EnsembleNetwork,
    data: Prepared,
    rows: Tensor,
    assembly: Assembly,
    learnt: Sequence[Tensor] = (),
) -> Judged:
    """Return candidates' answers for the validation part, which may be empty.

    Args:
        network: Of the candidates.
        data: The data.
        rows: The validation part.
        assembly: What is trained.
        learnt: Rows that the members learnt from.

    Raises:
        DataError: If a member learnt from any of the rows.
    """
    check_unseen("a member", rows, learnt)
    found = answers_for(network, data, rows)
    origin: Origin = "validation" if len(rows) else "none"
    return Judged(origin, rows.cpu(), as_answers(found, data, rows, assembly))


def out_of_fold(
    network: EnsembleNetwork,
    data: Prepared,
    held: Sequence[Tensor],
    learnt: Sequence[Tensor],
    assembly: Assembly,
) -> Judged:
    """Return what each candidate's models say of the rows that they were not trained on.

    Args:
        network: Of the models, fold by fold within a candidate.
        data: The data.
        held: Rows that the model of each fold answers for.
        learnt: Rows that it learnt from, of each model.
        assembly: What is trained.

    Raises:
        DataError: If a model learnt from rows that it answers for.
    """
    import torch

    folds = len(held)
    for place, rows in enumerate(learnt):
        check_unseen(f"the model of fold {place % folds}", held[place % folds], [rows])
    # Each fold's rows are put to all models, as they answer together; most of it is thrown
    # away, but a pass costs next to nothing beside the training.
    parts = [
        answers_for(network, data, rows, singly=True)[fold::folds]
        for fold, rows in enumerate(held)
    ]
    rows = torch.cat([rows.cpu() for rows in held])
    order = rows.argsort()
    found = torch.cat(parts, dim=1)[:, order]
    return Judged("out-of-fold", rows[order], as_answers(found, data, rows[order], assembly))


def as_answers(found: Tensor, data: Prepared, rows: Tensor, assembly: Assembly) -> Answers:
    """Return answers with their targets and what they are judged by."""
    return Answers(
        data.task,
        found.double(),
        targets_for(data, rows),
        judging_metric(assembly),
        assembly.experiment.seed,
    )


def judging_metric(assembly: Assembly) -> MetricSpec | None:
    """Return the metric that decides between members; None for the loss.

    Raises:
        SpecError: If the section names one that does not exist.
    """
    from modelscale.ensembling.methods.greedy import Greedy

    section = assembly.experiment.ensemble
    name = assembly.goal.monitor.label
    if isinstance(section, Greedy) and section.metric != "loss":
        name = section.metric
    if name == "loss":
        return None
    try:
        return metric_for(name, assembly.loaded.task)
    except ValueError as error:
        raise assembly.fault("ensemble.metric", str(error)) from None
