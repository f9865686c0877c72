"""What happened to a run's files, or to the machine, between two processes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from fault_harness import Run, ends_as, fresh, in_child, workplace
from fault_programs import digest, import_for, program, the_run, write_table
from test_faults_interrupts import at_step

KILLED_IN_STEP = 11  # of 12; checkpoints are at 3, 6 and 9
FILES = (
    "state.safetensors",
    "state.json",
    "session.json",
    "model.safetensors",
    "MANIFEST.json",
)


@dataclass(frozen=True)
class Killed:
    """A training that was killed, and what it would have ended with."""

    run: Run
    work: Path
    expected: Mapping[str, str]

    def copy(self) -> Path:
        """Return a folder with the run as it was left."""
        folder = self.work / "folder"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.work / "killed", folder, symlinks=True)
        return folder

    def resumed(self, folder: Path, run: Run | None = None) -> tuple[int, str]:
        return in_child(lambda: (run or self.run)(folder), self.work)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_table(tmp_path_factory.mktemp("data") / "table.csv")


@pytest.fixture(scope="module")
def killed(table: Path) -> Iterator[Killed]:
    run = program("train", table)
    import_for(run)
    with workplace() as work:
        whole = fresh(work / "whole")
        code, output = in_child(lambda: run(whole), work)
        assert code == 0, output
        half = fresh(work / "killed")
        dying = at_step(KILLED_IN_STEP, lambda: os.kill(os.getpid(), signal.SIGKILL), run)
        code, output = in_child(lambda: dying(half), work)
        assert code == -signal.SIGKILL, output
        yield Killed(run, work, digest(whole))


def checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints of a run, the newest last."""
    return sorted((the_run(folder) / "checkpoints").glob("step-*"))


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def zero_the_rest(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] + bytes(len(data) - len(data) // 2))


def remove(path: Path) -> None:
    path.unlink()


def put_beside(path: Path) -> None:
    path.with_name("extra.bin").write_bytes(b"x")


@pytest.mark.parametrize(
    ("damage", "name"),
    [
        (flip, "state.safetensors"),
        (cut, "MANIFEST.json"),
        *(
            pytest.param(damage, name, marks=pytest.mark.slow)
            for damage in (flip, cut, zero_the_rest, remove, put_beside)
            for name in FILES
        ),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_damaged_newest_checkpoint_is_passed_over_and_the_end_is_the_same(
    killed: Killed, damage: Callable[[Path], None], name: str
) -> None:
    folder = killed.copy()
    newest = checkpoints(folder)[-1]
    damage(newest / name)
    code, output = killed.resumed(folder)
    assert code == 0, output
    assert f"warning: {newest}: damaged, going on from an earlier one" in output
    assert digest(folder) == killed.expected


@pytest.mark.parametrize("damage", [flip, cut, remove], ids=lambda d: d.__name__)
def test_run_without_a_whole_checkpoint_is_never_begun_anew(
    killed: Killed, damage: Callable[[Path], None]
) -> None:
    folder = killed.copy()
    for path in checkpoints(folder):
        damage(path / "state.safetensors")
    before = (the_run(folder) / "metrics.jsonl").read_bytes()
    for _ in range(2):  # nor by another try
        code, output = killed.resumed(folder)
        assert code == 65, output
        assert "no valid checkpoint to go on from" in output
        assert (the_run(folder) / "metrics.jsonl").read_bytes() == before


def test_metric_lines_that_are_gone_or_garbage_are_an_error(killed: Killed) -> None:
    for lines in ([], [b"no json\n"]):
        folder = killed.copy()
        log = the_run(folder) / "metrics.jsonl"
        kept = log.read_bytes().splitlines(keepends=True)[1:]
        log.write_bytes(b"".join([*lines, *kept]))
        code, output = killed.resumed(folder)
        assert code == 65, output
        assert "metrics.jsonl" in output


def test_torn_last_metric_line_is_repeated(killed: Killed) -> None:
    folder = killed.copy()
    with (the_run(folder) / "metrics.jsonl").open("ab") as file:
        file.write(b'{"step": 12, "ep')
    assert ends_as(killed.run, digest, folder, killed.work, killed.expected, None) is None


def test_second_process_on_a_run_leaves_at_once_naming_the_first(killed: Killed) -> None:
    folder = fresh(killed.work / "folder")
    waiting, go_on = killed.work / "waiting", killed.work / "go-on"

    def pause() -> None:
        waiting.write_text(str(os.getpid()))
        deadline = time.monotonic() + 60
        while not go_on.exists() and time.monotonic() < deadline:
            time.sleep(0.01)

    def second() -> None:
        while not waiting.exists():
            time.sleep(0.01)
        begin = time.monotonic()
        try:
            killed.run(folder)
        finally:
            sys.stdout.write(f"took {time.monotonic() - begin:.3f} s\n")
            go_on.touch()

    def both() -> None:
        first = os.fork()
        if first == 0:
            at_step(5, pause, killed.run)(folder)
            os._exit(0)
        code, output = in_child(second, fresh(killed.work / "second"))
        _, status = os.waitpid(first, 0)
        sys.stdout.write(
            f"second {code}, first {first} {os.waitstatus_to_exitcode(status)}: {output}\n"
        )

    _, output = in_child(both, killed.work)
    pid = waiting.read_text()
    assert f"second 75, first {pid} 0" in output, output
    assert f"process {pid} on " in output
    assert float(output.rpartition("took ")[2].split()[0]) < 2
    assert digest(folder) == killed.expected


def test_resume_with_other_threads_is_told_and_stamped(killed: Killed, table: Path) -> None:
    folder = killed.copy()
    resume = f"program('train', Path({str(table)!r}), threads=2)(Path({str(folder)!r}))"
    ended = subprocess.run(  # threads hang in a fork of a process that has used some
        [
            sys.executable,
            "-c",
            f"from pathlib import Path; from fault_programs import program; {resume}",
        ],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr
    assert "resumed with other conditions, so not bit-identical: threads" in ended.stdout
    record = json.loads((the_run(folder) / "run.json").read_bytes())
    assert record["exact_resume"] is False
    assert record["status"] == "done"


def test_changed_data_is_another_run(killed: Killed, table: Path) -> None:
    before = table.read_text()
    folder = killed.copy()
    try:
        table.write_text(before.replace("1", "2", 1))
        code, output = killed.resumed(folder)
    finally:
        table.write_text(before)
    assert code == 0, output
    assert len(list((folder / "runs" / "spec").glob("2*"))) == 2
