"""From the words of `modelscale prune` to what is asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from modelscale.errors import UsageError

if TYPE_CHECKING:
    from modelscale.commands.experiment import Experiment
    from modelscale.commands.launching import Request
    from modelscale.commands.trained_model import TrainedModel
    from modelscale.pruning.kinds.base import PruneSpec

_FIXED = ("model", "task", "loss")
_MEASURES = ("macs", "parameters", "bytes", "latency")
_OWN_KEYS = ("sparsity", "threshold", "pattern", "energy")
_LONGEST = 64


@dataclass(frozen=True)
class Words:
    """Options that are short for keys of the `prune` section, as they were typed."""

    kind: str | None = None
    target: str | None = None
    max_drop: float | None = None
    criterion: str | None = None
    runtime: str | None = None
    sweep: str | None = None
    criteria: str | None = None
    methods: str | None = None


def prune_request(
    source: TrainedModel,
    config: Path | None,
    words: Words,
    overrides: tuple[str, ...],
    rest: Callable[..., Request],
) -> Request:
    """Return the request to prune a model, by the spec of its run unless there is another.

    Args:
        source: The model.
        config: A spec in place of its run's.
        words: Options of the command.
        overrides: Of `--set` and its short forms.
        rest: Makes the request of a spec and the name of a run.

    Raises:
        SpecError: If the spec has faults.
        UsageError: If something cannot be changed, or there is no spec.
    """
    from modelscale.commands.experiment import Experiment
    from modelscale.spec.loader import load_text

    for word in overrides:
        key = word.partition("=")[0].partition(".")[0].strip()
        if key in _FIXED:
            raise UsageError(f"--set {word}: the model is trained; {key} cannot be another one")
    text, name = _spec_of(source, config)
    present = load_text(text, name, Experiment).spec
    changes = (*_section(words, present), *overrides)
    loaded = load_text(text, name, Experiment, changes)
    spec = loaded.spec.model_copy(
        update={"model": source.model.spec, "tune": None, "ensemble": None, "name": None}
    )
    named = [word for word in overrides if word.partition("=")[0].strip() == "name"]
    if named or config is not None:
        spec = spec.model_copy(update={"name": loaded.spec.name})
    return rest(loaded=replace(loaded, spec=spec), stem=_stem(source))


def _spec_of(source: TrainedModel, config: Path | None) -> tuple[bytes, str]:
    from modelscale.spec.loader import dump
    from modelscale.spec.source import name_of, read

    if config is not None:
        return read(config), name_of(config)
    if source.experiment is None or source.run is None:
        raise UsageError(
            f"{source.checkpoint.path}: stands in no run, so its data is not known; "
            "give --config SPEC"
        )
    plain = source.experiment.model_copy(update={"tune": None, "ensemble": None})
    return dump(plain).encode(), f"{source.run.name}/spec.resolved.yaml"


def _section(words: Words, present: Experiment) -> list[str]:
    """Return the overrides that make the `prune` section what the options say."""
    held = present.prune
    begin: list[str] = []
    kinds = [k.strip() for k in (words.kind or "").split(",") if k.strip()]
    if held is None:
        kinds = kinds or ["structured"]
    if kinds and (held is None or [part.own_kind() for part in held.parts()] != kinds):
        begin = [f"prune=[{', '.join(kinds)}]" if len(kinds) > 1 else f"prune={kinds[0]}"]
        held = None
    several = len(kinds) > 1 or (held is not None and held.own_kind() == "sequence")
    first = None if held is None else held.parts()[0]
    return begin + _aims(words, "prune.steps.0" if several else "prune", first)


def _aims(words: Words, prefix: str, held: PruneSpec | None) -> list[str]:
    """Return the overrides for the options that say how much, by what and where."""
    changes: list[str] = []
    if words.target is not None:
        changes += _target(words.target, prefix)
        if getattr(held, "max_drop", None) is not None:
            changes.append(f"{prefix}.max_drop=null")
    if words.max_drop is not None:
        aims = [key for key in ("target", *_OWN_KEYS) if getattr(held, key, None) is not None]
        changes += [
            f"{prefix}.max_drop={words.max_drop}",
            *(f"{prefix}.{k}=null" for k in aims),
        ]
    changes += _sweep(words, prefix)
    given = {"criterion": words.criterion, "runtime": words.runtime}
    changes += [f"{prefix}.{key}={value}" for key, value in given.items() if value is not None]
    return changes


def _sweep(words: Words, prefix: str) -> list[str]:
    """Return the overrides for several sizes, criteria and methods."""
    if words.sweep is None and words.criteria is None and words.methods is None:
        return []
    if words.target is not None or words.max_drop is not None:
        raise UsageError("--sweep goes without --target and --max-drop")
    changes = [f"{prefix}.sweep={{}}", f"{prefix}.target=null"]
    if words.sweep is not None:
        changes.append(f"{prefix}.sweep.macs=[{words.sweep.removeprefix('macs=')}]")
    if words.criteria is not None:
        changes.append(f"{prefix}.sweep.criteria=[{words.criteria}]")
    if words.methods is not None:
        changes.append(f"{prefix}.sweep.methods=[{words.methods}]")
    return changes


def _target(text: str, prefix: str) -> list[str]:
    what, equals, amount = (part.strip() for part in text.partition("="))
    if not equals or not amount or what not in {*_MEASURES, *_OWN_KEYS}:
        options = ", ".join(f"{name}=…" for name in (*_MEASURES, *_OWN_KEYS))
        raise UsageError(f"--target {text}: expected one of: {options}, such as macs=0.25")
    if what in _MEASURES:
        return [f"{prefix}.target={{{what}: {amount}}}"]
    return [f"{prefix}.{what}={amount}"]


def _stem(source: TrainedModel) -> str:
    folder = source.run.parent if source.run is not None else source.checkpoint.path
    word = "".join(
        c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in folder.name
    )
    return f"{word.strip('._-')[: _LONGEST - len('-pruned')] or 'model'}-pruned"
