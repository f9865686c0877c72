"""Runs are found again by what they are, and never written outside their folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import modelscale
from modelscale.errors import CannotCreate, DataError, TryAgain, UsageError
from modelscale.runs.folder import RunFolder, name_folder
from modelscale.runs.git_commit import git_commit
from modelscale.runs.record import RunFacts, without_secrets
from modelscale.runs.trials import TrialRecord, begin_trial, finish_trial, read_trials

DIGEST = "0123456789abcdef"


def _open(root: Path, digest: str = DIGEST, *, new: bool = False, name: str = "x") -> RunFolder:
    return RunFolder.open_or_create(
        root, name, digest, b"# mine\nx: 1e-3\n", "x: 0.001\n", ["modelscale", "train"], new
    )


def test_new_run_has_its_spec_and_a_latest_link(tmp_path: Path) -> None:
    with _open(tmp_path / "runs") as run:
        assert run.path.parent == tmp_path / "runs" / "x"
        assert run.path.name.endswith("-012345")
        assert (run.path / "spec.yaml").read_bytes() == b"# mine\nx: 1e-3\n"
        assert (run.path / "spec.resolved.yaml").read_text() == "x: 0.001\n"
        assert str((run.path.parent / "latest").readlink()) == run.path.name
        assert run.record.status == "created"
        assert not run.resumed


def test_unfinished_run_is_resumed_and_its_attempts_are_counted(tmp_path: Path) -> None:
    with _open(tmp_path) as first:
        first.begin_attempt(RunFacts(device="cpu"))
        first.finish("interrupted")
    with _open(tmp_path) as second:
        assert second.path == first.path
        assert second.resumed
        second.begin_attempt(RunFacts(device="cpu"))
    with _open(tmp_path) as third:  # the second was killed
        third.begin_attempt(RunFacts(device="cpu"))
        third.finish("done", {"metrics": {}})
        assert [attempt.exit_code for attempt in third.record.attempts] == [75, None, 0]
        assert third.record.exact_resume


@pytest.mark.parametrize("status", ["done", "diverged"])
def test_finished_run_is_reported_and_left_alone(tmp_path: Path, status: str) -> None:
    with _open(tmp_path) as run:
        run.begin_attempt(RunFacts())
        run.finish(status, {"value": float("nan"), "other": 1.5})  # type: ignore[arg-type]
    before = (run.path / "run.json").read_bytes()
    again = _open(tmp_path)
    assert again.finished
    assert again.record.result == {"value": None, "other": 1.5}
    assert (run.path / "run.json").read_bytes() == before
    assert json.loads(before)["attempts"][0]["pid"] == os.getpid()
    _open(tmp_path).close()


def test_failed_run_is_tried_again(tmp_path: Path) -> None:
    with _open(tmp_path) as run:
        run.begin_attempt(RunFacts())
        run.finish("failed", exit_code=11)
    with _open(tmp_path) as again:
        assert not again.finished
        assert again.path == run.path
        assert again.record.attempts[0].exit_code == 11


def test_new_starts_another_which_is_the_one_found_later(tmp_path: Path) -> None:
    with _open(tmp_path) as first, _open(tmp_path, new=True) as second:
        assert second.path != first.path
        assert (first.record.number, second.record.number) == (1, 2)
    with _open(tmp_path) as found:
        assert found.path == second.path


def test_other_digest_is_another_run_and_latest_is_the_newest(tmp_path: Path) -> None:
    with _open(tmp_path) as first:
        first.begin_attempt(RunFacts())
    with _open(tmp_path, "fedcba9876543210") as second:
        assert second.path != first.path
    with _open(tmp_path) as again:
        assert again.path == first.path
        assert str((tmp_path / "x" / "latest").readlink()) == second.path.name


def test_full_digest_decides_not_its_beginning(tmp_path: Path) -> None:
    with _open(tmp_path, "0123456789") as first, _open(tmp_path, "0123456780") as second:
        assert first.path != second.path


def test_clock_that_jumps_back_does_not_change_which_run_is_newest(tmp_path: Path) -> None:
    with _open(tmp_path) as first:
        pass
    moved = first.path.rename(first.path.with_name("20990101-000000-012345"))
    with _open(tmp_path, new=True) as second:
        assert second.record.number == 2
    with _open(tmp_path) as found:
        assert found.path == second.path
        assert found.path.name < moved.name


def test_damaged_run_of_the_same_digest_is_not_silently_started_over(tmp_path: Path) -> None:
    with _open(tmp_path) as run:
        pass
    whole = (run.path / "run.json").read_bytes()
    for damaged in (b"", whole[:100], b"{}", b"[" * 100_000, bytes(len(whole))):
        (run.path / "run.json").write_bytes(damaged)
        with pytest.raises(DataError, match=r"run\.json: damaged: .*--new"):
            _open(tmp_path)
    with _open(tmp_path, new=True) as other:
        assert other.path != run.path


def test_run_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    with _open(tmp_path) as run:
        pass
    content = json.loads((run.path / "run.json").read_bytes())
    (run.path / "run.json").write_text(json.dumps({**content, "schema_version": 2}))
    with pytest.raises(DataError, match="newer version"):
        _open(tmp_path)


def test_busy_run_is_try_again_and_the_first_is_unaffected(tmp_path: Path) -> None:
    with _open(tmp_path) as first:
        with pytest.raises(TryAgain, match="busy"):
            _open(tmp_path)
        first.begin_attempt(RunFacts())


def test_changed_versions_threads_or_device_make_a_resume_inexact(tmp_path: Path) -> None:
    facts = RunFacts(versions={"torch": "2.12"}, device="cpu", threads=2)
    with _open(tmp_path) as run:
        assert run.begin_attempt(facts) == ()
    now = RunFacts(versions={"torch": "2.13"}, device="cpu", threads=1)
    with _open(tmp_path) as run:
        assert run.begin_attempt(now) == ("torch: 2.12 -> 2.13", "threads: 2 -> 1")
        assert not run.record.exact_resume
        assert run.record.facts.threads == 2
        assert run.record.facts.versions["modelscale"] == modelscale.__version__
    with _open(tmp_path) as run:
        run.begin_attempt(facts)
        assert not run.record.exact_resume


@pytest.mark.parametrize(
    "name",
    [
        "..", ".", "", "../x", "/etc", "a/b", "~", "a\0b", "x" * 65, ".hidden", "-rf", "a b",
        "CON", "nul.txt", "latest", "Latest", "x.", "größe", "名前", "🙂", "a\nb", "x\n",
    ],
)  # fmt: skip
def test_unsafe_name_is_refused_and_nothing_created(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="run name"):
        _open(tmp_path / "runs", name=name)
    assert list(tmp_path.iterdir()) == []


@settings(deadline=None)
@given(st.text())
def test_no_name_leaves_the_runs_folder(name: str) -> None:
    root = Path("runs")
    try:
        folder = name_folder(root, name)
    except UsageError:
        return
    assert Path(os.path.normpath(folder)).parent == root


def test_unicode_root_and_spaces_are_fine(tmp_path: Path) -> None:
    with _open(tmp_path / "größe 名前 🙂") as run:
        run.begin_attempt(RunFacts())
        run.checkpoints().save(1, {"state.safetensors": b"x"})
    with _open(tmp_path / "größe 名前 🙂") as run:
        assert run.checkpoints().newest_valid() is not None


def test_name_folder_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "x").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CannotCreate, match="is a link"):
        _open(tmp_path / "runs")
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_file_in_place_of_the_runs_folder_cannot_create(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    with pytest.raises(CannotCreate) as error:
        _open(tmp_path / "runs")
    assert error.value.exit_code == 73


def test_neither_environment_nor_passwords_are_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_TOKEN", "canary-1")
    command = ["modelscale", "tune", "--storage", "postgresql://me:canary-2@db/x"]
    command += ["--set", "data.api_key=canary-3", "lr=1"]
    with RunFolder.open_or_create(tmp_path, "x", DIGEST, b"", "", command) as run:
        run.begin_attempt(RunFacts())
    text = (run.path / "run.json").read_text()
    assert "canary" not in text
    assert run.record.command[3:] == (
        "postgresql://me:***@db/x", "--set", "data.api_key=***", "lr=1",
    )  # fmt: skip


def test_masking_leaves_other_words_alone() -> None:
    words = ("train", "--set", "optimizer.lr=1e-3", "https://host:80/x@y", "tokens")
    assert without_secrets(words) == words


def test_parts_have_metrics_and_results_of_their_own(tmp_path: Path) -> None:
    with _open(tmp_path) as run:
        part = run.sub("seeds/3")
        part.metrics().append({"step": 1})
        assert part.result() is None
        part.write_result({"value": 0.5})
        assert part.result() == {"value": 0.5}
        assert (run.path / "seeds" / "3" / "metrics.jsonl").exists()
        assert run.write("plots/loss.svg", b"<svg/>") == run.path / "plots" / "loss.svg"
        for name in ("../x", "/x", "a//b", ".x", ""):
            with pytest.raises(AssertionError):
                run.sub(name)


def test_trials_are_running_until_their_result_is_written(tmp_path: Path) -> None:
    with _open(tmp_path) as run:
        trials = [
            begin_trial(run.part, number, {"optimizer.lr": 0.1}) for number in (0, 10_000, 2)
        ]
        done = TrialRecord(
            number=2, state="stopped", params={"optimizer.lr": 0.1}, values=(float("inf"),)
        )
        finish_trial(trials[2], done)
        begin_trial(run.part, 0, {"optimizer.lr": 0.1})
    found = read_trials(run.path)
    assert [(t.number, t.state) for t in found] == [
        (0, "running"), (2, "stopped"), (10_000, "running"),
    ]  # fmt: skip
    assert found[0].attempts == 2
    assert found[1].values == (None,)
    assert read_trials(tmp_path) == ()


def test_damaged_result_of_a_trial_is_named(tmp_path: Path) -> None:
    with _open(tmp_path) as run:
        trial = begin_trial(run.part, 0, {})
        (trial.path / "result.json").write_text("{")
        with pytest.raises(DataError, match=r"0000/result\.json: damaged"):
            read_trials(run.path)
        (run.path / "trials" / "0001").mkdir()
        (trial.path / "result.json").unlink()
        assert [t.number for t in read_trials(run.path)] == [0]


def test_moved_runs_folder_still_works(tmp_path: Path) -> None:
    with _open(tmp_path / "runs") as run:
        run.begin_attempt(RunFacts())
        run.checkpoints().save(1, {"state.safetensors": b"x"})
        run.checkpoints().point("last", 1)
    (tmp_path / "runs").rename(tmp_path / "moved")
    with _open(tmp_path / "moved") as run:
        assert run.resumed
        assert run.checkpoints().pointed("last") == 1


def test_commit_is_read_like_git_reads_it(tmp_path: Path) -> None:
    assert git_commit(tmp_path) is None
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@y", "-C", str(tmp_path)]
    try:
        subprocess.run([*git, "init", "-q"], check=True)
    except FileNotFoundError:
        pytest.skip("git is not installed")
    assert git_commit(tmp_path) is None

    def head() -> str:
        return subprocess.run(
            [*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True
        ).stdout.strip()

    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "x"], check=True)
    (tmp_path / "deep").mkdir()
    assert git_commit(tmp_path / "deep") == head()
    subprocess.run([*git, "pack-refs", "--all"], check=True)
    assert git_commit(tmp_path) == head()
    subprocess.run([*git, "worktree", "add", "-q", str(tmp_path / "tree")], check=True)
    assert git_commit(tmp_path / "tree") == head()
    subprocess.run([*git, "checkout", "-q", "--detach"], check=True)
    assert git_commit(tmp_path) == head()


def test_runs_import_nothing_heavy() -> None:
    code = (
        "import sys, modelscale.runs.folder, modelscale.runs.find, modelscale.commands.runs\n"
        "assert not {'torch', 'numpy', 'optuna'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
