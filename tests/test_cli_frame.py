"""The frame around all commands: exit codes, streams, JSON, terminals."""

import errno
import gc
import json
import os
import pty
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from modelscale.cli.app import COMMANDS, main
from modelscale.cli.console import Console, Progress
from modelscale.cli.frame import run_command
from modelscale.errors import DataError, Diverged

GOOD = "data: {source: digits}\nmodel: mlp\n"
RUN = "import sys; from modelscale.cli.app import main; sys.argv[0] = 'modelscale'; main()"


@dataclass(frozen=True)
class Done:
    """A result of the tests alone."""

    exit_code: int = 0

    def to_json(self):
        return {"answer": 42, "run": "runs/x"}


def command(work, *, as_json=False):
    """Return the exit code of a command that does `work`."""
    console = Console(as_json)
    with pytest.raises(SystemExit) as leaving:
        run_command("tested", console, work, lambda result: console.data("shown"))
    return leaving.value.code


def fail(error):
    def work():
        raise error

    return work


def cli(*arguments, **environment):
    """Run the command line as a user does, in a process of its own."""
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent), **environment}
    line = [sys.executable, "-c", RUN, *arguments]
    return subprocess.run(line, capture_output=True, text=True, env=env, timeout=60)


class TestExitCodes:
    def test_result_is_shown(self, capsys):
        assert command(Done) == 0
        assert capsys.readouterr() == ("shown\n", "")

    def test_result_may_fail(self):
        assert command(lambda: Done(4)) == 4

    @pytest.mark.parametrize(
        ("error", "code", "message"),
        [
            (DataError("t.csv:3: bad"), 65, "t.csv:3: bad"),
            (Diverged("loss is nan"), 10, "loss is nan"),
            (MemoryError(), 11, "out of memory: MemoryError"),
            (OSError(errno.ENOSPC, "No space left", "a"), 74, "a: No space left"),
            (OSError(errno.EIO, "I/O error"), 74, "I/O error"),
            (
                PermissionError(errno.EACCES, "Permission denied", "a"),
                73,
                "a: cannot be written (Permission denied)",
            ),
            (OSError(errno.EROFS, "Read-only", "a"), 73, "a: cannot be written (Read-only)"),
            (KeyboardInterrupt(), 130, "interrupted"),
        ],
    )  # fmt: skip
    def test_errors_are_one_line_on_stderr(self, error, code, message, capsys):
        assert command(fail(error)) == code
        assert capsys.readouterr() == ("", f"{message}\n")

    def test_out_of_memory_of_torch(self):
        import torch

        assert command(fail(torch.OutOfMemoryError("CUDA out of memory"))) == 11

    def test_bugs_keep_their_traceback(self):
        with pytest.raises(ZeroDivisionError):
            run_command("tested", Console(), fail(ZeroDivisionError("x")), print)

    def test_an_input_that_vanished_is_a_bug(self):
        with pytest.raises(FileNotFoundError):
            run_command("tested", Console(), fail(FileNotFoundError(errno.ENOENT, "x")), print)


class TestJson:
    def test_result(self, capsys):
        assert command(Done, as_json=True) == 0
        assert json.loads(capsys.readouterr().out) == {
            "schema_version": 1,
            "command": "tested",
            "run": "runs/x",
            "status": "done",
            "answer": 42,
        }

    def test_error_is_a_document_too(self, capsys):
        assert command(fail(DataError("a\nb")), as_json=True) == 65
        out, err = capsys.readouterr()
        document = json.loads(out)
        assert (document["status"], document["exit_code"]) == ("error", 65)
        assert document["messages"] == ["a", "b"]
        assert err == "a\nb\n"

    def test_bug_is_a_document_too(self, capsys):
        with pytest.raises(ZeroDivisionError):
            run_command("tested", Console(as_json=True), fail(ZeroDivisionError("x")), print)
        assert json.loads(capsys.readouterr().out)["exit_code"] == 1

    def test_wrong_command_line_is_a_document_too(self):
        result = cli("validate", "--json", "--bogus")
        assert result.returncode == 2
        assert json.loads(result.stdout)["status"] == "error"
        assert "No such option" in result.stderr

    def test_numbers_that_json_cannot_hold_are_null(self, capsys):
        Console(as_json=True).document(
            "tested", {"a": [float("nan"), 1.0, {"b": float("inf")}]}
        )
        assert json.loads(capsys.readouterr().out)["a"] == [None, 1.0, {"b": None}]


