"""`modelscale data`: what it lists and shows, as results, as JSON and on the command line."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from modelscale.commands.data import list_sources, show, show_file
from modelscale.errors import UsageError


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    program = "from modelscale.cli.app import main; main()"
    env = os.environ | {"PYTHONPATH": str(Path.cwd()), "MODELSCALE_CACHE": str(cwd / "cache")}
    command = [sys.executable, "-c", program, "data", *arguments]
    return subprocess.run(
        command, env=env, cwd=cwd, capture_output=True, text=True, check=False
    )


def write_table(folder: Path) -> Path:
    path = folder / "t.csv"
    lines = [f"{i % 7},{'' if i % 4 else 'b'},r{i},{i % 2}" for i in range(60)]
    path.write_text("\n".join(["x,gap,id,y", *lines]) + "\n")
    return path


def test_list_names_licence_and_citation_of_each() -> None:
    listed = list_sources().data_sets
    assert [d.name for d in listed] == sorted(d.name for d in listed)
    assert all(d.licence and d.citation and d.baseline and d.rows for d in listed)


def test_show_counts_columns_targets_and_parts(tmp_path: Path) -> None:
    summary = show_file(write_table(tmp_path), ("y",)).summary
    assert summary.task == "classification"
    assert summary.rows == 60
    assert summary.folds == ({"train": 36, "validation": 12, "test": 12},)
    assert summary.targets[0].classes == {"0": 30, "1": 30}
    told = {c.name: (c.role, c.missing, c.different) for c in summary.columns}
    assert told == {
        "x": ("numeric", 0, 7),
        "gap": ("category", 45, 1),
        "id": ("ignore", 0, 60),
    }
    assert summary.warnings == ("column 'id' is ignored: its text is different in most rows",)


def test_show_of_regression_tells_its_range(tmp_path: Path) -> None:
    (target,) = show_file(write_table(tmp_path), ("x",)).summary.targets
    assert target.classes  # seven whole numbers are classes …
    pytest.importorskip("sklearn")
    (target,) = show("diabetes").summary.targets
    assert (target.low, target.high) == (25.0, 346.0)  # … and 214 different ones are not


def test_show_refuses_what_has_no_target(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(UsageError, match="is no table, so it has no target column 'y'"):
        show_file(tmp_path, ("y",))
    odd = tmp_path / "t.xlsx"
    odd.write_text("")
    with pytest.raises(UsageError, match="is not named like data"):
        show_file(odd)


def test_json_document_of_show(tmp_path: Path) -> None:
    write_table(tmp_path)
    done = run("show", "t.csv", "--target", "y", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["command"] == "data show"
    assert document["status"] == "done"
    assert document["rows"] == 60
    assert document["columns"][0]["role"] == "numeric"


def test_faults_on_the_command_line_are_one_line_with_an_exit_code(tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text("a,y\n1,2,3\n")
    done = run("show", "bad.csv", "--target", "y", cwd=tmp_path)
    assert done.returncode == 65
    assert done.stderr == (
        "bad.csv: row 2: has 3 cells, the header has 2; quote cells that contain ','\n"
    )
    assert done.stdout == ""
    absent = run("show", "absent.csv", cwd=tmp_path)
    assert (absent.returncode, absent.stderr) == (66, "absent.csv: No such file or directory\n")
    needed = run("show", "mnist_5k", cwd=tmp_path)
    assert needed.returncode == 66
    assert needed.stderr == (
        "data set 'mnist_5k' is not on this machine; get it with: "
        "modelscale data fetch mnist_5k\n"
    )
    assert run("fetch", "mnist", cwd=tmp_path).returncode == 2


def test_ls_prints_a_table_without_loading_torch(tmp_path: Path) -> None:
    done = run("ls", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout.splitlines()[0].split() == [
        "name",
        "rows",
        "present",
        "what",
        "it",
        "is",
    ]
    assert "mnist_5k" in done.stdout
