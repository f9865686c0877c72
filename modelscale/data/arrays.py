"""NumPy files, read strictly: no pickles, nothing larger than its header says."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from math import prod
from typing import IO, TYPE_CHECKING

from modelscale.data.raw import Raw, Texts
from modelscale.data.reading import file_bytes, file_digest, open_regular
from modelscale.data.storage import free_memory_bytes
from modelscale.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

CHUNK_VALUES = 4_000_000


def read_npz(path: Path) -> Raw:
    """Return the arrays `x` and, if it is there, `y` of an `.npz` file.

    Raises:
        DataError: If a member is missing, damaged, holds objects or expands beyond memory.
        InputMissing: If the file is not there.
    """
    with open_regular(path) as stream:
        try:
            with zipfile.ZipFile(stream) as archive:
                names = archive.namelist()
                if "x.npy" not in names:
                    raise DataError(f"{path}: has no array 'x' (it has {_listed(names)})")
                x = _member(path, archive, "x")
                y = _member(path, archive, "y") if "y.npy" in names else None
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError) as error:
            raise DataError(f"{path}: is no intact .npz file: {error}") from None
        except NotImplementedError:
            raise DataError(f"{path}: is compressed in a way that is not supported") from None
    return _raw(path, x, y, file_digest(path))


def read_npy_pair(x_path: Path, y_path: Path | None) -> Raw:
    """Return x of a `.npy` file, memory-mapped, and y of another.

    Raises:
        DataError: If a file is damaged or holds objects.
        InputMissing: If a file is not there.
    """
    x = _mapped(x_path)
    y = None if y_path is None else _mapped(y_path)
    digests = [file_digest(p) for p in (x_path, y_path) if p is not None]
    return _raw(x_path, x, y, hashlib.sha256("".join(digests).encode()).hexdigest())


def _listed(names: list[str]) -> str:
    return ", ".join(repr(name.removesuffix(".npy")) for name in names[:10]) or "nothing"


def _member(path: Path, archive: zipfile.ZipFile, name: str) -> NDArray[np.generic]:
    """Return an array of an archive, whose size is known to fit before it is unpacked."""
    import numpy as np

    info = archive.getinfo(f"{name}.npy")
    with archive.open(info) as stream:
        shape, fortran, dtype = _npy_header(stream, f"{path}: array '{name}'")
        size = prod(shape) * dtype.itemsize
        if size > info.file_size:
            raise DataError(f"{path}: array '{name}': is cut off")
        if size > free_memory_bytes() / 2:
            raise DataError(
                f"{path}: array '{name}' takes {size:,} bytes, more than half of the free "
                "memory; save x and y as two .npy files, which are read piece by piece"
            )
        content = stream.read(size)
    if len(content) != size:
        raise DataError(f"{path}: array '{name}': is cut off")
    flat = np.frombuffer(content, dtype=dtype)
    return flat.reshape(shape, order="F" if fortran else "C")


def _mapped(path: Path) -> NDArray[np.generic]:
    import numpy as np

    with open_regular(path) as stream:
        shape, fortran, dtype = _npy_header(stream, str(path))
        offset = stream.tell()
    if file_bytes(path) != offset + prod(shape) * dtype.itemsize:
        raise DataError(f"{path}: is cut off, or longer than its header says")
    if prod(shape) == 0:
        return np.zeros(shape, dtype=dtype)
    flat = np.memmap(path, dtype=dtype, mode="r", offset=offset)
    mapped: NDArray[np.generic] = flat.reshape(shape, order="F" if fortran else "C")
    return mapped


def _npy_header(
    stream: IO[bytes], place: str
) -> tuple[tuple[int, ...], bool, np.dtype[np.generic]]:
    """Return shape, Fortran order and type of an array, without reading it."""
    import numpy as np

    try:
        version = np.lib.format.read_magic(stream)
        readers = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }
        if version not in readers:
            raise DataError(f"{place}: has the unknown format version {version}")
        shape, fortran, dtype = readers[version](stream)
    except (ValueError, EOFError, SyntaxError) as error:
        reason = str(error).splitlines()[0][:160]
        raise DataError(f"{place}: is no intact NumPy array: {reason}") from None
    if dtype.hasobject:
        raise DataError(f"{place}: holds Python objects, which are never loaded")
    if any(size < 0 for size in shape):
        raise DataError(f"{place}: has the impossible shape {shape}")
    return shape, fortran, dtype


def _raw(path: Path, x: NDArray[np.generic], y: NDArray[np.generic] | None, digest: str) -> Raw:
    if x.dtype.kind not in "biuf":
        raise DataError(f"{path}: array 'x' has the type {x.dtype}; it must hold numbers")
    if x.ndim not in (2, 3, 4) or 0 in x.shape:
        raise DataError(
            f"{path}: array 'x' has the shape {x.shape}; it must be (rows, features), "
            "(rows, height, width) or (rows, channels, height, width)"
        )
    if x.ndim == 4 and x.shape[1] > 4 and x.shape[3] <= 4:
        raise DataError(
            f"{path}: array 'x' has the shape {x.shape}, whose channels come last; "
            "save x.transpose(0, 3, 1, 2)"
        )
    if y is not None and (y.ndim not in (1, 2) or len(y) != len(x) or 0 in y.shape):
        raise DataError(f"{path}: x has {len(x)} rows, and y has the shape {y.shape}")
    _check_finite(path, "x", x)
    images = x[:, None] if x.ndim == 3 else x
    target, names = (None, ()) if y is None else _target(path, y)
    return Raw(target, names, digest, str(path), array=images)


def _target(
    path: Path, y: NDArray[np.generic]
) -> tuple[NDArray[np.float64] | Texts, tuple[str, ...]]:
    import numpy as np

    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.dtype.kind in "Ub" and y.ndim == 1:
        words, code_N = np.unique(y, return_inverse=True)
        lower = [str(w).lower() if y.dtype.kind == "b" else str(w) for w in words]
        return Texts(code_N.astype(np.int32), tuple(lower)), ("y",)
    if y.dtype.kind not in "iuf":
        raise DataError(f"{path}: array 'y' has the type {y.dtype}; it must be numbers or text")
    _check_finite(path, "y", y)
    names = ("y",) if y.ndim == 1 else tuple(f"y{i}" for i in range(y.shape[1]))
    return y.astype(np.float64), names


def _check_finite(path: Path, name: str, array: NDArray[np.generic]) -> None:
    import numpy as np

    if array.dtype.kind != "f":
        return
    step = max(1, CHUNK_VALUES // max(1, prod(array.shape[1:])))
    largest = float(np.finfo(np.float32).max)
    for start in range(0, len(array), step):
        chunk = np.asarray(array[start : start + step]).reshape(-1, prod(array.shape[1:]))
        bad_N = ~(np.abs(chunk) <= largest).all(axis=1)
        if bad_N.any():
            row = start + int(np.argmax(bad_N)) + 1
            raise DataError(
                f"{path}: array '{name}': row {row}: has a value that is not a finite number "
                "of single precision"
            )
