"""Other items beside each chosen one, for losses that compare: pure functions of the step."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from modelscale.losses.base import LossSpec
from modelscale.seeds import derive
from modelscale.training.replica import Replica

DRAWS = 8
"""Times that an item which the user has chosen is drawn again, before it is taken as it is."""

ROWS_AT_ONCE = 4096


class Candidates:
    """Draws items that a user has not chosen in the training part, for one epoch."""

    def __init__(self, replica: Replica, epoch: int) -> None:
        table, how = replica.data.items, replica.loss.compared()
        assert table is not None
        assert how is not None
        self.table, self.how = table, how
        self.seed, self.epoch = replica.seed, epoch
        self.known = table.pairs(replica.rows.to(table.item_N.device)).unique()
        count_I = table.count_I.double()
        weight_I = count_I if how.popular else (count_I > 0).double()
        self.share_I = weight_I / weight_I.sum()

    def beside(self, x_B: Tensor, rows: Tensor, step: int, micro: int) -> tuple[Tensor, Tensor]:
        """Return a batch with other items, the row's own first, and how often each is drawn.

        Args:
            x_B: (B, D) inputs of the rows.
            rows: (B,) the rows.
            step: Step of the epoch.
            micro: Micro-batch of the step.

        Returns:
            x: (B · C, D) and the logarithms (B, C), C being 1 + negatives.
        """
        seed = derive(self.seed, "negatives", self.epoch, step, micro)
        item_BC = self._drawn(rows, torch.Generator().manual_seed(seed))
        x_BC = self.table.of(x_B, item_BC)
        log_q_BC = self.share_I.clamp_min(1e-12).log().float()[item_BC]
        return x_BC.flatten(0, 1), log_q_BC.to(x_B.device)

    def _drawn(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        table, shape = self.table, (len(rows), self.how.negatives)
        edge_I = self.share_I.cumsum(0)
        last = int(self.share_I.nonzero()[-1])
        user_B1 = table.user_N[rows].unsqueeze(1)
        item_BC = torch.zeros(shape, dtype=torch.int64, device=user_B1.device)
        again_BC = torch.ones(shape, dtype=torch.bool, device=user_B1.device)
        for _ in range(DRAWS):
            count = int(again_BC.sum())
            if count == 0:
                break
            uniform = torch.rand(count, generator=generator, dtype=torch.float64)
            drawn = torch.searchsorted(edge_I, uniform.to(edge_I.device), right=True)
            item_BC[again_BC] = drawn.clamp_max(last)
            again_BC = _contains(self.known, user_B1 * len(table.count_I) + item_BC)
        return torch.cat([table.item_N[rows].unsqueeze(1), item_BC], 1)


def _contains(sorted_M: Tensor, values: Tensor) -> Tensor:
    """Return which values are among ascending ones."""
    place = torch.searchsorted(sorted_M, values).clamp_max(len(sorted_M) - 1)
    return sorted_M[place] == values


def scores_of(loss: LossSpec, outputs: Tensor, log_q_NC: Tensor) -> Tensor:
    """Return scores (N, C) as the loss takes them, of outputs (N · C, 1)."""
    how = loss.compared()
    assert how is not None
    score_NC = outputs.view(log_q_NC.shape)
    return score_NC - log_q_NC if how.corrected else score_NC


def mean_loss(replica: Replica, score: Callable[[Tensor], Tensor], rows: Tensor) -> float:
    """Return the mean loss of rows beside other items that are the same at every call.

    Args:
        replica: Whose loss and data.
        score: Maps inputs (B, D) to scores (B,).
        rows: Rows of the data.
    """
    drawn = Candidates(replica, -1)  # no epoch of training has this number
    total = 0.0
    for micro, some in enumerate(rows.split(ROWS_AT_ONCE)):
        x, log_q_BC = drawn.beside(replica.data.x.take(some), some, 0, micro)
        outputs = scores_of(replica.loss, score(x), log_q_BC)
        total += float(replica.loss.per_example(outputs, some).double().sum())
    return total / len(rows)
