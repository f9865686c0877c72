"""`modelscale scale`: a ladder of sizes and data, its law, and what to train next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from modelscale.commands.documents import clean
from modelscale.commands.fit_documents import analysis_json
from modelscale.commands.launching import Request, opened, prepare, run_digest
from modelscale.commands.scale_advice import Advice, advice_of
from modelscale.commands.scale_ladder import RATE, Ladder, ladder_of
from modelscale.commands.scale_law import Law, law_of, units_word
from modelscale.commands.scale_lines import lines_of
from modelscale.commands.scale_rates import FOLDER, RateRule, rate_rungs, rule_of
from modelscale.commands.scale_results import (
    RUNGS,
    Outcome,
    loss_of,
    outcome_json,
    usable,
    write_points,
)
from modelscale.commands.scale_training import RungTrainer
from modelscale.commands.scale_widths import CHECK, Check, check_of
from modelscale.commands.telling import Listener
from modelscale.errors import Diverged, SpecError
from modelscale.runs.atomic import json_bytes
from modelscale.spec.loader import dump
from modelscale.spec.paths import has_path
from modelscale.tensors import Part

if TYPE_CHECKING:
    from modelscale.commands.assembly import Assembly
    from modelscale.commands.measuring import Measured
    from modelscale.runs.folder import RunFolder
    from modelscale.scaling.section import ScaleSection
    from modelscale.training.session import Goal
    from modelscale.training.stopping import StopRequest

LAW = "law.json"
RECOMMENDED = "recommended.yaml"
_SOME_FAILED = 4


@dataclass(frozen=True)
class Scaled:
    """A finished ladder.

    Attributes:
        run: Its folder.
        document: The command's keys of the JSON document, as `run.json` keeps them.
    """

    run: Path
    document: dict[str, Any]

    @property
    def exit_code(self) -> int:
        """4 where some rungs diverged and others did not."""
        return _SOME_FAILED if self.document["rungs"]["diverged"] else 0

    def to_json(self) -> dict[str, Any]:
        """Return the document."""
        return {"run": str(self.run), "status": "done", **self.document}


def scale(request: Request, tell: Listener) -> Scaled:
    """Train what the spec's `scale` section says, or go on, or report what it came to.

    Raises:
        SpecError: If there is no `scale` section, or it does not fit model and data.
        Diverged: If no rung came to its end.
        TryAgain: If the run was interrupted; its state is saved.
    """
    section = section_of(request)
    assembly = prepare(request, tell)
    goal = checked_goal(assembly, section)
    ladder = ladder_of(assembly, section)
    digest = run_digest(request, assembly.loaded.raw.fingerprint)
    with opened(request, assembly, digest, tell) as (run, stop):
        if run.finished:
            return _reported(run)
        document = _climbed(run, assembly, ladder, goal, stop, tell)
        run.finish("done", document)
        return Scaled(run.path, document)


def section_of(request: Request) -> ScaleSection:
    """Return the `scale` section of a request.

    Raises:
        SpecError: If there is none.
    """
    section = request.experiment.scale
    if section is None:
        raise SpecError(
            f"{request.stem}: scale: missing; add for example "
            "`scale: {family: {steps: 5}, data: {fractions: [0.1, 0.3, 1.0]}, seeds: 3}`"
        )
    return section


def checked_goal(assembly: Assembly, section: ScaleSection) -> Goal:
    """Return what is measured of each rung.

    Raises:
        SpecError: If the metric, the split or the training plan does not suit a ladder.
    """
    from modelscale.evaluation.metric_names import metric_for
    from modelscale.training.session import Goal

    experiment, goal = assembly.experiment, assembly.goal
    if assembly.folds > 1:
        raise assembly.fault("data.split.kind", "a ladder needs one validation part, not folds")
    part, _, name = section.metric.partition("/")
    if len(getattr(assembly.loaded.folds[0], part)) == 0:
        raise assembly.fault("scale.metric", f"there is no {part} part; give `data.split`")
    if experiment.train.early_stopping is not None:
        raise assembly.fault(
            "train.early_stopping",
            "each rung has to see as many examples as it is counted with; leave it out",
        )
    if section.lr.sweep and not has_path(experiment, RATE):
        raise assembly.fault("scale.lr", f"the optimizer has no {RATE}")
    metrics = list(goal.metrics)
    if name != "loss" and name not in [metric.label() for metric in metrics]:
        try:
            metrics.append(metric_for(name, assembly.loaded.task))
        except ValueError as error:
            raise assembly.fault("scale.metric", str(error)) from None
    return Goal(tuple(metrics), goal.monitor)


def _reported(run: RunFolder) -> Scaled:
    if run.record.status == "diverged":
        raise Diverged(f"{run.path}: {run.record.result.get('error', 'diverged')}")
    return Scaled(run.path, run.record.result)


def _climbed(
    run: RunFolder,
    assembly: Assembly,
    ladder: Ladder,
    goal: Goal,
    stop: StopRequest,
    tell: Listener,
) -> dict[str, Any]:
    """Train the ladder, fit its law, write what follows; return the document."""
    section, task = ladder.section, assembly.loaded.task
    metric = section.metric
    trainer = RungTrainer(run, assembly, goal, stop, tell)
    rates = _rated(trainer, ladder)
    ladder, warnings = rates.ladder, [*assembly.loaded.warnings, *rates.warnings]

    def each(outcomes: list[Outcome]) -> None:
        write_points(run, outcomes, metric, task)

    outcomes = trainer.train_all(RUNGS, ladder.rungs, each)
    good = usable(outcomes, metric, task)
    if not good:
        message = trainer.divergences[0] if trainer.divergences else "no rung has a loss"
        raise Diverged(message)
    if trainer.out_of_time:
        warnings.append("budget.time_s is spent: larger rungs were not trained")
    spent = [o for o in outcomes if o.ending == "complete" and o not in good]
    if spent:
        warnings.append(
            f"{len(spent)} rungs are left out: a law can be fitted to {metric} only where the "
            "loss is above 0"
        )
    law = law_of(good, section, task, assembly.experiment.seed)
    advice = advice_of(ladder, law, rates.rule)
    warnings += [*law.warnings, *(advice.warnings if advice else ())]
    for warning in warnings[len(assembly.loaded.warnings) :]:
        tell.warn(warning)
    found = law_document(law, rates, advice, section)
    run.write(LAW, json_bytes(clean(found)))
    if advice is not None:
        run.write(RECOMMENDED, dump(advice.spec).encode())
    best = min(good, key=lambda outcome: loss_of(outcome, metric, task))
    document = {
        **found,
        "units": units_word(task),
        **_best(run, assembly, best, goal),
        "rungs": {
            "total": len(ladder.rungs),
            "complete": sum(outcome.ending == "complete" for outcome in outcomes),
            "diverged": [o.rung.label for o in outcomes if o.ending == "diverged"],
        },
        "points": [outcome_json(outcome, metric, task) for outcome in outcomes],
        "lines": lines_of(law),
        "best_member": best.rung.label,
        "seconds": round(trainer.seconds, 3),
        "warnings": list(dict.fromkeys(warnings)),
    }
    return dict(clean(document))


class Rates(NamedTuple):
    """How the learning rates of a ladder were found.

    Attributes:
        ladder: With them.
        rule: What was tried, and what follows; None where nothing was.
        check: Whether all widths can have the base's; None where they need not.
        warnings: Reasons for doubt.
    """

    ladder: Ladder
    rule: RateRule | None
    check: Check | None
    warnings: tuple[str, ...]


def _rated(trainer: RungTrainer, ladder: Ladder) -> Rates:
    """Find the learning rates that a ladder's section leaves open."""
    section, assembly = ladder.section, trainer.assembly
    rule, check, warnings = None, None, []
    if section.lr.sweep:
        tried = trainer.train_all(FOLDER, rate_rungs(ladder))
        rule = rule_of(tried, section.metric, assembly.loaded.task)
        if rule is None:
            raise Diverged("a size has no finite loss at any learning rate of scale.lr.sweep")
        ladder = ladder.with_rates({s.index: rule.at(s.parameters) for s in ladder.sizes})
        warnings = [
            f"{count:,} parameters: the best learning rate is at the edge of scale.lr.sweep"
            for count in rule.edges
        ]
    if section.lr.rule == "mup":
        check = _checked(trainer.run, assembly, ladder)
        warnings += check.warnings()
    return Rates(ladder, rule, check, tuple(warnings))


