"""Searches as a user runs them: longer, by folds, with bounds, beside random search, killed."""

from __future__ import annotations

import csv
import json
import os
import random
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from modelscale.commands import search_width
from modelscale.commands.experiment import Experiment
from modelscale.commands.launching import Request, prepare
from modelscale.commands.tune import Tuned, tune
from modelscale.runs.trials import TrialRecord, read_trials
from modelscale.spec.loader import load_text

BASE = """
data: {source: wine, split: {test: 0.25, validation: 0.25, seed: 0}}
model: {kind: mlp, hidden: [8]}
metrics: [accuracy]
train: {epochs: 4, batch_size: 32, checkpoint_s: 0}
tune:
  metric: validation/loss
  n_trials: 12
  cohort: 4
  confirm_seeds: 2
  space:
    optimizer.lr: {low: 1e-4, high: 1e-1, log: true}
    model.hidden: {choices: [[4], [8], [32]]}
"""


class Deaf:
    """A listener that keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def note(self, text: str) -> None:
        self.heard.append(text)

    detail = warn = note

    def progress(self, label: str, total: float) -> Deaf:
        return self

    def trials(self, *search: object) -> Deaf:
        return self

    def training(self, numbers: Sequence[int], epoch: int, epochs: int) -> None:
        return

    def ended(self, trial: TrialRecord) -> None:
        return

    def __enter__(self) -> Deaf:
        return self

    def __exit__(self, *error: object) -> None:
        return

    def update(self, done: float, text: str = "") -> None:
        return


def search(root: Path, *changes: str) -> Tuned:
    loaded = load_text(BASE, "spec.yaml", Experiment, changes)
    return tune(Request("tune", loaded, "search", root, (), threads=1), Deaf())


def rows(found: Tuned) -> list[dict[str, str]]:
    return list(csv.DictReader((found.run / "trials.csv").read_text().splitlines()))


@pytest.mark.parametrize("sampler", ["random", "tpe", "qmc", "nsga2"])
@pytest.mark.parametrize("stop", ["", "tune.early_stop={kind: successive_halving, first: 1}"])
def test_a_longer_search_has_the_trials_of_one_that_was_long_from_the_start(
    tmp_path: Path, sampler: str, stop: str
) -> None:
    changes = (f"tune.sampler={sampler}", *([stop] if stop else []))
    short = search(tmp_path / "a", *changes, "tune.n_trials=9")
    longer = search(tmp_path / "a", *changes, "tune.n_trials=17")
    straight = search(tmp_path / "b", *changes, "tune.n_trials=17")
    assert longer.run == short.run
    assert longer.document["trials"]["total"] == 17
    for one, other in zip(rows(longer), rows(straight), strict=True):
        assert [one[k] for k in ("optimizer.lr", "model.hidden", "state", "steps")] == [
            other[k] for k in ("optimizer.lr", "model.hidden", "state", "steps")
        ]
        assert float(one["validation/loss"]) == pytest.approx(
            float(other["validation/loss"]), rel=1e-4
        )


def test_a_finished_search_is_reported_and_left_alone(tmp_path: Path) -> None:
    first = search(tmp_path)
    before = (first.run / "run.json").read_bytes()
    assert search(tmp_path).document == first.document
    assert (first.run / "run.json").read_bytes() == before


def test_folds_judge_by_their_mean_and_never_see_the_test_rows(tmp_path: Path) -> None:
    found = search(tmp_path, "tune.folds=3", "tune.n_trials=4", "tune.cohort=6")
    trial = read_trials(found.run)[found.document["best"]["trial"]]
    lines = (found.run / "trials" / f"{trial.number:04d}" / "metrics.jsonl").read_text()
    losses = [json.loads(line)["validation/loss"] for line in lines.splitlines()]
    assert trial.values[0] == pytest.approx(min(losses))
    assert set(found.document["metrics"]) == {"validation", "test"}
    assert found.document["confirmed"]["test"]["accuracy"]["members"] == 2


def test_inner_folds_share_no_row_with_the_test_part() -> None:
    from modelscale.commands.inner_folds import with_inner_folds
    from modelscale.commands.launching import prepare

    loaded = load_text(BASE, "spec.yaml", Experiment, ())
    assembly = prepare(Request("tune", loaded, "search", Path("runs"), (), threads=1), Deaf())
    outer = assembly.loaded.folds[0]
    inner = with_inner_folds(assembly, 4).loaded.folds
    seen: list[int] = []
    for fold in inner:
        train, validation = set(fold.train.tolist()), set(fold.validation.tolist())
        assert not train & validation
        assert not (train | validation) & set(outer.test.tolist())
        assert train | validation == set(outer.train.tolist()) | set(outer.validation.tolist())
        seen += validation
    assert len(seen) == len(set(seen))
    assert len({(len(fold.train), len(fold.validation)) for fold in inner}) == 1


def test_bounds_make_trials_infeasible_and_the_winner_keeps_them(tmp_path: Path) -> None:
    found = search(tmp_path, "tune.constraints={model/parameters: {at_most: 150}}")
    trials = read_trials(found.run)
    for trial in trials:
        small = trial.params["model.hidden"] != [32]
        assert (trial.state == "infeasible") == (not small)
        assert trial.steps is None or small, "an infeasible network is not trained"
    assert found.document["best"]["params"]["model.hidden"] != [32]
    assert found.document["trials"]["infeasible"] > 0


def test_several_objectives_end_in_a_front_that_nobody_beats(tmp_path: Path) -> None:
    found = search(
        tmp_path,
        "tune.metric=validation/accuracy",
        "tune.objectives=[{metric: validation/accuracy}, {metric: model/macs}]",
        "tune.sampler=nsga2",
    )
    trials = [t for t in read_trials(found.run) if t.state == "complete"]
    front = {entry["trial"] for entry in found.document["pareto"]}
    assert found.document["best"]["trial"] in front
    for trial in trials:
        beaten = any(
            o.values[0] >= trial.values[0]
            and o.values[1] <= trial.values[1]
            and o.values != trial.values
            for o in trials
        )
        assert (trial.number in front) == (not beaten)


def test_random_search_beside_it_has_the_same_budget(tmp_path: Path) -> None:
    found = search(tmp_path, "tune.baseline=true", "tune.sampler=tpe")
    rival = found.document["random_search"]
    trials = read_trials(found.run / "baseline")
    assert rival["trials"] == len(trials) == 12
    assert rival["expected_best"][-1] == min(t.values[0] for t in trials)
    assert rival["expected_best"] == sorted(rival["expected_best"], reverse=True)


def test_a_grid_ends_when_all_is_tried_and_stays_ended(tmp_path: Path) -> None:
    grid = (
        "tune.sampler=grid",
        "tune.space={model.hidden: {choices: [[4], [8], [32]]}}",
    )
    first = search(tmp_path, *grid)
    assert first.document["ended"] == "exhausted"
    assert first.document["trials"]["total"] == 3
    assert search(tmp_path, *grid, "tune.n_trials=50").document == first.document


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("workers", [1, 2])
def test_no_trial_is_lost_or_repeated_when_the_worker_is_killed_fifty_times(
    tmp_path: Path, workers: int
) -> None:
    changes = ("tune.n_trials=200", "tune.sampler=tpe", "train.epochs=3")
    changes += (f"tune.workers={workers}",)  # `auto` measures, so two searches could differ
    straight = search(tmp_path / "straight", *changes)
    draws = random.Random(0)
    root, kills = tmp_path / "killed", 0
    while kills < 50:
        child = os.fork()
        if child == 0:
            search(root, *changes)
            os._exit(0)
        time.sleep(draws.uniform(0.1, 0.6))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status):
            break
        kills += 1
        if kills in (20, 40):
            for database in root.rglob("study.db"):
                database.unlink()
    found = search(root, *changes)
    assert kills >= 10, "the machine was too fast for this test to say anything"
    assert [t.number for t in read_trials(found.run)] == list(range(200))
    assert rows(found) == rows(straight)
    assert found.document["best"] == straight.document["best"]


@pytest.mark.parametrize(
    ("epochs", "forks", "cores", "workers"),
    [
        (1, True, 4, 1),  # a process takes longer to begin than the search
        (600, True, 4, 4),
        (4, False, 4, 1),
        (10**6, False, 4, 4),
        (10**6, True, 1, 1),
    ],
)
def test_processes_are_started_by_themselves_for_long_searches_on_free_cores(
    monkeypatch: pytest.MonkeyPatch, epochs: int, forks: bool, cores: int, workers: int
) -> None:
    changes = (f"train.epochs={epochs}", "tune.n_trials=200", "tune.cohort=auto")
    loaded = load_text(BASE, "spec.yaml", Experiment, changes)
    assembly = prepare(Request("tune", loaded, "s", Path(), (), threads=1), Deaf())
    monkeypatch.setattr(search_width, "_cores", lambda: cores)
    monkeypatch.setattr(search_width, "can_fork", lambda *_: forks)
    assert loaded.spec.tune is not None
    assert search_width._measured(assembly, loaded.spec.tune).workers == workers
