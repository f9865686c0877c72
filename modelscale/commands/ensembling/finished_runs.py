"""Members that exist already: finished runs, their seeds, and the trials of a search."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelscale.commands.ensembling import soups
from modelscale.commands.ensembling.candidates import Candidate
from modelscale.commands.ensembling.judging import Built, judged, network_of
from modelscale.commands.experiment import Experiment
from modelscale.ensembling.folds import check_unseen
from modelscale.ensembling.methods.soup import Soup
from modelscale.errors import DataError, InputMissing, UsageError
from modelscale.runs.checkpoints import Checkpoint, read_checkpoint
from modelscale.runs.find import find_checkpoint, find_run
from modelscale.runs.folder import RESOLVED_FILE
from modelscale.runs.record import FINISHED, read_record
from modelscale.runs.trials import TRIALS, read_trials, trial_folder
from modelscale.spec.loader import load
from modelscale.spec.paths import apply

if TYPE_CHECKING:
    from torch import Tensor

    from modelscale.commands.assembly import Assembly
    from modelscale.data.preprocessing import Preprocessing

_FILES = ("model.json", "model.safetensors")


@dataclass(frozen=True)
class Source:
    """A finished model.

    Attributes:
        label: Its name: the run, and which of its models.
        run: The run that it stands in.
        checkpoint: Its files.
        experiment: What it was trained for.
        params: In what it differs from its run's spec.
    """

    label: str
    run: Path
    checkpoint: Checkpoint
    experiment: Experiment
    params: dict[str, Any]


def sources_of(paths: Sequence[str], root: Path) -> list[Source]:
    """Return the models of runs: a run's only one, its seeds, or a search's complete trials.

    Raises:
        InputMissing: If there is no such run, or it has no finished model.
        UsageError: If a run is an ensemble already, or there are fewer than two models.
    """
    found: list[Source] = []
    for path in paths:
        run = find_run(Path(path), root)
        record = read_record(run)
        if record.status not in FINISHED:
            raise InputMissing(f"{path}: is not finished (status {record.status})")
        found += _models_of(path, run)
    unique = {source.checkpoint.path: source for source in found}
    if len(unique) < 2:
        raise UsageError(
            f"{', '.join(paths)}: {len(unique)} finished models; an ensemble needs two or more"
        )
    return list(unique.values())


def _models_of(path: str, run: Path) -> list[Source]:
    experiment = load(run / RESOLVED_FILE, Experiment).spec
    base = experiment.model_copy(update={"tune": None, "ensemble": None})
    name = run.parent.name
    if (run / TRIALS).is_dir():
        trials = [t for t in read_trials(run) if t.state == "complete"]
        folders = {t.number: trial_folder(run, t.number) for t in trials}
        kept = [t for t in trials if (folders[t.number] / "checkpoints").is_dir()]
        if not kept:
            raise InputMissing(
                f"{path}: its trials have no models; a search with tune.folds keeps none: "
                "name it alone, and its best settings are trained"
            )
        return [
            Source(
                f"{name}-trial-{t.number:04d}",
                run,
                read_checkpoint(find_checkpoint(folders[t.number])),
                apply(base, t.params),
                t.params,
            )
            for t in kept
        ]
    members = run / "members"
    if members.is_dir():
        return [
            Source(f"{name}-{own.name}", run, read_checkpoint(find_checkpoint(own)), base, {})
            for own in sorted(members.iterdir())
            if (own / "checkpoints").is_dir()
        ]
    checkpoint = read_checkpoint(find_checkpoint(run))
    label = name if run.name in path else f"{name}-{run.name.rpartition('-')[2]}"
    return [Source(label, run, checkpoint, base, {})]


def digest_of(own: str, sources: Sequence[Source]) -> str:
    """Return what makes an ensemble of finished models the run that it is."""
    text = "\n".join([own, *(source.checkpoint.sha256 for source in sources)])
    return hashlib.sha256(text.encode()).hexdigest()


def check_sources(sources: Sequence[Source], assembly: Assembly) -> None:
    """Raise where models cannot answer together, or have seen the rows that are to judge.

    Raises:
        DataError: If a model learnt from the validation or test part, was trained on other
            data, or takes its inputs in another form.
        UsageError: If one is an ensemble, or of a round of cross-validation.
    """
    from modelscale.training.artifact import load_model
    from modelscale.training.ensemble_artifact import is_ensemble

    data = assembly.data(0, assembly.experiment.model.encoding)
    fold = assembly.loaded.folds[0]
    for source in sources:
        place = source.label
        if is_ensemble(source.checkpoint.files):
            raise UsageError(f"{place}: is an ensemble already; name its members' runs")
        model = load_model(source.checkpoint.files)
        if model.task != data.task or model.fingerprint != data.fingerprint:
            raise DataError(f"{place}: was trained on other data than {sources[0].label}")
        folds = source.experiment.data.split.divide(assembly.loaded.raw, data.task)
        if len(folds) > 1:
            raise UsageError(
                f"{place}: is of a cross-validation, whose rounds share no test part"
            )
        check_unseen(f"{place}, for the test part", fold.test, [folds[0].train])
        check_unseen(f"{place}, for the test part", fold.test, [folds[0].validation])
        check_unseen(f"{place}, for the validation part", fold.validation, [folds[0].train])
        if _form(model.preprocessing) != _form(data.preprocessing):
            raise DataError(
                f"{place}: takes its inputs in another form than {sources[0].label} (other "
                "training rows, columns or encoding of categories)"
            )


def build(sources: Sequence[Source], assembly: Assembly) -> Built:
    """Combine finished models; nothing is trained."""
    from modelscale.training.ensemble_artifact import MemberFiles

    section = assembly.experiment.ensemble
    assert section is not None
    data = assembly.data(0, assembly.experiment.model.encoding)
    members = tuple(
        MemberFiles(source.label, {name: source.checkpoint.files[name] for name in _FILES})
        for source in sources
    )
    # That no model has seen the rows that decide was checked by each one's own split.
    none: list[Tensor] = []
    step = max(source.checkpoint.step for source in sources)
    candidates = {
        source.label: Candidate(
            source.label, source.experiment.seed, source.params, source.experiment
        )
        for source in sources
    }
    if isinstance(section, Soup):
        built = soups.cook(members, data, none, assembly)
        return replace(built, candidates=candidates, step=step)
    choice = judged(network_of(members, data.task), data, data.rows["validation"], assembly)
    return Built(
        members=members,
        labels=tuple(source.label for source in sources),
        candidates=candidates,
        group=1,
        combined=section.combine(choice.answers),
        origin=choice.origin,
        rows=choice.rows,
        scores=choice.scores(),
        step=step,
    )


def _form(preprocessing: Preprocessing) -> str:
    """Return what decides how inputs look; without categories their encoding does not.

    Edges of bins never do: they are in the networks that asked for them.
    """
    bare = [column.model_copy(update={"quantiles": ()}) for column in preprocessing.numeric]
    document = preprocessing.model_copy(update={"numeric": tuple(bare)}).to_json()
    if not preprocessing.categories:
        document.pop("encoding")
    return json.dumps(document, sort_keys=True)
