"""What a run's decisions cost, by the spec's `evaluate.costs`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelscale.commands.reporting.answers import Answers, answers_by_model
from modelscale.commands.reporting.reading import RunView
from modelscale.report import numbers
from modelscale.report.content import Estimate, Section, Table

if TYPE_CHECKING:
    from torch import Tensor

_THRESHOLD = "threshold of validation"


def decisions_section(view: RunView) -> Section | None:
    """Return ways to decide with their costs; None where the spec has no costs.

    Of several folds, each model decides for its own test rows, by the threshold that its own
    validation rows chose.

    Raises:
        DataError: If a file of answers is damaged.
    """
    from modelscale.evaluation.costs import costs_of, table_of
    from modelscale.evaluation.decisions import mean_with_interval, threshold_of
    from modelscale.evaluation.section import EvaluateSection

    costs = view.settings.get("evaluate.costs")
    measured = answers_by_model(view, "test")
    if not costs or not measured or not measured[0].classes:
        return None
    section = EvaluateSection.model_validate({"costs": costs})
    cost_CC = table_of(section.costs, len(measured[0].labels))
    chosen = _thresholds(answers_by_model(view, "validation"), len(measured), cost_CC)
    ways: dict[str, list[Tensor]] = {}
    for place, answers in enumerate(measured):
        threshold = chosen[place] if chosen else None
        for way, decided_N in _ways(answers, cost_CC, threshold).items():
            cost_N = costs_of(decided_N, answers.targets, cost_CC)
            ways.setdefault(way, []).append(cost_N)
    rows = []
    confidence = float(view.settings.get("evaluate.confidence", 0.95))
    for way, pieces in ways.items():
        found = mean_with_interval(_cat(pieces), confidence)
        rows.append((way, Estimate(found.value, found.low, found.high)))
    note = "Mean cost of an example, by the costs of the spec, on the test part."
    if chosen:
        second = measured[0].labels[1]
        told = " to ".join(dict.fromkeys(map(numbers.significant, (min(chosen), max(chosen)))))
        note += (
            f" '{second}' is decided for from a probability of {told} on, chosen on the "
            f"validation part; by the costs alone {numbers.significant(threshold_of(cost_CC))}."
        )
    table = Table(
        ("Decision", "Mean cost [interval]"),
        tuple(rows),
        highlight=list(ways).index(_THRESHOLD) if chosen else None,
    )
    return Section("What decisions cost", (table,), note)


def _thresholds(validation: list[Answers], models: int, cost_CC: Tensor) -> list[float]:
    """Return the cheapest threshold of each model; none where there is no such choice."""
    from modelscale.evaluation.decisions import cheapest_threshold

    if len(cost_CC) != 2 or len(validation) != models:
        return []
    return [cheapest_threshold(a.predictions[:, 1], a.targets, cost_CC) for a in validation]


def _ways(answers: Answers, cost_CC: Tensor, threshold: float | None) -> dict[str, Tensor]:
    from modelscale.evaluation.costs import cheapest

    p_NC = answers.predictions
    ways = {
        f"always '{label}'": answers.targets * 0 + code
        for code, label in enumerate(answers.labels)
        if len(answers.labels) == 2
    }
    ways["most probable"] = p_NC.argmax(-1)
    ways["cheapest by probability"] = cheapest(p_NC, cost_CC)
    if threshold is not None:
        ways[_THRESHOLD] = (p_NC[:, 1] > threshold).long()
    return ways


def _cat(pieces: list[Tensor]) -> Tensor:
    import torch

    return torch.cat(pieces)