class TestStreams:
    def test_closed_stdout(self):
        line = f"{sys.executable} -c '{RUN.replace(chr(39), chr(34))}' schema >&-"
        env = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
        result = subprocess.run(["sh", "-c", line], capture_output=True, env=env, timeout=60)
        assert (result.returncode, result.stderr) == (0, b"")

    def test_stdout_that_knows_only_ascii(self):
        result = cli("schema", PYTHONIOENCODING="ascii", PYTHONUTF8="0", LC_ALL="C")
        assert (result.returncode, result.stderr) == (0, "")

    def test_closed_pipe_is_quiet(self):
        env = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
        line = [sys.executable, "-c", RUN, "schema"]
        process = subprocess.Popen(
            line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env
        )
        process.stdout.close()
        assert process.stderr.read() == b""
        process.stderr.close()
        assert process.wait(60) == 141

    def test_no_escapes_in_a_pipe(self):
        result = cli("--help", FORCE_COLOR="1")
        assert "\x1b" not in result.stdout + result.stderr

    @pytest.mark.parametrize("variable", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
    def test_no_escapes_on_a_plain_terminal(self, variable):
        code = (
            "from modelscale.cli.console import Console\nc = Console()\n"
            "c.table(('a', 'b'), [('x', '1')])\n"
            "with c.progress('work', 2) as p:\n    p.update(1)\n    p.update(2)\n"
        )
        assert b"\x1b" not in on_terminal(code, variable)

    def test_a_terminal_gets_a_bar(self):
        code = (
            "from modelscale.cli.console import Console\n"
            "with Console().progress('work', 2) as p:\n    p.update(2)\n"
        )
        assert b"\x1b" in on_terminal(code, {"TERM": "xterm"})


def on_terminal(code, variables):
    """Return what a program writes to a terminal."""
    hidden = {"NO_COLOR", "TERM"}
    env = {k: v for k, v in os.environ.items() if k not in hidden}
    env |= {"PYTHONPATH": str(Path(__file__).parent.parent), "TERM": "xterm", **variables}
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=theirs, stdout=theirs, stderr=theirs, env=env
    )
    os.close(theirs)
    told = b""
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:
            break
        if not part:
            break
        told += part
    os.close(ours)
    assert process.wait(60) == 0, told
    return told


class TestConsole:
    def test_quiet_keeps_warnings(self, capsys):
        console = Console(quiet=True)
        console.note("n")
        console.detail("d")
        console.warn("w")
        assert capsys.readouterr() == ("", "warning: w\n")

    def test_table_in_a_pipe(self, capsys):
        Console().table(("name", "n"), [("a", "1"), ("[red]b", "20")])
        assert capsys.readouterr().out == "name     n\na        1\n[red]b  20\n"

    def test_progress_in_a_log_is_few_lines(self, capsys):
        with Console().progress("train", 1000) as progress:
            for done in range(1001):
                progress.last_s -= 10
                progress.update(done, "loss 1")
        lines = capsys.readouterr().err.splitlines()
        assert 15 <= len(lines) <= 22
        assert lines[-1] == "train 1000/1000 100%  loss 1"

    def test_quick_progress_is_two_lines(self, capsys):
        with Console().progress("train", 100) as progress:
            for done in range(101):
                progress.update(done)
        assert len(capsys.readouterr().err.splitlines()) == 2

    def test_progress_is_silent_when_quiet(self, capsys):
        with Console(quiet=True).progress("train", 2) as progress:
            progress.update(2)
        assert capsys.readouterr() == ("", "")

    def test_progress_without_a_total(self):
        Progress("x", 0, None).update(1)


class TestCommands:
    def test_commands_in_help_are_those_that_exist(self, capsys, monkeypatch):
        monkeypatch.setattr(sys, "argv", ["modelscale", "--help"])
        with pytest.raises(SystemExit):
            main()
        gc.enable()
        told = capsys.readouterr().out
        folder = Path(__file__).parent.parent / "modelscale" / "cli"
        for name in COMMANDS:
            assert (f"\n  {name} " in told) is (folder / f"{name}.py").is_file()

    @pytest.mark.parametrize("name", ["validate", "schema", "init", "doctor"])
    def test_help_has_examples(self, name, capsys, monkeypatch):
        monkeypatch.setattr(sys, "argv", ["modelscale", name, "--help"])
        with pytest.raises(SystemExit) as leaving:
            main()
        gc.enable()
        assert leaving.value.code == 0
        assert f"modelscale {name}" in capsys.readouterr().out.partition("Examples:")[2]
