"""Whether one learning rate can serve all widths of a ladder: its coordinate check."""

from __future__ import annotations

import math
from typing import Any

from modelscale.report import numbers
from modelscale.report.charts import Curves, Series
from modelscale.report.content import Block, Cell, Section, Table

_MOST_LINES = 8
_WAYS = {"mup": "Maximal update parametrisation", "standard": "Standard parametrisation"}


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
    blocks: list[Block] = [_plot(way, title, layers) for way, title in _WAYS.items()]
    verdict = (
        "No layer follows the width, so that one learning rate can serve all of them."
        if check["holds"]
        else "Some layers follow the width: the base's learning rate may not suit others."
    )
    note = (
        f"By how much the first {check['steps']} steps at a learning rate of {check['lr']:.3g} "
        f"change what each layer says, mean over examples, units and seeds. {verdict}"
    )
    return Section("Coordinate check", (*blocks, table), note)


def _plot(way: str, title: str, layers: list[dict[str, Any]]) -> Curves:
    chosen = layers[:: -(-len(layers) // _MOST_LINES) or 1]
    return Curves(
        title,
        tuple(
            Series(
                layer["layer"],
                tuple(one["width"] for one in layer[way]),
                tuple(_number(one["change"]) for one in layer[way]),
            )
            for layer in chosen
        ),
        x_label="width, multiple of the base",
        y_label="mean change",
        log_x=True,
        log_y=True,
    )


def _slope(value: float | None) -> str:
    return numbers.MISSING if value is None else f"{value:+.2f}"


def _number(value: float | None) -> float:
    return math.nan if value is None else value
