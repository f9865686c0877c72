"""The promises of `train` and `tune` under SIGKILL, full disks and power loss, and the mutants.

Every test runs the real commands in forked children: killed at a step on disk, killed again
half as far into the resume, then run to the end and compared with the undisturbed run.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fault_harness import Run, fail_everywhere, fresh, in_child, kill_everywhere
from fault_mutants import copy_for_rename, without_file_fsync, without_folder_fsync
from fault_power import power_loss_everywhere
from fault_programs import (
    digest,
    digest_without_temporaries,
    import_for,
    kept,
    program,
    the_run,
    write_table,
)
from fault_training_mutants import (
    TRAINING_MUTANTS,
    running_order,
    telling_before_writing,
    without_best_weights,
    without_optimizer_slots,
    without_rewinding,
)

pytestmark = pytest.mark.timeout(1800)

COHORT = ("train.seeds=3", "train.cohort=3")
IN_FAST_TIER = (
    running_order,
    without_optimizer_slots,
    without_best_weights,
    without_rewinding,
)
VERBS = {
    "train": ("train", ()),
    "seeds": ("train", COHORT),
    "folds": ("train", ("data.split={kind: kfold, folds: 2}", "train.cohort=1")),
    "tune": ("tune", ()),
}


EVERY_POINT = bool(os.environ.get("MODELSCALE_EVERY_POINT"))
"""Whether every write, rename and fsync of every program is tried: about half an hour."""
POINTS = {
    "train": None,
    "seeds": None if EVERY_POINT else 60,
    "folds": None if EVERY_POINT else 30,
    "tune": None if EVERY_POINT else 80,
}


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Run]]:
    """The programs, with all that they import imported."""
    table = write_table(tmp_path_factory.mktemp("data") / "table.csv")
    made = {name: program(verb, table, words) for name, (verb, words) in VERBS.items()}
    import_for(made["tune"])
    import_for(made["seeds"])
    return made


@pytest.mark.parametrize(
    ("name", "at_most"),
    [
        ("train", 12),
        ("seeds", 3),
        ("tune", 3),
        *(pytest.param(n, most, marks=pytest.mark.slow) for n, most in POINTS.items()),
    ],
)
def test_command_killed_twice_ends_like_an_undisturbed_one(
    programs: dict[str, Run], name: str, at_most: int | None
) -> None:
    report = kill_everywhere(programs[name], digest, kept=kept, at_most=at_most)
    assert not report.failures
    assert report.experiments == (at_most or len(report.steps))
    assert report.kills > report.experiments


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize(
    ("name", "at_most"),
    [
        ("train", 3),
        pytest.param("train", None if EVERY_POINT else 60, marks=pytest.mark.slow),
        pytest.param("tune", None if EVERY_POINT else 30, marks=pytest.mark.slow),
    ],
)
def test_failing_disk_ends_with_74_and_nothing_left_behind(
    programs: dict[str, Run], name: str, at_most: int | None, code: int
) -> None:
    report = fail_everywhere(programs[name], digest, code, 74, at_most=at_most)
    assert not report.failures
    assert report.experiments >= 3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "at_most"),
    [("train", 400 if EVERY_POINT else 200), ("tune", 200 if EVERY_POINT else 40)],
)
def test_command_after_power_losses_ends_like_an_undisturbed_one(
    programs: dict[str, Run], name: str, at_most: int
) -> None:
    report = power_loss_everywhere(programs[name], digest_without_temporaries, at_most=at_most)
    assert not report.failures
    assert report.experiments == at_most


@pytest.mark.slow
@pytest.mark.parametrize(
    "mutant", [without_file_fsync, without_folder_fsync], ids=lambda m: m.__name__
)
def test_mutant_that_skips_durability_is_caught_by_power_loss(
    programs: dict[str, Run], mutant: Callable[[], None]
) -> None:
    report = power_loss_everywhere(
        programs["train"],
        digest_without_temporaries,
        mutant=mutant,
        at_most=400,
        give_up_after=1,
    )
    assert report.failures


@pytest.mark.slow
def test_mutant_that_copies_instead_of_renaming_is_caught(programs: dict[str, Run]) -> None:
    assert kill_everywhere(
        programs["train"], digest, mutant=copy_for_rename, at_most=99, give_up_after=1
    ).failures


@pytest.mark.parametrize(
    "mutant",
    [
        pytest.param(mutant, marks=[] if mutant in IN_FAST_TIER else pytest.mark.slow)
        for mutant in TRAINING_MUTANTS
    ],
    ids=lambda mutant: mutant.__name__,
)
def test_mutant_that_does_not_restore_its_state_is_caught(
    programs: dict[str, Run], mutant: Callable[[], None]
) -> None:
    assert kill_everywhere(
        programs["train"], digest, mutant=mutant, at_most=40, give_up_after=1
    ).failures


def test_mutant_that_tells_of_a_trial_before_writing_it_is_caught(
    programs: dict[str, Run],
) -> None:
    report = kill_everywhere(
        programs["tune"],
        digest,
        kept=kept,
        where="result.json",
        mutant=telling_before_writing,
        give_up_after=1,
    )
    assert any("lost" in failure for failure in report.failures)


def test_programs_have_a_best_epoch_before_the_last(
    programs: dict[str, Run], tmp_path: Path
) -> None:
    """Else the mutant that forgets the best weights could not be seen."""
    folder = fresh(tmp_path / "folder")
    code, output = in_child(lambda: programs["train"](folder), tmp_path)
    assert code == 0, output
    links = the_run(folder) / "checkpoints"
    assert (links / "best").readlink() < (links / "last").readlink()
