"""Equal inputs give equal bits: devices, threads and algorithms are pinned."""

from __future__ import annotations

import ctypes
import os
import platform

import torch

from modelscale.errors import Unavailable


def choose_device(wanted: str) -> torch.device:
    """Return the device that `auto`, `cpu`, `cuda` or `cuda:1` means here.

    Raises:
        Unavailable: If CUDA is asked for and not present.
    """
    present = torch.cuda.is_available()
    if wanted == "auto":
        return torch.device("cuda" if present else "cpu")
    if wanted.startswith("cuda"):
        count = torch.cuda.device_count() if present else 0
        index = int(wanted.partition(":")[2] or 0)
        if index >= count:
            raise Unavailable(
                f"--device {wanted}: {count} CUDA devices are present; use --device cpu"
            )
    return torch.device(wanted)


def pin(threads: int | None) -> int:
    """Make algorithms deterministic and set the number of threads, which is part of it.

    Returns:
        The threads in use.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    # Else every new tensor is filled first, though nothing here reads before it writes.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False
    if threads is not None:
        torch.set_num_threads(threads)
    _keep_freed_memory()
    return torch.get_num_threads()


def use_threads(count: int) -> None:
    """Set the CPU threads of one operation."""
    torch.set_num_threads(count)


def _keep_freed_memory() -> None:
    """Let glibc reuse large blocks instead of returning them to the kernel at every step.

    Fresh pages cost a fault each: up to a fifth of a step of a wide cohort. Elsewhere than on
    glibc nothing is changed.
    """
    trim_threshold, top_pad, mmap_threshold = -1, -2, -3  # from <malloc.h>
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(mmap_threshold, 1 << 30)
    mallopt(trim_threshold, (1 << 31) - 1)
    mallopt(top_pad, 64 << 20)


def fingerprint(device: torch.device) -> dict[str, str]:
    """Return what must be equal for a resume to be exact to the last bit."""
    return {
        "torch": torch.__version__,
        "device": (
            torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
        ),
        "threads": str(torch.get_num_threads()),
    }
