"""Opening a run: the same command again finds it, resumes it, or reports it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from modelscale.commands.experiment import Experiment
from modelscale.commands.starting_points import check_name, contents_of
from modelscale.commands.telling import Listener
from modelscale.errors import Diverged, ModelscaleError, TryAgain
from modelscale.runs.folder import RunFolder
from modelscale.runs.record import RunFacts
from modelscale.spec.loader import Loaded, canonical, dump

if TYPE_CHECKING:
    from modelscale.commands.assembly import Assembly
    from modelscale.training.stopping import StopRequest

_NOT_PART_OF_A_RUN = {"name", "device", "evaluate"}
"""Keys whose change makes no other run."""
_OF_VERBS = ("tune", "prune", "ensemble", "scale")
"""Sections that only the verb of their name reads."""


@dataclass(frozen=True)
class Request:
    """One command line that runs an experiment.

    Attributes:
        verb: `train`, `tune`, …
        loaded: The spec, with where its values came from.
        stem: Name of the run where the spec gives none.
        root: The runs folder.
        words: The command line.
        threads: CPU threads; None for torch's own choice.
        new: Whether to start another run beside an equal one.
        max_time_s: Seconds after which this process saves and stops.
        storage: Address of the database through which other machines take part in a search.
    """

    verb: str
    loaded: Loaded[Experiment]
    stem: str
    root: Path
    words: tuple[str, ...]
    threads: int | None = None
    new: bool = False
    max_time_s: float | None = None
    storage: str | None = None

    @property
    def experiment(self) -> Experiment:
        """The experiment."""
        return self.loaded.spec


def prepare(request: Request, tell: Listener) -> Assembly:
    """Pin the machine's arithmetic, read the data and decide what the spec leaves open."""
    from modelscale.commands.assembly import assemble
    from modelscale.training.determinism import choose_device, pin
    from modelscale.training.precision import allow_tf32

    check_name(request.experiment, request.experiment.name or request.stem, request.root)
    pin(request.threads)
    allow_tf32(request.experiment.train.precision)
    device = choose_device(request.experiment.device)
    assembly = assemble(request.experiment, request.loaded.provenance, device, request.root)
    assembly.threads = request.threads
    for warning in (*assembly.loaded.warnings, *assembly.beginning_warnings()):
        tell.warn(warning)
    return assembly


def run_digest(request: Request, fingerprint: str, without: tuple[str, ...] = ()) -> str:
    """Return what makes a run the run that it is: verb, spec and data.

    Args:
        request: The command line.
        fingerprint: Of the data.
        without: Further sections that do not matter.
    """
    others = [section for section in _OF_VERBS if section != request.verb]
    absent = dict.fromkeys(("name", *others, *without))
    spec = request.experiment.model_copy(update=absent)
    fields = type(spec).model_fields
    kept = spec.model_copy(
        update={
            name: fields[name].get_default(call_default_factory=True)
            for name in _NOT_PART_OF_A_RUN
        }
    )
    if kept.tune is not None:  # a search may be made longer
        budget = {"n_trials": type(kept.tune).model_fields["n_trials"].default}
        tune = kept.tune.model_copy(update=budget | {"timeout_s": None, "workers": "auto"})
        kept = kept.model_copy(update={"tune": tune})
    if kept.ensemble is not None:  # a finished ensemble may be distilled later
        whole = kept.ensemble.model_copy(update={"distill": None})
        kept = kept.model_copy(update={"ensemble": whole})
    begun_with = contents_of(kept, request.root)
    text = "\n".join((request.verb, fingerprint, canonical(kept), *begun_with))
    return hashlib.sha256(text.encode()).hexdigest()


@contextmanager
def opened(
    request: Request,
    assembly: Assembly,
    digest: str,
    tell: Listener,
    wants_more: Callable[[RunFolder], bool] = lambda _run: False,
) -> Iterator[tuple[RunFolder, StopRequest]]:
    """Yield the run's folder and the stop request; note in the run how it ended.

    A finished run is yielded as it is, unless it `wants_more`.
    """
    from modelscale.training.stopping import StopRequest, listening

    experiment = request.experiment
    what = (
        request.root,
        experiment.name or request.stem,
        digest,
        request.loaded.text,
        dump(experiment, request.loaded.provenance),
        request.words,
    )
    if request.storage is not None and not request.new:
        run = RunFolder.open_free(*what)
    else:
        run = RunFolder.open_or_create(*what, request.new)
    with run, listening(StopRequest(request.max_time_s)) as stop:
        if run.finished and wants_more(run):
            run.reopen(request.loaded.text, dump(experiment, request.loaded.provenance))
        if run.finished:
            tell.note(f"{run.path}: finished earlier; --new starts another run")
            yield run, stop
            return
        resumed = run.resumed
        for change in run.begin_attempt(_facts(assembly)):
            tell.warn(f"resumed with other conditions, so not bit-identical: {change}")
        tell.note(f"{run.path}: {'going on' if resumed else 'begun'}")
        try:
            yield run, stop
        except TryAgain as error:
            run.finish("interrupted", exit_code=error.exit_code)
            raise
        except Diverged as error:
            run.finish("diverged", {"error": str(error)})
            raise
        except ModelscaleError as error:
            run.finish("failed", exit_code=error.exit_code)
            raise
        except BaseException:
            run.finish("failed", exit_code=1)
            raise


def _facts(assembly: Assembly) -> RunFacts:
    import numpy
    import torch

    from modelscale.training.determinism import fingerprint

    found = fingerprint(assembly.device)
    return RunFacts(
        versions={"torch": torch.__version__, "numpy": numpy.__version__},
        device=f"{assembly.device.type} {found['device']}",
        threads=assembly.threads,  # else measured, and noted by whoever measures
        data_fingerprint=assembly.loaded.raw.fingerprint,
    )
