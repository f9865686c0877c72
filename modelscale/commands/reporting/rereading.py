"""A run's data, read once more where a report needs numbers that no run keeps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelscale.commands.reporting.reading import RunView
from modelscale.errors import ModelscaleError
from modelscale.runs.folder import RESOLVED_FILE

if TYPE_CHECKING:
    from modelscale.commands.experiment import Experiment
    from modelscale.data.loading import LoadedData


@dataclass(frozen=True)
class Reread:
    """A run's data, or why there is none.

    Attributes:
        experiment: What was asked for; None if the resolved spec cannot be read.
        loaded: The very data of the run; None if it is not there any more, has changed, or
            is too large to be read for a report.
        reason: Why there is none; empty if there is.
    """

    experiment: Experiment | None = None
    loaded: LoadedData | None = None
    reason: str = ""

    @property
    def origin(self) -> str | None:
        """File or data set, for people."""
        return self.loaded.raw.origin if self.loaded else None

    @property
    def folds(self) -> int:
        """Rounds of cross-validation; 0 if not known."""
        return len(self.loaded.folds) if self.loaded else 0

    def rows(self) -> dict[str, int]:
        """Return the examples by part of the first fold; empty if not known."""
        if self.loaded is None:
            return {}
        fold = self.loaded.folds[0]
        parts = {"train": fold.train, "validation": fold.validation, "test": fold.test}
        return {part: len(rows) for part, rows in parts.items()}


def reread(view: RunView) -> Reread:
    """Read a run's data again, if it still is what the run saw."""
    from modelscale.commands.experiment import Experiment
    from modelscale.data.loading import load as load_data
    from modelscale.data.storage import goes_to_disk
    from modelscale.spec.loader import load

    try:
        experiment = load(view.path / RESOLVED_FILE, Experiment).spec
    except ModelscaleError as error:
        return Reread(reason=str(error).splitlines()[0])
    section = experiment.data
    try:
        if goes_to_disk(section):
            return Reread(experiment, reason="it is larger than memory")
        loaded = load_data(section, experiment.known_task)
    except ModelscaleError as error:
        return Reread(experiment, reason=str(error).splitlines()[0])
    known = view.record.facts.data_fingerprint
    if known is not None and known != loaded.raw.fingerprint:
        return Reread(experiment, reason="it has changed since the run")
    return Reread(experiment, loaded)
