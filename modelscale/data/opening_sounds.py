"""Recordings that the command line names, read as a finished model takes them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelscale.data.reading import Reading
from modelscale.data.sound_files import is_sound
from modelscale.data.sources.base import SourceSpec
from modelscale.errors import InputMissing, UsageError

if TYPE_CHECKING:
    from modelscale.data.preprocessing import Preprocessing
    from modelscale.data.raw import Raw

_TABLES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet", ".pq")


def read_new_sounds(
    path: Path,
    preprocessing: Preprocessing,
    like: SourceSpec | None,
    *,
    with_target: bool,
    spill: Path | None,
) -> Raw:
    """Return new recordings: a file, a folder, an archive, or a table that names files.

    They are brought to the model's rate and length. Where the model learnt from names of
    files, those of the new ones say what they are by the same pattern.

    Raises:
        DataError: If a file is no intact recording.
        InputMissing: If it is not there.
        UsageError: If nothing there can be recordings.
    """
    if not path.exists():
        raise InputMissing(f"{path}: No such file or directory")
    kind = _kind(path, like, with_target=with_target)
    options: dict[str, Any] = _common(preprocessing, like) | {"kind": kind, "path": path}
    if kind == "audio_table":
        fields = ("file", "missing")
        options |= {name: getattr(like, name) for name in fields if hasattr(like, name)}
        options |= {"target": preprocessing.target_names[0]} if with_target else {}
    elif kind == "audio_files":
        options["path"] = (path,)
        if with_target and like is not None and like.own_kind() == kind:
            options |= {name: getattr(like, name) for name in ("pattern", "target")}
    return SourceSpec.model_validate(options).read(Reading(spill=spill))


def _kind(path: Path, like: SourceSpec | None, *, with_target: bool) -> str:
    from modelscale.data.named_files import is_archive

    if path.suffix.lower() in _TABLES:
        return "audio_table"
    if path.is_dir():
        by_name = like is not None and like.own_kind() == "audio_files"
        return "audio_folder" if with_target and not by_name else "audio_files"
    if is_archive(path) or is_sound(path.name):
        return "audio_files"
    raise UsageError(
        f"{path}: is not named like recordings (.wav, .flac, …, an archive or a folder of "
        f"them, or a table that names them: {', '.join(_TABLES)})"
    )


def _common(preprocessing: Preprocessing, like: SourceSpec | None) -> dict[str, Any]:
    assert preprocessing.spectra is not None
    rate = preprocessing.spectra.rate
    channels = getattr(like, "channels", "mix")
    return {"rate": rate, "seconds": preprocessing.shape[0] / rate, "channels": channels}
