"""What a run left on disk, as far as it can be read: reports are for broken runs too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from modelscale.commands.runs import settings_of
from modelscale.errors import DataError, ModelscaleError
from modelscale.report.content import Estimate
from modelscale.runs.find import summary_of
from modelscale.runs.folder import RESOLVED_FILE
from modelscale.runs.metric_log import read
from modelscale.runs.part import METRICS
from modelscale.runs.record import RunRecord
from modelscale.runs.trials import TRIALS, TrialRecord, read_trials

T = TypeVar("T")
DEFAULT = "default"


@dataclass(frozen=True)
class Setting:
    """A value of the spec that somebody gave.

    Attributes:
        key: Path, such as `optimizer.lr`.
        value: As YAML.
        origin: `file:line` or the `--set` that gave it.
    """

    key: str
    value: str
    origin: str


@dataclass(frozen=True)
class RunView:
    """A run as a report sees it.

    Attributes:
        path: Its folder.
        status: As it is now: `interrupted` for one that was killed.
        record: The content of `run.json`.
        verb: The command that made it, such as `train`; empty if it is not known.
        settings: The resolved spec by key path.
        given: Values that are not defaults, with their origin.
        spec_text: The resolved spec; empty if there is none.
        lines: Of `metrics.jsonl`.
        trials: Of a search.
        faults: What could not be read.
    """

    path: Path
    status: str
    record: RunRecord
    verb: str
    settings: dict[str, Any]
    given: tuple[Setting, ...]
    spec_text: str
    lines: tuple[dict[str, Any], ...]
    trials: tuple[TrialRecord, ...]
    faults: tuple[str, ...]

    @property
    def name(self) -> str:
        """The run's name."""
        return self.record.name

    @property
    def result(self) -> dict[str, Any]:
        """What came out, as the command's JSON document has it; empty if nothing has yet."""
        return self.record.result

    @property
    def members(self) -> tuple[dict[str, Any], ...]:
        """Entries of the members; one for a plain training, none before its end."""
        found = self.result.get("members") or ()
        return tuple(m for m in found if isinstance(m, dict) and {"label", "fold"} <= m.keys())

    @property
    def finished(self) -> bool:
        """Whether there is a whole result."""
        return self.status == "done"


def read_run(path: Path) -> RunView:
    """Return a run with all that can be read of it.

    Raises:
        DataError: If not even its `run.json` can be read.
    """
    summary = summary_of(path)
    if summary.record is None:
        raise DataError(str(summary.fault))
    faults: list[str] = []

    def readable(get: Callable[[], T], otherwise: T) -> T:
        try:
            return get()
        except ModelscaleError as error:
            faults.append(str(error))
            return otherwise

    return RunView(
        path=path,
        status=summary.status,
        record=summary.record,
        verb=_verb(summary.record, path),
        settings=readable(lambda: settings_of(path), {}),
        given=readable(lambda: given_settings(_spec_text(path)), ()),
        spec_text=_spec_text(path),
        lines=readable(lambda: tuple(read(path / METRICS)), ()),
        trials=readable(lambda: read_trials(path), ()),
        faults=tuple(dict.fromkeys(faults)),
    )


def given_settings(text: str) -> tuple[Setting, ...]:
    """Return the values of a resolved spec whose comment names an origin other than default."""
    from modelscale.spec.places import dotted
    from modelscale.spec.yaml_events import parse

    tree, lines = parse(text, RESOLVED_FILE), text.splitlines()
    found: list[Setting] = []
    for place, origin in sorted(tree.values.items(), key=lambda item: len(item[0])):
        if not place or not 0 < origin.line <= len(lines):
            continue
        head, marked, comment = lines[origin.line - 1].rpartition("  # ")
        key = dotted(place)
        covered = any(key.startswith(f"{setting.key}.") for setting in found)
        if not marked or comment == DEFAULT or covered or _is_section(tree.data, place):
            continue
        found.append(Setting(key, head.partition(": ")[2].strip(), comment))
    order = {dotted(place): origin.line for place, origin in tree.values.items()}
    return tuple(sorted(found, key=lambda setting: order[setting.key]))


def estimates(result: Mapping[str, Any]) -> dict[str, dict[str, Estimate]]:
    """Return a result's `metrics.<part>.<metric>` with their intervals."""
    found: dict[str, dict[str, Estimate]] = {}
    for part, metrics in _mapping(result.get("metrics")).items():
        for label, entry in _mapping(metrics).items():
            known = _mapping(entry)
            ends = (known.get("value"), known.get("low"), known.get("high"))
            found.setdefault(part, {})[label] = Estimate(*ends)
    return found


def baselines(result: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Return what the constant answer gets, by part and metric."""
    return {
        part: {label: value for label, value in _mapping(values).items() if value is not None}
        for part, values in _mapping(result.get("baseline")).items()
    }


def reported_part(found: Mapping[str, Any]) -> str | None:
    """Return the part that a result is judged on: the test part, else the validation part."""
    return next((part for part in ("test", "validation") if found.get(part)), None)


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _is_section(data: Any, place: tuple[str | int, ...]) -> bool:
    """Return whether a place holds further keys, which are settings of their own."""
    for part in place:
        data = data[part]
    items = data if isinstance(data, (tuple, list)) else ()
    return (isinstance(data, dict) and bool(data)) or any(isinstance(i, dict) for i in items)


def _spec_text(path: Path) -> str:
    try:
        return (path / RESOLVED_FILE).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def _verb(record: RunRecord, path: Path) -> str:
    if (path / TRIALS).is_dir():
        return "tune"
    words = [word for word in record.command[1:] if not word.startswith("-")]
    return words[0] if words else ""
