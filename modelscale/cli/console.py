"""The only code that prints: data to stdout, everything else to stderr.

Colours and bars are for terminals alone. Into a pipe, a log or a terminal that is `dumb` or
asked for `NO_COLOR` goes plain text without a single escape character.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from math import isfinite
from time import monotonic
from typing import TYPE_CHECKING, Any, TextIO, cast

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

    from modelscale.cli.search_table import Standing
    from modelscale.runs.trials import TrialRecord

SCHEMA_VERSION = 1
_LOG_STEP_FRAC = 0.05
_LOG_LEAST_S = 1.0
_PAINTS_PER_S = 2


@dataclass
class Progress:
    """How far something long has come, told as the console is set up to tell it."""

    label: str
    total: float
    stream: TextIO | None
    bar: Bar | None = None
    task: TaskID | None = None
    next_frac: float = 0.0
    last_s: float = field(default_factory=lambda: monotonic() - _LOG_LEAST_S)

    def update(self, done: float, text: str = "") -> None:
        """Tell that `done` of `total` is reached; `text` says more, such as a loss."""
        if self.bar is not None and self.task is not None:
            self.bar.update(self.task, completed=done, detail=text)
            return
        frac = min(done / self.total, 1.0) if self.total else 1.0
        now = monotonic()
        if self.stream is None or frac < self.next_frac:
            return
        if frac < 1 and now - self.last_s < _LOG_LEAST_S:
            return
        # Lines come at every 5 %, and at most one a second, so that logs stay short.
        self.next_frac = min(frac + _LOG_STEP_FRAC, 1.0) if frac < 1 else float("inf")
        self.last_s = now
        tail = f"  {text}" if text else ""
        _write(self.stream, f"{self.label} {done:g}/{self.total:g} {frac:4.0%}{tail}\n")


@dataclass(frozen=True)
class Trials:
    """How far a search has come: kept for a painted table, or told line by line in a log.

    Attributes:
        standing: What is known so far.
        stream: Where each trial's line goes, if anywhere.
    """

    standing: Standing
    stream: TextIO | None

    def training(self, numbers: Sequence[int], epoch: int, epochs: int) -> None:
        """Tell which trials train together now, and how many of their epochs are done."""
        self.standing.training = (tuple(numbers), epoch, epochs)

    def ended(self, trial: TrialRecord) -> None:
        """Tell how a trial ended."""
        self.standing.add(trial)
        if self.stream is not None:
            from modelscale.cli.search_table import line

            _write(self.stream, f"{line(self.standing, trial)}\n")


@dataclass(frozen=True)
class Console:
    """Where a command's words go.

    Attributes:
        as_json: Whether stdout is for one JSON document only.
        quiet: Whether nothing but data, warnings and errors is told.
        verbose: Whether details are told.
    """

    as_json: bool = False
    quiet: bool = False
    verbose: bool = False

    def data(self, text: str) -> None:
        """Print what the user asked for."""
        if not self.as_json:
            sys.stdout.write(f"{text}\n")

    def document(self, command: str, content: Mapping[str, Any]) -> None:
        """Print the one JSON document of a command, if JSON was asked for."""
        if self.as_json:
            import json

            common = {
                "schema_version": SCHEMA_VERSION,
                "command": command,
                "run": None,
                "status": "done",
            }
            sys.stdout.write(json.dumps(_finite({**common, **content}), indent=2) + "\n")

    def note(self, text: str) -> None:
        """Tell what happens."""
        if not self.quiet:
            _write(sys.stderr, f"{text}\n")

    def detail(self, text: str) -> None:
        """Tell what only `-v` asks for."""
        if self.verbose:
            _write(sys.stderr, f"{text}\n")

    def warn(self, text: str) -> None:
        """Tell what may be wrong."""
        _write(sys.stderr, f"warning: {text}\n")

    def error(self, text: str) -> None:
        """Tell what went wrong, as it is: messages begin with the place of the fault."""
        _write(sys.stderr, f"{text}\n")

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print a table as data; columns that hold only numbers are aligned to the right."""
        if self.as_json:
            return
        right = [all(_is_number(row[i]) for row in rows) for i in range(len(columns))]
        if _is_terminal(sys.stdout):
            _rich_table(columns, rows, right)
        else:
            _plain_table(columns, rows, right)

    @contextmanager
    def progress(self, label: str, total: float) -> Iterator[Progress]:
        """Yield what tells progress: a bar on a terminal, lines in a log, nothing with -q."""
        if self.quiet:
            yield Progress(label, total, None)
            return
        if not _is_terminal(sys.stderr):
            yield Progress(label, total, sys.stderr)
            return
        from rich.console import Console as RichConsole
        from rich.progress import (
            BarColumn,
            TaskProgressColumn,
            TextColumn,
            TimeRemainingColumn,
        )
        from rich.progress import (
            Progress as Bar,
        )

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[detail]}", markup=False),
        )
        with Bar(*columns, console=RichConsole(stderr=True)) as bar:
            yield Progress(label, total, None, bar, bar.add_task(label, total=total, detail=""))

    @contextmanager
    def trials(
        self, objective: str, maximize: bool, total: int, earlier: Sequence[TrialRecord] = ()
    ) -> Iterator[Trials]:
        """Yield what tells a search: a table on a terminal, a line a trial in a log."""
        from modelscale.cli.search_table import Standing

        standing = Standing(objective, maximize, total)
        standing.start_from(earlier)
        if self.quiet or not _is_terminal(sys.stderr):
            yield Trials(standing, None if self.quiet else sys.stderr)
            return
        with _painted(standing):
            yield Trials(standing, None)
            standing.training = None


