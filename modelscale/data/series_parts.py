"""Windows of series and the parts of a split: no step may be in two of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelscale.errors import DataError, SpecError, did_you_mean

if TYPE_CHECKING:
    from modelscale.data.raw import Raw
    from modelscale.data.section import DataSection
    from modelscale.data.splits.base import Fold
    from modelscale.data.windows import Windows


def check_series(section: DataSection, raw: Raw, windows: Windows) -> None:
    """Refuse a section that asks for what series cannot give, or would leak.

    Raises:
        SpecError: Saying what to write instead.
    """
    import numpy as np

    split = section.split
    several = len(np.unique(windows.unit_N)) < len(windows)
    by_unit = split.own_kind() in {"group", "time", "column"} or getattr(split, "group", False)
    if several and not by_unit:
        raise SpecError(
            f"data.split: {split.own_kind()} would put windows of one unit into several parts; "
            "give {kind: group}, which keeps units whole, {kind: time}, or for folds {kind: "
            "kfold, group: true}"
        )
    for name, role in section.columns.items():
        if role not in ("numeric", "ignore"):
            raise SpecError(f"data.columns.{name}: series are of numbers, so it is not {role}")
        if name not in windows.columns and name not in raw.skipped and role != "ignore":
            hint = did_you_mean(name, windows.columns)
            raise SpecError(f"data.columns: no column '{name}'{hint}")
    if section.text is not None:
        raise SpecError("data.text: series are no texts; leave it out")
    for place, augmentation in enumerate(section.augment):
        if augmentation.form != "series":
            raise SpecError(
                f"data.augment.{place}: {augmentation.own_kind()} is for {augmentation.form} "
                "alone; leave it out"
            )


def apart(fold: Fold, windows: Windows, origin: str) -> Fold:
    """Return the parts of a split by time without the windows that reach into a later part.

    A window reaches as far as the steps that its target needs.

    Raises:
        DataError: If no training window is left.
    """
    import numpy as np
    import torch

    first_U = np.full(len(windows.units), windows.steps + 1, dtype=np.int64)
    reach_N = windows.ends() + windows.ahead
    kept = []
    for rows in (fold.test.numpy(), fold.validation.numpy(), fold.train.numpy()):
        inside = rows[reach_N[rows] < first_U[windows.unit_N[rows]]]
        np.minimum.at(first_U, windows.unit_N[inside], windows.start_N[inside])
        kept.append(torch.from_numpy(inside))
    test, validation, train = kept
    if not len(train) or (len(fold.validation) and not len(validation)):
        raise DataError(
            f"{origin}: split: time leaves no windows before those of the later part; make "
            "windows shorter or the parts larger"
        )
    return type(fold)(train=train, validation=validation, test=test)
