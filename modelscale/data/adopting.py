"""Pre-processing taken over from a checkpoint, so that its network reads what it learnt to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from modelscale.data.preprocessing import Preprocessing
    from modelscale.data.raw import Raw

_SHOWN = 5
_OF_TARGET = {"task", "labels", "targets", "target_names", "adopted"}


class Adoption(NamedTuple):
    """What is taken over.

    Attributes:
        saved: The checkpoint's pre-processing.
        own_scaling: Whether numbers and pixels are scaled by the training part all the same.
        length: Symbols of a text, where they are fewer than in the checkpoint, or samples of a
            recording.
    """

    saved: Preprocessing
    own_scaling: bool = False
    length: int | None = None


def adopted(fresh: Preprocessing, adoption: Adoption, raw: Raw) -> Preprocessing:
    """Return what turns these data into what the checkpoint's network reads.

    Symbols, columns, categories and scaling are the checkpoint's, the target is the data's.
    Where the target means the same as in the checkpoint, its scale is the checkpoint's too.

    Args:
        fresh: Fitted on the data.
        adoption: What is taken over.
        raw: The data.

    Raises:
        ValueError: If the data is of another sort; says what differs.
    """
    saved = adoption.saved
    if adoption.length is not None and not (fresh.texts or fresh.form == "audio"):
        raise ValueError("model.length is for texts and recordings")
    if (fresh.form, bool(fresh.texts)) != (saved.form, bool(saved.texts)):
        raise ValueError(f"it reads {_sort(saved)}, and the data is {_sort(fresh)}")
    kept: dict[str, Any] = {"encoding": saved.encoding, "adopted": True}
    if fresh.texts:
        kept |= {"symbols": saved.symbols, "vocabulary": saved.vocabulary}
        kept["shape"] = (_length(adoption),)
        if fresh.written is not None and saved.written is not None:
            kept |= {"written": saved.written, "written_length": saved.written_length}
    elif fresh.form == "table":
        kept |= _columns(fresh, adoption, raw)
    elif fresh.form == "array":
        kept |= _scaling(fresh, adoption)
    elif fresh.form == "tokens":
        kept |= _windows(fresh, saved)
    else:
        kept |= _as_it_is(adoption)
    if same_target(fresh, saved):
        kept["targets"] = saved.targets
    return fresh.model_copy(update=kept)


def _as_it_is(adoption: Adoption) -> dict[str, Any]:
    """Return all that is about the inputs; recordings may be read for another time."""
    kept = {name: value for name, value in adoption.saved if name not in _OF_TARGET}
    if adoption.length is not None:
        kept["shape"] = (adoption.length,)
    return kept


def _length(adoption: Adoption) -> int:
    (most,) = adoption.saved.shape
    length = most if adoption.length is None else adoption.length
    if length > most:
        raise ValueError(f"it reads {most} symbols, not {length} (model.length)")
    return length


def same_target(one: Preprocessing, other: Preprocessing) -> bool:
    """Return whether a network's outputs mean the same under both."""
    logs = [tuple(target.log for target in p.targets) for p in (one, other)]
    return (
        one.task == other.task
        and one.labels == other.labels
        and one.target_names == other.target_names
        and logs[0] == logs[1]
    )


def _sort(preprocessing: Preprocessing) -> str:
    if preprocessing.texts:
        return "texts"
    words = {"table": "a table", "array": "an array", "tokens": "windows of a text"}
    return words.get(preprocessing.form, preprocessing.form)


def _columns(fresh: Preprocessing, adoption: Adoption, raw: Raw) -> dict[str, Any]:
    """Return the fields of a table, whose columns must be those of the checkpoint."""
    saved = adoption.saved
    missing = [name for name in saved.columns if name not in raw.columns]
    if missing:
        raise ValueError(f"the data lacks columns that it reads: {_listed(missing)}")
    unknown = [name for name in fresh.columns if name not in saved.columns]
    if unknown:
        raise ValueError(
            f"the data has columns that it does not read: {_listed(unknown)}; "
            "data.columns: {NAME: ignore} leaves one out"
        )
    numeric = saved.numeric
    if adoption.own_scaling:
        own = {column.name: column for column in fresh.numeric}
        numeric = tuple(
            column.model_copy(update={"mean": mine.mean, "scale": mine.scale})
            if (mine := own.get(column.name))
            else column
            for column in numeric
        )
    return {"numeric": numeric, "categories": saved.categories}


def _scaling(fresh: Preprocessing, adoption: Adoption) -> dict[str, Any]:
    """Return the fields of images or vectors; images may have another height and width."""
    saved = adoption.saved
    if len(fresh.channels) != len(saved.channels):
        what = "channels" if len(saved.shape) > 1 else "numbers an example"
        raise ValueError(
            f"it reads {len(saved.channels)} {what}, and the data has {len(fresh.channels)}"
        )
    if adoption.own_scaling:
        return {}
    if fresh.divisor != saved.divisor:
        units = {True: "other numbers than bytes", False: "bytes from 0 to 255"}
        raise ValueError(
            f"it was trained on {units[saved.divisor == 1]}, and the data is "
            f"{units[fresh.divisor == 1]}; model.scaling: own scales each in its own way"
        )
    return {"channels": saved.channels}


def _windows(fresh: Preprocessing, saved: Preprocessing) -> dict[str, Any]:
    assert fresh.symbols is not None
    assert saved.symbols is not None
    if fresh.symbols.unit != saved.symbols.unit:
        raise ValueError(
            f"it reads {saved.symbols.unit}, and the data is cut into {fresh.symbols.unit} "
            "(data.source.unit)"
        )
    return {"symbols": saved.symbols, "vocabulary": saved.vocabulary}


def _listed(names: list[str]) -> str:
    more = ", …" if len(names) > _SHOWN else ""
    return ", ".join(f"'{name}'" for name in names[:_SHOWN]) + more
