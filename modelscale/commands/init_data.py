"""A starter spec for a file or folder of the user's own, with what reading it has shown."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelscale.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from modelscale.data.describing import DataSummary
    from modelscale.data.sources.csv import CsvSource

_PIXELS = 64
_TRAIN = """\
optimizer: {kind: adam, lr: 1e-3}
train:
  epochs: 200
  batch_size: 64
  early_stopping: {patience: 20}
"""


def spec_of(path: Path, target: str | None) -> str:
    """Return the text of a spec that learns a file's column, or the classes of a folder.

    What is not usual about the file, such as its delimiter, is found by trying, and stands in
    the spec to be seen; a run guesses nothing.

    Raises:
        DataError: If the data is damaged, or needs what only its owner knows.
        InputMissing: If it is not there.
        UsageError: If no target is named, or the file is no table.
    """
    from modelscale.data.opening import source_of
    from modelscale.data.sources._table import TableSource
    from modelscale.data.sources.csv import CsvSource

    source = source_of(path)
    kind = source.own_kind()
    told: dict[str, Any] = {"kind": kind, "path": str(path)}
    if path.is_dir():
        if target is not None:
            raise UsageError(f"{path}: is a folder, whose class folders are the target")
        told |= {"size": [_PIXELS, _PIXELS]} if kind == "image_folder" else {}
        model = "cnn" if kind == "image_folder" else "text_average"
        return _text(told, {}, model, _summary(told, {}))
    if not isinstance(source, TableSource):
        raise UsageError(f"{path}: is no table; see --template for others")
    if isinstance(source, CsvSource):
        unusual = _delimiter(source)
        told |= unusual
        source = source.model_copy(update=unusual)
    columns = source.file().names()
    if target not in columns:
        wanted = "" if target is None else f"no column {target!r}; "
        hint = did_you_mean(target or "", columns)
        raise UsageError(f"{path}: {wanted}say which column is learnt: --target{hint}")
    told["target"] = target
    found = _summary(told, {})
    return _text(told, _ignored(found), "mlp", found)


def _ignored(found: DataSummary) -> dict[str, str]:
    """Return the columns that a spec had better ignore, and why."""
    ignored = {column.name: column.reason for column in found.columns if column.reason}
    for column in found.columns:
        if any(f"'{column.name}' just numbers the rows" in line for line in found.warnings):
            ignored[column.name] = "it just numbers the rows"
    return ignored


def _delimiter(source: CsvSource) -> dict[str, str]:
    """Return the delimiter, where the source's own leaves the header in one piece."""
    from modelscale.data.reading import DELIMITERS

    names = source.file().names()
    other = next((mark for mark in DELIMITERS if len(names) == 1 and mark in names[0]), None)
    mark = other or (source.delimiter if source.delimiter != "," else None)
    return {} if mark is None else {"delimiter": mark}


def _summary(source: dict[str, Any], columns: dict[str, str]) -> DataSummary:
    from modelscale.commands.data import show
    from modelscale.data.section import DataSection

    return show(DataSection.model_validate({"source": source, "columns": columns})).summary


def _text(
    source: dict[str, Any], ignored: dict[str, str], model: str, found: DataSummary
) -> str:
    from modelscale.spec.emit import flow, quoted

    goal = found.targets[0]
    shares = ", ".join(f"{label} {rows:,}" for label, rows in list(goal.classes.items())[:10])
    what = shares or f"{goal.low:g} to {goal.high:g}"
    lines = [f"# {found.origin}: {found.rows:,} rows, {found.task}, {goal.name}: {what}"]
    about = [w for w in found.warnings if not any(f"'{name}'" in w for name in ignored)]
    lines += [f"# {warning}" for warning in about]
    lines += ["data:", f"  source: {flow(source)}"]
    if ignored:
        lines.append("  columns:")
        lines += [f"    {quoted(name)}: ignore  # {why}" for name, why in ignored.items()]
    lines.append("  split: {test: 0.2, validation: 0.2, seed: 0}")
    return "\n".join([*lines, f"model: {model}", ""]) + _TRAIN
