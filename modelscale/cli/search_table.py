"""How a search looks while it runs: a line a trial for a log, a table for a terminal.

Nothing is printed here; the console decides where it goes.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Any

from modelscale.report import numbers
from modelscale.runs.trials import TrialRecord

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

LATEST = 6
"""Finished trials that the table shows."""

NARROW = 72
"""Columns below which a terminal gets the essential columns alone."""

_MOST_NAMED = 6


@dataclass
class Standing:
    """What is known of a search so far.

    It is read by the thread that paints while trials end, so what is read is replaced, never
    changed.

    Attributes:
        objective: The name of what decides.
        maximize: Whether larger is better.
        total: Trials that there will be at the end.
        best: The best complete trial.
        latest: The trials that ended last, in that order.
        counts: Trials by state.
        training: Which trials train now, the epochs done, and the epochs in all.
    """

    objective: str
    maximize: bool
    total: int
    best: TrialRecord | None = None
    latest: tuple[TrialRecord, ...] = ()
    counts: dict[str, int] = field(default_factory=dict)
    training: tuple[tuple[int, ...], int, int] | None = None
    before: int = 0
    begun_s: float = field(default_factory=monotonic)

    def start_from(self, earlier: Iterable[TrialRecord]) -> None:
        """Count trials of earlier sessions, which say nothing of this one's speed."""
        for trial in earlier:
            self.add(trial)
        self.before = self.done

    def add(self, trial: TrialRecord) -> None:
        """Count a trial that ended."""
        counts = Counter(self.counts)
        counts[trial.state] += 1
        if self._is_better(trial):
            self.best = trial
        self.latest = (*self.latest, trial)[-LATEST:]
        self.counts = dict(counts)

    @property
    def done(self) -> int:
        """Trials that ended."""
        return sum(self.counts.values())

    def left_s(self, elapsed_s: float) -> float | None:
        """Return the seconds that are left at the speed so far; None before any is known."""
        fresh = self.done - self.before
        if not fresh:
            return None
        return elapsed_s * max(0, self.total - self.done) / fresh

    def _is_better(self, trial: TrialRecord) -> bool:
        value = first_value(trial)
        if trial.state != "complete" or value is None:
            return False
        known = first_value(self.best) if self.best is not None else None
        if known is None:
            return True
        return value > known if self.maximize else value < known


def first_value(trial: TrialRecord) -> float | None:
    """Return what decides about a trial."""
    return trial.values[0] if trial.values else None


def line(standing: Standing, trial: TrialRecord) -> str:
    """Return the one line that a log has of a trial, which the standing counts already."""
    head = f"trial {trial.number} ({standing.done}/{standing.total}) {trial.state}"
    facts = []
    value, epoch = first_value(trial), trial.result.get("best_epoch")
    if value is not None:
        facts.append(f"{standing.objective} {numbers.significant(value)}")
    if epoch:
        facts.append(f"epoch {epoch}")
    if trial.error:
        facts.append(" ".join(trial.error.split()))
    if standing.best is not None:
        best = numbers.significant(first_value(standing.best))
        facts.append(f"best {best} of trial {standing.best.number}")
    if trial.seconds is not None:
        facts.append(numbers.duration(trial.seconds))
    told = f"{head}: {', '.join(facts)}" if facts else head
    values = settings(trial.params, list(trial.params))
    return f"{told}; {values}" if values else told


def settings(params: dict[str, Any], names: Sequence[str]) -> str:
    """Return a trial's parameters on one line, under given names."""
    return " ".join(f"{n}={_short(v)}" for n, v in zip(names, params.values(), strict=True))


def short_names(keys: Iterable[str]) -> list[str]:
    """Return the shortest ends of dotted keys that tell them apart."""
    parts = [key.split(".") for key in keys]
    names = []
    for own in parts:
        length = 1
        while length < len(own) and sum(o[-length:] == own[-length:] for o in parts) > 1:
            length += 1
        names.append(".".join(own[-length:]))
    return names


def table(standing: Standing, width: int, elapsed_s: float) -> Group:
    """Return the picture of a search: how far, the best so far, the last trials, what runs.

    Every line is cut at the width, so that its height changes by whole trials only.

    Args:
        standing: What is known.
        width: Of the terminal, in columns.
        elapsed_s: Since this session of the search began.
    """
    from rich.console import Group
    from rich.text import Text

    def cut(text: str, style: str = "") -> Text:
        return Text(text, style=style, no_wrap=True, overflow="ellipsis")

    rows = [cut(_how_far(standing, elapsed_s), "bold"), cut(_best(standing), "green")]
    last = [_latest(standing, width)] if standing.latest else []
    over = standing.training is None and standing.done >= standing.total
    now = [] if over else [cut(_now(standing), "dim")]
    return Group(*rows, *last, *now)


def _how_far(standing: Standing, elapsed_s: float) -> str:
    states = ", ".join(f"{n} {state}" for state, n in sorted(standing.counts.items()))
    left_s = standing.left_s(elapsed_s)
    left = f", about {numbers.duration(left_s)} left" if left_s else ""
    counts = f": {states}" if states else ""
    told = f"{standing.done}/{standing.total} trials{counts}"
    return f"{told}; {numbers.duration(elapsed_s)}{left}"


def _best(standing: Standing) -> str:
    best = standing.best
    if best is None:
        return f"best {standing.objective}: none yet"
    value = numbers.significant(first_value(best))
    values = settings(best.params, short_names(best.params))
    return f"best {standing.objective} {value} of trial {best.number}: {values}"


def _latest(standing: Standing, width: int) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    wide = width >= NARROW
    shown = Table(box=SIMPLE_HEAD, pad_edge=False, expand=True, show_edge=False)
    shown.add_column("trial", justify="right", no_wrap=True)
    shown.add_column("state", no_wrap=True)
    shown.add_column(_last_part(standing.objective), justify="right", no_wrap=True)
    if wide:
        shown.add_column("epoch", justify="right", no_wrap=True)
        shown.add_column("time", justify="right", no_wrap=True)
    shown.add_column("parameters", ratio=1, no_wrap=True, overflow="ellipsis")
    values = numbers.column([first_value(trial) for trial in standing.latest])
    for trial, value in zip(standing.latest, values, strict=True):
        epoch = trial.result.get("best_epoch") or numbers.MISSING
        told = trial.error or settings(trial.params, short_names(trial.params))
        cells = [str(trial.number), trial.state, value]
        cells += [str(epoch), numbers.duration(trial.seconds)] if wide else []
        is_best = standing.best is not None and trial.number == standing.best.number
        style = "green" if is_best else "" if trial.state == "complete" else "dim"
        row = (*cells, " ".join(told.split()))
        shown.add_row(*(Text(cell, overflow="ellipsis") for cell in row), style=style)
    return shown


def _now(standing: Standing) -> str:
    if standing.training is None:
        return "nothing trains at this moment"
    trials, epoch, epochs = standing.training
    named = ", ".join(map(str, trials[:_MOST_NAMED]))
    more = f" and {len(trials) - _MOST_NAMED} more" if len(trials) > _MOST_NAMED else ""
    together = " together" if len(trials) > 1 else ""
    plural = "s" if len(trials) > 1 else ""
    return f"trial{plural} {named}{more} in training{together}, epoch {epoch}/{epochs}"


def _last_part(name: str) -> str:
    return name.rpartition("/")[2]


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else json.dumps(value)
