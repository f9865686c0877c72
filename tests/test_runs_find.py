"""What a user types leads to the run or checkpoint that he means, or to a clear message."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from modelscale.commands import runs as commands
from modelscale.errors import DataError, InputMissing, TryAgain, UsageError
from modelscale.runs.find import find_checkpoint, find_run, list_runs
from modelscale.runs.folder import RunFolder
from modelscale.runs.record import RunFacts
from modelscale.runs.trials import TrialRecord, begin_trial, finish_trial

MODEL = {"model.safetensors": b"weights"}


def _run(root: Path, name: str, digest: str, lr: float = 0.1, accuracy: float = 0.9) -> Path:
    resolved = f"optimizer: {{kind: adam, lr: {lr}}}\ntrain: {{epochs: 3}}\n"
    with RunFolder.open_or_create(
        root, name, digest, b"", resolved, ["modelscale", "train", "c.yaml"]
    ) as run:
        run.begin_attempt(RunFacts(device="cpu"))
        run.metrics().append({"step": 1, "train/loss": 0.5})
        for step in (2, 4, 6):
            run.checkpoints().save(step, MODEL)
        metric = {"value": accuracy, "low": 0.8, "high": 0.95}
        run.finish("done", {"metrics": {"test": {"accuracy": metric}}})
        return run.path


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs of `digits` and a study `search` whose best trial is 1."""
    root = tmp_path_factory.mktemp("original") / "runs"
    _run(root, "digits", "aaaaaa11")
    _run(root, "digits", "bbbbbb22", lr=0.2, accuracy=0.95)
    with RunFolder.open_or_create(root, "search", "cccccc33", b"", "x: 1\n", []) as study:
        study.begin_attempt(RunFacts())
        for number in (0, 1):
            trial = begin_trial(study.part, number, {"optimizer.lr": 0.1})
            trial.checkpoints().save(5, MODEL)
            trial.checkpoints().point("last", 5)
            record = TrialRecord(number=number, state="complete", params={}, values=(1.0,))
            finish_trial(trial, record)
        study.finish("done", {"best": {"trial": 1}})
    return root


@pytest.fixture
def root(tmp_path: Path, original: Path) -> Path:
    """A copy of the original, as another computer would have it."""
    return Path(shutil.copytree(original, tmp_path / "runs", symlinks=True))


def test_best_then_last_then_newest_checkpoint_of_a_run(root: Path) -> None:
    run = find_run(Path("digits"), root)
    store = RunFolder.read(run).checkpoints()
    assert find_checkpoint(run).name == "step-000006"
    store.point("last", 4)
    assert find_checkpoint(run).name == "step-000004"
    store.point("best", 2)
    assert find_checkpoint(run).name == "step-000002"
    assert find_checkpoint(run / "checkpoints" / "best").name == "step-000002"
    assert find_checkpoint(store.path(4)) == store.path(4)
    shutil.rmtree(store.path(2))
    assert find_checkpoint(run).name == "step-000004"


def test_name_means_its_newest_run(root: Path) -> None:
    assert find_checkpoint(root / "digits").parent.parent.name.endswith("-bbbbbb")
    (root / "digits" / "latest").unlink()
    assert find_checkpoint(root / "digits").parent.parent.name.endswith("-bbbbbb")


def test_study_means_its_best_trial(root: Path) -> None:
    found = find_checkpoint(root / "search")
    assert found.relative_to(find_run(Path("search"), root)).parts[:2] == ("trials", "0001")
    trial = find_run(Path("search"), root) / "trials" / "0000"
    assert find_checkpoint(trial).parent.parent == trial


@pytest.mark.parametrize("best", ["1", -1, 1.5, [1]])
def test_damaged_best_trial_is_told(root: Path, best: object) -> None:
    path = find_run(Path("search"), root) / "run.json"
    content = json.loads(path.read_bytes())
    path.write_text(json.dumps({**content, "result": {"best": {"trial": best}}}))
    with pytest.raises(DataError, match=r"best\.trial"):
        find_checkpoint(path.parent)


def test_messages_say_what_was_looked_for(root: Path, tmp_path: Path) -> None:
    with pytest.raises(InputMissing, match="nothing: no such file or folder"):
        find_checkpoint(tmp_path / "nothing")
    (tmp_path / "model.pt").write_bytes(b"")
    with pytest.raises(InputMissing, match="not a checkpoint folder"):
        find_checkpoint(tmp_path / "model.pt")
    with pytest.raises(InputMissing, match=r"looked for .*MANIFEST\.json, .*checkpoints"):
        find_checkpoint(tmp_path)
    with RunFolder.open_or_create(root, "empty", "dddddd44", b"", "", []):
        pass
    with pytest.raises(InputMissing, match=r"run without a checkpoint yet \(status created\)"):
        find_checkpoint(root / "empty")
    with pytest.raises(InputMissing, match="no run found; looked in nowhere, "):
        find_run(Path("nowhere"), root)


