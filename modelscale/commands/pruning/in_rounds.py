"""Units cut in several rounds, with training between them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modelscale.commands.pruning.bench import Bench, Retrained
from modelscale.commands.pruning.structured import chosen, measured
from modelscale.pruning.kinds.structured import Structured
from modelscale.pruning.masks import cubic
from modelscale.pruning.section import Target

if TYPE_CHECKING:
    from modelscale.training.artifact import Model


def cut_in_rounds(
    bench: Bench, label: str, model: Model, section: Structured, target: Target
) -> Retrained:
    """Make a model smaller little by little; all rounds together train as long as one cut.

    Units are scored anew in every round, on what the one before has left and trained.

    Args:
        bench: Data and training.
        label: Of the stage.
        model: What is made smaller.
        section: How; its schedule says how much of it each round does.
        target: Where the last round ends, not a latency.

    Raises:
        SpecError: If the target cannot be met.
    """
    whole = measured(model.network, bench.example, target)
    final = target.bound(whole) / whole
    total = bench.epochs(section.retrain, final)
    rounds = max(1, min(section.rounds, total)) if total else 1
    allocation, step = section.allocation, 0
    facts: dict[str, Any] = {}
    done: list[dict[str, Any]] = []
    for number in range(1, rounds + 1):
        name = f"{label}-round-{number}"
        share = _left(section, final, number / rounds)
        now = measured(model.network, bench.example, target)
        aim = Target.model_validate({target.measure: min(1.0, share * whole / now)})
        own = section.model_copy(update={"allocation": allocation})
        start, facts = chosen(bench, name, model, own, aim)
        allocation = facts["allocation"]
        epochs = total * number // rounds - total * (number - 1) // rounds
        trained = bench.retrain(name, start, section.retrain, epochs)
        model, step = trained.model, step + trained.step
        done.append({"left": share, "units": facts["units"], "retrain": trained.facts})
    first = done[0]["units"]
    units = {name: [left, first[name][1]] for name, (left, _) in done[-1]["units"].items()}
    made = {"schedule": section.schedule, "rounds": done, "units": units}
    told = {"target": target.model_dump(exclude_none=True), "retrain": done[-1]["retrain"]}
    return Retrained(model, step, facts | made | told)


def _left(section: Structured, final: float, share: float) -> float:
    """Return how much is left after a share of the rounds."""
    if section.schedule == "gradual":
        return 1 - cubic(1 - final, share)
    return float(final**share)
