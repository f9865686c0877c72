"""Widths that meet a latency: a measured table first, then the real network's time.

A latency is known by measuring alone. One that no cut reaches is told as soon as the smallest
widths were timed, and what comes nearest is made all the same; the run then ends with exit
code 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

from modelscale.commands.pruning.bench import Bench
from modelscale.commands.pruning.structured import Units, cut_network
from modelscale.commands.pruning.timing import Call, runtime_calls, timed
from modelscale.pruning.kinds.structured import Structured
from modelscale.pruning.section import Target

if TYPE_CHECKING:
    from torch import nn

    from modelscale.export.child import Converter
    from modelscale.pruning.allocation import Allocation, Counts
    from modelscale.pruning.latency_table import LatencyTable
    from modelscale.training.artifact import Model

CORRECTIONS = 12
"""Tries to meet the target, each with a real network that is measured."""
TOLERANCE = 1.03
"""Above the target by no more than this counts as met: timing is no finer."""
_WHOLE = "whole"
_TURNS = 5
_FURTHER = 0.9
_AS_FAST = 1.03
"""Cuts within this of the fastest one's time count as equally fast: the larger one is kept."""


@dataclass(frozen=True)
class Reached:
    """The widths that were found for a latency.

    Attributes:
        counts: Units of each group.
        share: Of the whole network's time, as measured before any training.
        met: Whether that is what was aimed at.
        facts: For the document.
    """

    counts: Counts
    share: float
    met: bool
    facts: dict[str, Any]


def counts_for_latency(
    bench: Bench,
    model: Model,
    units: Units,
    section: Structured,
    target: Target,
    allocation: Allocation,
) -> Reached:
    """Return how many units of each group meet a latency, the most that do.

    Where none do, the most that are as fast as the fastest that were timed.

    Raises:
        Unavailable: If ONNX Runtime is aimed at and missing.
    """
    from modelscale.export.child import Converter

    assert target.latency is not None
    with Converter() as converter:  # starts no process before it is asked for something
        clock = _Clock(bench, model, section, converter)
        tried = _searched(bench, model, units, target.latency, allocation, clock)
    most = TOLERANCE * target.latency
    met = [entry for entry in tried if entry.share <= most]
    if met:
        best = max(met, key=lambda entry: entry.share)
    else:
        fastest = min(entry.share for entry in tried)
        near = [entry for entry in tried if entry.share <= _AS_FAST * fastest]
        best = max(near, key=lambda entry: units.costs.macs(entry.counts))
    facts: dict[str, Any] = {
        "aimed_at": target.latency,
        "reached": best.share,
        "met": bool(met),
        "runtime": section.runtime,
        "batch": section.batch,
    }
    if not met:
        facts["text"] = _missed(facts)
        bench.shop.tell.warn(facts["text"])
    return Reached(best.counts, best.share, bool(met), facts)


def _missed(facts: dict[str, Any]) -> str:
    return (
        f"latency={facts['aimed_at']:g} is not met in {facts['runtime']} at batch "
        f"{facts['batch']}: the fastest cut that was timed still takes {facts['reached']:.3g} "
        "of the time; a smaller prune.least or prune.align may leave less"
    )


class _Timed(NamedTuple):
    counts: Counts
    share: float


def _searched(
    bench: Bench,
    model: Model,
    units: Units,
    bound: float,
    allocation: Allocation,
    clock: _Clock,
) -> list[_Timed]:
    """Return the cuts that were timed on the way to a latency."""
    from modelscale.pruning.allocation import shrink

    def share_of(counts: Counts) -> float:
        return clock.shares({"cut": cut_network(model, units, counts)})["cut"]

    smallest = {name: ladder.rungs[0] for name, ladder in units.ladders.items()}
    tried = [_Timed(smallest, share_of(smallest))]
    if tried[0].share > TOLERANCE * bound:
        bench.shop.tell.warn(
            f"latency={bound:g} may be out of reach: where every layer keeps its smallest "
            f"width, {tried[0].share:.3g} of the time is left"
        )
    table = _table(bench, model, units, clock)
    aimed = bound
    seen = {tuple(smallest.values()): tried[0].share}
    for _ in range(CORRECTIONS):
        most = max(aimed, table.share(smallest))
        counts = shrink(units.ladders, allocation, partial(_fits, table, most))
        assert counts is not None
        key = tuple(counts.values())
        if key in seen:
            if seen[key] <= bound or most > aimed:
                break
            aimed *= _FURTHER  # the same widths again, and they are too slow
            continue
        seen[key] = share = share_of(counts)
        tried.append(_Timed(counts, share))
        bench.shop.tell.detail(f"latency {share:.3g} of the whole, aimed at {bound:g}")
        if 0.95 * bound <= share <= TOLERANCE * bound:
            break
        aimed = max(1e-3, aimed + (bound - share)) if share > bound else aimed * bound / share
    return tried


def _fits(table: LatencyTable, most: float, counts: Counts) -> bool:
    return table.share(counts) <= most


class _Clock:
    """Measures networks as a share of the whole one's time, in turns with it."""

    def __init__(
        self, bench: Bench, model: Model, section: Structured, converter: Converter | None
    ) -> None:
        self.bench, self.section, self.converter = bench, section, converter
        self.whole = self._calls({_WHOLE: model.network})

    def _calls(self, networks: dict[str, nn.Module]) -> dict[str, Call]:
        example, runtime = self.bench.example, self.section.runtime
        return runtime_calls(networks, example, runtime, self.converter)

    def shares(self, networks: dict[str, nn.Module]) -> dict[str, float]:
        """Return each network's time as a share of the whole one's."""
        calls = self._calls(networks)
        batch = self.section.batch
        turns = timed(self.whole | calls, self.bench.example, (batch,), turns=_TURNS)
        whole = turns[_WHOLE][batch]
        return {
            name: median(a / b for a, b in zip(turns[name][batch], whole, strict=True))
            for name in networks
        }


def _table(bench: Bench, model: Model, units: Units, clock: _Clock) -> LatencyTable:
    """Return the latencies of networks in which one group alone is narrower."""
    from modelscale.pruning.latency_table import table_of, widths_to_measure

    whole = {name: ladder.rungs[-1] for name, ladder in units.ladders.items()}
    wanted = [
        (name, width)
        for name, ladder in units.ladders.items()
        for width in widths_to_measure(ladder)
    ]
    shares: dict[tuple[str, int], float] = {}
    with bench.shop.tell.progress("measuring widths", len(wanted)) as progress:
        for name in units.ladders:
            own = [(n, width) for n, width in wanted if n == name]
            networks = {
                str(width): cut_network(model, units, whole | {name: width}) for _, width in own
            }
            found = clock.shares(networks)
            shares |= {(name, width): found[str(width)] for _, width in own}
            progress.update(len(shares), name)
    return table_of(units.ladders, shares)
