"""What the benchmarks of all fields have in common: a row of their tables."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class FieldRow:
    """What one method came to on one data set.

    Attributes:
        field: Such as `finance`.
        data: The data set, and how it is divided.
        metric: The score's name.
        method: Ours, or a plain one in the same run on the same rows.
        value: The score.
        low: Lower end of its 95 % interval.
        high: Upper end.
        parameters: Of a network; None for other methods.
        seconds: CPU seconds of training; None where they were not taken.
        lead: By how much ours is better than this one, with its interval; empty for ours.
    """

    field: str
    data: str
    metric: str
    method: str
    value: float
    low: float
    high: float
    parameters: int | None = None
    seconds: float | None = None
    lead: str = ""


HEAD = (
    f"{'field':12} {'data':24} {'metric':10} {'method':30} {'value':>7}  "
    f"{'95 % interval':17} {'parameters':>10} {'CPU s':>6}  our lead"
)


def line(row: FieldRow) -> str:
    """Return a row as a line of text."""
    interval = f"{row.low:.4f} – {row.high:.4f}"
    parameters = "" if row.parameters is None else f"{row.parameters:,}"
    seconds = "" if row.seconds is None else f"{row.seconds:.0f}"
    return (
        f"{row.field:12} {row.data:24} {row.metric:10} {row.method:30} {row.value:7.4f}  "
        f"{interval:17} {parameters:>10} {seconds:>6}  {row.lead}"
    ).rstrip()


def show(rows: Iterable[FieldRow]) -> None:
    """Print rows as they come, below a head."""
    print(HEAD)
    for row in rows:
        print(line(row), flush=True)
