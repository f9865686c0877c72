"""What pydantic's complaints mean to the person who wrote the spec: one line each.

A complaint carries a location; parts of it that name members of a union are dropped, and
complaints about the same place become one: "expected 'auto' or a whole number, got 'fast'".
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from modelscale.errors import did_you_mean
from modelscale.spec.base import Spec
from modelscale.spec.paths import annotation_at, child, fixed_items, spec_class
from modelscale.spec.places import Fault, Place, Tree

Complaint = dict[str, Any]

_TYPES = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "a text",
    "path_type": "a path",
    "is_instance_of": "a path",  # the only class that a field holds as it is
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a section of 'key: value' lines",
    "model_type": "a section of 'key: value' lines",
    "model_attributes_type": "a section of 'key: value' lines",
    "none_required": "nothing",
    "finite_number": "a finite number",
}
_BOUNDS = {
    "greater_than": ("above", "gt", ""),
    "greater_than_equal": ("at least", "ge", ""),
    "less_than": ("below", "lt", ""),
    "less_than_equal": ("at most", "le", ""),
    "multiple_of": ("a multiple of", "multiple_of", ""),
}
_LIMITS = _BOUNDS | {
    "too_short": ("a list of at least", "min_length", " item"),
    "too_long": ("a list of at most", "max_length", " item"),
    "string_too_short": ("a text of at least", "min_length", " character"),
    "string_too_long": ("a text of at most", "max_length", " character"),
}
_TOLD = {"misfit", "clash", "unknown_field", "unknown_kind", "needs_kind"}
_SHOWN = 60


def faults_of(error: ValidationError, tree: Tree, model: type[Spec]) -> list[Fault]:
    """Return a fault for each place that a validation complains about."""
    by_place: dict[Place, list[Complaint]] = {}
    for complaint in error.errors(include_url=False):
        place = _settled(complaint["loc"], complaint["type"], tree.data)
        by_place.setdefault(place, []).append(dict(complaint))
    return [_fault(place, told, tree, model) for place, told in by_place.items()]


def _settled(location: Place, kind: str, data: Any) -> Place:
    """Return the place that a location of pydantic means."""
    place: Place = ()
    for number, part in enumerate(location):
        is_there = isinstance(data, dict) and part in data
        if isinstance(data, (tuple, list)) and isinstance(part, int):
            is_there = part < len(data)
        if is_there or (kind == "missing" and number == len(location) - 1):
            data = child(data, part)
            place = (*place, part)
    return place


def _fault(place: Place, told: list[Complaint], tree: Tree, model: type[Spec]) -> Fault:
    first = told[0]
    kind = first["type"]
    if kind == "missing":
        owner = tree.origin(place[:-1])
        return Fault(owner, place, f"is required{_example(place, tree, model)}")
    if kind in {"unknown_field", "extra_forbidden"}:
        return Fault(tree.origin(place, of_key=True), place, _text(first))
    if kind == "unknown_kind":
        return Fault(tree.origin((*place, "kind")), place, _text(first))
    if kind == "clash":
        return Fault(tree.origin(place, of_key=True), place, _clash(place, first, tree))
    return Fault(tree.origin(place), place, _message(place, told, tree, model))


def _clash(place: Place, complaint: Complaint, tree: Tree) -> str:
    seen = []
    for name in complaint["ctx"].get("others", ()):
        other = (*place[:-1], *str(name).split("."))
        if other in tree.keys:
            seen.append(f"{name!r} is at {tree.keys[other]}")
    return _text(complaint) + (f" ({', '.join(seen)})" if seen else "")


def _message(place: Place, told: list[Complaint], tree: Tree, model: type[Spec]) -> str:
    spoken = [c for c in told if c["type"] in _TOLD or not _expected(c)]
    if spoken:
        return "; ".join(dict.fromkeys(_text(c) for c in spoken))
    value = told[0]["input"]
    if value is None:
        return f"is empty; expected {_either(told)}"
    if len(told) == 1 and told[0]["type"] == "literal_error" and isinstance(value, str):
        return f"unknown value {value!r}{did_you_mean(value, _choices(told[0]))}"
    verb = "must be" if all(c["type"] in _BOUNDS for c in told) else "expected"
    got = _shown(place, value, tree)
    return f"{verb} {_either(told)}, got {got}{_remedy(told, value, place, tree, model)}"


def _either(told: list[Complaint]) -> str:
    phrases = list(dict.fromkeys(_expected(complaint) or "" for complaint in told))
    if "a number" in phrases and "a whole number" in phrases:
        phrases.remove("a whole number")
    return " or ".join(phrases)


def _expected(complaint: Complaint) -> str | None:
    """Return what would have been right, None where pydantic's own words must do."""
    kind, context = complaint["type"], complaint.get("ctx", {})
    expected = _TYPES.get(kind)
    if kind in _LIMITS:
        before, name, after = _LIMITS[kind]
        number = context[name]
        plural = "s" if after and number != 1 else ""
        expected = f"{before} {number:g}{after}{plural}"
    elif kind == "literal_error":
        expected = _joined(_choices(complaint))
    elif kind == "string_pattern_mismatch":
        expected = f"a text of the form {context['pattern']}"
    return expected


