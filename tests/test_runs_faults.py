"""The promises of a run under SIGKILL, power loss and a full disk, on a small program.

The program trains nothing, but writes what a training writes: metric lines, checkpoints,
links, trials, a result. It is also the pattern of how `runs/` is to be used.
"""

from __future__ import annotations

import errno
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
from fault_harness import fail_everywhere, kill_everywhere, tell
from fault_mutants import copy_for_rename, without_file_fsync, without_folder_fsync
from fault_power import power_loss_everywhere

from modelscale.runs.checkpoints import CheckpointStore, read_checkpoint
from modelscale.runs.folder import RunFolder
from modelscale.runs.metric_log import MetricLog
from modelscale.runs.record import RunFacts
from modelscale.runs.trials import TrialRecord, begin_trial, finish_trial, read_trials

STEPS = 8
EVERY = 2


def program(folder: Path) -> None:
    """Train 8 steps with a checkpoint every 2, then search over 2 trials."""
    _run(folder, sync_first=True, restore=True, tell_first=False)


def _run(folder: Path, *, sync_first: bool, restore: bool, tell_first: bool) -> None:
    with RunFolder.open_or_create(
        folder / "runs",
        "fake",
        "0123456789abcdef",
        b"x: 1\n",
        "x: 1\n",
        ["modelscale", "train"],
    ) as run:
        if run.finished:
            return
        run.begin_attempt(RunFacts(device="cpu"))
        weights = _train(run, sync_first=sync_first, restore=restore)
        finished = {trial.number for trial in read_trials(run.path) if trial.state != "running"}
        for number in {0, 1} - finished:
            trial = begin_trial(run.part, number, {"optimizer.lr": 0.1})
            record = TrialRecord(number=number, params={}, state="complete", values=(weights,))
            if tell_first:
                tell(f"trial {number}")
            finish_trial(trial, record)
            tell(f"trial {number}")
        run.finish("done", {"weights": weights})
        tell("done")


def _train(run: RunFolder, *, sync_first: bool, restore: bool) -> float:
    log = run.metrics()
    store = run.checkpoints()
    found = store.newest_valid()
    state = {"step": 0, "lines": 0, "best": 0, "random": 1}
    if found is not None:
        saved = json.loads(found.files["state.safetensors"])
        state = saved if restore else {**saved, "random": 1}
        _point(store, state)  # the process before may have died between save and point
    log.rewind(state["lines"])
    while state["step"] < STEPS:
        state["step"] += 1
        state["random"] = state["random"] * 1103515245 % 2147483648 + 12345
        log.append({"step": state["step"], "train/loss": state["random"] / 7})
        if state["step"] % EVERY == 0:
            _save(store, log, state, sync_first=sync_first)
    log.drop_rest()
    log.close()
    return state["random"] / 3


def _save(
    store: CheckpointStore, log: MetricLog, state: dict[str, int], *, sync_first: bool
) -> None:
    if sync_first:
        log.sync()
    state["lines"] = log.lines
    if state["step"] == 4:
        state["best"] = 4
    content = json.dumps(state).encode()
    files = {"model.safetensors": content * 50, "state.safetensors": content}
    store.save(state["step"], files)
    _point(store, state)
    store.prune(newest=2)


def _point(store: CheckpointStore, state: Mapping[str, int]) -> None:
    store.point("last", state["step"])
    if state["best"]:
        store.point("best", state["best"])


def digest(folder: Path) -> Mapping[str, str]:
    """Return what must be equal after any faults."""
    run = folder / "runs" / "fake" / "latest"
    record = json.loads((run / "run.json").read_bytes())
    own = {"started", "attempts"}  # of each process's own
    trials = [trial.model_dump_json(exclude=own) for trial in read_trials(run)]
    checkpoints = run / "checkpoints"
    return {
        "metrics": hashlib.sha256((run / "metrics.jsonl").read_bytes()).hexdigest(),
        "best": read_checkpoint(checkpoints / "best").sha256,
        "last": read_checkpoint(checkpoints / "last").sha256,
        "steps": str(CheckpointStore(checkpoints).steps()),
        "trials": str(trials),
        "status": record["status"],
        "result": str(record["result"]),
        "leftovers": str([p.name for p in folder.rglob(".*.part")]),
        "runs": str(len(list((folder / "runs" / "fake").glob("2*")))),
    }


