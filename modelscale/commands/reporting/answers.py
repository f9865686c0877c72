"""The answers that a run wrote down: `predictions-test.csv` and its like."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from modelscale.commands.reporting.reading import RunView
from modelscale.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

TEXTS = ["row", "target", "prediction"]
"""Head of a table of answers that are texts."""
_PARTS = ("test", "validation")
_CLASS = re.compile(r"p\((.*)\)", re.DOTALL)
_TARGET = re.compile(r"target\((.*)\)", re.DOTALL)


@dataclass(frozen=True)
class Answers:
    """Answers of one model, or of those of all folds, to a part of the data.

    Attributes:
        part: `test` or `validation`.
        of: Whose they are, for people; empty for the run's only model.
        labels: Classes, or names of the target values.
        classes: Whether the labels are classes.
        rows: Each answer's row in the data.
        predictions: (N, C) class probabilities or (N, T) target values.
        targets: (N,) class indices or (N, T) target values.
    """

    part: str
    of: str
    labels: tuple[str, ...]
    classes: bool
    rows: tuple[int, ...]
    predictions: Tensor
    targets: Tensor

    @property
    def whose(self) -> str:
        """For a caption: `test part, 360 examples, best member seed-2`."""
        return f"{self.part} part, {len(self.rows):,} examples" + (
            f", {self.of}" if self.of else ""
        )


def ranks_items(view: RunView) -> bool:
    """Return whether a run's answers are places in lists, whose distance says nothing."""
    told = view.settings.get
    learnt = told("task") == "ranking" or told("data.source.target") is None
    return told("data.interactions.user") is not None and learnt


def answers_of(view: RunView) -> Answers | None:
    """Return the answers to the test part, else the validation part; None if there are none.

    Of several seeds they are those of the member that was best in validation; of several
    folds all folds' together, each with its first seed.

    Raises:
        DataError: If a file is damaged.
    """
    folders, of = _sources(view)
    for part in _PARTS:
        files = [folder / f"predictions-{part}.csv" for folder in folders]
        if files and all(file.is_file() for file in files):
            return _joined([_read(file) for file in files], part, of)
    return None


def answers_by_model(view: RunView, part: str) -> list[Answers]:
    """Return the answers to a part, of each fold's model by itself; none where some lack.

    Raises:
        DataError: If a file is damaged.
    """
    folders, of = _sources(view)
    files = [folder / f"predictions-{part}.csv" for folder in folders]
    if not all(file.is_file() for file in files):
        return []
    found = [_joined([_read(file)], part, of) for file in files]
    return [answers for answers in found if answers is not None]


def texts_of(view: RunView, most: int) -> list[tuple[str, str, str]]:
    """Return row, true text and written text of the first answers that are texts.

    Raises:
        DataError: If a file is damaged.
    """
    folders, _ = _sources(view)
    for part in _PARTS:
        path = folders[0] / f"predictions-{part}.csv"
        if not path.is_file():
            continue
        try:
            with path.open(encoding="utf-8", newline="") as lines:
                table = csv.reader(lines)
                if next(table, []) != TEXTS:
                    return []
                return [(row, true, own) for row, true, own in islice(table, most)]
        except (OSError, ValueError, csv.Error) as error:
            raise DataError(f"{path}: damaged: {error}") from None
    return []


def _sources(view: RunView) -> tuple[list[Path], str]:
    measured = [member for member in view.members if "metrics" in member]
    if len(view.members) <= 1:
        return [view.path], ""
    firsts: dict[int, str] = {}
    for member in measured:
        firsts.setdefault(member["fold"], str(member["label"]))
    if len(firsts) > 1:
        return [view.path / "members" / label for label in firsts.values()], (
            f"the models of {len(firsts)} folds, each on its own part"
        )
    best = str(view.result.get("best_member"))
    return [view.path / "members" / best], f"best member in validation: {best}"


@dataclass(frozen=True)
class _File:
    labels: tuple[str, ...]
    classes: bool
    rows: list[int]
    predictions: list[list[float]]
    targets: list[int] | list[list[float]]


def _read(path: Path) -> _File:
    try:
        with path.open(encoding="utf-8", newline="") as lines:
            head, *rows = list(csv.reader(lines))
        if head == TEXTS:
            return _File((), True, [], [], [])
        return _classes(head, rows) if "prediction" in head else _values(head, rows)
    except (OSError, ValueError, IndexError, KeyError, csv.Error) as error:
        raise DataError(f"{path}: damaged: {error}") from None


def _classes(head: list[str], rows: list[list[str]]) -> _File:
    labels = tuple(match.group(1) for match in map(_CLASS.fullmatch, head[3:]) if match)
    index = {label: code for code, label in enumerate(labels)}
    return _File(
        labels,
        True,
        [int(row[0]) for row in rows],
        [list(map(float, row[3:])) for row in rows],
        [index[row[1]] for row in rows],
    )


def _values(head: list[str], rows: list[list[str]]) -> _File:
    labels = tuple(match.group(1) for match in map(_TARGET.fullmatch, head[1::2]) if match)
    return _File(
        labels,
        False,
        [int(row[0]) for row in rows],
        [list(map(float, row[2::2])) for row in rows],
        [list(map(float, row[1::2])) for row in rows],
    )


def _joined(files: list[_File], part: str, of: str) -> Answers | None:
    import torch

    first = files[0]
    if any(file.labels != first.labels for file in files) or not first.rows:
        return None
    targets = [torch.tensor(file.targets) for file in files]
    return Answers(
        part,
        of,
        first.labels,
        first.classes,
        tuple(row for file in files for row in file.rows),
        torch.cat([torch.tensor(file.predictions) for file in files]),
        torch.cat(targets),
    )
