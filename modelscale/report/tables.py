"""Cells as they read, and which columns hold numbers."""

from __future__ import annotations

from typing import NamedTuple

from modelscale.report.content import Cell, Estimate, KeyValues, Table
from modelscale.report.numbers import (
    MISSING,
    column,
    decimals_of_interval,
    estimate,
    fixed,
    plain,
    significant,
)


class Row(NamedTuple):
    """One row: its cells as they read, and whether it stands out."""

    cells: tuple[str, ...]
    highlighted: bool


class LaidOut(NamedTuple):
    """A table as it is shown.

    Attributes:
        table: What it was made from.
        heads: Each column's head, and whether the column holds numbers.
        rows: Those that are shown.
        note: What is left out; empty if nothing is.
    """

    table: Table
    heads: tuple[tuple[str, bool], ...]
    rows: tuple[Row, ...]
    note: str


def laid_out(table: Table) -> LaidOut:
    """Return a table with its numbers formatted by column."""
    shown = list(range(min(table.limit, len(table.rows))))
    if table.highlight is not None and table.limit <= table.highlight < len(table.rows):
        shown.append(table.highlight)
    columns = [[table.rows[i][c] for i in shown] for c in range(len(table.columns))]
    texts = [_column(cells) for cells in columns]
    rows = tuple(
        Row(tuple(text[place] for text in texts), index == table.highlight)
        for place, index in enumerate(shown)
    )
    note = ""
    if len(shown) < len(table.rows):
        note = f"The first {table.limit:,} of {len(table.rows):,} rows"
        note += " and the highlighted one." if len(shown) > table.limit else "."
    heads = zip(table.columns, map(_numeric, columns), strict=True)
    return LaidOut(table, tuple(heads), rows, note)


def facts(block: KeyValues) -> list[tuple[str, str]]:
    """Return names and values as they read."""
    return [
        (name, plain(value) if isinstance(value, float) else _cell(value))
        for name, value in block.items
    ]


def _numeric(cells: list[Cell]) -> bool:
    present = [cell for cell in cells if cell is not None]
    return bool(present) and not any(isinstance(cell, str | bool) for cell in present)


def _column(cells: list[Cell]) -> list[str]:
    """Return the cells of one column, numbers with the same decimals where that serves."""
    if any(isinstance(cell, bool | str) for cell in cells):
        return [_cell(cell) for cell in cells]
    if not any(isinstance(cell, Estimate) for cell in cells):
        return column([_number(cell) for cell in cells])
    estimates = [c if isinstance(c, Estimate) else Estimate(_number(c)) for c in cells]
    known = [decimals_of_interval(e.low, e.high) for e in estimates]
    decimals = [d for d in known if d is not None]
    if not decimals or max(decimals) - min(decimals) > 2:
        return [_cell(cell) for cell in cells]
    return [_aligned(e, min(decimals)) for e in estimates]


def _number(cell: Cell) -> float | None:
    return cell if isinstance(cell, int | float) else None


def _aligned(cell: Estimate, decimals: int) -> str:
    text = fixed(cell.value, decimals)
    if cell.value is None or cell.low is None or cell.high is None:
        return text
    return f"{text} [{fixed(cell.low, decimals)}, {fixed(cell.high, decimals)}]"


def _cell(cell: Cell) -> str:
    match cell:
        case None:
            return MISSING
        case bool():
            return "yes" if cell else "no"
        case str():
            return cell or MISSING
        case Estimate():
            return estimate(cell.value, cell.low, cell.high)
    return significant(cell)
