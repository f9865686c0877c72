"""What a ladder would run and cost, before any of it is run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from modelscale.commands.scale_ladder import Rung, ladder_of, replica_of
from modelscale.commands.scale_rates import rate_rungs

if TYPE_CHECKING:
    from modelscale.commands.assembly import Assembly

_MOST_FLOPS = 2e9  # of the largest step that is timed unasked


def ladder_plan(
    assembly: Assembly, *, measure: bool | None, run: dict[str, str] | None
) -> dict[str, Any] | None:
    """Return what the spec's ladder would cost; None without a `scale` section.

    Args:
        assembly: What would be trained.
        measure: Whether steps are timed; None where the largest size is small.
        run: The run that the command would report or go on with.
    """
    section = assembly.experiment.scale
    if section is None:
        return None
    ladder = ladder_of(assembly, section)
    rates = rate_rungs(ladder) if section.lr.sweep else []
    rungs = [*rates, *ladder.rungs]
    batch = assembly.experiment.train.batch_size
    if measure is None:
        measure = 6 * ladder.sizes[-1].macs * batch <= _MOST_FLOPS
    sizes = []
    for size in ladder.sizes:
        own = [rung for rung in rungs if rung.size.index == size.index]
        sizes.append(
            {
                "changes": size.changes,
                "parameters": size.parameters,
                "macs": size.macs,
                "runs": len(own),
                "flops": sum(rung.compute for rung in own),
                "seconds": _seconds(assembly, own, section.seeds) if measure else None,
            }
        )
    known = [size["seconds"] for size in sizes if size["seconds"] is not None]
    rows = {rung.fraction: rung.rows for rung in ladder.rungs}
    return {
        "run": run,
        "runs": len(rungs),
        "rate_runs": len(rates),
        "sizes": sizes,
        "data": [{"fraction": f, "rows": n} for f, n in rows.items()],
        "flops": {"total": sum(rung.compute for rung in rungs)},
        "beyond": [{"changes": s.changes, "parameters": s.parameters} for s in ladder.beyond],
        "seconds": sum(known) if len(known) == len(sizes) else None,
    }


def _seconds(assembly: Assembly, rungs: Sequence[Rung], seeds: int) -> float:
    """Return the time of a size's rungs, from a few steps of its largest amount of data."""
    from modelscale.training.determinism import use_threads
    from modelscale.training.grouping import best_size, best_threads
    from modelscale.training.grouping import measure as measured

    top = max(rung.data for rung in rungs)
    replicas = [replica_of(assembly, rung) for rung in rungs if rung.data == top][:seeds]
    if assembly.threads is None:
        use_threads(best_threads(replicas[:1], assembly.device))
    speeds = measured(replicas, assembly.device)
    chosen = best_size(speeds)
    step_s = next(speed.step_s for speed in speeds if speed.size == chosen)
    batch = replicas[0].step_size
    steps = sum(-(-rung.rows // batch) * replicas[0].plan.epochs for rung in rungs)
    return step_s * steps
