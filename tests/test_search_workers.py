"""Searches that several processes share: on one machine, and through a database."""

from __future__ import annotations

import csv
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelscale.runs.trials import read_trials

MAIN = "from modelscale.cli.app import main; main()"
TRIALS = 24
SPEC = """
data: {source: wine, split: {test: 0.25, validation: 0.25, seed: 0}}
model: {kind: mlp, hidden: [16]}
metrics: [accuracy]
train: {epochs: 30, batch_size: 16, checkpoint_s: 0}
tune:
  metric: validation/loss
  n_trials: 24
  cohort: 4
  confirm_seeds: 1
  early_stop: {kind: median, least_rivals: 4}
  space:
    optimizer.lr: {low: 1e-4, high: 1e-1, log: true}
    model.dropout: {low: 0.0, high: 0.5}
"""

pytestmark = pytest.mark.slow


def start(folder: Path, *words: str) -> subprocess.Popen[str]:
    """Start `modelscale tune` in a folder, as a user would."""
    (folder / "spec.yaml").write_text(SPEC)
    command = [sys.executable, "-c", MAIN, "tune", "spec.yaml", "--threads", "1"]
    return subprocess.Popen(
        [*command, *words],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)},
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(process: subprocess.Popen[str]) -> dict[str, object]:
    """Return the JSON document of a search that must come to its end."""
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return dict(json.loads(out))


def runs_in(folder: Path) -> list[Path]:
    found = (folder / "runs" / "spec").iterdir()
    return [path for path in found if path.is_dir() and not path.is_symlink()]


def only_run(folder: Path) -> Path:
    (run,) = runs_in(folder)
    return run


def rows(run: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((run / "trials.csv").read_text().splitlines()))


def children(parent: int) -> list[int]:
    """Return the processes that a process has started."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == parent and fields[0] != "Z":
            found.append(int(path.parent.name))
    return found


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    folder = tmp_path_factory.mktemp("undisturbed")
    finished(start(folder, "--workers", "2", "--json"))
    return rows(only_run(folder))


def test_two_processes_train_every_trial_once(undisturbed: list[dict[str, str]]) -> None:
    assert [int(row["trial"]) for row in undisturbed] == list(range(TRIALS))
    assert {row["state"] for row in undisturbed} <= {"complete", "stopped"}


def test_search_is_the_same_whoever_of_its_workers_dies(
    tmp_path: Path, undisturbed: list[dict[str, str]]
) -> None:
    process = start(tmp_path, "--workers", "2", "--json")
    kills = 0
    while process.poll() is None:
        run = tmp_path / "runs" / "spec" / "latest" / "trials"
        if kills == 0 and run.is_dir() and (workers := children(process.pid)):
            time.sleep(0.3)
            os.kill(workers[0], signal.SIGKILL)
            kills += 1
        time.sleep(0.05)
    assert kills == 1
    document = finished(process)
    assert document["status"] == "done"
    assert rows(only_run(tmp_path)) == undisturbed


def test_killed_search_takes_its_workers_along_and_goes_on_exactly(
    tmp_path: Path, undisturbed: list[dict[str, str]]
) -> None:
    generator, codes = random.Random(0), []
    for _ in range(40):
        process = start(tmp_path, "--workers", "2", "--json")
        trials = tmp_path / "runs" / "spec" / "latest" / "trials"
        while process.poll() is None and not (trials.is_dir() and children(process.pid)):
            time.sleep(0.05)
        time.sleep(generator.uniform(0.1, 2))
        workers = children(process.pid)
        if process.poll() is None:
            process.send_signal(generator.choice([signal.SIGKILL, signal.SIGTERM]))
        process.communicate(timeout=60)
        codes.append(process.returncode)
        deadline = time.monotonic() + 60
        while any(Path(f"/proc/{worker}").exists() for worker in workers):
            assert time.monotonic() < deadline, "a worker outlived its search"
            time.sleep(0.05)
        if process.returncode == 0:
            break
    assert set(codes) <= {0, 75, -signal.SIGKILL, -signal.SIGTERM}
    assert rows(only_run(tmp_path)) == undisturbed


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start a PostgreSQL server of our own; yield its address."""
    pytest.importorskip("psycopg")
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    found = shutil.which("initdb") or (str(programs[-1]) if programs else None)
    if found is None:
        pytest.skip("PostgreSQL is not installed (Debian: apt install postgresql)")
    folder = Path(found).resolve().parent if programs == [] else programs[-1].parent
    home = Path(f"/tmp/modelscale-postgres-{os.getpid()}")  # socket paths must be short
    home.mkdir()
    user = "postgres" if os.geteuid() == 0 else None  # the server refuses to be root's
    if user:
        shutil.chown(home, user)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    data = str(home / "data")
    subprocess.run(
        [str(folder / "initdb"), "-D", data, "-U", "tester", "--auth=trust"],
        check=True,
        user=user,
        capture_output=True,
        cwd=home,
    )
    server = subprocess.Popen(
        [str(folder / "postgres"), "-D", data, "-p", str(port), "-k", str(home)],
        user=user,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=home,
    )
    try:
        for _ in range(200):
            ready = subprocess.run(
                [str(folder / "pg_isready"), "-h", "127.0.0.1", "-p", str(port)],
                capture_output=True,
                check=False,
            )
            if ready.returncode == 0:
                break
            time.sleep(0.1)
        yield f"postgresql://tester@127.0.0.1:{port}/postgres"
    finally:
        server.terminate()
        server.wait(30)
        shutil.rmtree(home, ignore_errors=True)


