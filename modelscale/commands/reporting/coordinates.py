"""Whether one learning rate can serve all widths of a ladder: its coordinate check."""

from __future__ import annotations

import math
from typing import Any

from modelscale.report import numbers
from modelscale.report.charts import Bars, BarSeries
from modelscale.report.content import Cell, Section, Table

_MOST_ROWS = 24
_WAYS = {"maximal update": "slope", "standard": "standard_slope"}


def coordinate_section(check: dict[str, Any]) -> Section:
    """Return the section about a coordinate check: what was measured, and its slopes."""
    layers = check["layers"]
    widths = [f"{one['width']:g} ×" for one in layers[0]["mup"]] if layers else []
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (
            layer["layer"],
            *(numbers.significant(one["change"], 3) for one in layer["mup"]),
            _slope(layer["slope"]),
            _slope(layer["standard_slope"]),
        )
        for layer in layers
    )
    table = Table(
        ("Layer", *(f"at {width} the base" for width in widths), "Slope", "Standard slope"),
        rows,
        caption=f"Slopes of log change by log width; {check['bound']:g} from 0 is the most "
        "that passes. All changes: coordinate_check.csv.",
    )
    verdict = (
        "No layer follows the width, so that one learning rate can serve all of them."
        if check["holds"]
        else "Some layers follow the width: the base's learning rate may not suit others."
    )
    note = (
        f"By how much the first {check['steps']} steps at a learning rate of {check['lr']:.3g} "
        f"change what each layer says, mean over examples, units and seeds. {verdict}"
    )
    return Section("Coordinate check", (_plot(layers), table), note)


def _plot(layers: list[dict[str, Any]]) -> Bars:
    chosen = layers[:: -(-len(layers) // _MOST_ROWS) or 1]
    return Bars(
        "How each layer's first changes follow the width",
        tuple(layer["layer"] for layer in chosen),
        tuple(
            BarSeries(name, tuple(_number(layer[key]) for layer in chosen))
            for name, key in _WAYS.items()
        ),
        x_label="slope of log change by log width",
        caption="At 0 they do not; at 1 a layer twice as wide changes twice as much.",
    )


def _slope(value: float | None) -> str:
    return numbers.MISSING if value is None else f"{value:+.2f}"


def _number(value: float | None) -> float:
    return math.nan if value is None else value
