"""Stacking: from the candidates' answers to a fitted combination."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from modelscale.ensembling import meta_learners
from modelscale.ensembling.answers import Answers, Combined
from modelscale.ensembling.meta_learners import Fit, LinearFit, NetworkFit

if TYPE_CHECKING:
    from torch import Tensor


def stacked(answers: Answers, meta: str, hidden: int) -> Combined:
    """Fit a meta-learner on answers for rows that no candidate has learnt from.

    Args:
        answers: Of the candidates.
        meta: `auto`, `logistic`, `ridge` or `network`.
        hidden: Units of the network.
    """
    from torch.nn import functional as F

    from modelscale.training.combination import Linear, Network, features

    task = answers.task
    x_NF = features(answers.answers_MNA, task).double()
    count, answer = len(answers.answers_MNA), answers.answers_MNA.shape[2]
    prior_AF = meta_learners.mean_weights(count, answer)

    def fit(x_NF: Tensor, targets_N: Tensor, l2: float, start: Fit | None) -> Fit:
        if meta == "network":
            begin = cast("NetworkFit | None", start)
            return meta_learners.network(x_NF, targets_N, l2, prior_AF, hidden, begin)
        if task == "regression":
            return meta_learners.ridge(x_NF, targets_N, l2, prior_AF)
        return meta_learners.logistic(
            x_NF, targets_N, l2, prior_AF, cast("LinearFit | None", start)
        )

    def loss(outputs_NA: Tensor, targets_N: Tensor) -> Tensor:
        if task == "regression":
            return (outputs_NA - targets_N).square().mean()
        return F.cross_entropy(outputs_NA, targets_N)

    found = meta_learners.choose(fit, loss, x_NF, answers.targets_N, answers.seed)
    made = Network if isinstance(found.fit, NetworkFit) else Linear
    combination = made(task, *found.fit)
    kept = tuple(range(count))
    return Combined(combination, kept, found.held_out.float(), {"l2": found.l2})
