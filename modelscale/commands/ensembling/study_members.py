"""Members from a cross-validated search: its best settings, as it kept no models."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from modelscale.commands.ensembling.candidates import Candidate
from modelscale.commands.experiment import Experiment
from modelscale.commands.study_files import aims_without_data
from modelscale.errors import InputMissing, UsageError
from modelscale.runs.find import find_run
from modelscale.runs.folder import RESOLVED_FILE
from modelscale.runs.record import FINISHED, read_record
from modelscale.runs.trials import TRIALS, TrialRecord, read_trials
from modelscale.spec.loader import canonical, load
from modelscale.spec.paths import apply

if TYPE_CHECKING:
    from modelscale.commands.assembly import Assembly


@dataclass(frozen=True)
class Study:
    """A finished search whose trials were folds.

    Attributes:
        run: Its folder.
        trials: Those that came to a feasible end, the best first.
    """

    run: Path
    trials: tuple[TrialRecord, ...]

    @property
    def name(self) -> str:
        """The run's name."""
        return self.run.parent.name


def study_of(paths: Sequence[str], root: Path) -> Study | None:
    """Return the cross-validated search that is named alone; None for anything else.

    Raises:
        InputMissing: If there is no such run, or it is not finished.
        UsageError: If fewer than two of its trials came to an end.
    """
    if len(paths) != 1:
        return None
    run = find_run(Path(paths[0]), root)
    if not (run / TRIALS).is_dir():
        return None
    experiment = load(run / RESOLVED_FILE, Experiment).spec
    if experiment.tune is None or experiment.tune.folds is None:
        return None
    status = read_record(run).status
    if status not in FINISHED:
        raise InputMissing(f"{paths[0]}: is not finished (status {status})")
    trials = _ranked(experiment, read_trials(run))
    if len(trials) < 2:
        raise UsageError(
            f"{paths[0]}: {len(trials)} complete trials; an ensemble needs two or more"
        )
    return Study(run, trials)


def _ranked(experiment: Experiment, trials: Sequence[TrialRecord]) -> tuple[TrialRecord, ...]:
    """Return complete trials, the best first; of equal ones the earlier."""
    aims = aims_without_data(experiment)
    measured = {
        trial.number: dict(zip(aims.names, values, strict=True))
        for trial in trials
        if trial.state == "complete" and len(values := _finite(trial)) == len(aims.names)
    }
    scores = aims.scores(measured)
    kept = [trial for trial in trials if trial.number in scores]
    return tuple(sorted(kept, key=lambda trial: (-scores[trial.number], trial.number)))


def _finite(trial: TrialRecord) -> list[float]:
    return [value for value in trial.values if value is not None]


def members_of(study: Study, assembly: Assembly) -> list[Candidate]:
    """Return the settings of the best trials as members, each with a seed of its own.

    Args:
        study: The search.
        assembly: Of its experiment, with an `ensemble` section that says how many.
    """
    section = assembly.experiment.ensemble
    assert section is not None
    base = assembly.experiment.model_copy(update={"tune": None, "ensemble": None})
    return [
        Candidate(
            f"{study.name}-trial-{trial.number:04d}",
            base.seed + place,
            trial.params,
            apply(base, trial.params),
        )
        for place, trial in enumerate(study.trials[: section.members])
    ]


def digest_of(own: str, members: Sequence[Candidate]) -> str:
    """Return what makes an ensemble of these settings the run that it is."""
    text = "\n".join([own, *(f"{each.seed} {canonical(each.variant)}" for each in members)])
    return hashlib.sha256(text.encode()).hexdigest()
