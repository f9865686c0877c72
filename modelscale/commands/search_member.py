"""A further process of a search: reads the run that another process has begun, and trains."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from modelscale.commands.experiment import Experiment
from modelscale.commands.inner_folds import with_inner_folds
from modelscale.commands.launching import Request, prepare
from modelscale.commands.random_search import at_random
from modelscale.commands.search_rounds import Member
from modelscale.commands.search_shared import Shared
from modelscale.commands.searching import BASELINE, Search
from modelscale.commands.telling import Listener
from modelscale.runs.folder import RESOLVED_FILE
from modelscale.runs.part import RunPart
from modelscale.spec.loader import load


@dataclass(frozen=True)
class MemberRequest:
    """What a further process of a search is started with.

    Attributes:
        run: The run's folder, whose lock the parent process holds.
        baseline: Whether it is the random search beside the search itself.
        member: Which of the processes it is.
        device: Where it trains.
        threads: CPU threads.
        storage: Address of the database through which other machines take part.
    """

    run: Path
    baseline: bool
    member: Member
    device: str
    threads: int
    storage: str | None = None


def join_search(request: MemberRequest, tell: Listener) -> None:
    """Train rounds of a search until none is left or its parent process is gone.

    Raises:
        TryAgain: If a stop was asked for; the state is saved.
    """
    from modelscale.training.stopping import StopRequest, listening

    change = f"device={request.device}"
    loaded = load(request.run / RESOLVED_FILE, Experiment, (change,))
    asked = Request(
        "tune", loaded, request.run.name, request.run.parent, (), threads=request.threads
    )
    with listening(StopRequest(parent=os.getppid())) as stop:
        assembly, section = prepare(asked, tell), loaded.spec.tune
        assert section is not None
        if section.folds is not None:
            assembly = with_inner_folds(assembly, section.folds)
        place = RunPart(request.run, owner=True)
        if request.baseline:
            place, section = place.sub(BASELINE), at_random(section)
        shared = None if request.storage is None else Shared.by(request.storage, request.run)
        Search(place, assembly, section, stop, tell, request.member, shared).run_all()
