"""`modelscale runs` from the shell: one JSON document, exit codes, nothing heavy."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from modelscale.runs.folder import RunFolder
from modelscale.runs.record import RunFacts

MAIN = "from modelscale.cli.app import main; main()"


def _runs(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", MAIN, "runs", *words, "--runs", str(root)]
    return subprocess.run(command, check=False, capture_output=True, text=True)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """One finished run whose result tries to break the output."""
    with RunFolder.open_or_create(
        tmp_path / "runs", "digits", "abcdef01", b"", "x: 1\n", ["modelscale", "train"]
    ) as run:
        run.begin_attempt(RunFacts())
        run.finish("done", {"metrics": {"test": {"[red]": {"value": float("nan")}}}})
    return tmp_path / "runs"


@pytest.mark.parametrize(
    "words", [("ls",), ("show", "digits"), ("compare", "digits", "digits")]
)
def test_json_is_one_strict_document(root: Path, words: tuple[str, ...]) -> None:
    def refuse(word: str) -> None:
        raise AssertionError(word)

    done = _runs(root, *words, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    content = json.loads(done.stdout, parse_constant=refuse)
    assert (content["schema_version"], content["command"]) == (1, f"runs {words[0]}")


def test_table_names_the_run_and_keeps_odd_text(root: Path) -> None:
    done = _runs(root, "ls")
    assert done.returncode == 0
    assert "digits" in done.stdout
    assert "test/[red] –" in done.stdout
    assert "\x1b" not in done.stdout


def test_missing_run_is_66_and_busy_run_75(root: Path) -> None:
    missing = _runs(root, "show", "nothing")
    assert missing.returncode == 66
    assert missing.stderr.startswith("nothing: no run found; looked in nothing, ")
    with RunFolder.open_or_create(root, "live", "abcdef02", b"", "", []):
        busy = _runs(root, "rm", "live")
    assert busy.returncode == 75
    assert "busy: process" in busy.stderr
    assert _runs(root, "rm", "live", "digits").returncode == 0
    assert list(root.iterdir()) == []
