"""`modelscale ensemble`: several models that answer together, and what that is worth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelscale.commands.ensembling import (
    finished_runs,
    rounds,
    soups,
    study_members,
    together,
    trajectory,
)
from modelscale.commands.ensembling.distilling import distill, told
from modelscale.commands.ensembling.finishing import Finished, cleaned
from modelscale.commands.ensembling.judging import Built, judging_metric
from modelscale.commands.ensembling.workshop import Workshop
from modelscale.commands.launching import Request, opened, prepare, run_digest
from modelscale.commands.telling import Listener
from modelscale.ensembling.methods.base import EnsembleSpec, Flow
from modelscale.ensembling.methods.stacking import Stacking
from modelscale.errors import Diverged, SpecError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from modelscale.commands.assembly import Assembly
    from modelscale.commands.ensembling.finished_runs import Source
    from modelscale.commands.ensembling.study_members import Study
    from modelscale.runs.folder import RunFolder

_SOME_FAILED = 4


@dataclass(frozen=True)
class Ensembled:
    """A finished ensemble.

    Attributes:
        run: Its folder.
        document: The command's keys of the JSON document, as `run.json` keeps them.
    """

    run: Path
    document: dict[str, Any]

    @property
    def exit_code(self) -> int:
        """4 where some members diverged and others did not."""
        return _SOME_FAILED if self.document["diverged"] else 0

    def to_json(self) -> dict[str, Any]:
        """Return the document."""
        return {"run": str(self.run), "status": "done", **self.document}


def ensemble(request: Request, tell: Listener) -> Ensembled:
    """Train what the spec's `ensemble` section says, or go on, or report what it came to.

    Raises:
        SpecError: If there is no `ensemble` section, or it does not fit the data.
        Diverged: If no member came to its end.
        TryAgain: If the run was interrupted; its state is saved.
    """
    section = section_of(request)
    assembly = prepare(request, tell)
    check(assembly, section)
    digest = run_digest(request, assembly.loaded.raw.fingerprint)
    build: dict[Flow, Callable[[Workshop], Built]] = {
        "together": together.build,
        "rounds": rounds.build,
        "trajectory": trajectory.build,
        "soup": soups.build,
    }
    with opened(request, assembly, digest, tell, wants_distilling(section)) as (run, stop):
        if run.finished:
            return reported(run)
        return _made(Workshop(run, assembly, stop, tell), build[section.flow], trains=True)


def ensemble_of(request: Request, sources: Sequence[Source], tell: Listener) -> Ensembled:
    """Combine finished models; nothing is trained, unless one model is to be distilled.

    Args:
        request: With the spec of the first model, and an `ensemble` section.
        sources: The models.
        tell: Hears what happens.

    Raises:
        DataError: If a model has seen the rows that are to judge it.
        UsageError: If the method needs training, or models do not fit together.
    """
    section = section_of(request)
    if not section.from_runs:
        others = [k for k in EnsembleSpec.kinds() if EnsembleSpec.of_kind(k).from_runs]
        raise UsageError(
            f"{section.own_kind()} trains its members; finished ones can be combined by: "
            f"{', '.join(others)}"
        )
    assembly = prepare(request, tell)
    check(assembly, section)
    finished_runs.check_sources(sources, assembly)
    own = run_digest(request, assembly.loaded.raw.fingerprint)
    digest = finished_runs.digest_of(own, sources)

    def build(_: Workshop) -> Built:
        return finished_runs.build(sources, assembly)

    with opened(request, assembly, digest, tell, wants_distilling(section)) as (run, stop):
        if run.finished:
            return reported(run)
        return _made(Workshop(run, assembly, stop, tell), build, trains=False)


def ensemble_of_study(request: Request, study: Study, tell: Listener) -> Ensembled:
    """Train the best settings of a cross-validated search, and combine them.

    Args:
        request: With the spec of the search, and an `ensemble` section.
        study: The search.
        tell: Hears what happens.

    Raises:
        SpecError: If the section draws settings of its own.
        UsageError: If the method cannot have members of several settings.
        Diverged: If no member came to its end.
        TryAgain: If the run was interrupted; its state is saved.
    """
    section = section_of(request)
    if section.flow != "together":
        kinds = {kind: EnsembleSpec.of_kind(kind) for kind in EnsembleSpec.kinds()}
        others = [kind for kind, spec in kinds.items() if spec.flow == "together"]
        raise UsageError(
            f"{section.own_kind()} trains one setting; those of a search can be combined by: "
            f"{', '.join(others)}"
        )
    assembly = prepare(request, tell)
    if section.vary:
        raise assembly.fault("ensemble.vary", "members are the search's trials; leave it out")
    check(assembly, section)
    members = study_members.members_of(study, assembly)
    own = run_digest(request, assembly.loaded.raw.fingerprint)
    digest = study_members.digest_of(own, members)

    def build(shop: Workshop) -> Built:
        return together.build(shop, members)

    with opened(request, assembly, digest, tell, wants_distilling(section)) as (run, stop):
        if run.finished:
            return reported(run)
        return _made(Workshop(run, assembly, stop, tell), build, trains=True)


def section_of(request: Request) -> EnsembleSpec:
    """Return the `ensemble` section of a request.

    Raises:
        SpecError: If there is none.
    """
    section = request.experiment.ensemble
    if section is None:
        raise SpecError(
            f"{request.stem}: ensemble: missing; add for example "
            "`ensemble: {kind: average, members: 8}`"
        )
    return section


def check(assembly: Assembly, section: EnsembleSpec) -> None:
    """Raise SpecError for what does not fit together, before there is a run."""
    assembly.replica(0, assembly.experiment.seed)
    if assembly.loaded.task in {"transcription", "translation"}:
        raise assembly.fault("task", "what is written by several networks cannot be averaged")
    if assembly.folds > 1:
        raise assembly.fault(
            "data.split.kind", "an ensemble needs one test part, not folds; see ensemble.folds"
        )
    if section.vary and section.flow in {"rounds", "trajectory"}:
        raise assembly.fault(
            "ensemble.vary", f"{section.own_kind()} trains one setting; leave it out"
        )
    if isinstance(section, Stacking):
        wrong = {"classification": "ridge", "regression": "logistic"}[assembly.loaded.task]
        if section.meta == wrong:
            raise assembly.fault("ensemble.meta", f"{wrong} is for the other task")
    together.check_rows(assembly)
    together.folds_of(assembly)
    trajectory.check(assembly)
    rounds.check(assembly)
    judging_metric(assembly)


def wants_distilling(section: EnsembleSpec) -> Callable[[RunFolder], bool]:
    """Return what says of a finished run whether a distilled model is still to be made."""

    def wants(run: RunFolder) -> bool:
        done = run.record.status == "done"
        return done and section.distill is not None and not run.record.result.get("distilled")

    return wants


def reported(run: RunFolder) -> Ensembled:
    """Return what a finished run came to.

    Raises:
        Diverged: If it diverged.
    """
    if run.record.status == "diverged":
        raise Diverged(f"{run.path}: {run.record.result.get('error', 'diverged')}")
    return Ensembled(run.path, run.record.result)


def _made(shop: Workshop, build: Callable[[Workshop], Built], *, trains: bool) -> Ensembled:
    run, assembly = shop.run, shop.assembly
    section = assembly.experiment.ensemble
    assert section is not None
    try:
        built = build(shop)
        finished = Finished(run, assembly, built, shop.seconds, trains=trains)
        document = completed(finished, shop, section)
    finally:
        shop.close()
    run.finish("done", document)
    return Ensembled(run.path, document)


def completed(finished: Finished, shop: Workshop, section: EnsembleSpec) -> dict[str, Any]:
    """Return the document, with what the distilled model is worth where one is wanted."""
    document = dict(finished.document)
    if section.distill is not None:
        before = shop.seconds
        found = distill(shop, finished.model, finished.built, section.distill, finished.metrics)
        document["distilled"] = {
            "seconds": round(shop.seconds - before, 3),
            "ending": "complete" if found else "diverged",
        }
        if found is not None:
            document["distilled"]["metrics"] = {
                p: m.evaluation.to_json()["metrics"] for p, m in found.items()
            }
            if finished.part is not None:
                own = finished.measured[finished.part]
                document["distilled"]["keeps"] = told(
                    found,
                    finished.comparison,
                    own,
                    finished.part,
                    shop.assembly.loaded.task,
                )
    document["diverged"] = list(shop.divergences)
    document["warnings"] = [*shop.assembly.loaded.warnings, *_warnings(finished)]
    for warning in _warnings(finished):
        shop.tell.warn(warning)
    return cleaned(document)


def _warnings(finished: Finished) -> list[str]:
    built, found = finished.built, []
    if built.origin == "none":
        found.append(
            "no validation part and no folds: the first member stands for the best, and "
            "nothing is calibrated"
        )
    if built.single is not None and built.notes.get("refused"):
        found.append(f"no soup: {built.notes['refused']}; the answer is that member")
    if finished.part == "validation":
        found.append("no test part: what is compared was measured on rows that decided")
    return found
