"""The plain mean as a combination."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelscale.ensembling.answers import Answers, Combined

if TYPE_CHECKING:
    from torch import Tensor


def average(answers: Answers) -> Combined:
    """Return the unweighted mean of all candidates; nothing is fitted."""
    import torch

    from modelscale.training.combination import Mean

    count = len(answers.answers_MNA)
    combination = Mean(answers.task, torch.full((count,), 1 / count))
    held_out: Tensor = combination(answers.answers_MNA.float())
    return Combined(combination, tuple(range(count)), held_out, {})
