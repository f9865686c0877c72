"""Kills a program at every step that it takes on disk, and looks at what it makes of that.

    report = kill_everywhere(run, digest)
    assert not report.failures

`run(folder)` is any program that keeps all its files under `folder` and goes on where it was
when called again; `digest(folder)` names what must be equal in the end. Each experiment is a
forked child, so import what is expensive once, in the parent, before the first call: torch,
and `torch._dynamo`, which the first optimizer imports (0.1 s instead of 1.6 s a child). The
parent should not compute with it; children do so in one thread, since a fork has no others.

Steps are the calls of `os.write`, `os.fsync`, `os.rename` and so on below `folder`. A write is
stopped after half of its bytes. `fault_power` takes the same calls for a simulated power loss.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fault_watch import FailAt, KillAt, Recorder, Step, Watch

from modelscale.errors import ModelscaleError

Run = Callable[[Path], None]
Digest = Callable[[Path], Mapping[str, str]]
Kept = Callable[[Path, Sequence[str]], None]
Mutant = Callable[[], None]

_CHILD_TIMEOUT_S = 300.0
_listeners: list[Callable[[str], None]] = []


@dataclass(frozen=True)
class Report:
    """What came out of an experiment at many points."""

    steps: tuple[str, ...]
    """The steps of the undisturbed run."""

    experiments: int
    """How often the program was disturbed and run to its end."""

    kills: int
    """How many processes were killed by that."""

    failures: tuple[str, ...] = field(repr=False)
    """Every experiment whose end differs from the undisturbed run's."""


def tell(text: str) -> None:
    """Say, as the program, that something is done for good; `kept` may rely on it."""
    for listen in _listeners:
        listen(text)


