"""Where examples live: on the device, or in a file that is read in pieces.

Data larger than memory is converted once, in pieces of fixed size, to a `.npy` file in the
cache folder, named by what it holds, and memory-mapped from then on.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from modelscale.data.cache import cache_folder
from modelscale.data.examples import DiskExamples, TensorExamples
from modelscale.data.series_examples import DiskSeries, SeriesExamples
from modelscale.errors import CannotCreate, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy as np
    import torch
    from numpy.typing import NDArray
    from torch import Tensor

    from modelscale.data.prepared import Examples
    from modelscale.data.preprocessing import Preprocessing
    from modelscale.data.raw import Raw
    from modelscale.data.section import DataSection

CHUNK_VALUES = 4_000_000
"""Values that are transformed at a time."""


def goes_to_disk(section: DataSection) -> bool:
    """Return whether examples are read from disk in pieces."""
    if section.storage == "auto":
        return section.source.estimated_bytes() > free_memory_bytes() / 4
    return section.storage == "disk"


def free_memory_bytes() -> int:
    """Return the memory that new programs could have, also within a container's limit."""
    free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for line in _lines("/proc/meminfo"):
        if line.startswith("MemAvailable:"):
            free = int(line.split()[1]) * 1024
    limit = "".join(_lines("/sys/fs/cgroup/memory.max")).strip()
    used = "".join(_lines("/sys/fs/cgroup/memory.current")).strip()
    if limit.isdigit() and used.isdigit():
        free = min(free, int(limit) - int(used))
    return max(0, free)


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="ascii").splitlines()
    except (OSError, ValueError):
        return []


def spill_folder() -> Path:
    """Return the folder for converted data, made if need be.

    Raises:
        CannotCreate: If it cannot be made.
    """
    folder = cache_folder() / "converted"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CannotCreate(f"{folder}: {error.strerror}") from None
    return folder


def transform(
    preprocessing: Preprocessing, raw: Raw, device: torch.device, disk_key: str | None = None
) -> Examples:
    """Return all examples as the network takes them, pieces of fixed size at a time.

    Both ways give the same bits, as both transform the same pieces.

    Args:
        preprocessing: What is done to them.
        raw: The examples.
        device: Where they, or batches of them, go.
        disk_key: If given, they go to a file in the cache; says how the source was read,
            which together with its content decides what is in the file.
    """
    import torch

    if preprocessing.form == "series":
        return _series(preprocessing, raw, device, disk_key)
    shape = (len(raw), *preprocessing.inputs().shape)
    pieces = _transformed(preprocessing, raw)
    kept = _kept_as(preprocessing)
    if disk_key is None:
        x = torch.empty(shape, dtype=getattr(torch, kept))
        start = 0
        for piece in pieces:
            x[start : start + len(piece)] = piece
            start += len(piece)
        return TensorExamples(x.to(device))
    key = json.dumps([raw.fingerprint, disk_key, preprocessing.to_json()], sort_keys=True)
    path = spill_folder() / f"x-{hashlib.sha256(key.encode()).hexdigest()[:32]}.npy"
    if not path.exists():
        dtype = {"float32": "<f4", "int16": "<i2", "int32": "<i4"}[kept]
        write_array(path, shape, dtype, (piece.numpy() for piece in pieces))
    return DiskExamples(path, device, len(raw))


def _series(
    preprocessing: Preprocessing, raw: Raw, device: torch.device, disk_key: str | None
) -> Examples:
    """Return windows of series, whose steps are kept once however many windows see them."""
    import torch

    from modelscale.data.encoding import encode_steps, series_of

    windows, module = series_of(preprocessing, raw), preprocessing.module()
    channels, positions = preprocessing.inputs().shape
    places = (torch.from_numpy(windows.start_N), torch.from_numpy(windows.length_N))
    step = max(1, CHUNK_VALUES // channels)

    def pieces() -> Iterator[Tensor]:
        for start in range(0, windows.steps, step):
            stop = min(start + step, windows.steps)
            with torch.no_grad():
                x = module(torch.from_numpy(encode_steps(preprocessing, raw, start, stop)))
            yield x[0].T

    if disk_key is None:
        examples = SeriesExamples(torch.cat(list(pieces())), *places, positions)
        return examples.to(device)
    key = json.dumps([raw.fingerprint, disk_key, preprocessing.to_json()], sort_keys=True)
    path = spill_folder() / f"s-{hashlib.sha256(key.encode()).hexdigest()[:32]}.npy"
    if not path.exists():
        shape = (windows.steps, channels)
        write_array(path, shape, "<f4", (piece.numpy() for piece in pieces()))
    return DiskSeries(path, *places, positions, device)


def _kept_as(preprocessing: Preprocessing) -> Literal["float32", "int16", "int32"]:
    """Return the type that examples are kept in: symbols as the smallest that holds them."""
    symbols = preprocessing.inputs().vocabulary
    if symbols is None:
        return "float32"
    if preprocessing.written is not None:
        symbols = max(symbols, preprocessing.outputs)
    return "int16" if symbols <= 1 << 15 else "int32"


def _transformed(preprocessing: Preprocessing, raw: Raw) -> Iterator[Tensor]:
    import torch

    module = preprocessing.module()
    width = max(prod(preprocessing.inputs().shape), prod(preprocessing.shape), 1)
    step = max(1, CHUNK_VALUES // width)
    with torch.no_grad():
        for start in range(0, len(raw), step):
            stop = min(start + step, len(raw))
            yield module(torch.from_numpy(preprocessing.encode(raw, start, stop)))


def write_array(
    path: Path, shape: tuple[int, ...], dtype: str, pieces: Iterable[NDArray[np.generic]]
) -> None:
    """Write a `.npy` file piece by piece, under a temporary name until it is whole.

    Plain writes rather than a memory map, so that a full disk is an error and not a crash.

    Raises:
        CannotCreate: If the file cannot be made.
        StorageError: If the disk is full or broken.
    """
    import numpy as np

    temporary = path.with_name(f".{path.stem}-{uuid.uuid4().hex[:8]}")
    try:
        stream = temporary.open("xb")
    except OSError as error:
        raise CannotCreate(f"{path.parent}: {error.strerror}") from None
    try:
        with stream:
            header = {"descr": dtype, "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_2_0(stream, header)
            for piece in pieces:
                stream.write(np.ascontiguousarray(piece, dtype=dtype).data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror or error}") from None
    finally:
        temporary.unlink(missing_ok=True)


def open_array(path: Path) -> NDArray[np.generic]:
    """Return a written array as a read-only memory map."""
    import numpy as np

    opened: NDArray[np.generic] = np.load(path, mmap_mode="r", allow_pickle=False)
    return opened
