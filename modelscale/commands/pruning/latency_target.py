"""Widths that meet a latency: a measured table first, then the real network's time."""

from __future__ import annotations

from functools import partial
from statistics import median
from typing import TYPE_CHECKING

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


def counts_for_latency(
    bench: Bench,
    model: Model,
    units: Units,
    section: Structured,
    target: Target,
    allocation: Allocation,
) -> Counts:
    """Return how many units of each group meet a latency, the most that do.

    Raises:
        SpecError: If not even the smallest widths do.
        Unavailable: If ONNX Runtime is aimed at and missing.
    """
    from modelscale.export.child import Converter

    if section.runtime == "eager":
        return _searched(bench, model, units, section, target, allocation, None)
    with Converter() as converter:
        return _searched(bench, model, units, section, target, allocation, converter)


def _searched(
    bench: Bench,
    model: Model,
    units: Units,
    section: Structured,
    target: Target,
    allocation: Allocation,
    converter: Converter | None,
) -> Counts:
    from modelscale.pruning.allocation import shrink

    assert target.latency is not None
    bound, clock = target.latency, _Clock(bench, model, section, converter)
    table = _table(bench, model, units, clock)
    aimed, best, best_share = bound, None, 0.0
    seen: dict[tuple[int, ...], float] = {}
    smallest = {name: ladder.rungs[0] for name, ladder in units.ladders.items()}
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
        seen[key] = share = clock.shares({"cut": cut_network(model, units, counts)})["cut"]
        bench.shop.tell.detail(f"latency {share:.3g} of the whole, aimed at {bound:g}")
        if share <= TOLERANCE * bound and share > best_share:
            best, best_share = counts, share
        if 0.95 * bound <= share <= TOLERANCE * bound:
            break
        aimed = max(1e-3, aimed + (bound - share)) if share > bound else aimed * bound / share
    if best is not None:
        return best
    least = clock.shares({"cut": cut_network(model, units, smallest)})["cut"]
    if least <= TOLERANCE * bound:
        return smallest
    raise bench.shop.assembly.fault(
        "prune.target.latency",
        f"cannot be met in {section.runtime} at batch {section.batch}: {least:.3g} of the "
        "time is left where every layer keeps its smallest width",
    )


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