def kill_everywhere(
    run: Run,
    digest: Digest,
    *,
    kept: Kept | None = None,
    where: str = "",
    at_most: int | None = None,
    mutant: Mutant | None = None,
    give_up_after: int | None = None,
) -> Report:
    """Kill the program at every step, kill its resume half as far, let it end, and compare.

    Args:
        run: The program.
        digest: What must be as in the undisturbed run, by name.
        kept: Raises AssertionError if something that `tell` said before the first kill is no
            longer there right after it.
        where: Only steps whose text holds this are points, such as "result.json".
        at_most: Number of points, drawn with a fixed seed; all if None.
        mutant: Called in every child before `run`, to break the program.
        give_up_after: Number of failures after which to stop; never if None.
    """
    with workplace() as work:
        steps, expected = undisturbed(run, digest, work, mutant)
        failures: list[str] = []
        experiments = kills = 0
        points = [n for n, step in enumerate(steps, start=1) if where in str(step)]
        for point in chosen(points, at_most):
            folder = fresh(work / "folder")
            told = work / "told"
            told.unlink(missing_ok=True)
            place = f"killed at {point} ({steps[point - 1]})"
            fault = None
            for at in (point, max(1, point // 2)):
                watch = KillAt(folder, at)
                code, output = in_child(_program(run, folder, watch, mutant, told), work)
                kills += code == -signal.SIGKILL
                if code not in {0, -signal.SIGKILL}:
                    fault = f"exit {code}: {output}"
                if kept is not None:
                    fault = fault or broken_promise(kept, folder, told)
            experiments += 1
            fault = fault or ends_as(run, digest, folder, work, expected, mutant)
            if fault:
                failures.append(f"{place}: {fault}")
            if give_up_after is not None and len(failures) >= give_up_after:
                break
        return Report(tuple(map(str, steps)), experiments, kills, tuple(failures))


def fail_everywhere(
    run: Run, digest: Digest, code: int, exit_code: int, *, at_most: int | None = None
) -> Report:
    """Let every step fail with an error of the system, then let the program go on without.

    The failing process must end with `exit_code` and leave no temporary file; what follows
    must end as the undisturbed run.

    Args:
        run: The program; a `ModelscaleError` from it ends the process with its exit code.
        digest: What must be as in the undisturbed run, by name.
        code: `errno.ENOSPC` (all later steps that need space fail too), or another.
        exit_code: What the failing process must end with.
        at_most: Number of points, drawn with a fixed seed; all if None.
    """
    with workplace() as work:
        steps, expected = undisturbed(run, digest, work, None)
        kinds = FailAt(work, 0, code).kinds
        at_risk = [step for step in steps if step.kind in kinds]
        failures: list[str] = []
        points = chosen(range(1, len(at_risk) + 1), at_most)
        for point in points:
            folder = fresh(work / "folder")
            watch = FailAt(folder, point, code)
            got, output = in_child(_program(run, folder, watch, None, None), work)
            fault = None if got == exit_code else f"exit {got} for {exit_code}: {output}"
            if parts := [str(p.relative_to(folder)) for p in folder.rglob(".*.part")]:
                fault = f"left behind: {parts}"
            fault = fault or ends_as(run, digest, folder, work, expected, None)
            if fault:
                failures.append(f"failed at {point} ({at_risk[point - 1]}): {fault}")
        return Report(tuple(map(str, steps)), len(points), 0, tuple(failures))


def undisturbed(
    run: Run, digest: Digest, work: Path, mutant: Mutant | None
) -> tuple[list[Step], Mapping[str, str]]:
    """Return the steps of the program and what it ends with, when nothing disturbs it."""
    folder, journal = fresh(work / "undisturbed"), work / "journal"
    _, steps = record(run, folder, journal, work, mutant)
    return steps, digest(folder)


def record(
    run: Run, folder: Path, journal: Path, work: Path, mutant: Mutant | None
) -> tuple[list[tuple[int, str]], list[Step]]:
    """Run the program; return (steps before it, text) of all it told, and its steps."""

    def body() -> None:
        watch = Recorder(folder)
        told: list[tuple[int, str]] = []
        _listeners.append(lambda text: told.append((len(watch.steps), text)))
        _program(run, folder, watch, mutant, None)()
        steps = [{**vars(step), "data": step.data.decode("latin-1")} for step in watch.steps]
        journal.write_text(json.dumps({"told": told, "steps": steps}))

    code, output = in_child(body, work)
    assert code == 0, f"the undisturbed run ended with {code}: {output}"
    content = json.loads(journal.read_text())
    steps = [
        Step(**{**step, "data": step["data"].encode("latin-1")}) for step in content["steps"]
    ]
    return [(count, text) for count, text in content["told"]], steps


def ends_as(
    run: Run,
    digest: Digest,
    folder: Path,
    work: Path,
    expected: Mapping[str, str],
    mutant: Mutant | None,
) -> str | None:
    """Run the program to its end; return how that differs from `expected`, None if not."""
    code, output = in_child(_program(run, folder, None, mutant, None), work)
    if code != 0:
        return f"the resume ended with {code}: {output}"
    try:
        got = digest(folder)
    except (OSError, ValueError, KeyError, ModelscaleError) as error:
        return f"no digest: {type(error).__name__}: {error}"
    wrong = sorted(k for k in {*expected, *got} if expected.get(k) != got.get(k))
    return f"differs in {', '.join(wrong)}" if wrong else None


def in_child(
    body: Callable[[], None], work: Path, kill_after_s: float | None = None
) -> tuple[int, str]:
    """Call `body` in a forked process; return its exit code or -signal, and its last words.

    Args:
        body: What to do.
        work: Where its output is kept meanwhile.
        kill_after_s: When to end it by SIGKILL, whatever it is doing; never if None.
    """
    log = work / "output"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads do not come along
        pid = os.fork()
    if pid == 0:
        _be_child(body, log)
    begin = time.monotonic()
    deadline = begin + _CHILD_TIMEOUT_S
    pause_s = 0.001
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            break
        if kill_after_s is not None and time.monotonic() - begin >= kill_after_s:
            os.kill(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise TimeoutError(f"a child did not end: {log.read_text()[-2000:]}")
        time.sleep(pause_s)
        pause_s = min(0.02 if kill_after_s is None else 0.002, pause_s * 1.2)
    return os.waitstatus_to_exitcode(status), log.read_text(errors="replace")[-2000:]


def _be_child(body: Callable[[], None], log: Path) -> None:
    code = 1
    try:
        fd = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(fd, 1)
        os.dup2(fd, 2)
        sys.stdout = sys.stderr = os.fdopen(fd, "w", buffering=1)
        if torch := sys.modules.get("torch"):
            torch.set_num_threads(1)  # the thread pool did not come along
        body()
        code = 0
    except ModelscaleError as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        code = error.exit_code
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 - the exit code tells
        traceback.print_exc()
    finally:
        os._exit(code)


def _program(
    run: Run, folder: Path, watch: Watch | None, mutant: Mutant | None, told: Path | None
) -> Callable[[], None]:
    def note(text: str) -> None:
        assert told is not None
        with told.open("a") as file:
            file.write(text + "\n")

    def body() -> None:
        if told is not None:
            _listeners.append(note)
        if watch is not None:
            watch.install()
        if mutant is not None:
            mutant()
        run(folder)

    return body


def broken_promise(kept: Kept, folder: Path, told: Path) -> str | None:
    """Return what was told but is not on disk; None if nothing is missing."""
    words = told.read_text().splitlines() if told.exists() else []
    try:
        kept(folder, words)
    except (AssertionError, OSError, ValueError, ModelscaleError) as error:
        return f"not kept: {type(error).__name__}: {error}"
    return None


@contextlib.contextmanager
def workplace() -> Iterator[Path]:
    """Make a folder for experiments, in memory if possible, and remove it afterwards."""
    memory = Path("/dev/shm")
    where = memory if memory.is_dir() and os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="faults-", dir=where) as name:
        yield Path(name)


def fresh(folder: Path) -> Path:
    """Return an empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def chosen(points: Sequence[int], at_most: int | None) -> Sequence[int]:
    """Return all points in order, or `at_most` of them at random, always the same."""
    if at_most is None or at_most >= len(points):
        return points
    return random.Random(0).sample(points, at_most)
