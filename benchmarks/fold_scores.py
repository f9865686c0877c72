"""Scores of methods on folds: kept in a folder as they come, so that a run can go on.

One file for a data set and method, `DATA/METHOD.jsonl`, one line a fold. A line that was cut
short by an interruption is left out, and its fold measured again.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import NamedTuple


class Score(NamedTuple):
    """What a method reaches on one fold.

    Attributes:
        values: Accuracy and log-loss, or RMSE.
        seconds: CPU time of training.
    """

    values: tuple[float, ...]
    seconds: float


class FoldScores:
    """The scores of a folder, or of nowhere but memory."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._memory: dict[tuple[str, str], dict[int, Score]] = {}

    def of(self, data: str, method: str) -> dict[int, Score]:
        """Return what is known of a method, by fold."""
        found = self._memory.setdefault((data, method), {})
        path = self._path(data, method)
        if not found and path is not None and path.is_file():
            for line in path.read_text().splitlines():
                try:
                    entry = json.loads(line)
                except ValueError:
                    continue
                found[entry["fold"]] = Score(tuple(entry["values"]), entry["seconds"])
        return found

    def add(self, data: str, method: str, fold: int, score: Score) -> None:
        """Keep one score."""
        self.of(data, method)[fold] = score
        path = self._path(data, method)
        if path is None:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        entry = {"fold": fold, "values": score.values, "seconds": round(score.seconds, 2)}
        with path.open("a") as file:
            file.write(json.dumps(entry) + "\n")

    def _path(self, data: str, method: str) -> Path | None:
        slug = re.sub(r"\W+", "-", method).strip("-")
        return None if self.folder is None else self.folder / data / f"{slug}.jsonl"


def cells(scores: Iterable[Score]) -> list[str]:
    """Return mean ± deviation over folds of each value, and the mean seconds."""
    rows = list(scores)
    texts = []
    for place in range(len(rows[0].values)):
        values = [score.values[place] for score in rows]
        digits = 2 if values[0] > 10 else 4
        spread = f" ± {stdev(values):.{digits}f}" if len(values) > 1 else ""
        texts.append(f"{mean(values):.{digits}f}{spread}")
    return [*texts, f"{mean(score.seconds for score in rows):.1f}"]


def markdown(data: str, methods: Iterable[str], known: FoldScores, folds: int) -> str:
    """Return the table of one data set; a method without all its folds says how many it has."""
    found = {method: known.of(data, method) for method in methods}
    found = {method: scores for method, scores in found.items() if scores}
    if not found:
        return ""
    values = len(next(iter(next(iter(found.values())).values())).values)
    names = ["accuracy", "log-loss"] if values == 2 else ["RMSE"]
    lines = [
        f"| {data} | {' | '.join(names)} | CPU s |",
        "|---|" + "---|" * (values + 1),
    ]
    for method, scores in found.items():
        part = "" if len(scores) == folds else f" ({len(scores)} of {folds} folds)"
        lines.append(f"| {method}{part} | {' | '.join(cells(scores.values()))} |")
    return "\n".join(lines)


def side_by_side(
    data: Sequence[str], methods: Iterable[str], known: FoldScores, folds: int
) -> str:
    """Return one table, a row a method and a column a data set.

    A cell with fewer than all folds says how many it has.
    """
    lines = [f"| {folds} folds | {' | '.join(data)} |", "|---|" + "---|" * len(data)]
    for method in methods:
        found = [known.of(name, method) for name in data]
        if any(found):
            told = [_cell(scores, folds) for scores in found]
            lines.append(f"| {method} | {' | '.join(told)} |")
    return "\n".join(lines)


def _cell(scores: Mapping[int, Score], folds: int) -> str:
    if not scores:
        return "–"
    texts = []
    for place in range(len(next(iter(scores.values())).values)):
        values = [score.values[place] for score in scores.values()]
        digits = 1 if values[0] > 10 else 3
        spread = f" ± {stdev(values):.{digits}f}" if len(values) > 1 else ""
        texts.append(f"{mean(values):.{digits}f}{spread}")
    part = "" if len(scores) == folds else f" ({len(scores)})"
    return re.sub(r"\b0\.", ".", " / ".join(texts)) + part
