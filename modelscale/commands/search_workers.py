"""The other processes of a search on one machine: started, watched, and never left behind."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from modelscale.commands.telling import Listener
from modelscale.components import allowed_plugins

MODULE = "modelscale.cli.search_worker"
STORAGE = "MODELSCALE_STORAGE"
SAVE_S = 600.0
"""Seconds that a worker has to save its state and end."""


@dataclass(frozen=True)
class WorkerPlan:
    """What the other processes of a search are started with.

    Attributes:
        run: The run's folder.
        baseline: Whether it is the random search beside the search itself.
        device: Of the search; CUDA devices are dealt out.
        threads: CPU threads of each.
        storage: Address of the database through which other machines take part.
    """

    run: Path
    baseline: bool
    device: str
    threads: int
    storage: str | None = None


@contextmanager
def workers(plan: WorkerPlan, count: int, tell: Listener) -> Iterator[None]:
    """Run the members 1, 2, … of a search of `count` processes beside the block.

    At the block's end each of them trains what it has begun to its end; where the block fails,
    they save and stop.
    """
    started = [_start(plan, index, count) for index in range(1, count)]
    try:
        yield
    except BaseException:
        for process in started:
            process.terminate()
        raise
    finally:
        for index, process in enumerate(started, 1):
            try:
                code = process.wait(SAVE_S)
            except subprocess.TimeoutExpired:
                process.kill()  # what it has saved is on disk, and others may go on with it
                code = process.wait()
            if code not in {0, 75, 130}:
                how = f"signal {-code}" if code < 0 else f"exit code {code}"
                tell.warn(f"worker {index} ended by {how}; its trials were taken over")


def devices(wanted: str, index: int) -> str:
    """Return the device of a member: CUDA devices are dealt out unless one is named."""
    import torch

    if wanted in {"auto", "cuda"} and torch.cuda.is_available():
        return f"cuda:{index % torch.cuda.device_count()}"
    return wanted


def _start(plan: WorkerPlan, index: int, count: int) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-m", MODULE, str(plan.run), str(int(plan.baseline))]
    words += [str(index), str(count), devices(plan.device, index), str(plan.threads)]
    paths = [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
    more = {"PYTHONPATH": os.pathsep.join(paths)}
    if plan.storage is not None:  # not as an argument, which every user of the machine sees
        more[STORAGE] = plan.storage
    return subprocess.Popen(
        [*words, *allowed_plugins()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        env=os.environ | more,
    )
