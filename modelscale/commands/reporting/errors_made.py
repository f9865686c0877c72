"""Which mistakes a model makes: by class, by confidence, by size."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelscale.commands.reporting.answers import Answers
from modelscale.report.charts import (
    Bars,
    BarSeries,
    Bin,
    Calibration,
    Confusion,
    Residuals,
    Scatter,
)
from modelscale.report.content import Block, Section, Table

if TYPE_CHECKING:
    from modelscale.evaluation.summary import CalibrationBin, Evaluation

_MOST_TARGETS = 4
_MOST_CLASSES = 60


def errors_section(answers: Answers) -> Section:
    """Return the plots of a model's mistakes."""
    from modelscale.evaluation.section import EvaluateSection
    from modelscale.evaluation.summary import evaluate

    task = "classification" if answers.classes else "regression"
    evaluation = evaluate(
        answers.predictions,
        answers.targets,
        (),
        answers.labels,
        EvaluateSection(),
        "classification" if answers.classes else "regression",
    )
    blocks = _classes(answers, evaluation) if answers.classes else _values(answers, evaluation)
    what = "Which classes are taken for which" if task == "classification" else "Errors"
    return Section(what, blocks, f"Measured on the {answers.whose}.")


def texts_section(texts: list[tuple[str, str, str]]) -> Section | None:
    """Return some texts that a model wrote beside the true ones; None without any."""
    if not texts:
        return None
    table = Table(("Row", "True text", "Written"), tuple(texts))
    return Section("What it writes", (table,), "The first rows of the table of answers.")


def _classes(answers: Answers, evaluation: Evaluation) -> tuple[Block, ...]:
    blocks: list[Block] = []
    if evaluation.confusion:
        blocks.append(
            Confusion(
                "Confusion matrix",
                answers.labels,
                evaluation.confusion,
                "Rows are true classes, columns predicted ones.",
            )
        )
    blocks.append(
        Calibration(
            "Calibration",
            tuple(_bin(answers, found) for found in evaluation.calibration if found.count),
            "On the diagonal, a confidence of 80 % is right 80 % of the time.",
        )
    )
    classes = evaluation.classes
    if len(classes) <= _MOST_CLASSES:
        blocks.append(
            Bars(
                "Precision, recall and F1 by class",
                tuple(entry.label for entry in classes),
                (
                    BarSeries("precision", tuple(entry.precision for entry in classes)),
                    BarSeries("recall", tuple(entry.recall for entry in classes)),
                    BarSeries("F1", tuple(entry.f1 for entry in classes)),
                ),
            )
        )
    rows = tuple((c.label, c.precision, c.recall, c.f1, c.support) for c in classes)
    head = ("Class", "Precision", "Recall", "F1", "Examples")
    blocks.append(Table(head, rows, "By class"))
    return tuple(blocks)


def _bin(answers: Answers, found: CalibrationBin) -> Bin:
    """Return a bin with Wilson's interval of its accuracy."""
    from modelscale.evaluation.intervals import bootstrap
    from modelscale.evaluation.metric_names import metric_for

    top_N = answers.predictions.amax(-1)
    above_N = (top_N > found.low) | (found.low == 0)
    inside_N = above_N & (top_N <= found.high)
    measured = bootstrap(
        metric_for("accuracy", "classification"),
        answers.predictions[inside_N],
        answers.targets[inside_N],
    )
    return Bin(found.confidence, found.accuracy, found.count, measured.low, measured.high)


def _values(answers: Answers, evaluation: Evaluation) -> tuple[Block, ...]:
    blocks: list[Block] = []
    for t, label in enumerate(answers.labels[:_MOST_TARGETS]):
        name = f" of {label}" if len(answers.labels) > 1 else ""
        actual = tuple(answers.targets[:, t].tolist())
        predicted = tuple(answers.predictions[:, t].tolist())
        differences = tuple(a - p for a, p in zip(actual, predicted, strict=True))
        blocks += [
            Scatter(f"Predicted against actual{name}", actual, predicted, label),
            Residuals(f"Residuals{name}", predicted, differences, label),
        ]
    head = ("Target", "Mean", "5 %", "25 %", "50 %", "75 %", "95 %")
    rows = tuple(
        (r.label, r.mean, r.q05, r.q25, r.q50, r.q75, r.q95) for r in evaluation.residuals
    )
    blocks.append(
        Table(
            head,
            rows,
            "Quantiles of predicted minus actual",
            "In the target's own units; the mean is the bias.",
        )
    )
    return tuple(blocks)
