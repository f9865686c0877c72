"""What every command owes a program that reads it: one document, plain bytes, its exit code."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import cli, ended, run_of, started

COMMANDS = {
    "train": ("train", "digits.yaml"),
    "evaluate": ("evaluate", "digits", "--metrics", "accuracy"),
    "predict": ("predict", "wine", "--data", "new.csv", "-o", "OUT/p.csv"),
    "profile": ("profile", "digits", "--seconds", "0"),
    "plan": ("plan", "digits.yaml", "--no-measure"),
    "runs ls": ("runs", "ls"),
    "runs show": ("runs", "show", "digits"),
    "runs compare": ("runs", "compare", "digits", "wine"),
    "data ls": ("data", "ls"),
    "data show": ("data", "show", "wine.yaml"),
    "validate": ("validate", "digits.yaml"),
    "schema": ("schema",),
    "doctor": ("doctor",),
    "init": ("init", "OUT/my.yaml"),
}
FAILING = {
    "train": (("train", "none.yaml"), 66),
    "tune": (("tune", "digits.yaml"), 78),
    "evaluate": (("evaluate", "none"), 66),
    "predict": (("predict", "wine", "--data", "none.csv", "-o", "OUT/p.csv"), 66),
    "profile": (("profile", "digits", "--batch-sizes", "x"), 2),
    "plan": (("plan", "digits.yaml", "--set", "nothing=1"), 78),
    "runs show": (("runs", "show", "none"), 66),
    "runs compare": (("runs", "compare", "none", "digits"), 66),
    "runs rm": (("runs", "rm", "none"), 66),
    "data fetch": (("data", "fetch", "none"), 2),
    "data show": (("data", "show", "none"), 2),
    "validate": (("validate", "none.yaml"), 66),
    "init": (("init", "OUT/no/my.yaml"), 73),
}


def line_of(words, tmp_path):
    return [word.replace("OUT", str(tmp_path)) for word in words]


@pytest.mark.parametrize("name", COMMANDS)
def test_json_is_one_document(workshop, tmp_path, name):
    result = cli(workshop, *line_of(COMMANDS[name], tmp_path), "--json")
    assert result.code == 0, result.err
    document = result.document
    assert (document["schema_version"], document["status"]) == (1, "done")
    assert document["command"] == name
    assert "run" in document
    assert "\x1b" not in result.out + result.err


@pytest.mark.parametrize("name", FAILING)
def test_json_of_an_error_is_one_document(workshop, tmp_path, name):
    words, code = FAILING[name]
    result = cli(workshop, *line_of(words, tmp_path), "--json")
    assert result.code == code
    document = result.document
    assert (document["status"], document["exit_code"]) == ("error", code)
    assert document["messages"]
    assert "Traceback" not in result.err
    assert result.err.splitlines() == document["messages"]


@pytest.mark.parametrize("name", COMMANDS)
def test_words_for_people_have_no_escapes_in_a_pipe(workshop, tmp_path, name):
    result = cli(workshop, *line_of(COMMANDS[name], tmp_path))
    assert result.code == 0, result.err
    assert "\x1b" not in result.out + result.err


@pytest.mark.parametrize("name", ["train", "evaluate", "predict", "profile", "plan"])
def test_quiet_tells_nothing_beside_the_data(workshop, tmp_path, name):
    result = cli(workshop, *line_of(COMMANDS[name], tmp_path), "-q")
    assert (result.code, result.err) == (0, "")


@pytest.mark.parametrize("name", ["train", "tune", "evaluate", "predict", "profile", "plan"])
def test_help_has_examples(workshop, name):
    result = cli(workshop, name, "--help")
    assert result.code == 0
    assert f"modelscale {name}" in result.out.partition("Examples:")[2]


@pytest.mark.slow
class TestOwnProcess:
    def test_a_whole_day(self, workshop, tmp_path):
        """Train, evaluate, predict and profile, each a process, as in a shell script."""
        (tmp_path / "digits.yaml").write_text((workshop / "digits.yaml").read_text())
        (tmp_path / "new.csv").write_text((workshop / "new.csv").read_text())
        (tmp_path / "wine.csv").write_text((workshop / "wine.csv").read_text())
        (tmp_path / "wine.yaml").write_text((workshop / "wine.yaml").read_text())
        for words in (
            ("train", "wine.yaml"),
            ("evaluate", "wine"),
            ("predict", "wine", "--data", "new.csv", "-o", "p.csv"),
            ("profile", "wine", "--seconds", "0.01"),
        ):
            result = ended(started(tmp_path, *words, "--json", FORCE_COLOR="1"))
            assert result.code == 0, result.err
            assert result.document["run"] == f"runs/wine/{run_of(tmp_path, 'wine').name}"
            assert "\x1b" not in result.out + result.err

    def test_a_closed_pipe(self, workshop):
        process = started(workshop, "predict", "wine", "--data", "new.csv")
        process.stdout.close()
        assert process.stderr.read() == ""
        process.stderr.close()
        assert process.wait(60) == 141

    @pytest.mark.parametrize("name", ["evaluate", "predict", "profile", "plan"])
    def test_help_loads_nothing_heavy(self, workshop, name):
        code = (
            "import sys; from modelscale.cli import app\n"
            f"sys.argv = ['modelscale', '{name}', '--help']\n"
            "try: app.main()\n"
            "except SystemExit: pass\n"
            "heavy = {'torch', 'numpy', 'optuna', 'pandas', 'pyarrow', 'sklearn'}\n"
            "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        )
        env = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
        subprocess.run([sys.executable, "-c", code], check=True, env=env, capture_output=True)


def test_metrics_lines_are_json(workshop):
    for line in (run_of(workshop, "digits") / "metrics.jsonl").read_text().splitlines():
        assert {"step", "epoch", "train/loss", "lr"} <= json.loads(line).keys()