def kept(folder: Path, told: Sequence[str]) -> None:
    """Check that what the program told is on disk."""
    for words in told:
        (run,) = (folder / "runs" / "fake").glob("2*")
        if words == "done":
            assert json.loads((run / "run.json").read_bytes())["status"] == "done"
        else:
            number = int(words.removeprefix("trial "))
            states = {trial.number: trial.state for trial in read_trials(run)}
            assert states.get(number) == "complete", f"trial {number} is lost"


def without_restoring(folder: Path) -> None:
    _run(folder, sync_first=True, restore=False, tell_first=False)


def without_syncing(folder: Path) -> None:
    _run(folder, sync_first=False, restore=True, tell_first=False)


def telling_first(folder: Path) -> None:
    _run(folder, sync_first=True, restore=True, tell_first=True)


def test_run_killed_at_some_steps_ends_like_an_undisturbed_one() -> None:
    report = kill_everywhere(program, digest, kept=kept, at_most=20)
    assert not report.failures
    assert report.experiments == 20
    assert report.kills >= 30


@pytest.mark.slow
def test_run_killed_at_every_step_ends_like_an_undisturbed_one() -> None:
    report = kill_everywhere(program, digest, kept=kept)
    assert not report.failures
    assert report.experiments == len(report.steps) > 150


def test_run_after_some_power_losses_ends_like_an_undisturbed_one() -> None:
    report = power_loss_everywhere(program, digest, kept=kept, at_most=60)
    assert not report.failures
    assert report.experiments == 60


@pytest.mark.slow
def test_run_after_every_power_loss_ends_like_an_undisturbed_one() -> None:
    report = power_loss_everywhere(program, digest, kept=kept)
    assert not report.failures
    assert report.experiments > 400


@pytest.mark.parametrize(
    ("code", "at_most"),
    [
        (errno.ENOSPC, 12),
        (errno.EIO, 12),
        pytest.param(errno.ENOSPC, None, marks=pytest.mark.slow),
        pytest.param(errno.EIO, None, marks=pytest.mark.slow),
    ],
)
def test_failing_disk_ends_with_74_and_nothing_left_behind(
    code: int, at_most: int | None
) -> None:
    report = fail_everywhere(program, digest, code, 74, at_most=at_most)
    assert not report.failures
    assert report.experiments >= 12


def test_mutant_that_copies_instead_of_renaming_is_caught_by_kills() -> None:
    assert kill_everywhere(
        program, digest, mutant=copy_for_rename, at_most=99, give_up_after=1
    ).failures


def test_mutant_that_does_not_restore_its_state_is_caught_by_kills() -> None:
    assert kill_everywhere(without_restoring, digest, at_most=99, give_up_after=1).failures


def test_mutant_that_tells_before_it_writes_is_caught_by_kills() -> None:
    assert kill_everywhere(
        telling_first, digest, kept=kept, at_most=99, give_up_after=1
    ).failures


@pytest.mark.parametrize(
    "mutant",
    [
        without_file_fsync,
        without_folder_fsync,
        pytest.param(copy_for_rename, marks=pytest.mark.slow),
    ],
)
def test_mutant_that_skips_durability_is_caught_by_power_loss(
    mutant: Callable[[], None],
) -> None:
    report = power_loss_everywhere(
        program, digest, kept=kept, mutant=mutant, at_most=400, give_up_after=1
    )
    assert report.failures


def test_mutant_that_counts_lines_before_they_are_durable_is_caught_by_power_loss() -> None:
    report = power_loss_everywhere(without_syncing, digest, at_most=400, give_up_after=1)
    assert report.failures
