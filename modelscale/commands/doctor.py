"""The state of this installation: versions, devices, extras, and the disk of the runs."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any, Literal

from modelscale import __version__
from modelscale.errors import ModelscaleError

Verdict = Literal["ok", "missing", "bad"]

_CORE = ("torch", "optuna", "pydantic", "numpy", "safetensors", "pyyaml", "typer", "rich")
_EXTRAS = {
    "executorch": ("executorch",),
    "export": ("onnx", "onnxruntime", "onnxscript"),
    "audio": ("soundfile",),
    "images": ("PIL",),
    "parquet": ("pyarrow",),
    "postgres": ("psycopg",),
    "prune-fallback": ("torch_pruning",),
    "report": ("matplotlib",),
    "sklearn": ("sklearn",),
    "text": ("tokenizers",),
    "translation": ("sacrebleu",),
    "tuning": ("cmaes", "greenlet", "scipy"),
}
"""Modules of each extra of the package; a test compares them with `pyproject.toml`."""
_LOW_DISK_BYTES = 1 << 30
_SLOW_FSYNC_MS = 100.0
_FSYNCS = 5


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        what: Its name.
        verdict: `missing` is no fault; `bad` is.
        detail: A version, a number with its unit, or what to do.
    """

    what: str
    verdict: Verdict
    detail: str


@dataclass(frozen=True)
class Diagnosis:
    """All findings, in the order in which they are told."""

    findings: tuple[Finding, ...]

    @property
    def exit_code(self) -> int:
        """3 if anything is bad, otherwise 0."""
        return 3 if any(finding.verdict == "bad" for finding in self.findings) else 0

    def to_json(self) -> dict[str, Any]:
        """Return the keys of the command's JSON document."""
        content: dict[str, Any] = {"findings": [asdict(finding) for finding in self.findings]}
        if self.exit_code:
            bad = [f"{f.what}: {f.detail}" for f in self.findings if f.verdict == "bad"]
            content |= {"status": "error", "exit_code": self.exit_code, "messages": bad}
        return content


def examine(runs: Path) -> Diagnosis:
    """Return what is found; nothing is left behind in the runs folder."""
    found = [*_versions(), *_devices(), *_extras(), *_disk(runs)]
    return Diagnosis(tuple(found))


def _versions() -> Iterator[Finding]:
    yield Finding("modelscale", "ok", __version__)
    yield Finding("python", "ok", f"{platform.python_version()} on {platform.platform()}")
    for package in _CORE:
        try:
            yield Finding(package, "ok", importlib.metadata.version(package))
        except importlib.metadata.PackageNotFoundError:
            yield Finding(package, "bad", f"not installed; run: pip install {package}")


def _devices() -> Iterator[Finding]:
    if importlib.util.find_spec("torch") is None:
        return
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield Finding("cpu", "ok", f"{cores} cores, {torch.get_num_threads()} torch threads")
    if not torch.cuda.is_available():
        yield Finding("cuda", "missing", "no CUDA device; runs use the CPU")
    for number in range(torch.cuda.device_count()):
        device = torch.cuda.get_device_properties(number)
        memory = f"{device.total_memory / 2**30:.0f} GiB"
        yield Finding(f"cuda:{number}", "ok", f"{device.name}, {memory}")


def _extras() -> Iterator[Finding]:
    for extra, modules in _EXTRAS.items():
        absent = [module for module in modules if importlib.util.find_spec(module) is None]
        if not absent:
            verb = "is" if len(modules) == 1 else "are"
            yield Finding(f"extra {extra}", "ok", f"{', '.join(modules)} {verb} there")
        else:
            remedy = f"no {', '.join(absent)}; for it: pip install 'modelscale[{extra}]'"
            yield Finding(f"extra {extra}", "missing", remedy)


def _disk(runs: Path) -> Iterator[Finding]:
    home = next(folder for folder in (runs, *runs.absolute().parents) if folder.is_dir())
    free = shutil.disk_usage(home).free
    verdict: Verdict = "ok" if free >= _LOW_DISK_BYTES else "bad"
    yield Finding("disk space", verdict, f"{free / 2**30:.1f} GiB free at {runs}")
    try:
        with tempfile.TemporaryDirectory(prefix=".doctor-", dir=home) as folder:
            yield _locking(Path(folder))
            yield _fsync(Path(folder))
    except OSError as error:
        yield Finding("runs folder", "bad", f"{home} cannot be written ({error.strerror})")


def _locking(folder: Path) -> Finding:
    from modelscale.runs.lock import RunLock

    try:
        with RunLock(folder):
            pass
    except ModelscaleError as error:
        return Finding("file locking", "bad", str(error))
    return Finding("file locking", "ok", "works in the runs folder")


def _fsync(folder: Path) -> Finding:
    times_ms = []
    with (folder / "fsync").open("wb") as file:
        for _ in range(_FSYNCS):
            start = time.perf_counter()
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
            times_ms.append(1000 * (time.perf_counter() - start))
    slow = ", slow" if median(times_ms) > _SLOW_FSYNC_MS else ""
    return Finding("fsync", "ok", f"{median(times_ms):.1f} ms (median of {_FSYNCS}){slow}")
