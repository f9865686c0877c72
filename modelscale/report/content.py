"""What a report says: a page of sections of blocks, without a word on how they look.

Plots are the blocks in `modelscale.report.charts`, text and tables are those here.

Commands build a `Page` from what a run measured; `modelscale.report.page.render` draws it. All
of it is plain data. A number that is not there is NaN (or None in a table), and a block without
data is drawn as a sentence that says so, since half-finished runs have reports too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from modelscale.report.charts import Plot


@dataclass(frozen=True)
class Estimate:
    """A measured number and the ends of its 95 % interval, None where it has none."""

    value: float | None
    low: float | None = None
    high: float | None = None


Cell: TypeAlias = str | int | float | Estimate | None


@dataclass(frozen=True)
class Stat:
    """A big number: `Stat("Test accuracy", "97.8 %", "[96.1, 99.0]", "360 examples")`.

    Attributes:
        label: What it is.
        value: The number as it reads (see `modelscale.report.numbers`).
        interval: Its interval as it reads; empty where there is none.
        note: What it is to be compared with, or measured on.
        lead: Whether it is the number that the page is about.
    """

    label: str
    value: str
    interval: str = ""
    note: str = ""
    lead: bool = False


@dataclass(frozen=True)
class Stats:
    """A row of big numbers."""

    stats: tuple[Stat, ...] = ()


@dataclass(frozen=True)
class Paragraph:
    """A few sentences: what is seen below, or what follows from it."""

    text: str


@dataclass(frozen=True)
class KeyValues:
    """Facts by name."""

    items: tuple[tuple[str, Cell], ...] = ()
    title: str = ""


@dataclass(frozen=True)
class Table:
    """Rows of text and numbers. A column that holds only numbers is aligned to the right.

    Attributes:
        columns: Heads.
        rows: One cell for each column.
        title: Heading; may be empty.
        caption: What to see in it, and where all of it is found.
        highlight: Index of the row that matters most.
        limit: Rows that are shown; the highlighted one always is.
    """

    columns: tuple[str, ...] = ()
    rows: tuple[tuple[Cell, ...], ...] = ()
    title: str = ""
    caption: str = ""
    highlight: int | None = None
    limit: int = 200

    def __post_init__(self) -> None:
        assert all(len(row) == len(self.columns) for row in self.rows), "ragged table"


@dataclass(frozen=True)
class Code:
    """Text in a fixed-width font: a spec, a command line. Long text is folded."""

    text: str = ""
    title: str = ""


Block: TypeAlias = Stats | Paragraph | KeyValues | Table | Code | Plot


@dataclass(frozen=True)
class Section:
    """A headed part of the page. The note says in a sentence what is seen in it."""

    title: str
    blocks: tuple[Block, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class Page:
    """A whole report.

    Attributes:
        title: What was run.
        subtitle: How, in a line.
        stats: The numbers to know first.
        sections: The rest, in order of interest.
        warnings: What a reader must know before he trusts it: an unfinished run, failed trials.
        generated_from: Where it comes from, a line each: run folder, command line, versions.
    """

    title: str
    subtitle: str = ""
    stats: tuple[Stat, ...] = ()
    sections: tuple[Section, ...] = ()
    warnings: tuple[str, ...] = ()
    generated_from: tuple[str, ...] = ()


@dataclass(frozen=True)
class RenderedPage:
    """A page as HTML, and its plots as SVG files by name, such as `loss.svg`."""

    html: str
    plots: dict[str, bytes]
