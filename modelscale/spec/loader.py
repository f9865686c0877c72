"""Loading specs: from a YAML file, overrides included, to a validated frozen object.

What a good spec does not need is imported where it is needed: `validate` is timed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from modelscale.errors import SpecError
from modelscale.spec.base import Spec
from modelscale.spec.paths import frozen, plain
from modelscale.spec.places import Fault, Origin, Place, Tree, dotted
from modelscale.spec.source import name_of, read, text_of
from modelscale.spec.yaml_events import DROPPED, parse

S = TypeVar("S", bound=Spec)
_MOST = 200
_SHOWN = 60


@dataclass(frozen=True)
class Loaded(Generic[S]):
    """A spec with where it came from.

    Attributes:
        spec: The validated spec.
        text: The file's bytes as they were read, without overrides.
        provenance: For each value of the spec by its path: `file:line`, `--set …` or `default`.
    """

    spec: S
    text: bytes
    provenance: dict[str, str]


def load(path: Path, model: type[S], overrides: tuple[str, ...] = ()) -> Loaded[S]:
    """Return the spec of a YAML file; `-` reads the standard input.

    Args:
        path: The file.
        model: What it is to become.
        overrides: `KEY.PATH=VALUE`, in order; checked like the file itself.

    Raises:
        InputMissing: If the file is not there or cannot be read.
        SpecError: With one line for each fault, all at once.
    """
    return load_text(read(path), name_of(path), model, overrides)


def load_text(
    text: str | bytes, name: str, model: type[S], overrides: tuple[str, ...] = ()
) -> Loaded[S]:
    """Return the spec of a YAML text that messages call `name`.

    Raises:
        SpecError: With one line for each fault, all at once.
    """
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    tree = parse(text_of(data, name), name)
    _check_top(tree, name)
    if overrides:
        from modelscale.spec.overrides import override

        for change in overrides:
            override(tree, change, model)
    spec = _validated(tree, model)
    return Loaded(spec, data, provenance_of(spec, tree))


def validate(data: Mapping[str, Any], model: type[S], name: str = "spec") -> S:
    """Return the spec of plain data, such as a checkpoint's JSON.

    Raises:
        SpecError: With one line `name: where: what` for each fault.
    """
    return _validated(Tree(frozen(data), values={(): Origin(name)}), model)


def dump(spec: Spec, provenance: Mapping[str, str] | None = None) -> str:
    """Return a spec as YAML with every default written out; `load` reads it back.

    Args:
        spec: What to write.
        provenance: Where each value came from, as `load` found it; written as comments.
    """
    from modelscale.spec.emit import emit

    return emit(plain(spec), provenance or {})


def canonical(spec: Spec) -> str:
    """Return a spec as JSON in a form that is equal for equal specs."""
    import json

    return json.dumps(plain(spec), sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(spec: Spec) -> str:
    """Return the sha256 of a spec with all its defaults, in hexadecimal."""
    import hashlib

    return hashlib.sha256(canonical(spec).encode()).hexdigest()


def provenance_of(spec: Spec, tree: Tree) -> dict[str, str]:
    """Return where each value of a spec came from, by its path."""
    return {dotted(place): origin for place, origin in _origins(spec, tree)}


def _check_top(tree: Tree, name: str) -> None:
    """Raise SpecError for a text that is no section, unless a fault explains it already."""
    if isinstance(tree.data, dict) or tree.faults:
        return
    if tree.data is DROPPED or tree.data is None:
        message = "the spec is empty; 'modelscale init' writes one to start from"
        raise SpecError(str(Fault(Origin(name, 1, 1), (), message)))
    kind = "a list" if isinstance(tree.data, tuple) else _shortened(repr(tree.data))
    hint = ""
    if isinstance(tree.data, str) and ":" in tree.data:
        hint = "; missing space after ':'"
    message = f"expected a section of 'key: value' lines, got {kind}{hint}"
    raise SpecError(str(Fault(tree.origin(()), (), message)))


def _validated(tree: Tree, model: type[S]) -> S:
    faults = list(tree.faults)
    if tree.data is DROPPED:
        raise SpecError("\n".join(map(str, faults)))
    data, holes = _without_holes(tree.data, ())
    holes |= {fault.place for fault in faults}
    try:
        spec = model.model_validate(data)
    except ValidationError as error:
        from modelscale.spec.faults import faults_of

        told = faults_of(error, tree, model)
        faults += [fault for fault in told if not _within(fault.place, holes)]
    except RecursionError:
        faults.append(Fault(tree.origin(()), (), "nested too deeply"))
    if faults:
        lines = list(dict.fromkeys(map(str, sorted(faults, key=Fault.order))))
        more = [f"… and {len(lines) - _MOST} more faults"] if len(lines) > _MOST else []
        raise SpecError("\n".join(lines[:_MOST] + more))
    return spec


def _shortened(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _within(place: Place, holes: set[Place]) -> bool:
    """Return whether a fault only follows from another one that is already told."""
    return any(
        place == hole[: len(place)] or place[: len(hole)] == hole for hole in holes if hole
    )


def _without_holes(data: Any, place: Place) -> tuple[Any, set[Place]]:
    """Return data without what could not be read, and the places of that."""
    if data is DROPPED:
        return None, {place}
    holes: set[Place] = set()
    if isinstance(data, dict):
        kept = {}
        for key, value in data.items():
            below, found = _without_holes(value, (*place, key))
            holes |= found
            if value is not DROPPED:
                kept[key] = below
        return kept, holes
    if isinstance(data, tuple):
        pairs = [_without_holes(item, (*place, i)) for i, item in enumerate(data)]
        return tuple(p for p, _ in pairs), holes.union(*(found for _, found in pairs))
    return data, holes


def _origins(spec: Spec, tree: Tree) -> Iterator[tuple[Place, str]]:
    """Yield the place and the origin of each value of a spec."""
    sections = {place[:n] for place in tree.values for n in range(len(place))}

    def walk(value: Any, place: Place, given: bool) -> Iterator[tuple[Place, str]]:
        if place in tree.values:
            given = True
        elif place[:-1] in sections:  # its neighbours have origins, so it is not written
            given = False
        parts = _parts(value)
        for part, item, written in parts:
            yield from walk(item, (*place, part), given and written)
        if not parts:
            origin = tree.origin(place)
            source = f"{origin.source}:{origin.line}" if origin.line else origin.source
            yield place, source if given else "default"

    return walk(spec, (), given=True)


def _parts(value: Any) -> list[tuple[str | int, Any, bool]]:
    """Return the name, the value and "was it given" of each part; none for a value itself."""
    if isinstance(value, Spec):
        given = {"kind", *value.model_fields_set}
        return [(name, getattr(value, name, None), name in given) for name in plain(value)]
    if isinstance(value, dict):
        return [(key, item, True) for key, item in value.items()]
    if isinstance(value, tuple) and any(isinstance(item, Spec) for item in value):
        return [(index, item, True) for index, item in enumerate(value)]
    return []