def test_listing_passes_over_foreign_and_half_written_folders(root: Path) -> None:
    (root / "notes.txt").write_text("mine")
    (root / "other" / "folder").mkdir(parents=True)
    (root / "digits" / ".20990101-000000-ffffff.part").mkdir()
    (root / "loop").symlink_to(root)
    damaged = root / "digits" / "20990101-000000-eeeeee"
    damaged.mkdir()
    (damaged / "run.json").write_text("{")
    found = list_runs(root)
    assert [(run.name, run.status) for run in found] == [
        ("digits", "damaged"), ("digits", "done"), ("digits", "done"), ("search", "done"),
    ]  # fmt: skip
    assert "run.json: damaged" in str(found[0].fault)
    assert len(commands.ls(root).runs) == 4
    assert commands.ls(root / "nothing").runs == ()


def test_status_of_a_killed_run_is_interrupted_and_of_a_live_one_running(root: Path) -> None:
    run = RunFolder.open_or_create(root, "live", "dddddd44", b"", "", [])
    run.begin_attempt(RunFacts())
    (row,) = commands.ls(root, "live").runs
    assert (row.status, row.note.startswith("process ")) == ("running", True)
    with pytest.raises(TryAgain, match="busy"):
        commands.rm([Path("live")], root)
    run.close()
    (row,) = commands.ls(root, "live").runs
    assert (row.status, row.note) == ("interrupted", "")


def test_show_tells_all_of_a_run(root: Path) -> None:
    content = commands.show(Path("digits"), root).to_json()
    assert content["status"] == "done"
    assert content["settings"] == {
        "optimizer.kind": "adam",
        "optimizer.lr": 0.2,
        "train.epochs": 3,
    }
    assert content["checkpoints"] == {"steps": [2, 4, 6], "best": None}
    assert content["metrics"] == {"test/accuracy": 0.95}
    assert content["last_metrics"] == {"step": 1, "train/loss": 0.5}
    assert commands.show(Path("search"), root).trials == {"complete": 2}
    json.dumps(content, allow_nan=False)


def test_compare_shows_only_settings_that_differ(root: Path) -> None:
    runs = [run.path for run in list_runs(root)[:2]]
    compared = commands.compare(runs, root)
    assert compared.settings == {"optimizer.lr": (0.1, 0.2)}
    assert compared.metrics == {"test/accuracy": (0.9, 0.95)}
    mixed = commands.compare([runs[0], Path("search")], root)
    assert mixed.settings["x"] == (None, 1)
    assert mixed.metrics == {"test/accuracy": (0.9, None)}
    with pytest.raises(UsageError, match="two or more"):
        commands.compare(runs[:1], root)


def test_rm_removes_one_run_and_latest_follows(root: Path) -> None:
    with pytest.raises(UsageError, match="has 2 runs; say which"):
        commands.rm([Path("digits")], root)
    newest = find_run(Path("digits"), root)
    removed = commands.rm([newest], root)
    assert removed.freed_bytes > 1000
    assert not newest.exists()
    left = find_run(Path("digits"), root)
    assert left.name.endswith("-aaaaaa")
    assert (root / "digits" / "latest").resolve() == left
    commands.rm([Path("digits"), Path("search")], root)
    assert list(root.iterdir()) == []


def test_rm_removes_nothing_if_one_is_not_there(root: Path) -> None:
    with pytest.raises(InputMissing):
        commands.rm([Path("search"), Path("nowhere")], root)
    assert (root / "search").exists()


def test_rm_forced_removes_even_a_live_run(root: Path) -> None:
    with RunFolder.open_or_create(root, "live", "dddddd44", b"", "", []):
        commands.rm([Path("live")], root, force=True)
        assert not (root / "live").exists()


@pytest.mark.parametrize("place", ["elsewhere/run", "elsewhere"])
def test_rm_deletes_nothing_outside_the_runs_folder(
    root: Path, tmp_path: Path, place: str
) -> None:
    outside = tmp_path / place
    outside.mkdir(parents=True)
    (outside / "run.json").write_text("{}")
    with pytest.raises(UsageError, match="nothing was removed"):
        commands.rm([outside], root)
    (root / "digits" / "link").symlink_to(outside)
    with pytest.raises(UsageError, match="nothing was removed"):
        commands.rm([Path("digits/link")], root)
    assert (outside / "run.json").exists()


@pytest.mark.parametrize("text", ["x: [", "x: .inf", "a: 1\na: 2", "\0"])
def test_damaged_settings_are_bad_data_not_a_bad_spec(root: Path, text: str) -> None:
    (find_run(Path("digits"), root) / "spec.resolved.yaml").write_text(text)
    with pytest.raises(DataError, match=r"spec\.resolved\.yaml"):
        commands.show(Path("digits"), root)
