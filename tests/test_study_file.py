"""The database of a search: Optuna reads in it what the ledger says."""

import time
from datetime import UTC, datetime

import optuna
import pytest
from tuning_spaces import NUMBERS, TWO_MODELS, space

from modelscale.errors import DataError
from modelscale.runs.trials import TrialRecord
from modelscale.tuning import study_file
from modelscale.tuning.fronts import pareto_front
from modelscale.tuning.study_file import study_bytes

LOSS = ("validation/loss",)
OPTUNA_STATES = optuna.trial.TrialState


def trial(number, state="complete", values=(0.5,), **kept):
    params = {
        "optimizer.lr": 1e-3 + number * 1e-5,
        "optimizer.weight_decay": 0.05,
        "train.batch_size": 16 + number % 100,
    }
    started = f"2026-01-02T03:{number // 60 % 60:02d}:{number % 60:02d}Z"
    facts = {"params": params, "started": started, "seconds": 2.5, "steps": 40} | kept
    return TrialRecord(number=number, state=state, values=values, **facts)


def opened(data, folder):
    """Return the study as Optuna opens it."""
    (folder / "study.db").write_bytes(data)
    storage = f"sqlite:///{folder / 'study.db'}"
    return optuna.load_study(study_name="digits", storage=storage)


def study_of(trials, folder, names=LOSS, maximize=(False,), curves=None, within=NUMBERS):
    made = study_bytes(trials, space(within), names, maximize, "digits", curves)
    return opened(made, folder)


def test_every_state_has_its_counterpart(tmp_path):
    trials = [
        trial(0, result={"metrics": {"validation/loss": 0.5, "worst": float("inf")}}),
        trial(1, "stopped", (0.7,)),
        trial(2, "failed", (), error="out of memory"),
        trial(3, "diverged", (None,)),
        trial(4, "infeasible", (0.1,), constraints=(0.3, -0.1)),
        trial(5, "infeasible", (), constraints=(0.3,)),
        trial(6, "running", ()),
        trial(7, "complete", (None,)),
    ]
    study = study_of(trials, tmp_path, curves={1: {1: 0.9, 2: 0.7, 3: float("nan")}})
    found = study.get_trials()
    assert [t.number for t in found] == list(range(8))
    assert [t.state.name for t in found] == [
        "COMPLETE",
        "PRUNED",
        "FAIL",
        "FAIL",
        "COMPLETE",
        "FAIL",
        "RUNNING",
        "FAIL",
    ]
    assert [t.user_attrs["state"] for t in found] == [t.state for t in trials]
    assert found[0].user_attrs["result"]["metrics"] == {"validation/loss": 0.5, "worst": None}
    assert found[1].intermediate_values == {1: 0.9, 2: 0.7}
    assert found[1].value == 0.7
    assert found[2].user_attrs["error"] == "out of memory"
    assert list(found[4].constraints.values()) == [0.3, -0.1]
    assert found[0].params == trials[0].params
    assert study.metric_names == ["validation/loss"]
    assert study.best_trial.number == 0, "the infeasible trial has the better value"


def test_times_are_those_of_the_ledger(tmp_path):
    found = study_of([trial(0), trial(1, "running", ())], tmp_path).get_trials()
    start = datetime(2026, 1, 2, 3, 0, 0, tzinfo=UTC)
    assert found[0].datetime_start.astimezone(UTC) == start
    assert found[0].duration.total_seconds() == 2.5
    assert found[1].datetime_complete is None


def test_conditional_parameters_are_absent_where_they_do_not_apply(tmp_path):
    mlp = {"model": {"kind": "mlp", "hidden": [64]}, "model.dropout": 0.25}
    trials = [
        trial(0, params={**mlp, "optimizer.lr": 1e-3}),
        trial(1, params={"model": {"kind": "cnn"}, "optimizer.lr": 1e-2}),
    ]
    found = study_of(trials, tmp_path, within=TWO_MODELS).get_trials()
    assert found[0].params["model"] == '{"hidden": [64], "kind": "mlp"}'
    assert found[0].params["model.dropout"] == 0.25
    assert set(found[1].params) == {"model", "optimizer.lr"}


def test_missing_number_keeps_its_place(tmp_path):
    found = study_of([trial(0), trial(3)], tmp_path).get_trials()
    assert [t.user_attrs["state"] for t in found] == [
        "complete",
        "unknown",
        "unknown",
        "complete",
    ]


def test_no_trial_yet(tmp_path):
    assert study_of([], tmp_path).get_trials() == []


def test_several_objectives_have_the_same_front(tmp_path):
    values = [(0.9, 100.0), (0.8, 50.0), (0.7, 60.0), (0.95, 400.0), (0.9, 100.0)]
    trials = [trial(n, values=v) for n, v in enumerate(values)]
    trials.append(trial(5, "stopped", (0.99, 1.0)))
    names, maximize = ("validation/accuracy", "model/macs"), (True, False)
    curves = {5: {1: 0.99}}
    study = study_of(trials, tmp_path, names, maximize, curves)
    assert sorted(t.number for t in study.best_trials) == pareto_front(values, maximize)
    assert study.get_trials()[5].intermediate_values == {}


def test_same_best_as_the_ledger_among_equals(tmp_path):
    trials = [trial(n, values=(v,)) for n, v in enumerate([0.5, 0.2, 0.9, 0.2])]
    assert study_of(trials, tmp_path).best_trial.number == 1
    other = study_of(trials[:3], tmp_path, maximize=(True,))
    assert other.best_trial.number == 2


def test_equal_trials_make_equal_bytes():
    trials = [trial(n) for n in range(5)]
    assert study_bytes(trials, space(NUMBERS), LOSS, (False,), "a") == study_bytes(
        trials[::-1], space(NUMBERS), LOSS, (False,), "a"
    )


def test_optunas_own_way_of_writing_gives_the_same_study(tmp_path, monkeypatch):
    trials = [
        trial(0, constraints=(-0.1,)),
        trial(1, "stopped", (0.7,)),
        trial(2, "failed", (), error="x"),
        trial(3, "running", ()),
    ]
    curves = {1: {1: 0.9, 2: 0.7}}
    quick = study_of(trials, tmp_path, curves=curves).get_trials()
    monkeypatch.setattr(study_file, "_KNOWN_SCHEMA", "of another Optuna")
    (tmp_path / "slow").mkdir()
    assert study_of(trials, tmp_path / "slow", curves=curves).get_trials() == quick


def test_optuna_goes_on_with_the_study(tmp_path):
    study = study_of([trial(n, values=(n / 10,)) for n in range(12)], tmp_path)
    asked = study.ask(study.trials[0].distributions)
    study.tell(asked, 0.01)
    assert asked.number == 12
    assert study.best_trial.number == 0


def test_trial_of_another_space_is_named():
    with pytest.raises(DataError, match="trial 0: not of this search's space"):
        study_bytes([trial(0, params={"x": 1})], space(NUMBERS), LOSS, (False,), "a")
    outside = [trial(0, params={"optimizer.lr": 7.0})]
    with pytest.raises(DataError, match="trial 0: not of this search's space"):
        study_bytes(outside, space(NUMBERS), LOSS, (False,), "a")


def test_thousands_of_trials_take_seconds(tmp_path):
    trials = [trial(n, values=(1 / (n + 1),)) for n in range(2000)]
    curves = {n: {e: 1.0 / e for e in range(1, 21)} for n in range(2000)}
    begun = time.process_time()
    made = study_bytes(trials, space(NUMBERS), LOSS, (False,), "digits", curves)
    assert time.process_time() - begun < 5
    assert opened(made, tmp_path).best_trial.number == 1999