def _choices(complaint: Complaint) -> list[str]:
    expected = complaint["ctx"]["expected"]
    return re.findall(r"'([^']*)'", expected) or re.split(r", | or ", expected)


def _joined(names: list[str]) -> str:
    shown = [name if re.fullmatch(r"-?\d+|True|False", name) else repr(name) for name in names]
    return ", ".join(shown[:-1]) + " or " + shown[-1] if len(shown) > 1 else shown[0]


def _text(complaint: Complaint) -> str:
    return (
        str(complaint["msg"]).removeprefix("Value error, ").removeprefix("Assertion failed, ")
    )


def _shown(place: Place, value: Any, tree: Tree) -> str:
    if isinstance(value, (dict, tuple, list)):
        nothing = "" if value else "n empty"
        return f"a{nothing} {'section' if isinstance(value, dict) else 'list'}"
    written = tree.texts.get(place)
    if isinstance(value, str):
        text = f"the text {str(value)!r}"
    else:
        text = written if written is not None else repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _remedy(
    told: list[Complaint], value: Any, place: Place, tree: Tree, model: type[Spec]
) -> str:
    """Return "; do this" where the likely mistake is known."""
    kinds = {complaint["type"] for complaint in told}
    remedies: list[tuple[bool, Callable[[], str]]] = [
        (
            isinstance(value, str) and bool(re.match(r"[A-Za-z_]\w*:\S", value)),
            lambda: "missing space after ':'",
        ),
        (
            isinstance(value, str)
            and bool(kinds & {"int_type", "float_type"})
            and bool(re.fullmatch(r"[-+\d.eE]*\d[-+\d.eE]*", value)),
            lambda: "remove the quotes",
        ),
        (
            "bool_type" in kinds and str(value).lower() in _WORDS,
            lambda: f"write {_WORDS[str(value).lower()]}",
        ),
        (
            "string_type" in kinds and isinstance(value, (int, float)),
            lambda: f"quote it: '{tree.texts.get(place, value)}'",
        ),
        (
            bool(kinds & {"tuple_type", "list_type"}) and isinstance(value, (str, int, float)),
            lambda: f"write [{_repeated(place, value, tree, model)}]",
        ),
    ]
    return next((f"; {words()}" for applies, words in remedies if applies), "")


def _repeated(place: Place, value: Any, tree: Tree, model: type[Spec]) -> str:
    """Return a value as often as the list at its place has items; once where that is open."""
    items = fixed_items(annotation_at(model, tree.data, place))
    return ", ".join([str(tree.texts.get(place, value))] * items)


_WORDS = {"yes": "true", "on": "true", "1": "true", "no": "false", "off": "false", "0": "false"}


def _example(place: Place, tree: Tree, model: type[Spec]) -> str:
    """Return "; for example `key: value`" for a field that must be given."""
    wanted = annotation_at(model, tree.data, place)
    section = spec_class(wanted)
    examples = ((int, "1"), (float, "0.1"), (str, "text"), (bool, "true"), (Path, "file"))
    shown = section.example() if section else dict(examples).get(wanted or object)
    return f"; for example '{place[-1]}: {shown}'" if shown else ""
