"""The other processes of a search on one machine: started, watched, and never left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from modelscale.commands.search_rounds import Member
from modelscale.commands.telling import Listener
from modelscale.components import allowed_plugins
from modelscale.errors import ModelscaleError

if TYPE_CHECKING:
    from modelscale.training.stopping import StopRequest

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


class Worker(Protocol):
    """A process that was started."""

    def terminate(self) -> None:
        """Ask it to save its state and end."""

    def kill(self) -> None:
        """End it."""

    def wait(self, timeout: float) -> int | None:
        """Return its exit code, negative for a signal; None if it still runs after seconds."""


@contextmanager
def beside(started: list[Worker], tell: Listener) -> Iterator[None]:
    """Let the members 1, 2, … of a search work beside the block.

    At the block's end each of them trains what it has begun to its end; where the block fails,
    they save and stop.
    """
    try:
        yield
    except BaseException:
        for worker in started:
            worker.terminate()
        raise
    finally:
        for index, worker in enumerate(started, 1):
            code = worker.wait(SAVE_S)
            if code is None:
                worker.kill()  # what it has saved is on disk, and others may go on with it
                code = worker.wait(SAVE_S)
            if code is not None and code not in {0, 75, 130}:
                how = f"signal {-code}" if code < 0 else f"exit code {code}"
                tell.warn(f"worker {index} ended by {how}; its trials were taken over")


def forked(train: Callable[[Member, StopRequest], None], count: int) -> list[Worker]:
    """Start the other members of a search as copies of this process, in milliseconds.

    For one CPU thread alone: threads and what a GPU holds do not outlive a fork.

    Args:
        train: Takes part in the search as one of its members, until it is over or stopped.
        count: Members in all.
    """
    return [_Fork(train, Member(index, count)) for index in range(1, count)]


def spawned(plan: WorkerPlan, count: int) -> list[Worker]:
    """Start the other members of a search as new processes, which takes seconds."""
    return [_Spawned(_start(plan, index, count)) for index in range(1, count)]


class _Fork:
    """A copy of this process that takes part in a search."""

    def __init__(self, train: Callable[[Member, StopRequest], None], member: Member) -> None:
        import multiprocessing

        context = multiprocessing.get_context("fork")
        self._process = context.Process(target=_take_part, args=(train, member))
        with warnings.catch_warnings():
            # A display's thread may live here; the copy has none and does not touch a display.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._process.start()

    def terminate(self) -> None:
        self._process.terminate()

    def kill(self) -> None:
        self._process.kill()

    def wait(self, timeout: float) -> int | None:
        self._process.join(timeout)
        return self._process.exitcode


@dataclass(frozen=True)
class _Spawned:
    process: subprocess.Popen[bytes]

    def terminate(self) -> None:
        self.process.terminate()

    def kill(self) -> None:
        self.process.kill()

    def wait(self, timeout: float) -> int | None:
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            return None


def _take_part(train: Callable[[Member, StopRequest], None], member: Member) -> None:
    """Run in a copy of the process; what it exits with tells how it ended."""
    from modelscale.training.stopping import StopRequest, listening

    with listening(StopRequest(parent=os.getppid())) as stop:
        try:
            train(member, stop)
        except ModelscaleError as error:
            if error.exit_code not in {75, 130}:
                print(f"worker {member.index}: {error}", file=sys.stderr)  # noqa: T201
            raise SystemExit(error.exit_code) from None


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
