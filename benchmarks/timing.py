"""Fair timing on a machine that does other things too: CPU time, one thread, taken in turn."""

import platform
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median, quantiles
from typing import NamedTuple

import torch

UNITS = "CPU time; median ± half the range between the quartiles"


class Spread(NamedTuple):
    """A median and half the range between the quartiles."""

    middle: float
    half: float


def spread(values: list[float]) -> Spread:
    """Return the median and the spread of some values; of one there is no spread."""
    if len(values) == 1:
        return Spread(values[0], float("nan"))
    low, _, high = quantiles(values, n=4)
    return Spread(median(values), (high - low) / 2)


def in_turn(
    contenders: dict[str, Callable[[], object]], repetitions: int
) -> dict[str, list[float]]:
    """Return the CPU seconds of each call: A B C A B C …, after one round that warms up.

    A busy machine then slows all contenders alike; every other round goes backwards, so that
    none always has the same one before it.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    names = list(contenders)
    for repetition in range(-1, repetitions):
        for name in names if repetition % 2 else reversed(names):
            start = time.process_time()
            contenders[name]()
            if repetition >= 0:
                seconds[name].append(time.process_time() - start)
    return seconds


def ratios(numerator: list[float], denominator: list[float]) -> Spread:
    """Return the spread of the ratios within the rounds."""
    return spread([a / b for a, b in zip(numerator, denominator, strict=True)])


def machine() -> str:
    """Return what a figure depends on."""
    return (
        f"{_processor()}; torch {torch.__version__}, threads {torch.get_num_threads()}, "
        f"Python {platform.python_version()}"
    )


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
