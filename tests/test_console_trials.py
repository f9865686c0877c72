"""What a search tells while it runs: a line a trial in a log, a live table on a terminal."""

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from command_line import cli, run_of

from modelscale.cli.console import Console
from modelscale.cli.search_table import Standing, line, short_names, table
from modelscale.runs.trials import TrialRecord

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
PROGRAM = """
import sys, time
sys.path.insert(0, {tests!r})
from test_console_trials import record
from modelscale.cli.console import Console
console = Console(as_json={as_json})
with console.trials("validation/loss", False, {total}, [record(0)]) as told:
    told.training([1, 2], 0, 3)
    time.sleep({pause})
    for number in range(1, {total}):
        told.ended(record(number))
    console.warn("time is up")
    console.data("data")
    told.training(range(100, 116), 2, 3)
    time.sleep({pause})
console.document("tune", {{"answer": 42}})
"""


def record(number, state="complete", value=None, **more):
    """Return a trial; the smallest loss is that of number 3."""
    value = abs(number - 3) / 8 + 0.5 if value is None else value
    params = {"optimizer.lr": 1e-3 * (number + 1), "model.hidden": [64, 64]}
    return TrialRecord(
        number=number,
        state=state,
        params=params,
        values=(value,) if state in {"complete", "stopped"} else (),
        seconds=0.25,
        result={"best_epoch": 7},
        **more,
    )


def on_terminal(columns, rows, *, total=9, pause=0.1, as_json=False, **variables):
    """Return what the program writes to a terminal, and to a pipe as its stdout."""
    tests = str(Path(__file__).parent)
    code = PROGRAM.format(tests=tests, total=total, pause=pause, as_json=as_json)
    env = {k: v for k, v in os.environ.items() if k not in {"NO_COLOR", "COLUMNS", "LINES"}}
    env |= {"PYTHONPATH": str(Path(tests).parent), "TERM": "xterm", **variables}
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    line_ = [sys.executable, "-c", code]
    process = subprocess.Popen(
        line_, stdin=theirs, stdout=subprocess.PIPE, stderr=theirs, env=env
    )
    os.close(theirs)
    told = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:
            break
        if not part:
            break
        told += part
    os.close(ours)
    out = process.communicate(timeout=60)[0].decode()
    assert process.returncode == 0, told.decode()
    return told.decode(), out


def words(told):
    """Return the visible lines."""
    return [row.strip() for row in ESCAPE.sub("", told).replace("\r", "\n").split("\n")]


def shown(standing, width):
    """Return the lines of a table of some width."""
    from rich.console import Console as RichConsole

    screen = RichConsole(width=width, color_system=None, legacy_windows=False)
    with screen.capture() as capture:
        screen.print(table(standing, width, 12.0))
    return capture.get().splitlines()


def standing(*trials, total=9, maximize=False, earlier=()):
    found = Standing("validation/loss", maximize, total)
    found.start_from(earlier)
    for trial in trials:
        found.add(trial)
    return found


