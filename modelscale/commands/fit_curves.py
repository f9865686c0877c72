"""`modelscale fit TABLE --curves`: many learning curves, extrapolated at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelscale.commands.documents import clean
from modelscale.commands.fit_table import CURVE_ROLES, Table, need, read_table, roles_of
from modelscale.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

_MISSING = {"", "NA", "NaN", "nan", "null", "?"}
_KEYS = ("domain", "task", "model")


@dataclass(frozen=True)
class Extended:
    """One curve and what is foretold of it.

    Attributes:
        key: Domain, task and model; those that the table has.
        rows: Rows of the predictions, as the table counts.
        x_Q: Where they are.
        loss_Q: Predicted losses.
        low_Q: Lower ends of the intervals of a measurement.
        high_Q: Upper ends.
        measured_Q: Measured losses; NaN where the table has none.
        fitted: Points that the predictions come from.
    """

    key: dict[str, str]
    rows: tuple[int, ...]
    x_Q: Array
    loss_Q: Array
    low_Q: Array
    high_Q: Array
    measured_Q: Array
    fitted: int

    @property
    def rmsle(self) -> float:
        """Root mean square of log(predicted / measured); NaN if nothing was measured."""
        import numpy as np

        known = np.isfinite(self.measured_Q)
        if not known.any():
            return float("nan")
        return float(np.sqrt(np.mean(np.log(self.loss_Q[known] / self.measured_Q[known]) ** 2)))

    @property
    def inside(self) -> int:
        """How many measurements lie inside their intervals."""
        return int(((self.low_Q <= self.measured_Q) & (self.measured_Q <= self.high_Q)).sum())


@dataclass(frozen=True)
class FittedCurves:
    """What `fit --curves` found.

    Attributes:
        table: What was read.
        curves: In the order of the table.
        level: Of the intervals.
        warnings: Reasons for doubt.
    """

    table: Table
    curves: tuple[Extended, ...]
    level: float
    warnings: tuple[str, ...]
    exit_code: int = 0

    @property
    def rmsle(self) -> float:
        """Mean over the curves whose truth is known."""
        known = [c.rmsle for c in self.curves if c.rmsle == c.rmsle]
        return sum(known) / len(known) if known else float("nan")

    def to_json(self) -> dict[str, Any]:
        """Return the keys of the command's JSON document."""
        predictions = [
            {
                **curve.key,
                "row": row,
                "seen_examples": float(x),
                "value": float(value),
                "low": float(low),
                "high": float(high),
                "measured": float(measured),
            }
            for curve in self.curves
            for row, x, value, low, high, measured in zip(
                curve.rows,
                curve.x_Q,
                curve.loss_Q,
                curve.low_Q,
                curve.high_Q,
                curve.measured_Q,
                strict=True,
            )
        ]
        document = {
            "table": str(self.table.path),
            "fingerprint": self.table.digest,
            "law": {"kind": "curve_ensemble", "params": {}, "level": self.level},
            "held_out": {"rmsle": self.rmsle, "curves": len(self.curves)},
            "curves": [
                {
                    **curve.key,
                    "fitted": curve.fitted,
                    "predicted": len(curve.rows),
                    "rmsle": curve.rmsle,
                    "inside": curve.inside,
                }
                for curve in self.curves
            ],
            "predictions": predictions,
            "recommendation": None,
            "warnings": list(self.warnings),
        }
        found: dict[str, Any] = clean(document)
        return found


def fit_curves(path: Path, columns: Sequence[str], level: float) -> FittedCurves:
    """Extrapolate all curves of a table.

    Args:
        path: Table with a size (`seen_examples`), `loss` and `training` (1: fitted, 0: to be
            predicted); curves differ in `domain`, `task` and `model`.
        columns: `role=column`, for other names.
        level: Of the intervals.

    Raises:
        DataError: If a cell is not what it has to be, or a curve has nothing to be fitted to.
    """
    import numpy as np

    from modelscale.scaling.curve_ensemble import Curve
    from modelscale.scaling.curve_intervals import foretell

    table = read_table(path)
    roles = roles_of(table, columns, CURVE_ROLES)
    rows = range(len(table))
    size_column = need(table, roles, "seen_examples")
    loss_column = need(table, roles, "loss")
    training = table.numbers(need(table, roles, "training"), rows, positive=False)
    for row, mark in enumerate(training):
        if mark not in {0, 1}:
            raise DataError(
                f"{path}: row {row + table.first_row}, column '{roles['training']}': expected "
                f"1 (to be fitted) or 0 (to be predicted), got {mark:g}"
            )
    x = table.numbers(size_column, rows, positive=True)
    loss = np.full(len(table), np.nan)
    cells = table.columns[loss_column]
    known = [
        r for r in rows if training[r] == 1 or not (cells[r] is None or cells[r] in _MISSING)
    ]
    loss[known] = table.numbers(loss_column, known, positive=True)
    keys = [role for role in _KEYS if role in roles]
    words = [table.words(roles[role]) for role in keys]
    groups: dict[tuple[str, ...], list[int]] = {}
    for row in rows:
        groups.setdefault(tuple(column[row] for column in words), []).append(row)
    curves, places, told = [], [], []
    warnings: list[str] = []
    for key, members in groups.items():
        own = np.array(members)
        fitted, asked = own[training[own] == 1], own[training[own] == 0]
        if not len(fitted):
            name = "/".join(key) or "the curve"
            raise DataError(
                f"{path}: row {members[0] + table.first_row}, column '{roles['training']}': "
                f"{name} has no row to be fitted"
            )
        fitted = fitted[np.argsort(x[fitted], kind="stable")]
        if len(asked):
            curves.append(Curve(x[fitted], loss[fitted]))
            places.append(x[asked])
            told.append((dict(zip(keys, key, strict=True)), asked, len(fitted)))
        warnings += _doubts(key, x[fitted], x[asked])
    foreseen = foretell(curves, places) if curves else []
    found = []
    for (named, asked, count), at, view in zip(told, places, foreseen, strict=True):
        low, high = view.interval(level)
        numbers = tuple(int(row) + table.first_row for row in asked)
        found.append(Extended(named, numbers, at, view.loss_Q, low, high, loss[asked], count))
    return FittedCurves(table, tuple(found), level, tuple(warnings))


def _doubts(key: tuple[str, ...], fitted: Array, asked: Array) -> list[str]:
    """Return what makes one curve's predictions doubtful."""
    name = "/".join(key) or "the curve"
    few, far = 5, 10
    doubts = []
    if len(fitted) < few:
        doubts.append(f"{name}: only {len(fitted)} points to fit")
    if len(asked) and asked.max() > far * fitted[-1]:
        times = asked.max() / fitted[-1]
        doubts.append(f"{name}: asked for {times:.3g} times beyond the last fitted point")
    return doubts