def trials_are_all_there_once(run: Path) -> None:
    found = read_trials(run)
    assert [trial.number for trial in found] == list(range(TRIALS))
    assert all(trial.state in {"complete", "stopped"} for trial in found)


def trained_here(run: Path) -> set[int]:
    return {int(path.parent.name) for path in run.glob("trials/*/trial.json")}


def test_two_machines_share_a_study_without_losing_or_repeating_a_trial(
    tmp_path: Path, database: str
) -> None:
    folders = [tmp_path / "first", tmp_path / "second"]
    for folder in folders:
        folder.mkdir()
    processes = [start(f, "--storage", database, "--seed", "1", "--json") for f in folders]
    for process in processes:
        finished(process)
    first, second = map(only_run, folders)
    trials_are_all_there_once(first)
    trials_are_all_there_once(second)
    assert rows(first) == rows(second)
    assert trained_here(first) | trained_here(second) == set(range(TRIALS))
    assert not trained_here(first) & trained_here(second)
    assert trained_here(first)
    assert trained_here(second)


def test_trials_of_a_dead_machine_are_taken_over(tmp_path: Path, database: str) -> None:
    folders = [tmp_path / "dies", tmp_path / "lives"]
    for folder in folders:
        folder.mkdir()
    dying = start(folders[0], "--storage", database, "--seed", "2", "--json")
    while not list(folders[0].glob("runs/spec/*/trials/*/trial.json")):
        assert dying.poll() is None
        time.sleep(0.02)
    dying.kill()
    dying.communicate()
    finished(start(folders[1], "--storage", database, "--seed", "2", "--json"))
    trials_are_all_there_once(only_run(folders[1]))
    finished(start(folders[0], "--storage", database, "--seed", "2", "--json"))
    assert rows(only_run(folders[0])) == rows(only_run(folders[1]))


def test_workers_and_storage_go_together_in_one_folder(tmp_path: Path, database: str) -> None:
    words = ("--storage", database, "--seed", "3", "--workers", "2", "--json")
    processes = [start(tmp_path, *words), start(tmp_path, *words)]
    for process in processes:
        finished(process)
    runs = runs_in(tmp_path)
    assert len(runs) == 2
    for run in runs:
        trials_are_all_there_once(run)
    assert rows(runs[0]) == rows(runs[1])


def test_address_of_another_kind_is_refused(tmp_path: Path) -> None:
    process = start(tmp_path, "--storage", "sqlite:///x.db")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "expected postgresql://" in err


def test_server_that_is_not_there_is_told_in_one_line(tmp_path: Path) -> None:
    pytest.importorskip("psycopg")
    process = start(tmp_path, "--storage", "postgresql://tester:secret@127.0.0.1:1/none")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 69
    assert "Traceback" not in err
    assert "secret" not in err
