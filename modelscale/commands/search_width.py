"""How a search uses the machine: measured once, then kept for exact resumes."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from modelscale.commands.search_rounds import OVERLAP
from modelscale.runs.part import RunPart
from modelscale.tuning.batching import batches
from modelscale.tuning.section import TuneSection

if TYPE_CHECKING:
    from modelscale.commands.assembly import Assembly
    from modelscale.training.replica import Replica

PLAN = "cohorts.json"
MOST_TOGETHER = 64

WORTH_A_WORKER_S = 30.0
"""Seconds that a search must take in one process before others are started by themselves: a
process needs several to import what it uses and to read the data."""

ROUNDS_A_WORKER = 4
"""Rounds of proposals for each process, or most of a search would be proposed blindly."""


@dataclass(frozen=True)
class Width:
    """How a search uses the machine.

    Attributes:
        cohort: Most replicas trained together.
        threads: CPU threads of a process, where the user does not say.
        workers: Processes.
    """

    cohort: int
    threads: int
    workers: int = 1


def width_of(place: RunPart, assembly: Assembly, section: TuneSection) -> Width:
    """Return how a search uses the machine, and set the threads.

    What was measured when the search began stays; another number of `workers` is taken as it
    is said, and holds for what is proposed from now on.
    """
    from modelscale.training.determinism import use_threads

    path = place.path / PLAN
    if path.is_file():
        kept = Width(**json.loads(path.read_bytes()))
        wanted = section.workers
        width = kept if wanted == "auto" else replace(kept, workers=wanted)
    else:
        kept, width = None, _measured(assembly, section)
    if width != kept:
        place.write(PLAN, json.dumps(asdict(width)).encode())
    use_threads(assembly.threads or width.threads)
    return width


def together(width: Width, assembly: Assembly) -> int:
    """Return how many trials train together; a trial is as many replicas as there are folds."""
    return max(1, width.cohort // assembly.folds)


def _measured(assembly: Assembly, section: TuneSection) -> Width:
    """Return what is fastest for the experiment as it stands, before anything is varied."""
    from modelscale.training.determinism import use_threads
    from modelscale.training.grouping import best_size, best_threads, measure

    seed = assembly.experiment.seed
    widest = max(map(len, batches(section.n_trials, MOST_TOGETHER, section.sampler)))
    overlap = OVERLAP if section.early_stop else 1
    count = min(widest * overlap * assembly.folds, MOST_TOGETHER)
    replicas = [assembly.replica(0, seed + k) for k in range(count)]
    threads = assembly.threads or best_threads(replicas[:1], assembly.device)
    if isinstance(section.workers, int):
        threads = assembly.threads or max(1, min(threads, _cores() // section.workers))
    use_threads(threads)  # sizes are to be timed as they will run
    if isinstance(section.cohort, int):
        size, step_s = section.cohort, None
    else:
        speeds = measure(replicas, assembly.device)
        size = best_size(speeds)
        step_s = next(s.step_s for s in speeds if s.size == size)
    if isinstance(section.workers, int):
        workers = section.workers
    else:
        workers = _worthwhile(assembly, section, replicas, size, threads, step_s)
    # A search whose trials could all train as one cohort still has work for every process.
    share = -(-section.n_trials * assembly.folds // workers)
    return Width(min(size, share), threads, workers)


def _worthwhile(
    assembly: Assembly,
    section: TuneSection,
    replicas: list[Replica],
    size: int,
    threads: int,
    step_s: float | None,
) -> int:
    """Return how many processes are worth their start."""
    from modelscale.training.grouping import measure

    if step_s is None:
        step_s = measure(replicas[:1], assembly.device)[0].step_s
    if assembly.device.type == "cuda":
        import torch

        most = torch.cuda.device_count() if assembly.device.index is None else 1
    else:
        most = _cores() // threads
    rounds = len(batches(section.n_trials, max(1, size // assembly.folds), section.sampler))
    if section.sampler.learns:
        most = min(most, rounds // ROUNDS_A_WORKER)
    plan = replicas[0].plan
    steps = plan.epochs * replicas[0].steps_per_epoch * section.n_trials * assembly.folds
    return max(1, most) if steps * step_s >= WORTH_A_WORKER_S else 1


def _cores() -> int:
    """Return the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