@contextmanager
def _painted(standing: Standing) -> Iterator[None]:
    """Keep a table of a search on the terminal, below what else is told meanwhile."""
    from rich.console import Console as RichConsole
    from rich.live import Live

    from modelscale.cli.search_table import table

    screen = RichConsole(file=cast("TextIO", _Lasting(sys.stderr)))
    live = Live(
        console=screen,
        # Asked for at each painting, so that trials that end in a rush cost no paintings.
        get_renderable=lambda: table(standing, screen.width, monotonic() - standing.begun_s),
        refresh_per_second=_PAINTS_PER_S,
        redirect_stdout=False,  # stdout is for data, which a table must not get between
    )
    with live:
        yield


class _Lasting:
    """A terminal's stream; that the terminal is gone stops no run."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Write if anybody is there."""
        with suppress(OSError, ValueError):
            return self.stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Write what is kept back, if anybody is there."""
        with suppress(OSError, ValueError):
            self.stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def _finite(value: Any) -> Any:
    """Return data with null for numbers that JSON cannot hold: nan, inf."""
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def _write(stream: TextIO, text: str) -> None:
    """Write to stderr; that nobody reads it any more stops no run."""
    try:
        stream.write(text)
        stream.flush()
    except (BrokenPipeError, ValueError):
        return


def _is_terminal(stream: TextIO) -> bool:
    dumb = os.environ.get("TERM", "") == "dumb" or bool(os.environ.get("NO_COLOR"))
    return not dumb and stream.isatty()


def _is_number(text: str) -> bool:
    return text in {"", "–"} or text.strip("-+<> %").replace(",", "").replace(".", "").isdigit()


def _plain_table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[bool]
) -> None:
    lines = [list(columns), *(list(row) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    for line in lines:
        cells = zip(line, widths, right, strict=True)
        told = (cell.rjust(width) if r else cell.ljust(width) for cell, width, r in cells)
        sys.stdout.write("  ".join(told).rstrip() + "\n")


def _rich_table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[bool]
) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console as RichConsole
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name, numeric in zip(columns, right, strict=True):
        table.add_column(Text(name), justify="right" if numeric else "left")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    RichConsole().print(table)
