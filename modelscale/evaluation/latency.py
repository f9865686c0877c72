"""Measured latency, throughput and peak memory. Nothing here is estimated."""

from __future__ import annotations

import gc
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import torch
    from torch import Tensor

_LEAST_ROUNDS = 5
_MOST_ROUNDS = 100_000
_WARM_UP_FRAC = 0.2  # of the time that is measured


@dataclass(frozen=True)
class Latency:
    """How long one call takes at one batch size, from the call to the finished result.

    Attributes:
        batch: Examples in a call.
        median_ms: Middle one of the rounds.
        p10_ms: One round in ten was faster.
        p90_ms: One round in ten was slower.
        throughput_per_s: Examples a second at the median, one call after the other.
        rounds: Calls that were timed.
    """

    batch: int
    median_ms: float
    p10_ms: float
    p90_ms: float
    throughput_per_s: float
    rounds: int


@dataclass(frozen=True)
class PeakMemory:
    """What one call needs beyond what was there before it.

    Attributes:
        batch: Examples in the call.
        peak_bytes: The most that was held during the call above what was held before it:
            outputs and intermediate values, not weights. None where it can't be measured.
        source: `cuda_allocator`: bytes of tensors, from PyTorch's allocator. `resident_set`:
            growth of the process's memory as the kernel sees it, in whole pages; memory that
            the process had freed but kept is reused unseen, so that small calls may show 0.
    """

    batch: int
    peak_bytes: int | None
    source: Literal["cuda_allocator", "resident_set"]


def measure_latency(
    call: Callable[[Tensor], Tensor],
    example_shape: tuple[int, ...],
    batch_sizes: Sequence[int],
    device: torch.device,
    threads: int | None = None,
    seconds: float = 1.0,
) -> tuple[Latency, ...]:
    """Return the latency of `call` at each batch size.

    A round is timed on the host's clock from the call until its result is there; on CUDA that
    includes the launch of the kernels and waiting for the last one. Copying the input to the
    device is not included. There are at least five rounds, however long they take.

    Args:
        call: Takes (batch, *example_shape) float32 on `device`; a network in evaluation mode,
            or any other runtime.
        example_shape: Shape of one example, without the batch.
        batch_sizes: Examples in a call; each is measured by itself.
        device: Where the input lies and what is waited for.
        threads: Intra-operation threads of PyTorch during the measurement; as they are when
            left out.
        seconds: Time measured for each batch size, after a fifth of it for warming up.
    """
    import torch

    measured = []
    with _threads(threads), _no_collection(), torch.inference_mode():
        for batch in batch_sizes:
            x_B = _batch(example_shape, batch, device)
            _rounds(call, x_B, _WARM_UP_FRAC * seconds)
            measured.append(_latency(batch, _rounds(call, x_B, seconds)))
    return tuple(measured)


def measure_peak_memory(
    call: Callable[[Tensor], Tensor],
    example_shape: tuple[int, ...],
    batch_size: int,
    device: torch.device,
) -> PeakMemory:
    """Return the memory that one call needs; see `PeakMemory` for what that is.

    Arguments are as for `measure_latency`. A call of one example goes first, so that what is
    loaded or packed once is not counted.
    """
    import torch

    with torch.inference_mode():
        call(_batch(example_shape, 1, device))
        x_B = _batch(example_shape, batch_size, device)
        gc.collect()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
            torch.cuda.reset_peak_memory_stats(device)
            before = torch.cuda.memory_allocated(device)
            call(x_B)
            torch.cuda.synchronize(device)
            peak = torch.cuda.max_memory_allocated(device) - before
            return PeakMemory(batch_size, peak, "cuda_allocator")
        before_bytes = _reset_peak_resident()
        call(x_B)
        if before_bytes is None:
            return PeakMemory(batch_size, None, "resident_set")
        grown = max(0, _status_bytes("VmHWM") - before_bytes)
        return PeakMemory(batch_size, grown, "resident_set")


def _batch(example_shape: tuple[int, ...], batch: int, device: torch.device) -> Tensor:
    """Return inputs from [0, 1): as codes of tokens or categories they are all code 0."""
    import torch

    generator = torch.Generator().manual_seed(0)
    return torch.rand(batch, *example_shape, generator=generator).to(device)


def _rounds(call: Callable[[Tensor], Tensor], x_B: Tensor, seconds: float) -> list[float]:
    """Return the seconds of each of the rounds that fill `seconds`."""
    import torch

    def wait() -> None:
        if x_B.is_cuda:
            torch.cuda.synchronize(x_B.device)

    rounds_s: list[float] = []
    wait()
    end = time.perf_counter() + seconds
    while len(rounds_s) < _LEAST_ROUNDS or (
        time.perf_counter() < end and len(rounds_s) < _MOST_ROUNDS
    ):
        start = time.perf_counter()
        call(x_B)
        wait()
        rounds_s.append(time.perf_counter() - start)
    return rounds_s


def _latency(batch: int, rounds_s: list[float]) -> Latency:
    import torch

    times_ms = torch.tensor(rounds_s, dtype=torch.float64) * 1e3
    levels = torch.tensor([0.5, 0.1, 0.9], dtype=torch.float64)
    median_ms, p10_ms, p90_ms = times_ms.quantile(levels).tolist()
    return Latency(batch, median_ms, p10_ms, p90_ms, batch * 1e3 / median_ms, len(rounds_s))


@contextmanager
def _threads(threads: int | None) -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    try:
        if threads is not None:
            torch.set_num_threads(threads)
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Keep the garbage collector out of the rounds."""
    was_on = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _reset_peak_resident() -> int | None:
    """Return the resident bytes now and make them the peak; None where Linux can't."""
    try:
        _give_back_freed_memory()
        Path("/proc/self/clear_refs").write_text("5")  # see proc(5): resets VmHWM
        return _status_bytes("VmHWM")
    except (OSError, AttributeError, StopIteration):
        return None


def _give_back_freed_memory() -> None:
    """Return the heap's free pages to the system (glibc), so that their reuse is seen."""
    import ctypes

    ctypes.CDLL(None).malloc_trim(0)


def _status_bytes(key: str) -> int:
    with Path("/proc/self/status").open() as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))
