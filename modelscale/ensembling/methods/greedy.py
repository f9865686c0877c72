"""Greedy selection."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from modelscale.ensembling.methods.base import EnsembleSpec

if TYPE_CHECKING:
    from modelscale.ensembling.answers import Answers, Combined


class Greedy(EnsembleSpec):
    """The mean answer of members chosen one after another, with replacement, as they help.

    (Caruana et al., ICML 2004.) What helps is judged out of fold, or on the validation part.
    """

    from_runs: ClassVar[bool] = True
    decides: ClassVar[bool] = True

    folds: int | None = Field(5, ge=2)
    """Folds of the training part for answers out of fold; null judges on the validation
    part."""

    rounds: int = Field(50, ge=1)
    """Choices at most."""

    bags: int = Field(0, ge=0)
    """Random halves of the candidates from which is chosen in turn, to average the weights; 0
    chooses once, among all. For dozens of candidates: a good one of few is in half of the
    halves only."""

    metric: str = "loss"
    """What is judged: `loss` (log-loss or squared error) or a metric, such as `accuracy`."""

    @property
    def inner_folds(self) -> int | None:
        return self.folds

    def combine(self, answers: Answers) -> Combined:
        import torch

        from modelscale.ensembling.answers import Combined
        from modelscale.ensembling.selection import select
        from modelscale.training.combination import Mean

        found = select(
            answers.plain(), answers.scores, self.rounds, bags=self.bags, seed=answers.seed
        )
        kept = tuple(m for m, weight in enumerate(found.weights) if weight > 0)
        weight_M = torch.tensor([found.weights[m] for m in kept])
        combination = Mean(answers.task, weight_M)
        chosen = answers.answers_MNA[list(kept)].float()
        notes: dict[str, object] = {
            "order": list(found.order),
            "shares": list(found.shares),
            "scores": list(found.scores),
        }
        return Combined(combination, kept, combination(chosen), notes)
