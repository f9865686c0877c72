"""BLEU."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from modelscale.errors import missing_extra
from modelscale.evaluation.metrics._translations import TextMetric

if TYPE_CHECKING:
    from torch import Tensor

_ORDERS = 4


class Bleu(TextMetric):
    """BLEU of all texts together, from 0 to 100 (Papineni et al., ACL 2002).

    Words are cut and counted by sacrebleu (13a; Post, arXiv:1804.08771), and precisions without
    a match are smoothed as there (exp). Needs the extra `translation`.
    """

    def require(self) -> None:
        _counter()

    def counts(self, written: str, wanted: str) -> tuple[float, ...]:
        """Return matches and n-grams of each order, then words written and wanted."""
        found = _counter().sentence_score(written, [wanted])
        return (*found.counts, *found.totals, found.sys_len, found.ref_len)

    def of_sums(self, sums_S: Tensor) -> Tensor:
        import torch

        matched, total = sums_S[..., :_ORDERS], sums_S[..., _ORDERS : 2 * _ORDERS]
        written, wanted = sums_S[..., -2], sums_S[..., -1]
        # The first order without a match counts half a match, the second a quarter, and so on.
        missed = (matched == 0).double()
        share = torch.where(matched > 0, matched, 0.5 ** missed.cumsum(-1)) / total
        mean = share.log().mean(-1).exp()
        short = (1 - wanted / written.clamp(min=1)).clamp(max=0).exp()
        nothing = (matched.sum(-1) == 0) | (total[..., -1] == 0)
        return torch.where(nothing, torch.zeros_like(mean), 100 * short * mean)


@functools.cache
def _counter() -> Any:
    try:
        from sacrebleu.metrics.bleu import BLEU
    except ImportError:
        raise missing_extra("sacrebleu", "translation", "the metric bleu") from None
    return BLEU(effective_order=True)
