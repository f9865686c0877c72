"""Two towers: the user's vector times the item's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from modelscale.models.base import Form, ModelSpec
from modelscale.tensors import Encoding, Inputs, Task

if TYPE_CHECKING:
    from torch import nn

Units = Annotated[int, Field(ge=1)]


class TwoTowers(ModelSpec):
    """What is known of the user makes a vector, what is known of the item another.

    The score is their product plus the item's bias (Yi et al., RecSys 2019). Needs
    `data.interactions`, which says which columns are the item's; everything else goes to the
    user's tower. An item without training rows is known by its features alone.
    """

    encoding: ClassVar[Encoding] = "codes"
    takes: ClassVar[tuple[Form, ...]] = ("vector",)
    tasks: ClassVar[tuple[Task, ...]] = ("classification", "regression", "ranking")
    per_replica: ClassVar[tuple[str, ...]] = ("dropout",)

    factors: int = Field(32, ge=1)
    """Size of the vectors of user and item, and of every category."""

    hidden: tuple[Units, ...] = ()
    """Units of each tower's ReLU layers before its vector; empty adds up the vectors of
    categories and a linear map of numbers."""

    dropout: float = Field(0.0, ge=0, lt=1)
    """Probability with which each value of a tower's input or hidden layer is left out in a
    training step."""

    def check_size(self, inputs: Inputs) -> None:
        if not 0 < len(inputs.of_item) < inputs.shape[0]:
            raise ValueError(
                "two_towers needs to know which columns are the item's; say "
                "data.interactions: {user: …, item: …}"
            )

    def build(self, inputs: Inputs, outputs: int) -> nn.Module:
        from modelscale.models.modules.towers import Towers

        return Towers(inputs, self.factors, self.hidden, outputs, self.dropout)
