"""What a classifier's decisions cost, beside other ways to decide."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from modelscale.data.prepared import Prepared
    from modelscale.evaluation.section import EvaluateSection


def decisions(
    section: EvaluateSection,
    prepared: Prepared,
    chosen_on: tuple[Tensor, Tensor],
    measured_on: tuple[Tensor, Tensor],
) -> dict[str, Any]:
    """Return the mean cost of ways to decide, with intervals over the examples.

    Args:
        section: Holds the costs, which fit the classes.
        prepared: The data; its training part says which decision is best without a model.
        chosen_on: Probabilities (N, C) and classes (N,) of the validation part; may be empty.
        measured_on: The same of the part that is measured.

    Returns:
        `costs`: the table. `cost`: by way to decide, `{"value", "low", "high"}`. For two
        classes also `thresholds`, from which probability of the second class on it is decided
        for, and `calibration`: slope and intercept that the validation part asks for, with the
        Brier score before and after.
    """
    import torch

    from modelscale.evaluation.costs import cheapest, costs_of, table_of
    from modelscale.evaluation.decisions import (
        cheapest_threshold,
        fit_platt,
        mean_with_interval,
        threshold_of,
    )

    predictions, targets = measured_on
    cost_CC = table_of(section.costs, prepared.targets)
    train = prepared.y.cpu()[prepared.rows["train"].cpu()]
    always = cost_CC[train].sum(0).argmin()
    ways = {
        "always the same": always.expand(len(targets)),
        "most probable": predictions.argmax(-1),
        "cheapest by probability": cheapest(predictions, cost_CC),
    }
    found: dict[str, Any] = {"costs": cost_CC.tolist()}
    if prepared.targets == 2 and len(chosen_on[1]):
        p_N, seen_N = chosen_on[0][:, 1], chosen_on[1]
        platt = fit_platt(p_N, seen_N)
        chosen = cheapest_threshold(p_N, seen_N, cost_CC)
        calibrated_N = platt.apply(predictions[:, 1])
        ways["threshold of validation"] = (predictions[:, 1] > chosen).long()
        ways["cheapest after calibration"] = (calibrated_N > threshold_of(cost_CC)).long()
        found["thresholds"] = {"by_costs": threshold_of(cost_CC), "by_validation": chosen}
        found["calibration"] = {
            "slope": platt.slope,
            "intercept": platt.intercept,
            "brier_before": _brier(predictions[:, 1], targets),
            "brier_after": _brier(calibrated_N, targets),
        }
    found["cost"] = {
        way: mean_with_interval(
            costs_of(torch.as_tensor(decided_N), targets, cost_CC), section.confidence
        ).to_json()
        for way, decided_N in ways.items()
    }
    return found


def _brier(probability_N: Tensor, targets_N: Tensor) -> float:
    return (probability_N.double() - targets_N).square().mean().item()
