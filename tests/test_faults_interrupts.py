"""Commands that are killed at any moment, asked to stop, or out of time: all go on exactly."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from fault_harness import Run, ends_as, fresh, in_child, workplace
from fault_programs import digest, import_for, program, the_run, write_table

LONG = ("train.epochs=12",)
STEPS_OF_LONG = 12 * 4
COHORT = ("train.seeds=3", "train.cohort=3")


@dataclass(frozen=True)
class Case:
    """A program with what it ends with when nobody disturbs it."""

    run: Run
    work: Path
    expected: Mapping[str, str]
    seconds: float

    def folder(self) -> Path:
        return fresh(self.work / "folder")

    def differs(self, folder: Path) -> str | None:
        """Run to the end; return how that differs from the undisturbed run."""
        return ends_as(self.run, digest, folder, self.work, self.expected, None)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_table(tmp_path_factory.mktemp("data") / "table.csv")


@pytest.fixture(scope="module")
def case(table: Path) -> Iterator[Case]:
    """A training of 48 steps."""
    yield from undisturbed_case(program("train", table, LONG))


@pytest.fixture(scope="module")
def search(table: Path) -> Iterator[Case]:
    """A search of 6 trials."""
    yield from undisturbed_case(program("tune", table))


def undisturbed_case(run: Run) -> Iterator[Case]:
    import_for(run)
    with workplace() as work:
        folder = fresh(work / "undisturbed")
        begin = time.monotonic()
        code, output = in_child(lambda: run(folder), work)
        assert code == 0, output
        yield Case(run, work, digest(folder), time.monotonic() - begin)


def at_step(number: int, act: Callable[[], None], run: Run) -> Run:
    """Return the program with something done right before its n-th optimizer step."""

    def disturbed(folder: Path) -> None:
        from modelscale.training.step import Stepper

        real, taken = Stepper.take, [0]

        def take(self: Stepper, *args: object) -> object:
            taken[0] += 1
            if taken[0] == number:
                act()
            return real(self, *args)  # type: ignore[arg-type]

        Stepper.take = take  # type: ignore[method-assign, assignment]
        run(folder)

    return disturbed


def sending(*numbers: int) -> Callable[[], None]:
    """Return what sends these signals to its own process."""
    return lambda: [os.kill(os.getpid(), number) for number in numbers] and None


def killed_at_random(case: Case, times: int) -> list[str]:
    """Kill at a random moment, and the resume at another; return what differs in the end."""
    draw = random.Random(1)
    faults = []
    for number in range(times):
        folder = case.folder()
        for _ in range(2):
            after_s = draw.uniform(0, 1.1 * case.seconds)
            code, output = in_child(lambda f=folder: case.run(f), case.work, after_s)
            assert code in {0, -signal.SIGKILL}, output
        fault = case.differs(folder)
        faults += [f"{number}: {fault}"] if fault else []
    return faults


def test_training_killed_at_random_moments_ends_like_an_undisturbed_one(case: Case) -> None:
    assert killed_at_random(case, 3) == []


@pytest.mark.slow
def test_training_killed_at_many_random_moments_ends_like_an_undisturbed_one(
    case: Case,
) -> None:
    assert killed_at_random(case, 20) == []


@pytest.mark.slow
def test_search_killed_at_many_random_moments_loses_no_trial(search: Case) -> None:
    assert killed_at_random(search, 20) == []


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGTERM, 75),
        (signal.SIGUSR1, 75),
        (signal.SIGUSR2, 75),
        (signal.SIGHUP, 75),
        (signal.SIGINT, 130),
    ],
    ids=lambda value: value.name if isinstance(value, signal.Signals) else str(value),
)
def test_signal_saves_the_state_and_the_same_command_goes_on(
    case: Case, number: signal.Signals, code: int
) -> None:
    folder, step = case.folder(), random.Random(number).randint(1, STEPS_OF_LONG - 1)
    begin = time.monotonic()
    run = at_step(step, sending(number), case.run)
    got, output = in_child(lambda: run(folder), case.work)
    assert got == code, output
    assert time.monotonic() - begin < 10
    assert number.name in output
    assert "run the same command to go on" in output
    record = json.loads((the_run(folder) / "run.json").read_bytes())
    assert (record["status"], record["attempts"][-1]["exit_code"]) == ("interrupted", code)
    last = (the_run(folder) / "checkpoints" / "last").readlink()
    assert last.name == f"step-{step:06d}", "not even the step under way is lost"
    assert case.differs(folder) is None


def test_second_sigterm_ends_at_once_with_143(case: Case) -> None:
    folder = case.folder()
    run = at_step(20, sending(signal.SIGTERM, signal.SIGTERM), case.run)
    code, output = in_child(lambda: run(folder), case.work)
    assert code == 143, output
    assert case.differs(folder) is None


def test_second_interrupt_from_the_keyboard_ends_at_once_with_130(case: Case) -> None:
    folder = case.folder()
    run = at_step(20, sending(signal.SIGINT, signal.SIGINT), case.run)
    code, output = in_child(lambda: run(folder), case.work)
    assert code == 130, output
    assert case.differs(folder) is None


def test_search_that_is_asked_to_stop_goes_on_with_its_trial(search: Case) -> None:
    folder = search.folder()
    run = at_step(5, sending(signal.SIGTERM), search.run)
    code, output = in_child(lambda: run(folder), search.work)
    assert code == 75, output
    assert search.differs(folder) is None


@pytest.mark.parametrize("verb", ["train", pytest.param("tune", marks=pytest.mark.slow)])
def test_loop_of_processes_without_time_ends_like_an_undisturbed_run(
    table: Path, verb: str
) -> None:
    """Each process has one step's time: the worst case of `until …; do …; done`."""
    words = COHORT if verb == "train" else ()
    case = next(undisturbed_case(program(verb, table, words)))
    hasty = program(verb, table, words, max_time_s=0.0)
    with workplace() as work:
        folder = fresh(work / "folder")
        codes = []
        while not codes or codes[-1] == 75:
            code, output = in_child(lambda: hasty(folder), work)
            codes.append(code)
            assert len(codes) < 100, output
        assert codes[-1] == 0, output
        assert len(codes) > 5
        assert ends(digest(folder)) == ends(case.expected)


def ends(found: Mapping[str, str]) -> Mapping[str, str]:
    """Return a digest without a cohort's checkpoints: stops add some, the last two stay."""
    some_more = ("cohorts/", "winner/checkpoints/")
    return {name: value for name, value in found.items() if not name.startswith(some_more)}
