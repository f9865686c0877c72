"""Removing whole units: which, how many, and training what is left."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modelscale.commands.pruning.bench import Bench, Retrained
from modelscale.commands.pruning.feasible import TOLERANCE, nothing_to_cut
from modelscale.pruning.kinds.structured import Structured
from modelscale.pruning.section import Target

if TYPE_CHECKING:
    from torch import Tensor, nn

    from modelscale.commands.assembly import Assembly
    from modelscale.errors import SpecError
    from modelscale.pruning.allocation import Allocation, Counts, Ladder
    from modelscale.pruning.costs import Costs
    from modelscale.pruning.structure import Structure
    from modelscale.pruning.surgery import CutNetwork
    from modelscale.training.artifact import Model

TRIAL_SHARE = 0.2
"""Share of the epochs that each way of allocating is trained before one is chosen."""


@dataclass(frozen=True)
class Units:
    """The units of a model, scored.

    Attributes:
        structure: All units.
        scores: How much each one matters, by group.
        ladders: The widths that each group may have.
        costs: What so many units cost.
    """

    structure: Structure
    scores: Mapping[str, Tensor]
    ladders: Mapping[str, Ladder]
    costs: Costs


def prune_units(bench: Bench, label: str, model: Model, section: Structured) -> Retrained:
    """Make a model smaller by whole units, then train it again.

    Args:
        bench: Data and training.
        label: Of the stage.
        model: What is made smaller.
        section: How.

    Raises:
        SpecError: If the target cannot be met.
    """
    if section.sweep is not None:
        from modelscale.commands.pruning.sweeping import swept

        return swept(bench, label, model, section, section.sweep)
    if section.max_drop is not None:
        from modelscale.commands.pruning.accuracy_budget import units_within

        return units_within(bench, label, model, section, section.max_drop)
    target = section.aim()
    assert target is not None
    if section.schedule != "one_shot":
        from modelscale.commands.pruning.in_rounds import cut_in_rounds

        return cut_in_rounds(bench, label, model, section, target)
    start, facts = chosen(bench, label, model, section, target)
    trained = bench.retrain(label, start, section.retrain)
    return Retrained(trained.model, trained.step, facts | {"retrain": trained.facts})


def chosen(
    bench: Bench, label: str, model: Model, section: Structured, target: Target
) -> tuple[Model, dict[str, Any]]:
    """Return the cut model for a target, by the allocation that is asked for or the best."""
    names: list[Allocation] = ["global", "uniform"]
    if section.allocation != "auto":
        return start_of(bench, label, model, section, target, section.allocation)
    starts = {
        name: start_of(bench, f"{label}-{name}", model, section, target, name) for name in names
    }
    widths = [facts["units"] for _, facts in starts.values()]
    if widths[0] == widths[1] or not bench.has_validation:
        return starts["global"]
    reached = {
        name: facts["latency"] for name, (_, facts) in starts.items() if "latency" in facts
    }
    if not all(found["met"] for found in reached.values()):  # the accuracy has no say
        return starts[
            min(names, key=lambda name: (not reached[name]["met"], reached[name]["reached"]))
        ]
    epochs = min(bench.epochs(section.retrain, bench.left(s)) for s, _ in starts.values())
    trial = min(epochs, max(1, round(TRIAL_SHARE * epochs)))
    scores = {
        name: bench.score(bench.retrain(f"{label}-{name}", start, section.retrain, trial).model)
        for name, (start, _) in starts.items()
    }
    best = max(names, key=lambda name: (scores[name], name == "global"))
    start, facts = starts[best]
    sign = 1 if bench.metric.direction == "maximize" else -1
    tried = {name: sign * score for name, score in scores.items()}
    bench.shop.tell.note(
        f"{label}: after {trial} epochs {bench.metric.label()} is "
        + ", ".join(f"{value:.4g} ({name})" for name, value in tried.items())
        + f" on the validation part: {best} allocation"
    )
    return start, facts | {"tried": tried}


def start_of(
    bench: Bench,
    name: str,
    model: Model,
    section: Structured,
    target: Target,
    allocation: Allocation,
) -> tuple[Model, dict[str, Any]]:
    """Return the cut model before it is trained, kept so that a resumed run has the same."""
    found = bench.cached(name)
    if found is not None:
        return found
    units = units_of(bench, model, section)
    facts: dict[str, Any] = {
        "criterion": section.criterion.own_kind(),
        "allocation": allocation,
        "target": target.model_dump(exclude_none=True),
    }
    if target.measure == "latency":
        from modelscale.commands.pruning.latency_target import counts_for_latency

        reached = counts_for_latency(bench, model, units, section, target, allocation)
        counts, facts = reached.counts, facts | {"latency": reached.facts}
    else:
        counts = _counts(bench, model, units, target, allocation)
    start = cut_model(bench, model, units, counts)
    facts |= facts_of(bench, start, units, counts)
    bench.keep(name, start, facts)
    return start, facts


def units_of(bench: Bench, model: Model, section: Structured) -> Units:
    """Return a model's units with their scores.

    Raises:
        SpecError: If nothing can be removed, or the criterion does not fit the network.
    """
    from modelscale.pruning.allocation import ladder_of
    from modelscale.pruning.costs import costs_of
    from modelscale.pruning.evidence import Evidence

    network = model.network
    structure = bench.structure(network, section.attention)
    for declined in structure.declined:
        bench.shop.tell.warn(f"left whole: {', '.join(declined.layers)} ({declined.reason})")
    if not structure.groups:
        raise nothing_to_cut(bench.shop.assembly, structure.declined)
    evidence = Evidence(network, structure.groups, bench.batches, model.loss, bench.seed)
    try:
        section.criterion.check(evidence)
    except ValueError as error:
        raise bench.shop.assembly.fault("prune.criterion", str(error)) from None
    scores = {g.name: section.criterion.unit_scores(g, evidence) for g in structure.groups}
    ladders = {
        g.name: ladder_of(g, scores[g.name], section.align, section.least)
        for g in structure.groups
    }
    return Units(structure, scores, ladders, costs_of(network, structure, bench.example))


def cut_model(bench: Bench, model: Model, units: Units, counts: Counts) -> Model:
    """Return a model with so many of its units, its batch norms recalibrated."""
    from modelscale.pruning.calibration import recalibrate

    made = _cut(model, units, counts)
    recalibrate(made.network, (x for x, _ in bench.batches))
    return bench.changed(model, made.network, made.edit)


def cut_network(model: Model, units: Units, counts: Counts) -> nn.Module:
    """Return a network with so many of its units, to be counted or timed."""
    return _cut(model, units, counts).network.eval()


def _cut(model: Model, units: Units, counts: Counts) -> CutNetwork:
    from modelscale.pruning.allocation import kept_units
    from modelscale.pruning.surgery import cut

    return cut(model.network, units.structure, kept_units(units.scores, counts))


def facts_of(bench: Bench, after: Model, units: Units, counts: Counts) -> dict[str, Any]:
    """Return what was removed, for the document."""
    from modelscale.models.edits.cut import Cut

    edit = after.edits[-1]
    facts: dict[str, Any] = {
        "units": {name: [counts[name], units.costs.whole[name]] for name in counts},
        "left_whole": [
            {"reason": d.reason, "layers": list(d.layers)} for d in units.structure.declined
        ],
        "rewritten": isinstance(edit, Cut) and edit.rewritten,
    }
    if bench.has_validation:
        value = bench.score(after)
        facts["untrained"] = value if bench.metric.direction == "maximize" else -value
    return facts


def _counts(
    bench: Bench,
    model: Model,
    units: Units,
    target: Target,
    allocation: Allocation,
) -> Counts:
    """Return how many units of each group meet a target that can be counted.

    Raises:
        SpecError: If no cut does.
    """
    from modelscale.pruning.allocation import shrink

    before = measured(model.network, bench.example, target)
    bound = TOLERANCE * target.bound(before)
    aimed = bound
    for _ in range(10):
        found = shrink(units.ladders, allocation, _fits(units.costs, target, aimed))
        if found is None:
            break
        real = measured(cut_network(model, units, found), bench.example, target)
        if real <= bound:
            return found
        aimed *= 0.99 * bound / real  # work that the estimate does not see
    smallest = {group: ladder.rungs[0] for group, ladder in units.ladders.items()}
    least = measured(cut_network(model, units, smallest), bench.example, target)
    raise unreachable(bench.shop.assembly, target, least, before)


def unreachable(
    assembly: Assembly, target: Target, least: float, before: float, *, sweep: bool = False
) -> SpecError:
    """Return the error about a target below what the smallest widths leave."""
    name = target.measure
    return assembly.fault(
        f"prune.sweep.{name}" if sweep else f"prune.target.{name}",
        f"cannot be met: at least {least:,.0f} of {before:,.0f} {name} are left "
        f"({least / before:.3g}) where every layer keeps its smallest width; a smaller "
        "prune.least or prune.align leaves less",
    )


def _fits(costs: Costs, target: Target, most: float) -> Callable[[Counts], bool]:
    if target.measure == "macs":
        return lambda counts: costs.macs(counts) <= most
    size = 4 if target.measure == "bytes" else 1
    return lambda counts: size * costs.parameters(counts) <= most


def measured(network: nn.Module, example: tuple[int, ...], target: Target) -> float:
    """Return what a network has of what a target aims at, other than latency."""
    from modelscale.evaluation.macs import count_macs, parameter_bytes, parameter_count

    if target.measure == "macs":
        return count_macs(network, example)
    if target.measure == "bytes":
        return parameter_bytes(network)
    return parameter_count(network)
