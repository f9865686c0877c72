"""Which replicas train together: equal structure, and as many as the machine likes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from modelscale.training.batches import Epoch
from modelscale.training.cohort import Cohort
from modelscale.training.replica import Replica, structure_of
from modelscale.training.step import Stepper

SIZES = (2, 4, 8, 16, 32, 64, 128)
SAMPLE_S = 0.06
"""Seconds that each size is timed for at most, unless that is less than three steps."""
SAMPLE_STEPS = 24
"""Steps that tell enough."""
LEAST_GAIN = 1.05
"""A cohort must be this much faster than one replica after another to be preferred."""
LEAST_THREAD_GAIN = 1.15
"""More threads must be this much faster than one to be preferred."""
MEMORY_FRAC = 0.5
"""Part of the free memory that a cohort's state may take."""


@dataclass(frozen=True)
class CohortSpeed:
    """What a cohort of `size` costs.

    Attributes:
        size: Replicas.
        step_s: Seconds of one step, divided by the replicas.
    """

    size: int
    step_s: float


def groups_of(replicas: Sequence[Replica]) -> list[list[int]]:
    """Return the indices of replicas of equal structure, in order of their first member."""
    groups: dict[tuple[object, ...], list[int]] = {}
    for index, replica in enumerate(replicas):
        groups.setdefault(structure_of(replica), []).append(index)
    return list(groups.values())


def families_of(replicas: Sequence[Replica]) -> list[list[list[int]]]:
    """Return the groups of `groups_of`, those together that differ in widths alone.

    Zeros make a stack of them (see `padding.py`). Within a family the widest come first.
    """
    families: dict[tuple[object, ...], list[list[int]]] = {}
    for group in groups_of(replicas):
        replica = replicas[group[0]]
        shared = structure_of(replica)
        if replica.start is None and not replica.edits:
            model = replica.model.widened((1,) * len(replica.model.layer_widths()))
            shared = structure_of(replace(replica, model=model))
        families.setdefault(shared, []).append(group)
    for groups in families.values():
        groups.sort(key=lambda group: replicas[group[0]].model.layer_widths(), reverse=True)
    return list(families.values())


def arranged(
    replicas: Sequence[Replica], families: list[list[list[int]]], device: torch.device
) -> list[list[int]]:
    """Return replicas in the cohorts that are fastest here, by measurement.

    Args:
        replicas: To be trained.
        families: Their groups; those of one family may share a stack.
        device: Where they are to be trained.
    """
    cohorts: list[list[int]] = []
    for family in families:
        if sum(map(len, family)) == 1:
            cohorts += family
            continue
        apart = [(group, *_fastest(replicas, group, device)) for group in family]
        apart_s = sum(cost_s for _, _, cost_s in apart)
        if len(family) > 1:
            everyone = [index for group in family for index in group]
            size, cost_s = _fastest(replicas, everyone, device)
            if size > 1 and apart_s >= LEAST_GAIN * cost_s:
                apart = [(everyone, size, cost_s)]
        for group, size, _ in apart:
            cohorts += divide(group, size)
    return cohorts


def _fastest(
    replicas: Sequence[Replica], group: list[int], device: torch.device
) -> tuple[int, float]:
    """Return the best size of cohorts for a group, and the seconds of a step of all."""
    speeds = measure([replicas[index] for index in group], device)
    size = best_size(speeds)
    return size, len(group) * next(s.step_s for s in speeds if s.size == size)


def divide(indices: list[int], size: int) -> list[list[int]]:
    """Return the indices in as few cohorts of at most `size` as possible, of like sizes."""
    count = -(-len(indices) // size)
    base, larger = divmod(len(indices), count)
    cohorts, start = [], 0
    for number in range(count):
        end = start + base + (number < larger)
        cohorts.append(indices[start:end])
        start = end
    return cohorts


def best_size(speeds: Sequence[CohortSpeed]) -> int:
    """Return the size with the fastest step of a replica; 1 unless another clearly wins."""
    solo = next(s for s in speeds if s.size == 1)
    best = min(speeds, key=lambda s: s.step_s)
    return best.size if solo.step_s >= LEAST_GAIN * best.step_s else 1


def measure(replicas: list[Replica], device: torch.device) -> list[CohortSpeed]:
    """Time a few steps of throw-away cohorts of rising size.

    Stops when memory would not hold the next size or two sizes in turn brought no gain.

    Args:
        replicas: Of one structure; at least as many as the largest size that is of use.
    """
    speeds: list[CohortSpeed] = []
    worse = 0
    for size in (1, *[s for s in SIZES if s < len(replicas)], len(replicas)):
        if size > SIZES[-1] or (speeds and size == speeds[-1].size):
            break
        cohort = Cohort.start(replicas[:size], device)
        if not _fits(cohort, size):
            break
        speeds.append(CohortSpeed(size, _step_seconds(cohort) / size))
        best = min(s.step_s for s in speeds)
        worse = worse + 1 if speeds[-1].step_s > 1.02 * best else 0
        if worse == 2:
            break
    return speeds


def best_threads(replicas: list[Replica], device: torch.device) -> int:
    """Return 1, or torch's own number of threads where that is clearly faster.

    Small networks have nothing to share out, and threads that wait for each other cost a
    multiple of the work when other programs want the cores too.

    Args:
        replicas: One cohort of the size that will be trained.
        device: Where it will be trained.
    """
    many = torch.get_num_threads()
    if many == 1 or device.type != "cpu":
        return many
    together_s = _wall_seconds(replicas, device)
    torch.set_num_threads(1)
    alone_s = _wall_seconds(replicas, device)
    torch.set_num_threads(many)
    return many if alone_s > LEAST_THREAD_GAIN * together_s else 1


def _fits(cohort: Cohort, size: int) -> bool:
    """Return whether weights, gradients, slots, best weights and work space have room."""
    needed = cohort.weights.theta_KP.numel() * 4 * 8
    if cohort.device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(cohort.device)
    else:
        free = _free_memory_bytes()
    return size == 1 or needed < MEMORY_FRAC * free


def _free_memory_bytes() -> int:
    import os

    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _wall_seconds(replicas: list[Replica], device: torch.device) -> float:
    return _step_seconds(Cohort.start(replicas, device), time.perf_counter)


def _step_seconds(cohort: Cohort, clock: Callable[[], float] | None = None) -> float:
    """Return the seconds of a step: the lower quartile of `SAMPLE_STEPS` at most."""
    cohort.set_training()
    stepper, epoch = Stepper(cohort), Epoch(cohort.replicas, [0] * len(cohort), cohort.device)
    steps = cohort.replicas[0].steps_per_epoch
    on_cpu = cohort.device.type == "cpu"
    # One thread's own time leaves out what other programs take of the core.
    alone = on_cpu and torch.get_num_threads() == 1
    clock = clock or (time.thread_time if alone else time.perf_counter)
    durations: list[float] = []
    begin = time.perf_counter()
    while len(durations) < 3 or (
        len(durations) < SAMPLE_STEPS and time.perf_counter() - begin < SAMPLE_S
    ):
        start = clock()
        stepper.take(epoch.batches(len(durations) % steps), [len(durations) + 1] * len(cohort))
        if not on_cpu:
            torch.cuda.synchronize(cohort.device)
        durations.append(clock() - start)
    warm = sorted(durations[1:])
    return warm[len(warm) // 4]
