"""Files that the command line names: which source reads them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelscale.data import images, text_files
from modelscale.data.reading import Reading
from modelscale.data.sources._images import ImageSource
from modelscale.data.sources.base import SourceSpec
from modelscale.data.sources.csv import CsvSource
from modelscale.data.sources.image_folder import ImageFolderSource
from modelscale.data.sources.image_table import ImageTableSource
from modelscale.data.sources.text_folder import TextFolderSource
from modelscale.errors import DataError, InputMissing, UsageError, did_you_mean

if TYPE_CHECKING:
    from modelscale.data.preprocessing import Preprocessing
    from modelscale.data.raw import Raw

KINDS = {
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".npy": "npz",
    ".npz": "npz",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".tsv": "csv",
    ".ts": "ts_file",
    ".txt": "text_file",
}
"""Sources of files, by the ends of their names."""
_TABLES = ("csv", "jsonl", "parquet")


def source_of(path: Path, like: SourceSpec | None = None, **options: Any) -> SourceSpec:
    """Return the source that reads a file or folder, by its name.

    Args:
        path: A table, an array, or a folder of class folders of images.
        like: A source whose kind reads files that are not named like data, such as `u.data`.
        options: Fields of the source.

    Raises:
        InputMissing: If nothing is there.
        UsageError: If no source reads such a file.
    """
    if not path.exists():
        raise InputMissing(f"{path}: No such file or directory")
    kind = _folder_kind(path, like) if path.is_dir() else KINDS.get(path.suffix.lower())
    if path.suffix.lower() in images.FORMATS:
        kind = "image_folder"
    if like is not None and like.own_kind() == "image_table" and kind in _TABLES:
        kind = "image_table"
    if kind is None and like is not None and like.own_kind() in KINDS.values():
        kind = like.own_kind()
    if kind is None:
        raise UsageError(
            f"{path}: is not named like data ({', '.join(KINDS)}, or a folder); a spec can "
            f"say what it is: data.source: {{kind: csv, path: {path}, …}}"
        )
    if path.suffix.lower() == ".tsv" and kind == "csv":
        options = {"delimiter": "\t"} | options
    return SourceSpec.model_validate({"kind": kind, "path": path} | options)


def _folder_kind(path: Path, like: SourceSpec | None) -> str:
    """Return what a folder holds: what the model was trained on, else by the first file."""
    if like is not None and like.own_kind() in ("image_folder", "text_folder"):
        return like.own_kind()
    inside = (file for pattern in ("*/*", "*") for file in sorted(path.glob(pattern)))
    first = next((file for file in inside if file.is_file() and file.name[0] != "."), None)
    return "text_folder" if first and first.suffix.lower() == ".txt" else "image_folder"


def read_new(
    path: Path,
    preprocessing: Preprocessing,
    like: SourceSpec | None = None,
    *,
    with_target: bool = False,
    spill: Path | None = None,
) -> Raw:
    """Return new examples for a finished model, read as those that it was trained on.

    Args:
        path: File or folder of the examples.
        preprocessing: The model's; columns that it does not name are not read.
        like: The source that the model was trained on; what it says of the format of a file
            of the same kind (delimiter, missing cells) holds for the new one.
        with_target: Whether the file must have the target too.
        spill: Folder for columns that are to be memory-mapped; None keeps all in memory.

    Raises:
        DataError: If the file is damaged or lacks a column.
        InputMissing: If it is not there.
    """
    if preprocessing.form == "series" and path.suffix.lower() != ".ts":
        return _new_series(path, preprocessing, like, with_target=with_target, spill=spill)
    if preprocessing.form == "audio":
        from modelscale.data.opening_sounds import read_new_sounds

        return read_new_sounds(path, preprocessing, like, with_target=with_target, spill=spill)
    source = source_of(path, like)
    changes = _changes(source, preprocessing, like, with_target=with_target)
    roles = {column.name: "numeric" for column in preprocessing.numeric}
    roles |= {column.name: "category" for column in preprocessing.categories}
    roles |= dict.fromkeys(preprocessing.texts, "text")
    if with_target and preprocessing.written is not None:
        roles |= dict.fromkeys(preprocessing.target_names, "text")
    reading = Reading(roles=roles, only=preprocessing.form == "table", spill=spill)
    source = source.model_copy(update=changes)
    if isinstance(source, ImageFolderSource) and not with_target:
        return images.read_unlabelled(path, source.options(), reading)
    if isinstance(source, TextFolderSource) and not with_target:
        return text_files.read_unlabelled(path, reading)
    raw = source.read(reading)
    if reading.only and roles and not raw.columns and raw.array is None:
        first = next(iter(roles))
        raise DataError(f"{path}: no column '{first}'{did_you_mean(first, raw.skipped)}")
    return raw


def _changes(
    source: SourceSpec,
    preprocessing: Preprocessing,
    like: SourceSpec | None,
    *,
    with_target: bool,
) -> dict[str, Any]:
    """Return the fields of a source that follow from what the model was trained on."""
    changes: dict[str, Any] = {}
    if like is not None and type(like) is type(source):
        special = {"path", "target", "targets", "group", "time", "part", "test_path"}
        changes = {name: value for name, value in like if name not in special}
    if isinstance(source, ImageTableSource) and with_target:
        changes["target"] = preprocessing.target_names[0]
    elif "target" in type(source).model_fields and with_target:
        changes["target"] = preprocessing.target_names
    elif isinstance(source, CsvSource) and changes.get("names"):
        changes["names"] = _names_there(source.model_copy(update=changes), preprocessing)
    if isinstance(source, ImageSource):
        channels, height, width = preprocessing.shape
        changes |= {"size": (height, width), "grayscale": channels == 1}
    if source.own_kind() == "text_file" and preprocessing.symbols is not None:
        unit, lowercase = preprocessing.symbols.unit, preprocessing.symbols.lowercase
        length = preprocessing.shape[0] - 1
        changes |= {"unit": unit, "lowercase": lowercase, "length": length, "stride": None}
    return changes


def _names_there(source: CsvSource, preprocessing: Preprocessing) -> tuple[str, ...]:
    """Return the names of a file without a header, with or without the target's column."""
    left = tuple(name for name in source.names if name not in preprocessing.target_names)
    nameless = source.model_copy(update={"names": ()})
    return left if len(nameless.file().names()) == len(left) else source.names


def _new_series(
    path: Path,
    preprocessing: Preprocessing,
    like: SourceSpec | None,
    *,
    with_target: bool,
    spill: Path | None,
) -> Raw:
    """Return the windows of new readings, cut as those that the model was trained on."""
    from modelscale.data.sources.series import SeriesSource

    if not path.exists():
        raise InputMissing(f"{path}: No such file or directory")
    if not isinstance(like, SeriesSource):
        raise UsageError(
            f"{path}: the model stands in no run that was trained on readings by unit and "
            "time, so it is not known which columns these are"
        )
    changes: dict[str, Any] = {"path": path, "test": None, "length": preprocessing.shape[0]}
    if like.length is None:
        changes["length"] = None
    if not with_target:
        changes |= {"target": None, "remaining_life": None, "next": (), "target_of": "last"}
    roles = {column.name: "numeric" for column in preprocessing.numeric}
    reading = Reading(roles=roles, only=True, spill=spill)
    return like.model_copy(update=changes).read(reading)
