"""Removing whole units: which, how many, and training what is left."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modelscale.commands.pruning.bench import Bench, Retrained
from modelscale.pruning.kinds.structured import Structured
from modelscale.pruning.section import Target

if TYPE_CHECKING:
    from torch import Tensor, nn

    from modelscale.pruning.allocation import Allocation, Counts, Ladder
    from modelscale.pruning.costs import Costs
    from modelscale.pruning.structure import Structure
    from modelscale.pruning.surgery import CutNetwork
    from modelscale.training.artifact import Model

TRIAL_SHARE = 0.2
"""Share of the epochs that each way of allocating is trained before one is chosen."""
_HALVINGS = 5
"""Halvings of the MACs at most where the accuracy decides."""
_ROUNDS = 5
"""Models that are trained to find the smallest one within an accuracy budget."""
_TOLERANCE = 1.01
"""Above a target by no more than this counts as met: counting and timing are no finer."""


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
        return _within_budget(bench, label, model, section)
    target = section.aim()
    assert target is not None
    start, facts = _chosen(bench, label, model, section, target)
    trained = bench.retrain(label, start, section.retrain)
    return Retrained(trained.model, trained.step, facts | {"retrain": trained.facts})


def _chosen(
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
    epochs = bench.epochs(section.retrain)
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
    counts = _counts(bench, model, units, section, target, allocation)
    start = cut_model(bench, model, units, counts)
    facts = facts_of(bench, start, units, counts) | {
        "criterion": section.criterion.own_kind(),
        "allocation": allocation,
        "target": target.model_dump(exclude_none=True),
    }
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
    from modelscale.pruning.structure import find_units

    network = model.network
    structure = find_units(network, bench.examples, attention=section.attention)
    for declined in structure.declined:
        bench.shop.tell.warn(f"left whole: {', '.join(declined.layers)} ({declined.reason})")
    if not structure.groups:
        raise bench.shop.assembly.fault("prune", "the network has no units that could go")
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
    section: Structured,
    target: Target,
    allocation: Allocation,
) -> Counts:
    """Return how many units of each group meet a target.

    Raises:
        SpecError: If no cut does.
    """
    from modelscale.pruning.allocation import shrink

    if target.measure == "latency":
        from modelscale.commands.pruning.latency_target import counts_for_latency

        return counts_for_latency(bench, model, units, section, target, allocation)
    before = _measured(bench, model.network, target)
    bound = _TOLERANCE * target.bound(before)
    aimed = bound
    for _ in range(10):
        found = shrink(units.ladders, allocation, _fits(units.costs, target, aimed))
        if found is None:
            break
        real = _measured(bench, cut_network(model, units, found), target)
        if real <= bound:
            return found
        aimed *= 0.99 * bound / real  # work that the estimate does not see
    name = target.measure
    smallest = {group: ladder.rungs[0] for group, ladder in units.ladders.items()}
    least = _measured(bench, cut_network(model, units, smallest), target)
    raise bench.shop.assembly.fault(
        f"prune.target.{name}",
        f"cannot be met: at least {least:,.0f} of {before:,.0f} {name} are left "
        f"({least / before:.3g}) where every layer keeps its smallest width; a smaller "
        "prune.least or prune.align leaves less",
    )


def _fits(costs: Costs, target: Target, most: float) -> Callable[[Counts], bool]:
    if target.measure == "macs":
        return lambda counts: costs.macs(counts) <= most
    size = 4 if target.measure == "bytes" else 1
    return lambda counts: size * costs.parameters(counts) <= most


def _measured(bench: Bench, network: nn.Module, target: Target) -> float:
    from modelscale.evaluation.macs import count_macs, parameter_bytes, parameter_count

    if target.measure == "macs":
        return count_macs(network, bench.example)
    if target.measure == "bytes":
        return parameter_bytes(network)
    return parameter_count(network)


def _most_halvings(bench: Bench, label: str, model: Model, section: Structured) -> float:
    """Return how often the MACs can be halved before every layer has its smallest width."""
    found = bench.cached(f"{label}-least")
    if found is None:
        units = units_of(bench, model, section)
        smallest = {group: ladder.rungs[0] for group, ladder in units.ladders.items()}
        start = cut_model(bench, model, units, smallest)
        aim = Target(macs=1.0)
        share = _measured(bench, start.network, aim) / _measured(bench, model.network, aim)
        found = start, {"halvings": -math.log2(share)}
        bench.keep(f"{label}-least", *found)
    return float(found[1]["halvings"])


def _within_budget(bench: Bench, label: str, model: Model, section: Structured) -> Retrained:
    """Return the smallest re-trained model that loses no more than the budget.

    The share of the MACs is halved and doubled in ever smaller steps; every point is trained
    in full, and the validation part alone decides.
    """
    if not bench.has_validation:
        raise bench.shop.assembly.fault(
            "prune.max_drop", "needs a validation part; give `data.split.validation`"
        )
    assert section.max_drop is not None
    held, lost = 0.0, min(float(_HALVINGS), _most_halvings(bench, label, model, section))
    best: Retrained | None = None
    points: list[dict[str, Any]] = []
    trained_at: dict[str, Retrained] = {}  # by widths, of which few are left in a small network
    allocation = section.allocation
    for number in range(_ROUNDS):
        halvings = (held + lost) / 2
        name = f"{label}-{number}"
        target = Target(macs=round(2.0**-halvings, 4))
        fixed = section.model_copy(update={"allocation": allocation})
        start, facts = _chosen(bench, name, model, fixed, target)
        allocation = facts["allocation"]
        widths = json.dumps(facts["units"])
        if widths in trained_at:
            trained = trained_at[widths]
        else:
            trained = trained_at[widths] = bench.retrain(name, start, section.retrain)
        drop = bench.drop(trained.model)
        within = drop <= section.max_drop + 1e-9
        points.append({"macs": target.macs, "drop": drop, "within": within})
        bench.shop.tell.note(
            f"{name}: {target.macs:.3g} of the MACs lose {drop:.4g} "
            f"({'within' if within else 'beyond'} {section.max_drop:g})"
        )
        if within:
            held = halvings
            best = Retrained(trained.model, trained.step, facts | {"retrain": trained.facts})
        else:
            lost = halvings
    if best is None:
        bench.shop.tell.warn(
            f"{label}: no smaller model loses {section.max_drop:g} or less: nothing was removed"
        )
        return Retrained(model, 0, {"points": points, "units": {}})
    return Retrained(best.model, best.step, best.facts | {"points": points})
