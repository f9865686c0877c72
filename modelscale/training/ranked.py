"""The places of chosen items in their users' lists of all items."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from modelscale.data.item_table import ItemTable
from modelscale.data.prepared import Prepared
from modelscale.seeds import derive
from modelscale.tensors import Part

SCORES_AT_ONCE = 262_144


class Places(NamedTuple):
    """Places from 1 in lists of all items but those that the user had before.

    Attributes:
        rows: (N,) the rows.
        model: (N, 1) float32 places of their items by the model's scores.
        popular: (N, 1) places where the items with most training rows come first.
    """

    rows: Tensor
    model: Tensor
    popular: Tensor


@torch.no_grad()
def ranks(
    data: Prepared,
    score: Callable[[Tensor], Tensor],
    part: Part,
    *,
    most_scores: int | None = None,
) -> Places:
    """Return the place of each row's item in the list of its user.

    No items are sampled. Of equal scores the row's own item comes last. What describes the
    user, and everything else that is not the item's, is taken from the user's first row of the
    part.

    Args:
        data: Interactions.
        score: Maps inputs (B, D) to scores (B,).
        part: Whose rows; what the user had in earlier parts is not in the list.
        most_scores: Where all users' lists would be longer together, some users are measured,
            the same at every call.
    """
    table = data.items
    assert table is not None
    rows = data.rows[part]
    users = table.user_N[rows].unique()
    items = len(table.count_I)
    if most_scores is not None and len(users) * items > most_scores:
        generator = torch.Generator().manual_seed(derive(0, "users"))
        some = torch.randperm(len(users), generator=generator)[: max(1, most_scores // items)]
        users = users[some.to(users.device)].sort().values
        rows = rows[torch.isin(table.user_N[rows], users)]
    known = table.known(part)
    step = max(1, SCORES_AT_ONCE // items)
    ordered = rows[table.user_N[rows].argsort(stable=True)]
    found = [_of_users(data, table, score, some, ordered, known) for some in users.split(step)]
    model = torch.cat([places for places, _ in found])
    popular = torch.cat([places for _, places in found])
    by_row = ordered.argsort()
    return Places(ordered[by_row], model[by_row][:, None], popular[by_row][:, None])


def _of_users(
    data: Prepared,
    table: ItemTable,
    score: Callable[[Tensor], Tensor],
    users: Tensor,
    ordered: Tensor,
    known: Tensor,
) -> tuple[Tensor, Tensor]:
    """Return the places (N,) of the rows of some users, by the model and by popularity."""
    items = len(table.count_I)
    rows = ordered[torch.isin(table.user_N[ordered], users)]
    place_N = torch.searchsorted(users, table.user_N[rows])  # the row's user among these
    first_U = torch.full_like(users, len(table.user_N)).scatter_reduce(0, place_N, rows, "amin")
    every_I = torch.arange(items, device=users.device)
    x_UI = table.of(data.x.take(first_U), every_I.expand(len(users), items))
    score_UI = score(x_UI.flatten(0, 1)).view(len(users), items).double()
    pair_UI = users[:, None] * items + every_I
    index = torch.searchsorted(known, pair_UI).clamp_max(max(0, len(known) - 1))
    had_UI = known[index] == pair_UI if len(known) else torch.zeros_like(pair_UI).bool()
    item_N = table.item_N[rows]
    popular_UI = table.count_I.double().expand(len(users), items)
    return (
        _places(score_UI.nan_to_num(-torch.inf), had_UI, place_N, item_N),
        _places(popular_UI, had_UI, place_N, item_N),
    )


def _places(score_UI: Tensor, had_UI: Tensor, place_N: Tensor, item_N: Tensor) -> Tensor:
    own_N1 = score_UI[place_N, item_N][:, None]
    ahead_NI = (score_UI[place_N] >= own_N1) & ~had_UI[place_N]
    ahead_NI[torch.arange(len(item_N), device=item_N.device), item_N] = True  # itself
    return ahead_NI.sum(1).float()
