"""`tune` as a user runs it: its winner, again, killed."""

import csv
import json

import pytest
from command_line import SPECS, cli, ended, run_of, started, wait_until


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "search.yaml").write_text(SPECS["search"])
    return tmp_path


def trials_of(run):
    with (run / "trials.csv").open() as stream:
        return list(csv.DictReader(stream))


def test_winner(folder):
    result = cli(folder, "tune", "search.yaml", "--json")
    assert result.code == 0, result.err
    document, run = result.document, run_of(folder, "search")
    rows = trials_of(run)
    assert document["trials"]["total"] == len(rows) == 6
    best = max(rows, key=lambda row: float(row["validation/accuracy"]))
    assert float(best["validation/accuracy"]) == document["best"]["value"]
    assert document["metrics"]["validation"]["accuracy"]["value"] == pytest.approx(
        document["best"]["value"]
    )
    found = cli(folder, "evaluate", "search", "--metrics=accuracy", "--json").document
    assert found["metrics"]["test"]["accuracy"] == document["metrics"]["test"]["accuracy"]
    number = document["best"]["trial"]
    trial = run / "trials" / f"{number:04d}"
    by_trial = cli(folder, "evaluate", trial, "--metrics=accuracy", "--json").document
    assert by_trial["metrics"] == found["metrics"]

    again = cli(folder, "tune", "search.yaml", "--json")
    assert (again.code, again.document) == (0, document)
    assert "finished earlier" in again.err


def test_best_spec_trains_to_the_winner(folder):
    tuned = cli(folder, "tune", "search.yaml", "--json").document
    best = run_of(folder, "search") / "best.yaml"
    assert cli(folder, "validate", best).code == 0
    trained = cli(folder, "train", best, "--json")
    assert trained.code == 0, trained.err
    assert trained.document["metrics"]["validation"]["accuracy"]["value"] == pytest.approx(
        tuned["best"]["value"], abs=0.01
    )


def test_no_section(folder):
    (folder / "plain.yaml").write_text(SPECS["digits"])
    result = cli(folder, "tune", "plain.yaml")
    assert (result.code, result.out) == (78, "")
    assert "tune: missing" in result.err


@pytest.mark.slow
def test_killed_and_resumed_is_the_undisturbed_search(folder):
    line = ("tune", "search.yaml", "--threads", "1")
    more = ("--set", "tune.n_trials=10", "--set", "train.epochs=30")
    assert ended(started(folder, *line, *more, "--runs", "calm")).code == 0
    calm = (folder / "calm" / "search" / "latest").resolve()
    trials = folder / "runs" / "search" / "latest" / "trials"
    for count in (2, 5):
        process = started(folder, *line, *more)
        wait_until(lambda n=count: len(list(trials.glob("*/result.json"))) >= n, process)
        process.kill()
        ended(process)
    assert ended(started(folder, *line, *more)).code == 0
    run = run_of(folder, "search")
    for name in ("trials.csv", "best.yaml"):
        assert (run / name).read_bytes() == (calm / name).read_bytes()
    for trial in sorted(path.name for path in (calm / "trials").iterdir()):
        theirs = calm / "trials" / trial / "metrics.jsonl"
        assert (run / "trials" / trial / "metrics.jsonl").read_bytes() == theirs.read_bytes()
    record = json.loads((run / "run.json").read_text())
    assert len(record["attempts"]) == 3
