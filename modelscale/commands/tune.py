"""`modelscale tune`: a search in which trials of one shape train together."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelscale.commands.aims import Aims, winners_spec
from modelscale.commands.documents import clean
from modelscale.commands.experiment import Experiment
from modelscale.commands.inner_folds import with_inner_folds
from modelscale.commands.launching import Request, opened, prepare, run_digest
from modelscale.commands.random_search import random_search
from modelscale.commands.search_shared import Shared
from modelscale.commands.searching import Search
from modelscale.commands.study_files import write_study
from modelscale.commands.telling import Listener
from modelscale.commands.train import model_facts
from modelscale.commands.winner import Retrained, fresh_seeds, retrain
from modelscale.errors import Diverged, SpecError
from modelscale.runs.checkpoints import read_checkpoint
from modelscale.runs.folder import RunFolder
from modelscale.runs.trials import TrialRecord, trial_folder
from modelscale.spec.loader import dump
from modelscale.tensors import Part
from modelscale.tuning.fronts import pareto_front
from modelscale.tuning.section import TuneSection

if TYPE_CHECKING:
    from modelscale.commands.assembly import Assembly
    from modelscale.commands.measuring import Measured
    from modelscale.training.replica import Replica

_SOME_FAILED = 4
_STATES = ("complete", "stopped", "diverged", "failed", "infeasible")


@dataclass(frozen=True)
class Tuned:
    """A finished search.

    Attributes:
        run: Its folder.
        document: The command's keys of the JSON document, as `run.json` keeps them.
    """

    run: Path
    document: dict[str, Any]

    @property
    def exit_code(self) -> int:
        """4 where some trials failed; a trial that diverged is an answer, not a failure."""
        return _SOME_FAILED if self.document["trials"]["failed"] else 0

    def to_json(self) -> dict[str, Any]:
        """Return the document."""
        return {"run": str(self.run), "status": "done", **self.document}


def tune(request: Request, tell: Listener) -> Tuned:
    """Search what the spec's `tune` section says, or go on, or report what it came to.

    Raises:
        SpecError: If there is no `tune` section, or it names keys that do not exist.
        Diverged: If no trial came to an end.
        TryAgain: If the search was interrupted; its state is saved.
    """
    section = _section(request)
    assembly = prepare(request, tell)
    _check(assembly, tell)
    digest = run_digest(request, assembly.loaded.raw.fingerprint)

    def wants_more(run: RunFolder) -> bool:
        result = run.record.result
        had = result.get("trials", {}).get("total", section.n_trials)
        time_is_up = section.timeout_s is not None and result["seconds"] >= section.timeout_s
        over = result.get("ended") == "exhausted" or time_is_up
        return run.record.status == "done" and bool(had < section.n_trials) and not over

    with opened(request, assembly, digest, tell, wants_more) as (run, stop):
        if not run.finished:
            searched = assembly
            if section.folds is not None:
                searched = with_inner_folds(assembly, section.folds)
            storage = request.storage
            shared = None if storage is None else Shared.by(storage, run.path)
            search = Search(run.part, searched, section, stop, tell, shared=shared)
            trials = search.run_all()
            rival = None
            if section.baseline:
                rival = random_search(run, searched, section, stop, tell, shared)
            found = _choose(run, assembly, section, trials)
            seeds = fresh_seeds(assembly, section.confirm_seeds)
            if not _has_model(run, found.best):
                seeds.insert(0, assembly.experiment.seed)
            again = retrain(run, assembly, found.variant, seeds, search.goal, stop)
            document = _document(run, assembly, section, found, again)
            document |= {"random_search": rival, "ended": search.ended}
            run.finish("done", document | {"seconds": round(search.seconds, 3)})
        elif run.record.status == "diverged":
            raise Diverged(f"{run.path}: {run.record.result.get('error', 'diverged')}")
        return Tuned(run.path, run.record.result)


def _section(request: Request) -> TuneSection:
    section = request.experiment.tune
    if section is None:
        raise SpecError(f"{request.stem}: tune: missing; `modelscale init` shows an example")
    return section


def _check(assembly: Assembly, tell: Listener) -> None:
    assembly.replica(
        0, assembly.experiment.seed
    )  # what does not fit is told before a run is made
    if assembly.folds > 1:
        raise assembly.fault("data.split.kind", "a search needs one validation part, not folds")
    if len(assembly.loaded.folds[0].validation) == 0:
        raise assembly.fault("tune", "needs a validation part; give `data.split.validation`")
    if assembly.experiment.train.seeds > 1:
        tell.warn(
            "train.seeds: each trial is trained from one seed; `train best.yaml` uses all"
        )


@dataclass(frozen=True)
class Choice:
    """What the search came to.

    Attributes:
        trials: All of them, by number.
        best: The winner.
        front: Trials that no other one beats in every objective.
        variant: The experiment with the winner's values, without the search.
    """

    trials: list[TrialRecord]
    best: TrialRecord
    front: list[TrialRecord]
    variant: Experiment


def _choose(
    run: RunFolder, assembly: Assembly, section: TuneSection, trials: list[TrialRecord]
) -> Choice:
    """Return the winner by the first objective, and write `trials.csv` and `best.yaml`.

    Raises:
        Diverged: If no trial came to a feasible end with finite values.
    """
    aims = Aims.of(section, assembly.loaded.task)
    write_study(run, assembly.experiment, aims)
    complete = [t for t in trials if t.state == "complete" and None not in t.values]
    if not complete:
        raise Diverged("no trial came to a feasible end with finite values; see trials.csv")
    points = [tuple(v for v in t.values if v is not None) for t in complete]
    front = [complete[place] for place in pareto_front(points, aims.maximize)]
    sign = 1 if aims.maximize[0] else -1
    best = max(front, key=lambda t: (sign * (t.values[0] or 0.0), -t.number))
    variant = winners_spec(assembly.experiment, best.params, aims.label)
    run.write("best.yaml", dump(variant).encode())
    return Choice(trials, best, front, variant)


def _document(
    run: RunFolder,
    assembly: Assembly,
    section: TuneSection,
    found: Choice,
    again: list[Retrained],
) -> dict[str, Any]:
    from modelscale.commands.measuring import spread

    best, aims = found.best, Aims.of(section, assembly.loaded.task)
    replica = assembly.replica(0, assembly.experiment.seed, found.variant)
    if _has_model(run, best):
        parts = _measured(_copy_best(run, best), replica, assembly)
    elif again:
        first, *again = again
        _save_best(run, first.step, first.files)
        parts = first.parts
    else:
        raise Diverged("the winner diverged when it was trained again")
    counts = {state: sum(t.state == state for t in found.trials) for state in _STATES}
    document = {
        "trials": {"total": len(found.trials), **counts},
        "objective": aims.names[0],
        "objectives": list(aims.names),
        "best": {
            "trial": best.number,
            "value": best.values[0],
            "params": best.params,
            "spec": json.loads(found.variant.model_dump_json(serialize_as_any=True)),
        },
        "pareto": [
            {"trial": t.number, "values": t.values, "params": t.params} for t in found.front
        ],
        "metrics": {p: m.evaluation.to_json()["metrics"] for p, m in parts.items()},
        "confirmed": spread([each.parts for each in again]) if again else {},
        "baseline": {p: m.baseline for p, m in parts.items()},
        "model": model_facts(replica),
        "warnings": list(assembly.loaded.warnings),
    }
    return dict(clean(document))


def _measured(
    files: Mapping[str, bytes], replica: Replica, assembly: Assembly
) -> dict[Part, Measured]:
    from modelscale.commands.measuring import measure
    from modelscale.training.artifact import load_model

    model, section = load_model(files), assembly.experiment.evaluate
    names: tuple[Part, ...] = ("validation", "test")
    return {
        part: measure(model, replica.data, part, assembly.goal.metrics, section)
        for part in names
        if len(replica.data.rows[part])
    }


def _has_model(run: RunFolder, best: TrialRecord) -> bool:
    """Return whether the winner's model is here.

    It is not where trials are folds, none of which has seen all training rows, or where another
    machine has trained it.
    """
    return (trial_folder(run.path, best.number) / "checkpoints" / "best").exists()


def _copy_best(run: RunFolder, best: TrialRecord) -> Mapping[str, bytes]:
    """Make the best trial's model the run's own best checkpoint; return its files."""
    source = read_checkpoint(trial_folder(run.path, best.number) / "checkpoints" / "best")
    _save_best(run, source.step, source.files)
    return source.files


def _save_best(run: RunFolder, step: int, files: Mapping[str, bytes]) -> None:
    store = run.checkpoints()
    store.save(step, dict(files))
    store.point("best", step)
    store.prune(keep={step}, newest=1)
