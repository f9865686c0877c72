"""Folders of images, decoded strictly: known formats, capped size, nothing half read."""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from modelscale.data.file_tables import TableRoles, read_file_table
from modelscale.data.folders import class_files, unlabelled_files
from modelscale.data.raw import Raw, Texts
from modelscale.data.reading import Reading, open_regular
from modelscale.data.storage import open_array, write_array
from modelscale.errors import DataError, InputMissing, missing_extra

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

FORMATS = {
    ".bmp": "BMP",
    ".jpeg": "JPEG",
    ".jpg": "JPEG",
    ".pgm": "PPM",
    ".png": "PNG",
    ".ppm": "PPM",
}
MAX_FILE_BYTES = 256 << 20


@dataclass(frozen=True)
class ImageOptions:
    """How images are decoded: height and width, grey or colour, and the largest taken."""

    size: tuple[int, int] | None
    grayscale: bool
    max_pixels: int


def read_folder(
    path: Path, options: ImageOptions, how: Reading, test_path: Path | None = None
) -> Raw:
    """Return all images of a folder of class folders, by class and name.

    Args:
        path: The folder.
        options: How images are decoded.
        how: Where arrays larger than memory go.
        test_path: A second such folder, of the same classes, that is the test part.

    Raises:
        DataError: Naming the file that is no intact image, or the class that has none.
        InputMissing: If the folder is not there.
        Unavailable: If Pillow is not installed.
    """
    import numpy as np

    labels, files = class_files(path)
    part = None
    if test_path is not None:
        codes_N = np.zeros(len(files), dtype=np.int32)
        files += _of_classes(test_path, labels, path)
        part_N = np.concatenate([codes_N, np.ones(len(files) - len(codes_N), dtype=np.int32)])
        part = Texts(part_N, ("train", "test"))
    found = _decoded(path, [(labels[label], file) for label, file in files], options, how)
    return replace(
        found,
        target=Texts(np.array([label for label, _ in files], dtype=np.int32), labels),
        target_names=("class",),
        origin=str(path) if test_path is None else f"{path} and {test_path}",
        part=part,
    )


def read_unlabelled(path: Path, options: ImageOptions, how: Reading) -> Raw:
    """Return an image, or all images of a folder and the folders in it, without a target.

    Raises:
        DataError: Naming the file that is no intact image.
        InputMissing: If there is nothing.
        Unavailable: If Pillow is not installed.
    """
    files = [(file.parent.name, file) for file in unlabelled_files(path)]
    return _decoded(path, files, options, how)


def read_table_of(path: Path, roles: TableRoles, options: ImageOptions, how: Reading) -> Raw:
    """Return the images that a table names, row by row.

    Raises:
        DataError: Naming the row without a file, or the file that is no intact image.
        InputMissing: If the table or an image is not there.
        Unavailable: If Pillow is not installed.
    """
    table, files = read_file_table(path, roles)
    for row, file in enumerate(files, table.first_row):
        if not (path.parent / file).is_file():
            raise InputMissing(f"{path}: row {row}: {path.parent / file}: no such image")
    found = _decoded(path, [("", path.parent / file) for file in files], options, how)
    digest = hashlib.sha256(f"{table.fingerprint}/{found.fingerprint}".encode())
    return replace(
        table,
        columns={},
        array=found.array,
        fingerprint=digest.hexdigest(),
        names={"file": files},
    )


def _of_classes(path: Path, labels: tuple[str, ...], first: Path) -> list[tuple[int, Path]]:
    """Return the files of a folder of class folders with the number of their class."""
    own, files = class_files(path)
    strange = next((label for label in own if label not in labels), None)
    if strange is not None:
        raise DataError(f"{path / strange}: {first} has no such class folder")
    return [(labels.index(own[label]), file) for label, file in files]


def _decoded(
    path: Path, files: list[tuple[str, Path]], options: ImageOptions, how: Reading
) -> Raw:
    """Return images as one array, without a target; files stand behind their folder's name."""
    import numpy as np

    sha = hashlib.sha256(repr(options).encode())
    height, width = options.size or _decode(files[0][1], options, sha.copy()).shape[1:]
    shape = (len(files), 1 if options.grayscale else 3, height, width)

    def pieces() -> Iterator[NDArray[np.uint8]]:
        for folder, file in files:
            sha.update(f"{folder}/{file.name}".encode())
            image = _decode(file, options, sha)
            if image.shape[1:] != (height, width):
                raise DataError(
                    f"{file}: is {image.shape[1]}×{image.shape[2]} pixels, the first image is "
                    f"{height}×{width}; say the size: size: [{height}, {width}]"
                )
            yield image

    if how.spill is None:
        array: NDArray[np.generic] = np.empty(shape, dtype=np.uint8)
        for row, image in enumerate(pieces()):
            array[row] = image
    else:
        name = hashlib.sha256(f"{path.resolve()}{len(files)}{options}".encode()).hexdigest()
        kept = how.spill / f"images-{name[:32]}.npy"
        write_array(kept, shape, "|u1", pieces())
        array = open_array(kept)
    return Raw(
        target=None,
        target_names=(),
        fingerprint=sha.hexdigest(),
        origin=str(path),
        array=array,
        names={"file": [str(file) for _, file in files]},
    )


def _decode(file: Path, options: ImageOptions, sha: hashlib._Hash) -> NDArray[np.uint8]:
    """Return an image as (channels, height, width) bytes."""
    import numpy as np

    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError:
        raise missing_extra("pillow", "images", f"reading {file}") from None
    wanted = FORMATS.get(file.suffix.lower())
    if wanted is None:
        raise DataError(f"{file}: is not named like an image ({', '.join(sorted(FORMATS))})")
    with open_regular(file) as stream:
        content = stream.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        raise DataError(f"{file}: larger than {MAX_FILE_BYTES:,} bytes")
    sha.update(hashlib.sha256(content).digest())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # sizes are checked here, before decoding
            image = Image.open(io.BytesIO(content), formats=[wanted])
    except (UnidentifiedImageError, Image.DecompressionBombError, SyntaxError, OSError):
        raise DataError(f"{file}: is no {wanted} image") from None
    if image.width * image.height > options.max_pixels:
        raise DataError(
            f"{file}: {image.height}×{image.width} pixels are more than max_pixels "
            f"({options.max_pixels:,})"
        )
    if image.mode.startswith(("I", "F")):
        raise DataError(f"{file}: has more than 8 bits a channel; save it with 8")
    try:
        plain = image.convert("L" if options.grayscale else "RGB")
        if options.size is not None:
            height, width = options.size
            plain = plain.resize((width, height), Image.Resampling.BILINEAR)
        pixels = np.asarray(plain, dtype=np.uint8)
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise DataError(f"{file}: is damaged: {error}") from None
    return pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(2, 0, 1))
