"""What is in a data set, in numbers: columns and their roles, target, parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelscale.data.raw import Texts
from modelscale.data.roles import column_roles
from modelscale.data.targets import class_codes, class_labels, numbers

if TYPE_CHECKING:
    from modelscale.data.loading import LoadedData
    from modelscale.data.raw import Raw
    from modelscale.data.section import DataSection
    from modelscale.data.windows import Windows


@dataclass(frozen=True)
class ColumnSummary:
    """A column of a table.

    Attributes:
        name: In the file.
        role: "numeric", "category", "text" or "ignore".
        missing: Cells that are missing; None where the column was not read.
        different: Different values; None where the column was not read.
        reason: Why it is ignored; empty otherwise.
    """

    name: str
    role: str
    missing: int | None
    different: int | None
    reason: str = ""


@dataclass(frozen=True)
class TargetSummary:
    """A target.

    Attributes:
        name: In the file.
        classes: Rows of each class; empty for regression.
        mean: Of a regression target, in its unit; None for classes.
        deviation: Standard deviation, likewise.
        low: Smallest value, likewise.
        high: Largest value, likewise.
    """

    name: str
    classes: dict[str, int]
    mean: float | None = None
    deviation: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class DataSummary:
    """A data set.

    Attributes:
        origin: File or data set.
        fingerprint: sha256 of the content that was read.
        task: What is learnt.
        rows: Examples.
        shape: Of one example, for arrays; empty for tables.
        columns: Of a table, in file order, ignored ones last.
        targets: What is to be learnt.
        folds: Rows of each part, for each fold.
        on_disk: Whether examples are read from disk in pieces.
        warnings: What a user should look at, one line each.
    """

    origin: str
    fingerprint: str
    task: str
    rows: int
    shape: tuple[int, ...]
    columns: tuple[ColumnSummary, ...]
    targets: tuple[TargetSummary, ...]
    folds: tuple[dict[str, int], ...]
    on_disk: bool
    warnings: tuple[str, ...]


def describe(loaded: LoadedData, section: DataSection) -> DataSummary:
    """Return the summary of what `load` returned for a section."""
    raw = loaded.raw
    return DataSummary(
        origin=raw.origin,
        fingerprint=raw.fingerprint,
        task=loaded.task,
        rows=len(raw),
        shape=_shape(raw),
        columns=_columns(loaded, section) if raw.array is None else (),
        targets=_targets(loaded),
        folds=tuple(
            {"train": len(f.train), "validation": len(f.validation), "test": len(f.test)}
            for f in loaded.folds
        ),
        on_disk=loaded.on_disk,
        warnings=loaded.warnings,
    )


def _shape(raw: Raw) -> tuple[int, ...]:
    if raw.series is not None:
        return (len(raw.series.columns), raw.series.positions)
    return () if raw.array is None else tuple(raw.array.shape[1:])


def _columns(loaded: LoadedData, section: DataSection) -> tuple[ColumnSummary, ...]:
    import numpy as np

    raw = loaded.raw
    if raw.series is not None:
        return _sensors(raw.series, raw.skipped)
    roles = column_roles(raw, loaded.folds[0].train.numpy(), section.roles())
    found = []
    for name, cells in raw.columns.items():
        role = "category" if name in roles.category else "numeric"
        role = "text" if name in roles.text else role
        reason = roles.ignored.get(name, "")
        if isinstance(cells, Texts):
            values, missing = np.unique(cells.codes_N), int((cells.codes_N < 0).sum())
            different = int((values >= 0).sum())
        else:
            values, missing = np.unique(cells), int(np.isnan(cells).sum())
            different = int((~np.isnan(values)).sum())
        found.append(
            ColumnSummary(name, "ignore" if reason else role, missing, different, reason)
        )
    unread = [ColumnSummary(n, "ignore", None, None, why) for n, why in raw.skipped.items()]
    return (*found, *unread)


def _sensors(windows: Windows, skipped: dict[str, str]) -> tuple[ColumnSummary, ...]:
    """Return the summary of the columns of series, of all steps."""
    import numpy as np

    found = []
    for name, cells in windows.columns.items():
        absent_L = np.isnan(cells)
        different = len(np.unique(cells[~absent_L]))
        found.append(ColumnSummary(name, "numeric", int(absent_L.sum()), different))
    unread = [ColumnSummary(n, "ignore", None, None, why) for n, why in skipped.items()]
    return (*found, *unread)


def _targets(loaded: LoadedData) -> tuple[TargetSummary, ...]:
    if loaded.task == "classification":
        return _classes(loaded.raw)
    return _values(loaded.raw) if loaded.task == "regression" else ()


def _classes(raw: Raw) -> tuple[TargetSummary, ...]:
    import numpy as np

    labels = class_labels(raw)
    counts = np.bincount(class_codes(raw, labels), minlength=len(labels)).tolist()
    return (TargetSummary(raw.target_names[0], dict(zip(labels, counts, strict=True))),)


def _values(raw: Raw) -> tuple[TargetSummary, ...]:
    value_NT = numbers(raw)
    return tuple(
        TargetSummary(
            name,
            {},
            mean=float(value_N.mean()),
            deviation=float(value_N.std()),
            low=float(value_N.min()),
            high=float(value_N.max()),
        )
        for name, value_N in zip(raw.target_names, value_NT.T, strict=True)
    )
