"""Random search with the same budget: what a search has to beat."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modelscale.commands.search_shared import Shared
from modelscale.commands.searching import BASELINE, Search
from modelscale.commands.telling import Listener
from modelscale.runs.folder import RunFolder
from modelscale.tuning.random_baseline import expected_best_of_random
from modelscale.tuning.samplers.base import SamplerSpec
from modelscale.tuning.section import TuneSection

if TYPE_CHECKING:
    from modelscale.commands.assembly import Assembly
    from modelscale.training.stopping import StopRequest


def random_search(
    run: RunFolder,
    assembly: Assembly,
    section: TuneSection,
    stop: StopRequest,
    tell: Listener,
    shared: Shared | None = None,
) -> dict[str, Any]:
    """Run a random search beside another one; return what it came to.

    Its trials are in `baseline/trials/`. They begin with the same draws as the random start of
    a sampler that learns.

    Returns:
        `values` of the first objective by trial, and `expected_best`: what n of these trials
        find in the mean, for n = 1, 2, …
    """
    tell.note("random search with the same budget")
    search = Search(run.sub(BASELINE), assembly, at_random(section), stop, tell, shared=shared)
    trials = search.run_all()
    values = [
        t.values[0] if t.state in {"complete", "stopped"} and t.values else None for t in trials
    ]
    found: dict[str, Any] = {"trials": len(trials), "values": values, "expected_best": None}
    if any(value is not None for value in values):
        found["expected_best"] = expected_best_of_random(
            values, range(1, len(values) + 1), maximize=search.aims.maximize[0]
        )
    return found | {"seconds": round(search.seconds, 3)}


def at_random(section: TuneSection) -> TuneSection:
    """Return a search of the same space that learns nothing."""
    space = {key: r.model_copy(update={"prior": None}) for key, r in section.space.items()}
    return section.model_copy(
        update={
            "space": space,
            "sampler": SamplerSpec.model_validate("random"),
            "enqueue": (),
            "start_with_defaults": False,
        }
    )
