"""Folders of texts, read strictly."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

from modelscale.data.documents import DocumentWriter
from modelscale.data.folders import class_files, unlabelled_files
from modelscale.data.raw import Raw, Texts
from modelscale.data.reading import Reading, open_regular
from modelscale.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

MAX_FILE_BYTES = 64 << 20


def read_folder(path: Path, how: Reading) -> Raw:
    """Return all texts of a folder of class folders, by class and name.

    Raises:
        DataError: Naming the file that is no text, or the class that has none.
        InputMissing: If the folder is not there.
    """
    import numpy as np

    labels, files = class_files(path)
    found = _read(path, [(labels[label], file) for label, file in files], how)
    target = Texts(np.array([label for label, _ in files], dtype=np.int32), labels)
    return replace(found, target=target, target_names=("class",))


def read_unlabelled(path: Path, how: Reading) -> Raw:
    """Return all texts of a folder and of the folders in it, without a target.

    Raises:
        DataError: Naming the file that is no text.
        InputMissing: If there is nothing.
    """
    return _read(path, [(file.parent.name, file) for file in unlabelled_files(path)], how)


def _read(path: Path, files: list[tuple[str, Path]], how: Reading) -> Raw:
    import numpy as np

    sha = hashlib.sha256()
    writer = DocumentWriter(how.spill)
    for folder, file in files:
        content = _content(file)
        sha.update(f"{folder}/{file.name}/{len(content)}\n".encode() + content.encode())
        writer.encode([content])
    documents = writer.close()
    return Raw(
        target=None,
        target_names=(),
        fingerprint=sha.hexdigest(),
        origin=str(path),
        names={"file": [str(file) for _, file in files]},
        columns={"text": Texts(np.arange(len(files), dtype=np.int32), documents)},
    )


def _content(file: Path) -> str:
    if file.suffix.lower() != ".txt":
        raise DataError(f"{file}: is not named like a text (.txt)")
    with open_regular(file) as stream:
        content = stream.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        raise DataError(f"{file}: larger than {MAX_FILE_BYTES:,} bytes")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: byte {error.start} is not UTF-8; save it as UTF-8") from None
    if "\0" in text:
        raise DataError(f"{file}: has NUL bytes, as no text has")
    return text
