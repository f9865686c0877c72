"""The command line itself on a broken disk and under signals: exit codes, and one line each."""

from __future__ import annotations

import errno
import os
import signal
import sys
from pathlib import Path

import pytest
from fault_harness import Run, fail_everywhere, fresh, in_child, workplace
from fault_programs import SPEC, digest, import_for, write_table
from fault_watch import FailAt
from test_faults_interrupts import at_step, sending


@pytest.fixture(scope="module")
def train(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """`modelscale train spec.yaml`, as typed."""
    folder = tmp_path_factory.mktemp("data")
    spec = folder / "spec.yaml"
    spec.write_text(SPEC.format(path=write_table(folder / "table.csv")))

    def run(folder: Path) -> None:
        from modelscale.cli.app import main

        os.chdir(folder)  # as typed there: the runs folder is `runs`
        sys.argv = ["modelscale", "train", str(spec), "--threads", "1"]
        try:
            main()
        except SystemExit as leaving:
            if leaving.code:
                raise

    import_for(run)
    return run


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_failing_disk_is_one_line_and_exit_code_74(train: Run, code: int) -> None:
    with workplace() as work:
        folder = fresh(work / "folder")

        def body() -> None:
            FailAt(folder, 40, code).install()
            train(folder)

        got, output = in_child(body, work)
        assert got == 74, output
        assert "Traceback" not in output
        assert "runs/spec" in output.splitlines()[-1]


def test_free_space_lets_the_same_command_line_go_on(train: Run) -> None:
    report = fail_everywhere(train, digest, errno.ENOSPC, 74, at_most=2)
    assert not report.failures


@pytest.mark.parametrize(
    ("numbers", "code"),
    [
        ((signal.SIGTERM,), 75),
        ((signal.SIGINT,), 130),
        ((signal.SIGTERM, signal.SIGTERM), 143),
        ((signal.SIGINT, signal.SIGINT), 130),
    ],
)
def test_signal_ends_the_command_line_with_its_exit_code(
    train: Run, numbers: tuple[int, ...], code: int
) -> None:
    with workplace() as work:
        folder = fresh(work / "folder")
        run = at_step(5, sending(*numbers), train)
        got, output = in_child(lambda: run(folder), work)
        assert got == code, output
        assert "Traceback" not in output
        if len(numbers) == 1:
            assert "the state is saved: run the same command to go on" in output
        got, output = in_child(lambda: train(folder), work)
        assert got == 0, output