class TestLog:
    def test_each_trial_is_one_line_without_being_asked_for(self, capsys):
        with Console().trials("validation/loss", False, 4, [record(0)]) as told:
            told.training([1], 0, 3)
            told.ended(record(1))
            told.ended(record(2, "failed", error="out of\nmemory"))
            told.ended(record(3))
        assert capsys.readouterr() == (
            "",
            "trial 1 (2/4) complete: validation/loss 0.7500, epoch 7, best 0.7500 of trial 1, "
            "250 ms; optimizer.lr=0.002 model.hidden=[64, 64]\n"
            "trial 2 (3/4) failed: epoch 7, out of memory, best 0.7500 of trial 1, 250 ms; "
            "optimizer.lr=0.003 model.hidden=[64, 64]\n"
            "trial 3 (4/4) complete: validation/loss 0.5000, epoch 7, best 0.5000 of trial 3, "
            "250 ms; optimizer.lr=0.004 model.hidden=[64, 64]\n",
        )

    def test_quiet_tells_nothing(self, capsys):
        with Console(quiet=True).trials("validation/loss", False, 4) as told:
            told.ended(record(1))
        assert capsys.readouterr() == ("", "")

    def test_a_log_that_nobody_reads_stops_nothing(self):
        code = (
            f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
            "from test_console_trials import record\n"
            "from modelscale.cli.console import Console\n"
            "with Console().trials('validation/loss', False, 50) as told:\n"
            "    for number in range(50): told.ended(record(number))\n"
            "print('went on')\n"
            "sys.stdout.flush(); import os; os._exit(0)\n"
        )
        ours, theirs = os.pipe()
        os.close(ours)
        env = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
        ended = subprocess.run(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=theirs, env=env
        )
        os.close(theirs)
        assert (ended.returncode, ended.stdout) == (0, b"went on\n")

    @pytest.mark.slow
    @pytest.mark.parametrize("plain", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
    def test_a_terminal_that_wants_none_gets_lines_without_escapes(self, plain):
        told, _ = on_terminal(80, 24, pause=0, **plain)
        assert "\x1b" not in told
        assert sum(row.startswith("trial ") for row in words(told)) == 8

    def test_the_command_tells_every_trial(self, workshop, tmp_path):
        (tmp_path / "search.yaml").write_text((workshop / "search.yaml").read_text())
        result = cli(tmp_path, "tune", "search.yaml", "--set", "tune.confirm_seeds=0", "--json")
        assert result.code == 0, result.err
        assert result.document["trials"]["total"] == 6
        lines = [row for row in result.err.splitlines() if row.startswith("trial ")]
        assert [row.partition(" (")[2][:4] for row in lines] == [f"{n}/6)" for n in range(1, 7)]
        best = result.document["best"]
        assert f"of trial {best['trial']}" in lines[-1]
        assert (run_of(tmp_path, "search") / "trials" / "0005").is_dir()


class TestStanding:
    @pytest.mark.parametrize(("maximize", "best"), [(False, 3), (True, 8)])
    def test_best_is_the_best_complete_one(self, maximize, best):
        trials = [record(n) for n in range(9)]
        bait = record(9, "stopped", 9.0 if maximize else 0.0)
        assert standing(*trials, bait, maximize=maximize).best.number == best

    def test_a_value_that_is_missing_is_never_best(self):
        lost = TrialRecord(number=0, state="complete", params={}, values=(None,))
        assert standing(lost).best is None
        assert "–" in "".join(shown(standing(lost), 80))
        assert line(standing(lost), lost) == "trial 0 (1/9) complete"

    def test_trials_of_earlier_sessions_say_nothing_of_the_speed(self):
        earlier = [record(n) for n in range(4)]
        found = standing(earlier=earlier)
        assert (found.done, found.left_s(10.0)) == (4, None)
        found.add(record(4))
        assert found.left_s(10.0) == pytest.approx(40.0)

    def test_names_are_as_short_as_they_can_be_told_apart(self):
        keys = ["model.a.dropout", "model.b.dropout", "optimizer.lr", "model"]
        assert short_names(keys) == ["a.dropout", "b.dropout", "lr", "model"]


class TestTable:
    def test_it_shows_counts_best_latest_and_what_runs(self):
        found = standing(*(record(n) for n in range(8)), record(8, "diverged"), total=20)
        found.training = ((9, 10, 11), 4, 30)
        rows = shown(found, 90)
        assert rows[0].startswith(
            "9/20 trials: 8 complete, 1 diverged; 12 s, about 14.7 s left"
        )
        assert rows[1].rstrip() == (
            "best validation/loss 0.5000 of trial 3: lr=0.004 hidden=[64, 64]"
        )
        last = [row.split()[0] for row in rows[4:-1]]
        assert last == ["3", "4", "5", "6", "7", "8"]
        assert rows[-1].rstrip() == "trials 9, 10, 11 in training together, epoch 4/30"

    @pytest.mark.parametrize("width", [12, 20, 40, 60, 80, 200])
    def test_it_fits_any_width_in_the_same_height(self, width):
        found = standing(*(record(n) for n in range(9)))
        found.training = (tuple(range(64)), 1, 2)
        rows = shown(found, width)
        assert max(map(len, rows)) <= width
        assert len(rows) == len(shown(found, 200))

    def test_brackets_are_text(self):
        odd = TrialRecord(
            number=0, state="failed", params={"model.x": "[red]"}, error="[/b] no"
        )
        assert any("[/b] no" in row for row in shown(standing(odd), 100))


@pytest.mark.slow
class TestTerminal:
    def test_the_table_stands_below_what_else_is_told(self):
        told, out = on_terminal(80, 24, pause=0.8)
        rows = words(told)
        assert any(row.startswith("9/9 trials: 9 complete") for row in rows)
        assert "warning: time is up" in rows
        after = rows[rows.index("warning: time is up") :]
        assert any(row.startswith("best validation/loss 0.5000 of trial 3") for row in after)
        assert any("trials 100, 101" in row and "and 10 more" in row for row in rows)
        assert not any("training" in row for row in rows[-9:])  # at the end nothing runs
        assert out == "data\n"
        assert told.count("\x1b[?25l") == told.count("\x1b[?25h") == 1  # the cursor is back

    @pytest.mark.parametrize("size", [(20, 5), (30, 8), (400, 60)])
    def test_any_size_of_terminal(self, size):
        told, _ = on_terminal(*size)
        assert max(map(len, words(told))) <= size[0]

    def test_thousands_of_trials_cost_a_few_paintings(self):
        told, _ = on_terminal(100, 30, total=5000)
        assert any(row.startswith("5000/5000 trials") for row in words(told))
        assert sum("trials: " in row or "trials;" in row for row in words(told)) < 40

    def test_json_on_stdout_is_one_document(self):
        told, out = on_terminal(80, 24, as_json=True)
        assert json.loads(out)["answer"] == 42
        assert "9/9 trials" in told
