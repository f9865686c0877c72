"""From a `data` section to what training sees: `load` reads, `prepare` makes one fold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelscale.data.pairs import check_pairs, target_as_text
from modelscale.data.prepared import Prepared
from modelscale.data.reading import Reading
from modelscale.data.repeats import repeats_warning
from modelscale.data.roles import is_long
from modelscale.data.series_parts import apart, check_series
from modelscale.data.targets import (
    RARE,
    class_codes,
    class_labels,
    infer_task,
    with_anomalies,
    with_positive,
)
from modelscale.errors import DataError, SpecError

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from torch import Tensor

    from modelscale.data.adopting import Adoption
    from modelscale.data.item_table import ItemTable
    from modelscale.data.prepared import Examples
    from modelscale.data.preprocessing import Preprocessing
    from modelscale.data.raw import Raw
    from modelscale.data.section import DataSection
    from modelscale.data.splits.base import Fold
    from modelscale.tensors import Encoding, Part, StatedTask, Task


@dataclass(frozen=True)
class LoadedData:
    """All examples of a `data` section, and how they are divided.

    Attributes:
        raw: The examples as they were read.
        task: What is learnt.
        folds: One fold, or one for each round of cross-validation.
        on_disk: Whether prepared examples go to the cache folder rather than to memory.
        warnings: What a user should look at, one line each.
    """

    raw: Raw
    task: Task
    folds: tuple[Fold, ...]
    on_disk: bool
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class NewData:
    """Examples that a finished model sees: to predict, or to be measured on.

    Attributes:
        x: The examples as the network takes them.
        y: (N,) int64 classes or (N, T) float32 transformed targets; None to predict only.
        fingerprint: sha256 of the content that was read.
        origin: For people: file or data set.
    """

    x: Examples
    y: Tensor | None
    fingerprint: str
    origin: str


def load(section: DataSection, task: StatedTask | None = None) -> LoadedData:
    """Return all examples of a section, with the task and the folds.

    Args:
        section: The `data` section of a spec.
        task: What is learnt; inferred from the target where None (see `infer_task`). With
            `anomaly` labels are not needed, and are 1 for what is to be found.

    Raises:
        DataError: If the data is damaged or not what the section says.
        InputMissing: If a file is not there.
        SpecError: If the section asks for what such data cannot give.
    """
    from modelscale.data.storage import goes_to_disk, spill_folder

    on_disk = goes_to_disk(section)
    roles = section.roles() | (target_as_text(section.source) if task == "translation" else {})
    raw = section.source.read(Reading(roles, spill=spill_folder() if on_disk else None))
    if len(raw) == 0:
        raise DataError(f"{raw.origin}: no rows")
    if task == "anomaly":
        _check_target(raw)
        raw, task = with_anomalies(raw), "classification"
    raw, task = _interactions(raw, task, section)
    if task != "pretraining":
        _check_target(raw)
    task = task or infer_task(raw)
    if section.positive is not None:
        if task != "classification":
            raise SpecError(f"data.positive: goes with classification, not {task}")
        raw = with_positive(raw, section.positive)
    _check_section(section, raw, task)
    _check_task(section, raw, task)
    folds = section.split.divide(raw, task)
    if raw.symbols is not None:
        folds = tuple(_apart(fold, raw) for fold in folds)
    if raw.series is not None and section.split.own_kind() == "time":
        folds = tuple(apart(fold, raw.series, raw.origin) for fold in folds)
    return LoadedData(raw, task, folds, on_disk, _warnings(raw, task, folds, section))


def prepare(
    loaded: LoadedData,
    fold: int,
    encoding: Encoding,
    section: DataSection,
    device: torch.device | None = None,
    *,
    bins: int = 0,
    adoption: Adoption | None = None,
) -> Prepared:
    """Return one fold ready for a network, its pre-processing fitted on the training rows.

    Args:
        loaded: What `load` returned for the same section.
        fold: Index into `loaded.folds`.
        encoding: How categories of a table reach the network.
        section: The `data` section of the spec.
        device: Where examples and targets go; the CPU by default.
        bins: Into how many bins the model wants each number of a table cut.
        adoption: What is taken over from a checkpoint rather than fitted.

    Raises:
        ValueError: If the data is not what the checkpoint's network reads.
    """
    import torch

    from modelscale.data.adopting import adopted
    from modelscale.data.fitting import fit
    from modelscale.data.storage import transform

    device = device or torch.device("cpu")
    rows = loaded.folds[fold]
    raw = loaded.raw
    key = section.source.model_dump_json() if loaded.on_disk else None
    fitted = fit(raw, loaded.task, rows.train.numpy(), encoding, section, bins)
    if adoption is not None:
        fitted = adopted(fitted, adoption, raw)
    x = transform(fitted, raw, device, key)
    parts: dict[Part, Tensor] = {
        "train": rows.train.to(device),
        "validation": rows.validation.to(device),
        "test": rows.test.to(device),
    }
    return Prepared(
        task=loaded.task,
        inputs=fitted.inputs(),
        targets=fitted.outputs,
        x=x,
        y=fitted.encode_target(raw).to(device),
        rows=parts,
        preprocessing=fitted,
        fingerprint=raw.fingerprint,
        items=items_of(loaded.task, section, raw, x, fitted, parts),
    )


def items_of(
    task: Task,
    section: DataSection,
    raw: Raw,
    x: Examples,
    preprocessing: Preprocessing,
    parts: dict[Part, Tensor],
) -> ItemTable | None:
    """Return all items, where items are to be ranked."""
    from modelscale.data.item_table import item_table

    if task != "ranking" or section.interactions is None:
        return None
    return item_table(raw, section.interactions, x, preprocessing.inputs(), parts)


def prepare_new(
    preprocessing: Preprocessing, raw: Raw, device: torch.device | None = None
) -> NewData:
    """Return new examples as a finished model's network takes them.

    Raises:
        DataError: If a column is missing, has another type, or a label is not known.
    """
    import torch

    from modelscale.data.storage import transform

    if len(raw) == 0:
        raise DataError(f"{raw.origin}: no rows")
    device = device or torch.device("cpu")
    x = transform(preprocessing, raw, device)
    y = None
    if raw.target is not None:
        _check_target(raw)
        y = preprocessing.encode_target(raw).to(device)
    return NewData(x, y, raw.fingerprint, raw.origin)


def _interactions(raw: Raw, task: Task | None, section: DataSection) -> tuple[Raw, Task | None]:
    """Return interactions with what is known of users and items, and the task they make."""
    from modelscale.data.interactions import chosen, joined

    if section.interactions is None:
        return raw, task
    if raw.array is not None:
        raise SpecError("data.interactions: only tables have users and items; leave it out")
    raw = joined(raw, section.interactions, section.roles())
    if task is None and raw.target is None:
        task = "ranking"
    if task == "ranking":
        return chosen(raw, section.interactions), task
    if section.interactions.relevant is not None:
        raise SpecError("data.interactions.relevant: is for task: ranking; leave it out")
    return raw, task


def _check_target(raw: Raw) -> None:
    """Refuse rows without a target: nothing can be learnt or measured from them."""
    import numpy as np

    from modelscale.data.raw import Texts

    if raw.target is None:
        return
    if isinstance(raw.target, Texts):
        missing = np.asarray(raw.target.codes_N)[:, None] < 0
    else:
        missing = np.isnan(np.asarray(raw.target)).reshape(len(raw.target), -1)
    if missing.any():
        row, column = np.unravel_index(int(np.argmax(missing)), missing.shape)
        raise DataError(
            f"{raw.origin}: row {row + raw.first_row}, target '{raw.target_names[column]}': "
            f"is missing ({int(missing.any(axis=1).sum())} rows have none); remove these rows"
        )


def _check_task(section: DataSection, raw: Raw, task: Task) -> None:
    """Refuse data that such a task cannot be learnt from."""
    if task == "ranking" and section.interactions is None:
        raise SpecError("task: ranking needs data.interactions, the columns of user and item")
    if task == "translation":
        check_pairs(section, raw)
    if task == "transcription" and raw.rate is None:
        raise SpecError(f"task: transcription needs recordings, which {raw.origin} has not")
    if (task == "language_model") != (raw.symbols is not None):
        raise SpecError(f"task: {task} does not fit {raw.origin}; leave it out")


def _check_section(section: DataSection, raw: Raw, task: Task) -> None:
    if raw.symbols is not None and section.split.own_kind() != "time":
        raise SpecError(
            "data.split: windows of one text follow each other; give {kind: time, test: 0.1, "
            "validation: 0.1}, which cuts the text in one piece for each part"
        )
    if raw.series is not None:
        check_series(section, raw, raw.series)
        return
    if section.columns and raw.array is not None:
        raise SpecError("data.columns: only tables have columns; leave it out")
    texts = any(is_long(cells) for cells in raw.columns.values())
    if section.text is not None and not texts:
        raise SpecError(
            "data.text: no column is text; say which one is: data.columns: {NAME: text}"
        )
    if section.audio is not None and raw.rate is None:
        raise SpecError("data.audio: is for recordings alone; leave it out")
    if section.translation is not None and task != "translation":
        raise SpecError("data.translation: is for task: translation alone; leave it out")
    if section.transcript is not None and task != "transcription":
        raise SpecError("data.transcript: is for task: transcription alone; leave it out")
    _check_augmentations(section, raw, texts=texts)


def _check_augmentations(section: DataSection, raw: Raw, *, texts: bool) -> None:
    images = raw.array is not None and raw.array.ndim == 4
    if section.augment and not images and not texts and raw.rate is None:
        raise SpecError(
            "data.augment: only images, texts and recordings can be augmented; leave it out"
        )
    form = "images" if images else "recordings" if raw.rate else "texts"
    for place, augmentation in enumerate(section.augment):
        if augmentation.form != form:
            raise SpecError(
                f"data.augment.{place}: {augmentation.own_kind()} is for {augmentation.form} "
                "alone; leave it out"
            )


def _apart(fold: Fold, raw: Raw) -> Fold:
    """Return the parts of a text without the windows that reach into the next part."""
    import torch

    assert raw.array is not None
    assert raw.times is not None
    start_N, length = torch.from_numpy(raw.times), raw.array.shape[1]
    later = float(start_N[-1]) + length  # where the next part begins
    kept = []
    for rows in (fold.test, fold.validation, fold.train):
        inside = rows[start_N[rows] + length - 1 <= later]
        kept.append(inside)
        later = float(start_N[inside[0]]) if len(inside) else later
    test, validation, train = kept
    return type(fold)(train=train, validation=validation, test=test)


def _warnings(
    raw: Raw, task: Task, folds: tuple[Fold, ...], section: DataSection
) -> tuple[str, ...]:
    import numpy as np

    from modelscale.data.roles import column_roles

    found: list[str] = []
    if raw.array is None and raw.series is None:
        found += column_roles(raw, folds[0].train.numpy(), section.roles()).warnings
        if raw.columns and task in ("classification", "regression"):
            found += filter(None, [repeats_warning(raw, folds[0])])
    if task == "classification":
        labels, code_N = class_labels(raw), class_codes(raw)
        if len(labels) < 2:
            raise DataError(f"{raw.origin}: the target has one class only ({labels[0]!r})")
        if len(labels) == 2 and not raw.classes and (code_N == 0).mean() < RARE:
            found.append(
                f"class {labels[0]!r} is rare, and metrics of one class are about "
                f"{labels[1]!r}; if it is to be found, say data.positive: {labels[0]}"
            )
        for number, fold in enumerate(folds):
            seen = np.bincount(code_N[fold.train.numpy()], minlength=len(labels))
            place = f"fold {number}: " if len(folds) > 1 else ""
            found += [
                f"{place}class {labels[code]!r} has no training rows"
                for code in np.flatnonzero(seen == 0)
            ]
        if len(folds) == 1:
            found += _unmeasured(folds[0], labels, code_N)
    return tuple(found)


def _unmeasured(fold: Fold, labels: tuple[str, ...], code_N: NDArray[np.int64]) -> list[str]:
    """Return a warning for each class that a part lacks which has rows of others."""
    import numpy as np

    found = []
    for part in ("validation", "test"):
        rows = getattr(fold, part).numpy()
        seen = np.bincount(code_N[rows], minlength=len(labels))
        lacking = [labels[code] for code in np.flatnonzero(seen == 0)] if len(rows) else []
        if lacking:
            some = ", ".join(map(repr, lacking[:5])) + (", …" if len(lacking) > 5 else "")
            found.append(f"class {some} has no {part} rows, so nothing is known of it there")
    return found
