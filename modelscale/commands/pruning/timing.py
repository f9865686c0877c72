"""Two networks timed in turns, so that what else the machine does meets both alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from modelscale.errors import GateFailed, Unavailable

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from modelscale.export.child import Converter

BATCHES = (1, 128)
TURNS = 7
SECONDS = 0.06
"""Of each network, batch and turn."""
_LEAST_GAIN = 1.03
"""A smaller speed-up is taken for noise, however steady it was."""

Call = Callable[["Tensor"], "Tensor"]
Turns = dict[str, dict[int, list[float]]]
"""Median milliseconds of each turn, by network and batch size."""


@dataclass(frozen=True)
class Speedup:
    """How many times faster one network is than another, at one batch size.

    Attributes:
        value: Median over the turns.
        low: Of the turn in which it was least so.
        high: Of the turn in which it was most so.
    """

    value: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """`faster` or `slower` where every turn says so, else `within noise`."""
        if self.low > 1 and self.value >= _LEAST_GAIN:
            return "faster"
        if self.high < 1 and self.value <= 1 / _LEAST_GAIN:
            return "slower"
        return "within noise"

    def to_json(self) -> dict[str, Any]:
        """Return the entry of the document."""
        return {
            "value": self.value,
            "low": self.low,
            "high": self.high,
            "verdict": self.verdict,
        }


def timed(
    calls: Mapping[str, Call],
    example: tuple[int, ...],
    batches: Sequence[int] = BATCHES,
    device: torch.device | None = None,
    turns: int | None = None,
) -> Turns:
    """Return the milliseconds of each function in each of several turns.

    Args:
        calls: Functions of one tensor (batch, *example), by name.
        example: Shape of one example.
        batches: Examples in a call.
        device: Where the input lies; the CPU when left out.
        turns: How often all are timed; `TURNS` when left out.
    """
    import torch

    from modelscale.evaluation.latency import measure_latency

    place = device or torch.device("cpu")
    found: Turns = {name: {batch: [] for batch in batches} for name in calls}
    for turn in range(turns or TURNS):
        names = list(calls) if turn % 2 == 0 else list(calls)[::-1]
        for name in names:
            seconds = SECONDS
            for entry in measure_latency(calls[name], example, batches, place, seconds=seconds):
                found[name][entry.batch].append(entry.median_ms)
    return found


def speedup(before: Sequence[float], after: Sequence[float]) -> Speedup:
    """Return how much faster `after` is, turn by turn.

    The turn in which it looked worst and the one in which it looked best are left out where
    there are five or more: other programs may have had the processor.
    """
    ratios = sorted(b / a for b, a in zip(before, after, strict=True))
    if len(ratios) >= 5:
        ratios = ratios[1:-1]
    return Speedup(median(ratios), ratios[0], ratios[-1])


def runtime_calls(
    networks: Mapping[str, nn.Module],
    example: tuple[int, ...],
    runtime: str,
    converter: Converter | None = None,
) -> dict[str, Call]:
    """Return what runs networks in a runtime on the CPU, by name.

    Raises:
        GateFailed: If one cannot be exported.
        Unavailable: If a package is missing.
    """
    from modelscale.export.child import Converter
    from modelscale.export.runtime import runtime_call

    if runtime == "eager":
        return dict(networks)
    if converter is None:
        with Converter() as own:
            return runtime_calls(networks, example, runtime, own)
    return {
        name: runtime_call(network, example, "onnxruntime", None, converter)
        for name, network in networks.items()
    }


def compared(
    before: nn.Module, after: nn.Module, example: tuple[int, ...], device: torch.device
) -> dict[str, Turns]:
    """Return the turns of both networks in every runtime that is there.

    PyTorch runs them on `device`, ONNX Runtime on the CPU; it is left out where it is not
    installed or one of them cannot be exported.
    """
    import torch

    networks = {"before": before, "after": after}
    moved = {name: network.to(device) for name, network in networks.items()}
    found = {"eager": timed(moved, example, device=device)}
    for network in networks.values():
        network.to(torch.device("cpu"))
    try:
        calls = runtime_calls(networks, example, "onnxruntime")
    except (Unavailable, GateFailed):
        return found
    return found | {"onnxruntime": timed(calls, example)}
