"""Points of a sweep whose single weights are zero."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelscale.commands.pruning.bench import Bench, Retrained
from modelscale.commands.pruning.sparse import to_sparsity
from modelscale.commands.pruning.sweep_points import TrainedPoint, keep_point
from modelscale.pruning.kinds.sparse import Sparse
from modelscale.pruning.kinds.structured import Structured
from modelscale.pruning.section import Sweep

if TYPE_CHECKING:
    from modelscale.training.artifact import Model

USUAL = (0.8, 0.9, 0.95)


def sparse_points(
    bench: Bench, label: str, model: Model, section: Structured, sweep: Sweep
) -> list[TrainedPoint]:
    """Return a trained model of each sparsity; each is trained alone, as its zeros grow.

    Args:
        bench: Data and training.
        label: Of the stage.
        model: What is made sparse.
        section: How it is trained again.
        sweep: With the sparsities and patterns.
    """
    if "sparse" not in sweep.methods:
        return []
    how = section.retrain
    shares = sweep.sparsities or (() if sweep.patterns else USUAL)
    wanted = {f"{share:g}": Sparse(sparsity=share, retrain=how) for share in shares}
    for pattern in sweep.patterns:
        wanted[pattern.replace(":", "-of-")] = Sparse(pattern=pattern, retrain=how)
    return [_made(bench, label, model, f"sparse-{k}", own) for k, own in wanted.items()]


def _made(bench: Bench, label: str, model: Model, name: str, own: Sparse) -> TrainedPoint:
    from modelscale.training.artifact import dump_network

    found = bench.cached(f"{label}-{name}")
    if found is None:
        made = to_sparsity(bench, f"{label}-{name}", model, own)
        facts = made.facts | {"step": made.step}
        bench.keep(f"{label}-{name}", made.model, facts, made.step)
        found = bench.cached(f"{label}-{name}")
        assert found is not None
    facts = dict(found[1])
    ended, step = facts.pop("retrain"), facts.pop("step")
    point = TrainedPoint(name, facts, Retrained(found[0], step, ended))
    keep_point(bench, point, dump_network(found[0]))
    return point
