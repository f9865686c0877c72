"""Tables of readings by unit and time, cut into windows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from modelscale.data.reading import DEFAULT_MISSING, Reading, file_bytes
from modelscale.data.sources.base import SourceSpec
from modelscale.spec.base import Spec, clash

if TYPE_CHECKING:
    from modelscale.data.raw import Raw

Positions = Annotated[int, Field(ge=1, le=65_536)]


class RemainingLife(Spec):
    """The time from the last step of a window to the last row of its unit."""

    cap: float | None = Field(None, gt=0)
    """Largest value; longer lives count as this one, as no sensor tells them apart."""


class SeriesTest(Spec):
    """A second table, of other units, whose windows are the test part."""

    path: Path
    """The table, or the folder of tables, of the same form."""

    windows: Literal["all", "last"] = "all"
    """Whether all windows are measured, or only the last one of each unit."""

    remaining: Path | None = None
    """Text file of the time that each unit still had after its last row, one a line, in the
    order in which the units first appear; None where units run to their end."""


class SeriesSource(SourceSpec):
    """Readings by unit and time (CSV, Parquet, or `.txt` of numbers parted by blanks).

    Every row is one step of one unit. A unit's rows are put in order of time, and examples
    are windows of steps.
    """

    path: Path
    """The table, or a folder of tables of the same columns, in which each file is a unit."""

    unit: str | None = None
    """Column of the unit (engine, machine, patient); None where a file is one unit."""

    time: str | None = None
    """Column of numbers or dates; None where rows are in order, equally far apart."""

    time_format: str | None = None
    """How dates are written, as `%d.%m.%Y %H:%M`; None for ISO 8601 and numbers."""

    target: str | None = None
    """Column to learn, as it stands at a window's last step."""

    target_of: Literal["last", "any"] = "last"
    """For a target of numbers: that of the last step, or the largest of a window, so that a
    fault flagged at any step counts."""

    remaining_life: RemainingLife | None = None
    """Learn the time that is left to a unit, whose last row is its end."""

    next: tuple[str, ...] = ()
    """Learn the next values of these columns."""

    horizon: int = Field(1, ge=1)
    """Steps behind a window that `next` is about."""

    length: Positions | None = None
    """Steps of a window; None makes each unit one example, as long as it is."""

    stride: int = Field(1, ge=1)
    """Steps from the beginning of a window to that of the next; the last one ends with the
    unit."""

    short: Literal["pad", "skip"] = "pad"
    """What becomes of a piece that is shorter than a window: one padded example, or none."""

    gap: float | None = Field(None, gt=0)
    """Time between two rows beyond which a series is cut, in units of the time column (seconds
    for dates); None never cuts."""

    fill: Literal["none", "previous"] = "none"
    """Whether a missing cell is the unit's value before it; otherwise it is the median of the
    training rows, and an input says that it was missing."""

    test: SeriesTest | None = None
    """A second table for the test part; needs `split: {kind: column, …}`."""

    delimiter: str = Field(",", pattern=r'^[^"\r\n]$')
    """Character between two cells of a CSV file."""

    decimal: Literal[".", ","] = "."
    """What parts the whole from the fraction of a number."""

    names: tuple[str, ...] = ()
    """Column names of `.txt` files, which have no header; by default column_1, column_2, …"""

    missing: tuple[str, ...] = DEFAULT_MISSING
    """Texts of a missing cell."""

    @model_validator(mode="after")
    def _one_target(self) -> Self:
        kinds = {
            "target": self.target is not None,
            "remaining_life": self.remaining_life is not None,
            "next": bool(self.next),
        }
        asked = [name for name, there in kinds.items() if there]
        if len(asked) > 1:
            raise clash(f"there can be one of {', '.join(asked)}", *asked)
        if self.next and self.length is None:
            raise clash("next values need windows; give their length", "next")
        if self.horizon != 1 and not self.next:
            raise clash("horizon goes with next", "horizon")
        if self.target_of == "any" and self.target is None:
            raise clash("target_of goes with target", "target_of")
        if self.length is None and self.stride != 1:
            raise clash("stride goes with length", "stride")
        if self.gap is not None and self.time is None:
            raise clash("gap needs a time column; name it as time", "gap")
        if self.test is not None and self.test.remaining and self.remaining_life is None:
            raise clash("remaining lives need remaining_life", "test", "remaining_life")
        return self

    def estimated_bytes(self) -> int:
        paths = [self.path, *([self.test.path] if self.test else [])]
        files = [f for p in paths for f in (p.glob("*") if p.is_dir() else [p])]
        return 4 * sum(map(file_bytes, files))

    def read(self, how: Reading | None = None) -> Raw:
        from modelscale.data.series_table import read_series

        return read_series(self, how or Reading())
