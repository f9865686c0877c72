"""Overrides: `--set optimizer.lr=1e-3`, checked like the file itself."""

from __future__ import annotations

from typing import Any, cast

from modelscale.errors import SpecError
from modelscale.spec.base import Spec
from modelscale.spec.paths import annotation_at, inner, put, spec_class, split_key
from modelscale.spec.places import Fault, Origin, Place, Tree
from modelscale.spec.yaml_events import parse

_SHOWN = 60


def override(tree: Tree, text: str, model: type[Spec]) -> None:
    """Change a tree by one `KEY.PATH=VALUE`; what is wrong with it is added to its faults."""
    shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
    origin = Origin(f"--set {shown}")
    key, equals, value = text.partition("=")
    keys = key.strip().split(".")
    if not equals or not all(keys):
        message = "expected KEY.PATH=VALUE, such as optimizer.lr=0.01"
        tree.faults.append(Fault(origin, (), message))
        return
    try:
        given = parse(value or "null", "set")
    except SpecError as error:
        for line in str(error).splitlines():
            tree.faults.append(Fault(origin, (), line.partition(": ")[2]))
        return
    place = _place(tree, keys, model)
    tree.faults += [Fault(origin, place, fault.message) for fault in given.faults]
    try:
        tree.data = put(tree.data, keys, given.data, model)
    except KeyError as error:
        message = f"{error.args[0]!r} leads nowhere; there is no section or item to set it in"
        tree.faults.append(Fault(origin, (), message))
        return
    tree.forget(place)
    for length in range(1, len(place)):  # sections that this override began
        tree.keys.setdefault(place[:length], origin)
    tree.keys[place] = tree.values[place] = origin
    for below, written in given.texts.items():
        tree.texts[(*place, *below)] = written


def _place(tree: Tree, keys: list[str], model: type[Spec]) -> Place:
    """Return the place that a path names in a tree."""
    place: Place = ()
    data, annotation = tree.data, cast(Any, model)
    while keys:
        owner = spec_class(annotation)
        data = owner.expand(data) if owner else data
        if isinstance(data, tuple):
            index = int(keys[0]) if keys[0].isdigit() else -1
            data = data[index] if 0 <= index < len(data) else None
            place, keys, annotation = (*place, index), keys[1:], inner(annotation)
            continue
        section = data if isinstance(data, dict) else {}
        name, keys = split_key(section, keys, annotation)
        annotation = annotation_at(annotation, section, (name,))
        place, data = (*place, name), section.get(name)
    return place