def _checked(run: RunFolder, assembly: Assembly, ladder: Ladder) -> Check:
    """Return the coordinate check of a ladder; made once, then read."""
    path = run.path / CHECK
    if path.is_file():
        return Check.read(path.read_bytes())
    base = ladder.sizes[ladder.section.lr.base]
    lr = next(rung.lr for rung in ladder.rungs if rung.size.index == base.index)
    check = check_of(assembly, ladder.sizes, base, lr)
    run.write(CHECK, check.table())
    return check


def law_document(
    law: Law, rates: Rates, advice: Advice | None, section: ScaleSection
) -> dict[str, Any]:
    """Return the content of `law.json`: the law, its test, the refit, what follows."""
    shown, rule, check = law.shown, rates.rule, rates.check
    document: dict[str, Any] = {
        "metric": section.metric,
        "along": law.along,
        "law": None,
        "forms": [],
        "held_out": None,
        "refit": None,
        "learning_rate": None if rule is None else rule.to_json(),
        "coordinate_check": None if check is None else check.to_json(),
        "recommendation": None if advice is None else advice.document,
    }
    if shown is not None:
        facts = analysis_json(shown)
        document |= {"law": facts["law"], "forms": facts["forms"]}
    if law.top is not None:
        inside = sum(tested.inside for tested in law.tested)
        document["held_out"] = {
            **law.top.to_json(),
            "level": section.level,
            "rungs": [tested.to_json() for tested in law.tested],
            "rungs_inside": inside,
        }
    if law.checked is not None and law.whole is not None:
        document["refit"] = analysis_json(law.whole)["law"]
    return document


def _best(run: RunFolder, assembly: Assembly, best: Outcome, goal: Goal) -> dict[str, Any]:
    """Make the best rung's model the run's own best checkpoint; return what it is worth."""
    from modelscale.commands.measuring import measure
    from modelscale.runs.checkpoints import read_checkpoint
    from modelscale.training.artifact import load_model

    source = run.sub(f"{RUNGS}/{best.rung.label}").checkpoints()
    step = source.pointed("best")
    assert step is not None
    files = dict(read_checkpoint(source.path(step)).files)
    store = run.checkpoints()
    store.save(step, files)
    store.point("best", step)
    store.prune(keep={step}, newest=1)
    model, variant = load_model(files), best.rung.size.variant
    data = assembly.data(0, variant.model.encoding, variant.model.quantile_bins())
    names: Sequence[Part] = ("validation", "test")
    parts: dict[Part, Measured] = {
        name: measure(model, data, name, goal.metrics, variant.evaluate)
        for name in names
        if len(data.rows[name])
    }
    from modelscale.commands.scale_ladder import replica_of
    from modelscale.commands.train import model_facts

    return {
        "metrics": {p: m.evaluation.to_json()["metrics"] for p, m in parts.items()},
        "baseline": {p: m.baseline for p, m in parts.items()},
        "model": model_facts(replica_of(assembly, best.rung)),
    }
