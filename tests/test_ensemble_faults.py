"""`ensemble` under SIGKILL and full disks: it ends bit for bit like an undisturbed one."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fault_harness import Run, fail_everywhere, kill_everywhere, tell
from fault_programs import SPEC, Told, digest, import_for, the_run, write_table
from fault_programs import program as other_program

from modelscale.commands.ensemble import ensemble, ensemble_of_study
from modelscale.commands.ensembling.study_members import study_of
from modelscale.commands.experiment import Experiment
from modelscale.commands.launching import Request
from modelscale.runs.folder import RESOLVED_FILE
from modelscale.spec.loader import load, load_text

pytestmark = pytest.mark.timeout(1800)

DISTILLED = "distill: {synthetic: 0.5, epochs: 2}"
SECTIONS = {
    "stacking": f"{{kind: stacking, members: 2, folds: 2, {DISTILLED}}}",
    "bagging": "{kind: bagging, members: 3}",
    "boosting": "{kind: boosting, members: 3, chains: 2}",
    "gradient": "{kind: boosting, members: 2, method: gradient}",
    "snapshot": "{kind: snapshot, members: 3}",
    "soup": "{kind: soup, members: 3}",
}


def program(table: Path, section: str) -> Callable[[Path], None]:
    words = (f"ensemble={section}", "train.cohort=2")
    loaded = load_text(SPEC.format(path=table), "spec.yaml", Experiment, words)

    def run(folder: Path) -> None:
        asked = Request(
            *("ensemble", loaded, "spec", folder / "runs"),
            ("modelscale", "ensemble", "spec.yaml"),
            threads=1,
        )
        ensemble(asked, Told())
        tell("done")

    return run


def of_a_search(table: Path, folder: Path) -> Callable[[Path], None]:
    """Return the ensemble of a search by folds, which is finished here, as a program."""
    words = ("tune.folds=2", "tune.early_stop=null", "tune.n_trials=3")
    other_program("tune", table, words)(folder)
    search = the_run(folder)
    study = study_of([str(search)], folder)
    assert study is not None
    section = ("ensemble={kind: stacking, members: 2, folds: 2}",)
    loaded = load(search / RESOLVED_FILE, Experiment, section)
    loaded = replace(loaded, spec=loaded.spec.model_copy(update={"tune": None}))

    def run(folder: Path) -> None:
        asked = Request(
            *("ensemble", loaded, "spec", folder / "runs"),
            ("modelscale", "ensemble", "spec"),
            threads=1,
        )
        ensemble_of_study(asked, study, Told())
        tell("done")

    return run


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Run]]:
    table = write_table(tmp_path_factory.mktemp("data") / "table.csv")
    made = {name: program(table, section) for name, section in SECTIONS.items()}
    made["a search"] = of_a_search(table, tmp_path_factory.mktemp("search"))
    import_for(made["stacking"])
    import_for(made["soup"])
    return made


@pytest.mark.parametrize(
    ("name", "at_most"),
    [
        ("stacking", 1),
        ("snapshot", 1),
        pytest.param("a search", 8, marks=pytest.mark.slow),
        *(pytest.param(name, 25, marks=pytest.mark.slow) for name in SECTIONS),
    ],
)
def test_ensemble_killed_twice_ends_like_an_undisturbed_one(
    programs: dict[str, Run], name: str, at_most: int
) -> None:
    report = kill_everywhere(programs[name], digest, at_most=at_most)
    assert not report.failures
    assert report.experiments == at_most
    assert report.kills > report.experiments


@pytest.mark.parametrize("code", [errno.ENOSPC])
def test_full_disk_ends_with_74_and_the_same_command_goes_on(
    programs: dict[str, Run], code: int
) -> None:
    report = fail_everywhere(programs["bagging"], digest, code, 74, at_most=2)
    assert not report.failures
