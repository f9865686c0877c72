"""Search spaces: which values each key of a spec may take, and under which conditions.

A key may depend on another one: `model.dropout` on `model.kind`, or on which of several whole
`model` sections is taken. A condition names a path and the values at which it holds; it is
settled here, once, into the values of *one key of the space*, so that a search need not build
specs to know what belongs to a trial.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from modelscale.errors import did_you_mean
from modelscale.spec.base import Spec
from modelscale.spec.paths import apply, child, frozen, has_path, plain, unknown_path
from modelscale.spec.places import Place, Tree

# What concerns several fields may be right together with the other keys' values.
_OF_SEVERAL = {"clash", "misfit", "value_error"}
_MOST_VARIANTS = 64


@dataclass(frozen=True)
class Varied:
    """A key of a search space.

    Attributes:
        values: Its bounds, or all its choices, by where they are written below the key.
        when: Under which values of other paths it is searched at all.
    """

    values: Mapping[Place, Any]
    when: Mapping[str, Sequence[Any]] = field(default_factory=dict)

    @property
    def is_listed(self) -> bool:
        """Whether `values` are all there are."""
        return all(place[0] == "choices" for place in self.values)


@dataclass(frozen=True)
class Condition:
    """A condition on one key of the space.

    Attributes:
        key: The key that decides.
        values: Those of its values at which the condition holds.
    """

    key: str
    values: tuple[Any, ...]


def conditions(spec: Spec, space: Mapping[str, Varied]) -> dict[str, tuple[Condition, ...]]:
    """Return the conditions of each conditional key, settled; the space is free of faults.

    Keys come in an order in which a key follows those that it depends on, the space's own
    order as far as possible.
    """
    settled = {
        key: tuple(
            found
            for path, wanted in space[key].when.items()
            if isinstance(found := _settled(spec, space, key, path, wanted), Condition)
        )
        for key in space
    }
    return {key: settled[key] for key in _ordered(space, settled)}


def space_faults(spec: Spec, space: Mapping[str, Varied]) -> Iterator[tuple[Place, str]]:
    """Yield the place below the space, and the message, of each fault of a search space.

    Args:
        spec: What is varied, without the search itself.
        space: The keys that are varied.
    """
    bad = dict(_condition_faults(spec, space))
    yield from bad.items()
    if bad:  # without conditions it isn't known which specs there are to look at
        return
    settled = conditions(spec, space)
    for key, varied in space.items():
        variants = list(_variants(spec, space, settled, key))
        if not variants:
            yield (key,), "its conditions can never hold together"
        unknown = next(filter(None, (_absence(v, key, settled) for v in variants)), None)
        if unknown:
            yield (key,), unknown
            continue
        for place, value in varied.values.items():
            refusals = (_refusal(variant.spec, key, value) for variant in variants)
            message = next(filter(None, refusals), None)
            if message:
                yield (key, *place), message


@dataclass(frozen=True)
class _Variant:
    """A spec with a choice for the keys that decide about another one."""

    spec: Spec
    chosen: Mapping[str, Any]


def _condition_faults(spec: Spec, space: Mapping[str, Varied]) -> Iterator[tuple[Place, str]]:
    settled: dict[str, tuple[Condition, ...]] = {}
    for key, varied in space.items():
        found = []
        for path, wanted in varied.when.items():
            condition = _settled(spec, space, key, path, wanted)
            if isinstance(condition, str):
                yield (key, "when", path), condition
            else:
                found.append(condition)
        settled[key] = tuple(found)
    in_order = _ordered(space, settled)
    for key in settled:
        if key not in in_order:
            yield (key, "when"), "depends on itself by way of other conditions"


def _settled(
    spec: Spec, space: Mapping[str, Varied], key: str, path: str, wanted: Sequence[Any]
) -> Condition | str:
    """Return what a condition means for a key of the space, or what is wrong with it."""
    decider = _decider(path, space)
    if decider is None or decider == key:
        hint = did_you_mean(path, [other for other in space if other != key])
        return f"no key of this space decides it{hint.partition(' (one of')[0]}"
    varied = space[decider]
    if not varied.is_listed:
        if path != decider:
            return f"{decider!r} takes numbers, which have no parts"
        low, high = varied.values.values()
        outside = [v for v in wanted if not (_is_number(v) and low <= v <= high)]
        if outside:
            return f"{decider!r} never takes {outside[0]!r}"
        return Condition(decider, tuple(wanted))
    rest = path.removeprefix(decider).lstrip(".")
    by_choice = [(c, _part(spec, decider, c, rest)) for c in varied.values.values()]
    plain_wanted = [_plain(value) for value in wanted]
    for value in plain_wanted:
        if all(part != value for _, part in by_choice):
            return f"no choice of {decider!r} makes it {value!r}"
    return Condition(decider, tuple(c for c, part in by_choice if part in plain_wanted))


def _decider(path: str, space: Mapping[str, Varied]) -> str | None:
    """Return the key of the space that sets what is at a path."""
    parts = path.split(".")
    ways = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((way for way in ways if way in space), None)


def _part(spec: Spec, key: str, choice: Any, rest: str) -> Any:
    """Return what a choice of a section has at a path below it; None if it has nothing."""
    if not rest:
        return _plain(choice)
    try:
        data: Any = plain(apply(spec, {key: choice}))
    except (KeyError, ValidationError):
        return None
    for part in (*key.split("."), *rest.split(".")):
        data = child(data, part)
    return frozen(data)


def _ordered(
    space: Mapping[str, Varied], settled: Mapping[str, tuple[Condition, ...]]
) -> list[str]:
    """Return the keys, each after those that it depends on; none that depends on itself."""
    needs = {k: _above(k, space) | {c.key for c in settled[k]} for k in settled}
    order: list[str] = []
    while ready := [k for k in needs if k not in order and needs[k] <= set(order)]:
        order.append(ready[0])
    return order


def _above(key: str, space: Mapping[str, Varied]) -> set[str]:
    """Return the keys of the space that decide whether a key exists: sections and kinds."""
    parts = key.split(".")
    ways = {".".join(parts[:n]) for n in range(1, len(parts))}
    return {way for way in ways | {f"{w}.kind" for w in ways} if way in space and way != key}


def _variants(
    spec: Spec,
    space: Mapping[str, Varied],
    settled: Mapping[str, tuple[Condition, ...]],
    key: str,
) -> Iterator[_Variant]:
    """Yield the specs in which a key is searched, by the choices that decide about it."""
    deciders = _deciders(space, settled, key)
    in_order = [other for other in settled if other in deciders]
    values = {k: list(space[k].values.values()) for k in in_order}
    for other in (*in_order, key):
        for condition in settled[other]:
            numbers = [v for v in condition.values if not space[condition.key].is_listed]
            values[condition.key] += numbers
    combinations = itertools.product(*values.values())
    for combination in itertools.islice(combinations, _MOST_VARIANTS):
        given = dict(zip(in_order, combination, strict=True))
        chosen = {k: v for k, v in given.items() if _holds(settled[k], given)}
        if not _holds(settled[key], chosen):
            continue
        try:
            yield _Variant(apply(spec, chosen), chosen)
        except (KeyError, ValidationError):
            continue  # told where that key's own values are looked at


def _deciders(
    space: Mapping[str, Varied], settled: Mapping[str, tuple[Condition, ...]], key: str
) -> set[str]:
    """Return the keys that decide whether a key is there, and those that decide on them."""
    found = _above(key, space)
    found |= {condition.key for condition in settled[key]}
    for other in list(found):
        found |= _deciders(space, settled, other)
    return found


def _holds(needed: Sequence[Condition], chosen: Mapping[str, Any]) -> bool:
    return all(c.key in chosen and chosen[c.key] in c.values for c in needed)


def _absence(
    variant: _Variant, key: str, settled: Mapping[str, tuple[Condition, ...]]
) -> str | None:
    """Return what is wrong with a key that a variant of the spec doesn't have."""
    if has_path(variant.spec, key):
        return None
    unknown = unknown_path(variant.spec, key)
    if not variant.chosen:
        return unknown
    decider, value = list(variant.chosen.items())[-1]
    path = decider if decider.endswith(".kind") else f"{decider}.kind"
    remedy = "" if settled[key] else f"; say when: {{{path}: […]}}"
    return f"does not exist with {decider}: {_shown(value)}{remedy}"


def _shown(value: Any) -> str:
    return str(value.get("kind", value)) if isinstance(value, Mapping) else str(value)


def _plain(value: Any) -> Any:
    return frozen(plain(value) if isinstance(value, Spec) else value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _refusal(spec: Spec, key: str, value: Any) -> str | None:
    """Return why a spec does not take a value at a key by itself, None if it does."""
    try:
        apply(spec, {key: value})
    except KeyError as error:
        return f"{error.args[0]!r} leads nowhere"
    except ValidationError as error:
        from modelscale.spec.faults import faults_of

        if {complaint["type"] for complaint in error.errors()} & _OF_SEVERAL:
            return None
        tree = Tree({**frozen(plain(spec)), key.partition(".")[0]: {}})
        return faults_of(error, tree, type(spec))[0].message
    return None
