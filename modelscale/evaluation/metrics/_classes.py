"""What the classification metrics share: predicted classes, counts, undefined values.

Every count and mean is float64, so that resampled metrics do not depend on their order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor


class Predicted(NamedTuple):
    """The most probable class of each example.

    Attributes:
        classes_N: (…, N) int64; the first one among equals.
        broken_N: (…, N) bool; where a probability is NaN, so that there is no such class.
    """

    classes_N: Tensor
    broken_N: Tensor


def predicted_classes(predictions_NC: Tensor) -> Predicted:
    """Return the most probable class of each example, from (…, N, C) probabilities."""
    top_N, classes_N = predictions_NC.max(-1)
    return Predicted(classes_N, top_N.isnan())


def undefined_where(broken_N: Tensor, metric: Tensor) -> Tensor:
    """Return `metric`, of shape (…), with NaN where any of its N examples is broken."""
    return metric.masked_fill(broken_N.any(-1), float("nan"))


def of_true_class(predictions_NC: Tensor, targets_N: Tensor) -> Tensor:
    """Return (…, N), the probability that each example's true class was given."""
    import torch

    shape_N = torch.broadcast_shapes(predictions_NC.shape[:-1], targets_N.shape)
    predictions_NC = predictions_NC.expand(*shape_N, predictions_NC.shape[-1])
    return predictions_NC.gather(-1, targets_N.expand(shape_N).unsqueeze(-1)).squeeze(-1)


class ClassCounts(NamedTuple):
    """How often each class is right, is predicted and is true.

    Attributes:
        hits_C: (…, C) float64; examples of the class that are predicted as the class.
        predicted_C: (…, C) float64; examples predicted as the class.
        true_C: (…, C) float64; examples of the class.
        broken_N: (…, N) bool; examples without a predicted class.
    """

    hits_C: Tensor
    predicted_C: Tensor
    true_C: Tensor
    broken_N: Tensor


def class_counts(predictions_NC: Tensor, targets_N: Tensor) -> ClassCounts:
    """Return the counts that precision, recall, F1 and MCC are made of.

    A full confusion matrix would cost C × C numbers for each resample; these are 3 C.
    """
    import torch

    C = predictions_NC.shape[-1]
    found = predicted_classes(predictions_NC)
    shape_N = torch.broadcast_shapes(found.classes_N.shape, targets_N.shape)
    classes_N, targets_N = found.classes_N.expand(shape_N), targets_N.expand(shape_N)
    # Where prediction and truth differ, the hit is counted in a class of its own, C.
    hits_N = torch.where(classes_N == targets_N, targets_N, C)
    return ClassCounts(
        count_of_each(hits_N, C + 1)[..., :C],
        count_of_each(classes_N, C),
        count_of_each(targets_N, C),
        found.broken_N,
    )


def count_of_each(values_N: Tensor, values: int) -> Tensor:
    """Return (…, values) float64, how often each of 0 … values - 1 occurs in (…, N)."""
    import torch

    lead = values_N.shape[:-1]
    flat_LN = values_N.reshape(lead.numel(), values_N.shape[-1])
    start_L = torch.arange(len(flat_LN), device=flat_LN.device).unsqueeze(-1) * values
    counts = torch.bincount((flat_LN + start_L).flatten(), minlength=len(flat_LN) * values)
    return counts.reshape(*lead, values).double()


def ratio(part: Tensor, whole: Tensor) -> Tensor:
    """Return part / whole, and 0 where `whole` is 0 (scikit-learn's `zero_division=0`)."""
    return part / whole.masked_fill(whole == 0, 1)


def mean_where(kept_C: Tensor, scores_C: Tensor) -> Tensor:
    """Return the mean over the classes that are kept, of shape (…); NaN where none is."""
    return scores_C.masked_fill(~kept_C, 0).sum(-1) / kept_C.sum(-1)


def confidence_bins(predictions_NC: Tensor, bins: int) -> Tensor:
    """Return (…, N) int64, the bin 0 … bins - 1 of each example's highest probability.

    Bins have equal width and hold their upper edge; the lowest also holds 0.
    """
    top_N = predictions_NC.amax(-1).double().nan_to_num(0.0)
    return ((top_N * bins).ceil().long() - 1).clamp(0, bins - 1)
