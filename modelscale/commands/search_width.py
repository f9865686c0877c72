"""How many trials of a search train together: measured once, then kept for exact resumes."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from modelscale.runs.part import RunPart
from modelscale.tuning.batching import batches
from modelscale.tuning.section import TuneSection

if TYPE_CHECKING:
    from modelscale.commands.assembly import Assembly

PLAN = "cohorts.json"
MOST_TOGETHER = 64


@dataclass(frozen=True)
class Width:
    """How a search uses the machine.

    Attributes:
        cohort: Most replicas trained together.
        threads: CPU threads, where the user does not say.
    """

    cohort: int
    threads: int


def together(place: RunPart, assembly: Assembly, section: TuneSection) -> int:
    """Return how many trials train together, and set the threads.

    A trial is as many replicas as there are folds.
    """
    from modelscale.training.determinism import use_threads

    path = place.path / PLAN
    if path.is_file():
        width = Width(**json.loads(path.read_bytes()))
    else:
        width = _measured(assembly, section)
        place.write(PLAN, json.dumps(asdict(width)).encode())
    use_threads(assembly.threads or width.threads)
    return max(1, width.cohort // assembly.folds)


def _measured(assembly: Assembly, section: TuneSection) -> Width:
    """Return what is fastest for the experiment as it stands, before anything is varied."""
    from modelscale.training.determinism import use_threads
    from modelscale.training.grouping import best_size, best_threads, measure

    wanted, seed = section.cohort, assembly.experiment.seed
    widest = max(map(len, batches(section.n_trials, MOST_TOGETHER, section.sampler)))
    count = min(widest * assembly.folds, MOST_TOGETHER)
    replicas = [assembly.replica(0, seed + k) for k in range(count)]
    threads = assembly.threads or best_threads(replicas[:1], assembly.device)
    use_threads(threads)  # sizes are to be timed as they will run
    if isinstance(wanted, int):
        return Width(wanted, threads)
    return Width(best_size(measure(replicas, assembly.device)), threads)
