"""The split family."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from modelscale.components import Component

if TYPE_CHECKING:
    from torch import Tensor

    from modelscale.data.raw import Raw
    from modelscale.tensors import Task


@dataclass(frozen=True)
class Fold:
    """Which rows are for what; the three parts never share a row.

    Attributes:
        train: Rows to learn from, int64, ascending.
        validation: Rows to choose with: early stopping, best epoch, tuning. May be empty.
        test: Rows that nothing that chooses ever sees. May be empty.
    """

    train: Tensor
    validation: Tensor
    test: Tensor


class SplitSpec(Component):
    """How rows are divided into train, validation and test parts."""

    default_kind: ClassVar[str | None] = "random"

    @abstractmethod
    def divide(self, raw: Raw, task: Task) -> tuple[Fold, ...]:
        """Return one fold, or one for each round of cross-validation.

        Raises:
            DataError: If a part would be empty, or the needed column is missing.
        """
