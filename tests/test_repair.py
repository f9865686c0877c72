"""`modelscale doctor --repair`: what is derived comes back, and trials are left alone."""

import csv
import json
import shutil

import optuna
import pytest
from command_line import SPECS, cli

from modelscale.commands.aims import Aims
from modelscale.commands.experiment import Experiment
from modelscale.commands.study_files import aims_without_data, write_study
from modelscale.runs.folder import RunFolder
from modelscale.runs.lock import RunLock
from modelscale.runs.trials import begin_trial, read_trials
from modelscale.spec.loader import load


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Return the run of a finished search of six trials; not to be changed."""
    folder = tmp_path_factory.mktemp("search")
    (folder / "search.yaml").write_text(SPECS["search"])
    ended = cli(folder, "tune", "search.yaml", "--set", "tune.confirm_seeds=0", "-q")
    assert ended.code == 0, ended.err
    return (folder / "runs" / "search" / "latest").resolve()


@pytest.fixture
def search(finished, tmp_path):
    """Return a copy of the finished search."""
    place = tmp_path / "runs" / "search" / finished.name
    return shutil.copytree(finished, place, symlinks=True)


def repair(run, *extra):
    return cli(run.parent.parent.parent, "doctor", "--repair", run, "--json", *extra)


def contents(folder):
    """Return every file below a folder with what is in it."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder): path.read_bytes() for path in files}


def study(run):
    return optuna.load_study(study_name="search", storage=f"sqlite:///{run / 'study.db'}")


def test_derived_files_come_back(search):
    table = (search / "trials.csv").read_bytes()
    spec = (search / "best.yaml").read_bytes()
    model = contents(search / "checkpoints")
    trials = contents(search / "trials")
    for name in ("study.db", "trials.csv", "best.yaml"):
        (search / name).unlink(missing_ok=True)
    shutil.rmtree(search / "checkpoints")
    ended = repair(search)
    assert ended.code == 0, ended.err
    document = ended.document
    wanted = ["study.db", "trials.csv", "best.yaml", "checkpoints/best"]
    assert document["rebuilt"] == wanted
    assert (document["trials"], document["damaged"]) == (6, [])
    assert (search / "trials.csv").read_bytes() == table
    assert (search / "best.yaml").read_bytes() == spec
    assert contents(search / "checkpoints") == model
    assert contents(search / "trials") == trials
    again = repair(search).document
    assert again["rebuilt"] == wanted[:2]
    assert again["checked"] == wanted[2:]


def test_optuna_agrees_with_the_ledger(search):
    assert repair(search).code == 0
    result = json.loads((search / "run.json").read_bytes())["result"]
    found = study(search)
    assert found.best_trial.number == result["best"]["trial"]
    assert found.best_value == result["best"]["value"]
    assert set(found.best_trial.intermediate_values) == {1, 2, 3}
    records = read_trials(search)
    assert [t.values[0] for t in found.get_trials()] == [r.values[0] for r in records]
    assert all(record.started for record in records)
    assert all(t.datetime_start.year > 2000 for t in found.get_trials())


def test_search_and_repair_write_the_same(search):
    assert repair(search).code == 0
    written = [(search / name).read_bytes() for name in ("study.db", "trials.csv")]
    experiment = load(search / "spec.resolved.yaml", Experiment).spec
    aims = Aims.of(experiment.tune, "classification")
    assert aims == aims_without_data(experiment)
    with RunLock(search):
        write_study(RunFolder.read(search), experiment, aims)
    assert [(search / name).read_bytes() for name in ("study.db", "trials.csv")] == written


def test_damaged_trial_is_named_and_left_alone(search):
    best = json.loads((search / "run.json").read_bytes())["result"]["best"]["trial"]
    for number, name in ((best, "result.json"), ((best + 1) % 6, "metrics.jsonl")):
        path = search / "trials" / f"{number:04d}" / name
        path.write_bytes(b"{ torn\n" + path.read_bytes())
    before = contents(search / "trials")
    ended = repair(search)
    assert ended.code == 65
    assert contents(search / "trials") == before
    faults = ended.document["damaged"]
    assert len(faults) == 2
    assert f"{best:04d}/result.json" in faults[0]
    assert f"{(best + 1) % 6:04d}/metrics.jsonl" in faults[1]
    states = [trial.user_attrs["state"] for trial in study(search).get_trials()]
    assert states.count("unknown") == 1
    assert states[best] == "unknown"
    with (search / "trials.csv").open() as stream:
        assert [int(row["trial"]) for row in csv.DictReader(stream)] == [
            n for n in range(6) if n != best
        ]


def test_trial_in_the_wrong_folder_is_named(search):
    shutil.rmtree(search / "trials" / "0000")
    shutil.copytree(search / "trials" / "0001", search / "trials" / "0000", symlinks=True)
    ended = repair(search)
    assert ended.code == 65
    assert "says that it is trial 1" in ended.document["damaged"][0]


def test_winner_that_disagrees_is_named_and_left_alone(search):
    text = (search / "best.yaml").read_text()
    (search / "best.yaml").write_text(text.replace("epochs: 3", "epochs: 4"))
    best = json.loads((search / "run.json").read_bytes())["result"]["best"]["trial"]
    other = search / "trials" / f"{(best + 1) % 6:04d}" / "checkpoints"
    shutil.rmtree(search / "checkpoints")
    shutil.copytree(other, search / "checkpoints", symlinks=True)
    ended = repair(search)
    assert ended.code == 65
    told = ended.document["damaged"]
    assert f"best.yaml: differs from trial {best}, the best" in told[0]
    assert f"is not the model of trial {best}, the best" in told[1]
    assert "epochs: 4" in (search / "best.yaml").read_text()


def test_run_that_names_another_winner(search):
    record = json.loads((search / "run.json").read_bytes())
    best = record["result"]["best"]["trial"]
    record["result"]["best"]["trial"] = (best + 1) % 6
    (search / "run.json").write_text(json.dumps(record))
    ended = repair(search)
    assert ended.code == 65
    assert f"names trial {(best + 1) % 6} as the best, its trials {best}" in ended.err


def test_busy_search_is_left_to_its_owner(search):
    (search / "trials.csv").unlink()
    with RunLock(search):
        ended = repair(search)
    assert ended.code == 75
    assert not (search / "trials.csv").exists()


def test_unfinished_search(search):
    record = json.loads((search / "run.json").read_bytes()) | {"status": "interrupted"}
    (search / "run.json").write_text(json.dumps(record))
    (search / "best.yaml").unlink()
    begin_trial(RunFolder.read(search).part, 6, {"optimizer.lr": 0.01, "model.hidden": [8]})
    (search / "trials" / "0007").mkdir()
    ended = repair(search)
    assert ended.code == 0, ended.err
    assert ended.document["rebuilt"] == ["study.db", "trials.csv"]
    assert not (search / "best.yaml").exists()
    last = study(search).get_trials()[-1]
    assert (last.number, last.state.name) == (6, "RUNNING")


def test_what_is_no_search_is_refused(workshop, tmp_path):
    ended = cli(workshop, "doctor", "--repair", "digits", "--json")
    assert ended.code == 2
    assert "not a search" in ended.err
    assert cli(tmp_path, "doctor", "--repair", "nothing").code == 66


def test_people_read_what_was_done(search):
    ended = cli(search.parent.parent.parent, "doctor", "--repair", "search")
    assert ended.code == 0
    assert "rebuilt                 study.db" in ended.out
    assert "agrees with the trials  best.yaml" in ended.out
