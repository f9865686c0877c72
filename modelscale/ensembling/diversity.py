"""How different the members of an ensemble are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Diversity:
    """Of members on the same examples; means over all pairs.

    Attributes:
        disagreement: Share of the examples that two members put into different classes; for
            values the mean distance of two answers over the deviation of the targets.
        error_correlation: Pearson's correlation of two members' errors: 1 where they err on
            the same examples. NaN where a member never errs.
        ambiguity: Mean loss of the members less the loss of their mean, log-loss or squared
            error: what averaging gains (Krogh & Vedelsby, NeurIPS 1994).
    """

    disagreement: float
    error_correlation: float
    ambiguity: float


def of_classes(share_KNC: Tensor, targets_N: Tensor) -> Diversity:
    """Return the diversity of class probabilities."""
    import torch

    share_KNC = share_KNC.double()
    chosen_KN = share_KNC.argmax(dim=2)
    pairs = torch.combinations(torch.arange(len(share_KNC)))
    apart = (chosen_KN[pairs[:, 0]] != chosen_KN[pairs[:, 1]]).double().mean()
    wrong_KN = (chosen_KN != targets_N).double()

    def log_loss(share_NC: Tensor) -> Tensor:
        true_N = share_NC.gather(-1, targets_N.expand(share_NC.shape[:-1])[..., None])
        return -true_N.clamp_min(torch.finfo(torch.float32).tiny).log().mean()

    gain = log_loss(share_KNC) - log_loss(share_KNC.mean(dim=0))
    return Diversity(float(apart), _correlation(wrong_KN), float(gain))


def of_values(value_KNT: Tensor, targets_NT: Tensor) -> Diversity:
    """Return the diversity of target values."""
    import torch

    value_KNT, targets_NT = value_KNT.double(), targets_NT.double()
    pairs = torch.combinations(torch.arange(len(value_KNT)))
    scale_T = targets_NT.std(dim=0, correction=0)
    apart = (value_KNT[pairs[:, 0]] - value_KNT[pairs[:, 1]]).abs() / scale_T
    error_KNT = value_KNT - targets_NT
    gain = error_KNT.square().mean() - (value_KNT.mean(dim=0) - targets_NT).square().mean()
    return Diversity(float(apart.mean()), _correlation(error_KNT.flatten(1)), float(gain))


def _correlation(error_KN: Tensor) -> float:
    """Return the mean correlation over all pairs, from centred and scaled rows."""
    centred_KN = error_KN - error_KN.mean(dim=1, keepdim=True)
    unit_KN = centred_KN / centred_KN.norm(dim=1, keepdim=True)
    total, count = unit_KN.sum(dim=0).square().sum(), len(unit_KN)
    return float((total - count) / (count * (count - 1)))
