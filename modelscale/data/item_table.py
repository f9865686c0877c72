"""All items as a network reads them, and who has had which: what a ranking goes through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelscale.data.interactions import codes_of

if TYPE_CHECKING:
    from torch import Tensor

    from modelscale.data.interactions import InteractionsSection
    from modelscale.data.prepared import Examples
    from modelscale.data.raw import Raw
    from modelscale.tensors import Inputs, Part

_BEFORE: dict[Part, tuple[Part, ...]] = {
    "train": (),
    "validation": ("train",),
    "test": ("train", "validation"),
}


@dataclass(frozen=True)
class ItemTable:
    """All items of some interactions, also those without training rows.

    Attributes:
        user_N: (N,) int64 user of each row.
        item_N: (N,) int64 item of each row.
        x_ID: (I, D) float32 inputs of each item's first row.
        own_D: (D,) bool, which inputs are the item's; the others are the user's or the row's.
        count_I: (I,) int64 training rows of each item.
        rows: Rows of each part.
    """

    user_N: Tensor
    item_N: Tensor
    x_ID: Tensor
    own_D: Tensor
    count_I: Tensor
    rows: dict[Part, Tensor]

    def of(self, x: Tensor, items: Tensor) -> Tensor:
        """Return the rows' inputs (…, C, D) with their item exchanged.

        Args:
            x: (…, D) inputs of rows.
            items: (…, C) items to put in their places.
        """
        import torch

        exchanged: Tensor = torch.where(self.own_D, self.x_ID[items], x.unsqueeze(-2))
        return exchanged

    def pairs(self, rows: Tensor) -> Tensor:
        """Return a number for each row's user and item together."""
        numbers: Tensor = self.user_N[rows] * len(self.count_I) + self.item_N[rows]
        return numbers

    def known(self, part: Part) -> Tensor:
        """Return the ascending numbers of the pairs that were seen before a part."""
        import torch

        earlier = [self.rows[name] for name in _BEFORE[part]]
        known: Tensor = self.pairs(torch.cat([*earlier, self.rows["train"][:0]])).unique()
        return known


def item_table(
    raw: Raw,
    section: InteractionsSection,
    x: Examples,
    inputs: Inputs,
    rows: dict[Part, Tensor],
) -> ItemTable:
    """Return the items of prepared interactions."""
    import torch

    user_N = torch.from_numpy(codes_of(raw, section.user)).to(rows["train"].device)
    item_N = torch.from_numpy(codes_of(raw, section.item)).to(rows["train"].device)
    count = int(item_N.max()) + 1
    first_I = torch.full((count,), len(raw), device=item_N.device)
    every_N = torch.arange(len(raw), device=item_N.device)
    first_I = first_I.scatter_reduce(0, item_N, every_N, "amin")
    own_D = torch.zeros(inputs.shape[0], dtype=torch.bool, device=item_N.device)
    own_D[list(inputs.of_item)] = True
    x_ID = x.take(first_I)
    own_D = own_D.to(x_ID.device)
    count_I = item_N[rows["train"]].bincount(minlength=count)
    return ItemTable(user_N, item_N, x_ID, own_D, count_I, rows)
