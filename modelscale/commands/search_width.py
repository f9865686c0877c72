"""How a search uses the machine: measured once, then kept for exact resumes."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from modelscale.commands.search_rounds import OVERLAP
from modelscale.runs.part import RunPart
from modelscale.tuning.batching import batches
from modelscale.tuning.section import TuneSection

if TYPE_CHECKING:
    import torch

    from modelscale.commands.assembly import Assembly
    from modelscale.training.replica import Replica

PLAN = "cohorts.json"
MOST_TOGETHER = 64

WORTH_A_WORKER_S = 30.0
"""Seconds that a search must take in one process before others are started by themselves: a
process needs several to import what it uses and to read the data."""

WORTH_A_FORK_S = 1.0
"""The same where others are copies of the first, which has imported and read all that."""

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


def can_fork(device: torch.device, threads: int) -> bool:
    """Return whether a process may be copied: threads and a GPU's state would not be."""
    return sys.platform == "linux" and device.type == "cpu" and threads == 1


def _measured(assembly: Assembly, section: TuneSection) -> Width:
    """Return what is fastest for the experiment as it stands, before anything is varied."""
    from modelscale.training.determinism import use_threads
    from modelscale.training.grouping import best_threads

    seed, device = assembly.experiment.seed, assembly.device
    widest = max(map(len, batches(section.n_trials, MOST_TOGETHER, section.sampler)))
    overlap = OVERLAP if section.early_stop else 1
    count = min(widest * overlap * assembly.folds, MOST_TOGETHER)
    replicas = [assembly.replica(0, seed + k) for k in range(count)]
    threads = assembly.threads or 1
    size, step_s = _best_size(replicas, device, section, threads)
    if isinstance(section.workers, int):
        workers = section.workers
    else:
        workers = _worthwhile(assembly, section, replicas[0], size, step_s)
    share = -(-section.n_trials * assembly.folds // workers)
    if assembly.threads is None and (free := _cores() // workers) > 1:
        # Cores that no process uses: threads, if one cohort gains by them.
        use_threads(free)
        threads = best_threads(replicas[: min(size, share)], device)
        if threads > 1 and device.type == "cpu":
            size, _ = _best_size(replicas, device, section, threads)
    # A search whose trials could all train as one cohort still has work for every process.
    return Width(min(size, share), threads, workers)


def _best_size(
    replicas: list[Replica], device: torch.device, section: TuneSection, threads: int
) -> tuple[int, float]:
    """Return how many train together, and the seconds that a step of one of them takes."""
    from modelscale.training.determinism import use_threads
    from modelscale.training.grouping import best_size, measure

    use_threads(threads)  # sizes are to be timed as they will run
    if isinstance(section.cohort, int):
        return section.cohort, measure(replicas[:1], device)[0].step_s
    speeds = measure(replicas, device)
    size = best_size(speeds)
    return size, next(s.step_s for s in speeds if s.size == size)


def _worthwhile(
    assembly: Assembly, section: TuneSection, replica: Replica, size: int, step_s: float
) -> int:
    """Return how many processes are worth their start."""
    threads = assembly.threads or 1
    if assembly.device.type == "cuda":
        from torch import cuda

        most = cuda.device_count() if assembly.device.index is None else 1
    else:
        most = _cores() // threads
    rounds = len(batches(section.n_trials, max(1, size // assembly.folds), section.sampler))
    if section.sampler.learns:
        most = min(most, rounds // ROUNDS_A_WORKER)
    steps = replica.plan.epochs * replica.steps_per_epoch * section.n_trials * assembly.folds
    forks = can_fork(assembly.device, threads)
    worth_s = WORTH_A_FORK_S if forks else WORTH_A_WORKER_S
    return max(1, most) if steps * step_s >= worth_s else 1


def _cores() -> int:
    """Return the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
