"""`modelscale report`: one HTML page about a run, or about several."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelscale.commands.line_fit import LineFit
from modelscale.commands.reporting.comparison import comparison_page
from modelscale.commands.reporting.overview import state_of
from modelscale.commands.reporting.pages import RunPage, run_page
from modelscale.commands.reporting.reading import read_run
from modelscale.report.page import render
from modelscale.runs import atomic
from modelscale.runs.find import find_run
from modelscale.runs.report_files import REPORT, write_report

COMPARISON = "comparison.html"


@dataclass(frozen=True)
class Reported:
    """A written report.

    Attributes:
        run: The run that it is about; None for several.
        report: The page.
        plots: The plots' own files; none where the page was asked for elsewhere.
        notes: Why it is only a partial report, a line a run.
        fit: The trained line of a one-feature regression beside least squares.
        exit_code: Always 0: an unfinished run has a report too.
    """

    run: Path | None
    report: Path
    plots: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()
    fit: LineFit | None = None
    exit_code: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the keys of the command's JSON document."""
        document: dict[str, Any] = {
            "run": None if self.run is None else _shown(self.run),
            "report": _shown(self.report),
            "plots": [_shown(path) for path in self.plots],
            "notes": list(self.notes),
        }
        if self.fit is not None:
            document["fit"] = self.fit.to_json()
        return document


def report(runs: Sequence[Path], root: Path, output: Path | None = None) -> Reported:
    """Write the report on one run, or the comparison of several.

    Args:
        runs: Run folders, also relative to `root`; a name means its newest run. At least one.
        root: The runs folder.
        output: Where the page goes; by default `report.html` in the run's folder, with the
            plots as files beside it, or `comparison.html` in `root`.

    Raises:
        InputMissing: If there is no such run.
        DataError: If a run's `run.json` is damaged.
        Unavailable: If matplotlib is not installed.
        CannotCreate: If the page cannot be written there.
    """
    paths = list(dict.fromkeys(find_run(run, root) for run in runs))
    views = [read_run(path) for path in paths]
    one = len(views) == 1
    made = run_page(views[0]) if one else RunPage(comparison_page(views))
    rendered = render(made.page)
    states = zip(paths, map(state_of, views), strict=True)
    notes = tuple(f"{_shown(path)}: {state}" for path, state in states if state)
    html = rendered.html.encode("utf-8", "backslashreplace")
    run = paths[0] if one else None
    if output is None and run is not None:
        plots = write_report(run, html, rendered.plots)
        return Reported(run, run / REPORT, tuple(plots), notes, made.fit)
    target = root / COMPARISON if output is None else output
    atomic.write_file(target, html)
    return Reported(run, target, (), notes, made.fit)


def _shown(path: Path) -> str:
    """Return a path relative to the working directory where it is below it."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative
