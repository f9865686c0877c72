"""`modelscale tune`: a search in which trials of one shape train together."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelscale.commands.aims import Aims
from modelscale.commands.documents import clean
from modelscale.commands.launching import Request, opened, prepare, run_digest
from modelscale.commands.searching import Search
from modelscale.commands.telling import Listener
from modelscale.commands.train import model_facts
from modelscale.errors import Diverged, SpecError
from modelscale.runs.checkpoints import read_checkpoint
from modelscale.runs.folder import RunFolder
from modelscale.runs.trials import TrialRecord, trial_folder
from modelscale.spec.loader import dump
from modelscale.spec.paths import apply
from modelscale.tuning.fronts import pareto_front
from modelscale.tuning.section import TuneSection

if TYPE_CHECKING:
    from modelscale.commands.assembly import Assembly

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
    with opened(request, assembly, digest, tell) as (run, stop):
        if not run.finished:
            search = Search(run, assembly, section, stop, tell)
            trials = search.run_all()
            run.finish("done", _document(run, assembly, section, trials, search.seconds))
        elif run.record.status == "diverged":
            raise Diverged(f"{run.path}: {run.record.result.get('error', 'diverged')}")
        return Tuned(run.path, run.record.result)


def _section(request: Request) -> TuneSection:
    section = request.experiment.tune
    if section is None:
        raise SpecError(f"{request.stem}: tune: missing; `modelscale init` shows an example")
    return section


def _check(assembly: Assembly, tell: Listener) -> None:
    if assembly.folds > 1:
        raise assembly.fault("data.split.kind", "a search needs one validation part, not folds")
    if len(assembly.loaded.folds[0].validation) == 0:
        raise assembly.fault("tune", "needs a validation part; give `data.split.validation`")
    if assembly.experiment.train.seeds > 1:
        tell.warn(
            "train.seeds: each trial is trained from one seed; `train best.yaml` uses all"
        )


def _document(
    run: RunFolder,
    assembly: Assembly,
    section: TuneSection,
    trials: list[TrialRecord],
    seconds: float,
) -> dict[str, Any]:
    from modelscale.commands.measuring import measure
    from modelscale.training.artifact import load_model

    aims = Aims.of(section, assembly.loaded.task)
    run.write("trials.csv", _table(trials, section, aims))
    complete = {t.number: t for t in trials if t.state == "complete" and None not in t.values}
    if not complete:
        raise Diverged("no trial came to a feasible end with finite values; see trials.csv")
    points = [tuple(v for v in t.values if v is not None) for t in complete.values()]
    front = [list(complete)[place] for place in pareto_front(points, aims.maximize)]
    sign = 1 if aims.maximize[0] else -1
    best = max(complete.values(), key=lambda t: (sign * (t.values[0] or 0.0), -t.number))
    variant = apply(assembly.experiment, best.params)
    winner = variant.model_copy(update={"tune": None})
    run.write("best.yaml", dump(winner).encode())
    step = _copy_best(run, best)
    model = load_model(dict(run.checkpoints().newest_valid(("model.json",)).files))  # type: ignore[union-attr]
    replica = assembly.replica(0, assembly.experiment.seed, variant)
    parts = {
        part: measure(model, replica.data, part, assembly.goal.metrics, winner.evaluate)
        for part in ("validation", "test")
        if len(replica.data.rows[part])
    }
    counts = {state: sum(t.state == state for t in trials) for state in _STATES}
    document = {
        "trials": {"total": len(trials), **counts},
        "objective": aims.names[0],
        "objectives": list(aims.names),
        "pareto": [
            {"trial": n, "values": complete[n].values, "params": complete[n].params}
            for n in front
        ],
        "best": {
            "trial": best.number,
            "value": best.values[0],
            "step": step,
            "params": best.params,
            "spec": json.loads(winner.model_dump_json(serialize_as_any=True)),
        },
        "metrics": {p: m.evaluation.to_json()["metrics"] for p, m in parts.items()},
        "baseline": {p: m.baseline for p, m in parts.items()},
        "model": model_facts(replica),
        "seconds": round(seconds, 3),
        "warnings": list(assembly.loaded.warnings),
    }
    return dict(clean(document))


def _copy_best(run: RunFolder, best: TrialRecord) -> int:
    """Make the best trial's model the run's own best checkpoint."""
    source = read_checkpoint(trial_folder(run.path, best.number) / "checkpoints" / "best")
    store = run.checkpoints()
    store.save(source.step, dict(source.files))
    store.point("best", source.step)
    store.prune(keep={source.step}, newest=1)
    return source.step


def _table(trials: list[TrialRecord], section: TuneSection, aims: Aims) -> bytes:
    """Return `trials.csv`: one row a trial."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["trial", "state", *aims.names, "steps", *section.space, "error"])
    for trial in trials:
        values = [_cell(value) for value in trial.values or [None] * len(aims.names)]
        params = [_cell(trial.params.get(key)) for key in section.space]
        table.writerow(
            [trial.number, trial.state, *values, _cell(trial.steps), *params, trial.error]
        )
    return text.getvalue().encode()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)
