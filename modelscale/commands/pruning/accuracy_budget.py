"""The smallest model that keeps within an accuracy budget: found on the validation part."""

from __future__ import annotations

import json
import math
from statistics import median
from typing import TYPE_CHECKING, Any

from modelscale.commands.pruning.bench import Bench, Retrained
from modelscale.commands.pruning.timing import runtime_calls, timed
from modelscale.errors import GateFailed, Unavailable
from modelscale.pruning.budget import Try, each_confidence, promise, smallest_within
from modelscale.pruning.kinds.sparse import Sparse
from modelscale.pruning.kinds.structured import Structured
from modelscale.pruning.section import Target

if TYPE_CHECKING:
    from modelscale.training.artifact import Model

_MOST_OF_UNITS = 5.0
"""Halvings of the MACs at most."""
_MOST_OF_WEIGHTS = 7.0
"""Halvings of the weights at most."""
_CLEARLY = 0.97
"""A model that needs no less than this share of another one's time is not faster."""


def units_within(
    bench: Bench, label: str, model: Model, section: Structured, budget: float
) -> Retrained:
    """Return the fastest re-trained model that loses no more than the budget.

    The share of the MACs is halved and doubled in ever smaller steps; every point is trained
    in full, and the validation part alone decides. Of the models within the budget the one
    that is measured to be fastest is taken.

    Args:
        bench: Data and training.
        label: Of the stage.
        model: What is made smaller.
        section: How.
        budget: What may be lost.

    Raises:
        SpecError: If there is no validation part.
    """
    from modelscale.commands.pruning.structured import chosen

    check_rows(bench)
    confidence = each_confidence(section.confidence)
    found: dict[int, Retrained] = {}
    trained_at: dict[str, Retrained] = {}  # by widths, of which few are left in a small network
    allocation = section.allocation

    def tried(number: int, halvings: float) -> Try:
        nonlocal allocation
        name = f"{label}-{number}"
        target = Target(macs=round(2.0**-halvings, 4))
        fixed = section.model_copy(update={"allocation": allocation})
        start, facts = chosen(bench, name, model, fixed, target)
        allocation = facts["allocation"]
        widths = json.dumps(facts["units"])
        if widths not in trained_at:
            trained_at[widths] = bench.retrain(name, start, section.retrain)
        made = trained_at[widths]
        found[number] = Retrained(made.model, made.step, facts | {"retrain": made.facts})
        return _judged(bench, name, {"macs": float(target.macs or 0)}, made, budget, confidence)

    most = min(_MOST_OF_UNITS, _most_halvings(bench, label, model, section))
    tries, best = smallest_within(most, tried)
    within = [number for number, entry in enumerate(tries) if entry.within]
    if best is not None and len(within) > 1:
        best = _fastest(bench, label, {n: found[n].model for n in within}, section, best)
    facts = _told(bench, label, tries, best, budget, section.confidence)
    if best is None:
        return Retrained(model, 0, facts | {"units": {}})
    return Retrained(found[best].model, found[best].step, found[best].facts | facts)


def weights_within(
    bench: Bench, label: str, model: Model, section: Sparse, budget: float
) -> Retrained:
    """Return the sparsest re-trained model that loses no more than the budget.

    Arguments and errors are those of `units_within`.
    """
    from modelscale.commands.pruning.sparse import to_sparsity

    check_rows(bench)
    confidence = each_confidence(section.confidence)
    found: dict[int, Retrained] = {}

    def tried(number: int, halvings: float) -> Try:
        name = f"{label}-{number}"
        sparsity = round(1 - 2.0**-halvings, 4)
        fixed = section.model_copy(update={"sparsity": sparsity, "max_drop": None})
        found[number] = to_sparsity(bench, name, model, fixed)
        return _judged(bench, name, {"sparsity": sparsity}, found[number], budget, confidence)

    tries, best = smallest_within(_MOST_OF_WEIGHTS, tried)
    facts = _told(bench, label, tries, best, budget, section.confidence)
    if best is None:
        return Retrained(model, 0, facts)
    return Retrained(found[best].model, found[best].step, found[best].facts | facts)


def check_rows(bench: Bench) -> None:
    """Raise SpecError where there is no validation part that could decide."""
    if not bench.has_validation:
        raise bench.shop.assembly.fault(
            "prune.max_drop", "needs a validation part; give `data.split.validation`"
        )


def _judged(
    bench: Bench,
    name: str,
    size: dict[str, float],
    made: Retrained,
    budget: float,
    confidence: float | None,
) -> Try:
    loss = bench.loss_of(made.model, confidence)
    found = Try(size, loss, loss.within(budget))
    most = "" if confidence is None else f", at most {loss.bound:.4g}"
    (what, amount), *_ = size.items()
    bench.shop.tell.note(
        f"{name}: {what} {amount:.3g} loses {loss.drop:.4g}{most} "
        f"({'within' if found.within else 'beyond'} {budget:g})"
    )
    return found


def _told(
    bench: Bench,
    label: str,
    tries: tuple[Try, ...],
    best: int | None,
    budget: float,
    confidence: float,
) -> dict[str, Any]:
    """Return the facts about the search, and tell what they promise."""
    rows = len(bench.data.rows["validation"])
    told = promise(tries, best, budget, confidence, rows)
    (bench.shop.tell.warn if best is None else bench.shop.tell.note)(f"{label}: {told['text']}")
    points = [entry.to_json() | {"picked": k == best} for k, entry in enumerate(tries)]
    return {"points": points, "promise": told}


def _most_halvings(bench: Bench, label: str, model: Model, section: Structured) -> float:
    """Return how often the MACs can be halved before every layer has its smallest width."""
    from modelscale.commands.pruning.structured import cut_model, measured, units_of

    found = bench.cached(f"{label}-least")
    if found is None:
        units = units_of(bench, model, section)
        smallest = {group: ladder.rungs[0] for group, ladder in units.ladders.items()}
        start = cut_model(bench, model, units, smallest)
        aim = Target(macs=1.0)
        share = measured(start.network, bench.example, aim)
        share /= measured(model.network, bench.example, aim)
        found = start, {"halvings": -math.log2(share)}
        bench.keep(f"{label}-least", *found)
    return float(found[1]["halvings"])


def _fastest(
    bench: Bench, label: str, models: dict[int, Model], section: Structured, smallest: int
) -> int:
    """Return which of some models is fastest; the smallest one where none clearly is.

    Measured once and kept, so that a resumed run takes the same.
    """
    path = bench.shop.run.path / f"latency-{label}.json"
    if not path.is_file():
        networks = {str(number): model.network for number, model in models.items()}
        try:
            calls = runtime_calls(networks, bench.example, section.runtime)
        except (GateFailed, Unavailable):
            return smallest
        turns = timed(calls, bench.example, (section.batch,))
        ms = {name: median(own[section.batch]) for name, own in turns.items()}
        bench.shop.run.write(path.name, json.dumps(ms).encode())
    times: dict[str, float] = json.loads(path.read_bytes())
    fastest = min(times, key=times.__getitem__)
    clearly = times[fastest] < _CLEARLY * times[str(smallest)]
    return int(fastest) if clearly else smallest
