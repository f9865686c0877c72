"""Bits a symbol."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar, Literal

from modelscale.evaluation.metrics._nats import mean_nats
from modelscale.evaluation.metrics.base import MetricSpec
from modelscale.tensors import Task

if TYPE_CHECKING:
    from torch import Tensor


class BitsPerToken(MetricSpec):
    """Mean bits that a code by the model would take for a symbol.

    With characters as symbols, these are bits per character.
    """

    task: ClassVar[Task] = "language_model"
    direction: ClassVar[Literal["maximize", "minimize"]] = "minimize"

    def compute(self, predictions: Tensor, targets: Tensor) -> Tensor:
        return mean_nats(predictions, targets) / math.log(2)
