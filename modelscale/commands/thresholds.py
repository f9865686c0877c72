"""From which probability of the second class on `modelscale predict` decides for it."""

from __future__ import annotations

import math

from modelscale.commands.trained_model import TrainedModel, answers
from modelscale.errors import UsageError


def threshold(trained: TrainedModel, text: str) -> float:
    """Return the threshold that a text means.

    Args:
        trained: A model of two classes.
        text: A number from 0 to 1; `costs` for what `evaluate.costs` ask of the probabilities;
            `validation` for the threshold that costs least on the run's validation part, where
            every mistake costs 1 if the spec has no costs.

    Raises:
        UsageError: If it means none, or the run does not say what it needs.
    """
    from modelscale.evaluation.costs import table_of
    from modelscale.evaluation.decisions import threshold_of

    if trained.model.task != "classification" or trained.model.targets != 2:
        raise UsageError("--threshold: is for two classes")
    if text not in ("costs", "validation"):
        return _number(text)
    costs = None if trained.experiment is None else trained.experiment.evaluate.costs
    if text == "validation":
        return _of_validation(trained, costs)
    if costs is None:
        raise UsageError("--threshold costs: the run's spec has no evaluate.costs")
    return threshold_of(table_of(costs, 2))


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise UsageError(
            f"--threshold {text}: expected a number from 0 to 1, costs or validation"
        )
    return value


def _of_validation(trained: TrainedModel, costs: tuple[tuple[float, ...], ...] | None) -> float:
    import torch

    from modelscale.commands.own_data import read_own, rows_of
    from modelscale.data.loading import prepare_new
    from modelscale.evaluation.costs import table_of
    from modelscale.evaluation.decisions import cheapest_threshold

    own = read_own(trained, accept_change=False)
    rows = own.parts["validation"]
    if len(rows) == 0:
        raise UsageError("--threshold validation: the run has no validation part")
    seen = prepare_new(trained.model.preprocessing, rows_of(own.raw, rows.numpy()))
    assert seen.y is not None
    predictions = answers(trained, seen.x, torch.arange(len(rows)))
    return cheapest_threshold(predictions[:, 1], seen.y, table_of(costs, 2))
