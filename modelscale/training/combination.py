"""How the answers of several networks become one: each way is a module of tensor operations.

Candidates are what is combined: single members, or the mean of the members that were trained
on the folds of one setting. Their answers are log-probabilities for classes, target values as
the networks see them for regression, and raw outputs where `takes_outputs`.

Shape letters beside the usual ones: M candidates, A values of an answer (C or T).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from modelscale.tensors import Task

CLIP = 20.0
"""Largest logit that a meta-learner is shown, either way."""


class Combination(nn.Module, ABC):
    """A way to combine; `kinds` has all that a checkpoint can name.

    Buffers and parameters are all that it knows, so that they are all that is stored.
    """

    kind: ClassVar[str]
    takes_outputs: ClassVar[bool] = False

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.task = task

    @abstractmethod
    def forward(self, answers_MBA: Tensor) -> Tensor:
        """Return log-probabilities up to a constant, or target values, (B, A)."""


class Mean(Combination):
    """The weighted mean of probabilities or values."""

    kind = "mean"
    weight_M: Tensor

    def __init__(self, task: Task, weight_M: Tensor) -> None:
        super().__init__(task)
        self.register_buffer("weight_M", weight_M.float())

    def forward(self, answers_MBA: Tensor) -> Tensor:
        weight_M11 = self.weight_M[:, None, None]
        if self.task == "regression":
            return (answers_MBA * weight_M11).sum(dim=0)
        return (answers_MBA + weight_M11.log()).logsumexp(dim=0)


class Votes(Combination):
    """Weighted votes for the most probable class (Zhu et al., SAMME, Stat. Interface 2, 2009).

    A vote counts 1 for its class and -1/(C - 1) for the others; the result, divided by C - 1,
    stands for a logit, as scikit-learn's `AdaBoostClassifier` has it.
    """

    kind = "votes"
    weight_M: Tensor

    def __init__(self, task: Task, weight_M: Tensor) -> None:
        super().__init__(task)
        self.register_buffer("weight_M", weight_M.float())

    def forward(self, answers_MBA: Tensor) -> Tensor:
        C = answers_MBA.shape[2]
        classes = torch.arange(C, device=answers_MBA.device)
        chosen_MBC = answers_MBA.argmax(dim=2, keepdim=True) == classes
        vote_MBC = chosen_MBC.float() * (C / (C - 1)) - 1 / (C - 1)
        return (vote_MBC * self.weight_M[:, None, None]).sum(dim=0) / (C - 1)


class Sum(Combination):
    """A start value and a scaled sum of outputs, as boosting by gradients makes it."""

    kind = "sum"
    takes_outputs = True
    scale_M: Tensor
    start_A: Tensor

    def __init__(self, task: Task, scale_M: Tensor, start_A: Tensor) -> None:
        super().__init__(task)
        self.register_buffer("scale_M", scale_M.float())
        self.register_buffer("start_A", start_A.float())

    def forward(self, answers_MBA: Tensor) -> Tensor:
        return self.start_A + (answers_MBA * self.scale_M[:, None, None]).sum(dim=0)


class Linear(Combination):
    """A linear meta-learner on the candidates' logits or values."""

    kind = "linear"
    weight_AF: Tensor
    bias_A: Tensor

    def __init__(self, task: Task, weight_AF: Tensor, bias_A: Tensor) -> None:
        super().__init__(task)
        self.register_buffer("weight_AF", weight_AF.float())
        self.register_buffer("bias_A", bias_A.float())

    def forward(self, answers_MBA: Tensor) -> Tensor:
        return features(answers_MBA, self.task) @ self.weight_AF.T + self.bias_A


class Network(Combination):
    """A linear meta-learner with a correction by one hidden layer."""

    kind = "network"
    weight_AF: Tensor
    inner_HF: Tensor
    inner_H: Tensor
    outer_AH: Tensor
    outer_A: Tensor

    def __init__(
        self,
        task: Task,
        weight_AF: Tensor,
        inner_HF: Tensor,
        inner_H: Tensor,
        outer_AH: Tensor,
        outer_A: Tensor,
    ) -> None:
        super().__init__(task)
        named = {
            "weight_AF": weight_AF,
            "inner_HF": inner_HF,
            "inner_H": inner_H,
            "outer_AH": outer_AH,
            "outer_A": outer_A,
        }
        for name, tensor in named.items():
            self.register_buffer(name, tensor.float())

    def forward(self, answers_MBA: Tensor) -> Tensor:
        x_BF = features(answers_MBA, self.task)
        hidden_BH = torch.tanh(x_BF @ self.inner_HF.T + self.inner_H)
        outer_BA = hidden_BH @ self.outer_AH.T + self.outer_A
        return x_BF @ self.weight_AF.T + outer_BA


_KINDS: dict[str, type[Combination]] = {
    kind.kind: kind for kind in (Mean, Votes, Sum, Linear, Network)
}


def features(answers_MBA: Tensor, task: Task) -> Tensor:
    """Return what a meta-learner sees of each example, (B, M·A): centred logits, or values."""
    if task == "classification":
        centred = answers_MBA - answers_MBA.mean(dim=2, keepdim=True)
        answers_MBA = centred.clamp(-CLIP, CLIP)
    return answers_MBA.transpose(0, 1).flatten(1)


def rebuilt(kind: str, task: Task, tensors: Mapping[str, Tensor]) -> Combination:
    """Return the combination that was stored.

    Raises:
        ValueError: If there is no such kind, or its tensors are others.
    """
    if kind not in _KINDS:
        raise ValueError(f"unknown combination {kind!r} (one of: {', '.join(sorted(_KINDS))})")
    try:
        return _KINDS[kind](task, **tensors)
    except TypeError:
        raise ValueError(f"combination {kind!r}: other tensors than it has") from None
