"""Writing without knowing what comes: the most probable symbols one after the other."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from modelscale.models.modules.translation import Translator

_ROWS_AT_ONCE = 256
_IMPOSSIBLE = -torch.inf


class Beam(NamedTuple):
    """How beginnings are followed.

    Attributes:
        width: Beginnings of each text that are kept from symbol to symbol; 1 is greedy.
        length_penalty: Sums of ln P are divided by length to this power before they compete;
            0 prefers short texts (Wu et al., arXiv:1609.08144).
        last: The symbol that ends a text; not written down.
        forbidden: Symbols below this one are never written.
    """

    width: int
    length_penalty: float
    last: int
    forbidden: int


@torch.no_grad()
def most_probable(network: Translator, source_NS: Tensor, beam: Beam) -> Tensor:
    """Return the translations (N, T) int64 of texts, 0 behind the end.

    Beam search: exact where the beam holds all beginnings.

    Args:
        network: In evaluation mode.
        source_NS: Symbols of the texts as floats.
        beam: How beginnings are followed.
    """
    pieces = [_written(network, some, beam) for some in source_NS.split(_ROWS_AT_ONCE)]
    return torch.cat(pieces)


def _written(network: Translator, source_BS: Tensor, beam: Beam) -> Tensor:
    most, batch, width = network.decoder.positions.shape[0], len(source_BS), beam.width
    device = source_BS.device
    memory, mask = (
        part.repeat_interleave(width, dim=0) for part in network.read(source_BS.float())
    )
    text_BWT = torch.zeros(batch, width, most, dtype=torch.int64, device=device)
    score_BW = torch.full((batch, width), _IMPOSSIBLE, device=device)
    score_BW[:, 0] = 0.0  # all beginnings are the same one yet
    length_BW = torch.zeros(batch, width, device=device)
    ended_BW = torch.zeros(batch, width, dtype=torch.bool, device=device)
    for place in range(most):
        before = text_BWT[..., : place + 1].flatten(0, 1)
        logits = network.decoder(before, memory, mask)[:, -1].float()
        nats_BWV = logits.log_softmax(-1).view(batch, width, -1)
        symbols = nats_BWV.shape[-1]
        nats_BWV[..., : beam.forbidden] = _IMPOSSIBLE
        # What has ended goes on with padding, at no cost.
        nats_BWV[ended_BW] = _IMPOSSIBLE
        nats_BWV[..., 0] = torch.where(ended_BW, 0.0, _IMPOSSIBLE)
        length_BW = length_BW + (~ended_BW).float()
        sum_BWV = score_BW.unsqueeze(-1) + nats_BWV
        rank_BWV = sum_BWV / (length_BW**beam.length_penalty).unsqueeze(-1)
        chosen_BW = rank_BWV.flatten(1).topk(width).indices
        parent_BW, symbol_BW = chosen_BW // symbols, chosen_BW % symbols
        score_BW = sum_BWV.flatten(1).gather(1, chosen_BW)
        length_BW = length_BW.gather(1, parent_BW)
        text_BWT = text_BWT.gather(1, parent_BW.unsqueeze(-1).expand(-1, -1, most))
        text_BWT[..., place] = symbol_BW
        ended_BW = ended_BW.gather(1, parent_BW) | (symbol_BW == beam.last)
        if bool(ended_BW.all()):
            break
    best_BT = text_BWT[:, 0]
    return best_BT.masked_fill(best_BT == beam.last, 0)
