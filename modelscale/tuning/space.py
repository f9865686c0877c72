"""The search space: from the keys of a spec to Optuna's distributions and back."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, get_args

from modelscale.spec.base import Spec
from modelscale.spec.paths import annotation_at, apply, plain
from modelscale.spec.spaces import Condition, Varied, conditions
from modelscale.tuning.section import SearchRange, TunedRange

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Params = dict[str, Any]  # values by spec key, as a spec holds them


@dataclass(frozen=True)
class Space:
    """What is searched.

    Attributes:
        ranges: As the spec gives them, by key.
        distributions: As Optuna takes them; a key comes after those that decide about it.
        conditions: Of the conditional keys.
    """

    ranges: dict[str, TunedRange]
    distributions: dict[str, BaseDistribution]
    conditions: dict[str, tuple[Condition, ...]] = field(default_factory=dict)

    def is_active(self, key: str, params: Params) -> bool:
        """Return whether a key belongs to a trial, given the keys that decide about it."""
        return all(
            needed.key in params and is_among(params[needed.key], needed.values)
            for needed in self.conditions.get(key, ())
        )

    def is_conditional(self) -> bool:
        """Return whether some keys belong to some trials only."""
        return any(self.conditions.values())


def varied(space: Mapping[str, SearchRange]) -> dict[str, Varied]:
    """Return a space in the form that its checks take."""
    return {key: Varied(found.values(), found.when) for key, found in space.items()}


def space_of(space: Mapping[str, TunedRange], spec: Spec) -> Space:
    """Return the search space of a spec's ranges.

    Args:
        space: By key; free of faults.
        spec: What is varied.
    """
    settled = conditions(spec, varied(space))
    return Space(dict(space), distributions(space, spec), settled)


def distributions(space: Mapping[str, SearchRange], spec: Spec) -> dict[str, BaseDistribution]:
    """Return Optuna's form of a space, by spec key; deciding keys first.

    Bounds of a key that holds whole numbers make whole numbers. Choices are told apart by
    their JSON, since Optuna compares only scalars.
    """
    annotations = _annotations(space, spec)
    return {key: _distribution(space[key], annotations[key]) for key in annotations}


def endless(space: Mapping[str, SearchRange], spec: Spec) -> list[str]:
    """Return the keys that may take any value between two bounds."""
    annotations = _annotations(space, spec)
    return [
        key
        for key, found in space.items()
        if found.choices is None
        and found.step is None
        and found.low != found.high
        and not _is_whole(found, annotations[key])
    ]


def decoded(params: Mapping[str, Any], space: Mapping[str, SearchRange]) -> Params:
    """Return Optuna's parameters as the values that the spec takes."""
    return {key: _decoded(value, space[key]) for key, value in params.items()}


def encoded(params: Params, space: Mapping[str, SearchRange]) -> dict[str, Any]:
    """Return the spec's values as Optuna's parameters; the inverse of `decoded`."""
    return {
        key: word(value) if space[key].choices is not None else value
        for key, value in params.items()
    }


def word(value: Any) -> str:
    """Return a value as JSON that is equal for equal values."""
    plain_value = value.model_dump(mode="json") if isinstance(value, Spec) else value
    return json.dumps(plain_value, sort_keys=True)


def same_point(params: Params, earlier: Sequence[Params]) -> int | None:
    """Return the number of the first of the earlier points that is this very one."""
    wanted = point_word(params)
    return next((n for n, other in enumerate(earlier) if point_word(other) == wanted), None)


def point_word(params: Params) -> str:
    """Return a text that is equal for equal points; 1 and 1.0 are one value."""
    return word(_as_fractions(params))


def values_of(space: Space, key: str) -> list[Any] | None:
    """Return all values of a key in their order, None if they cannot be counted."""
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    found = space.distributions[key]
    if isinstance(found, CategoricalDistribution):
        return [json.loads(str(choice)) for choice in found.choices]
    if isinstance(found, IntDistribution):
        return list(range(found.low, found.high + 1, found.step))
    assert isinstance(found, FloatDistribution)
    if found.single():
        return [found.low]
    if found.step is None:
        return None
    count = round((found.high - found.low) / found.step) + 1
    return [_snapped(found.low + k * found.step, space.ranges[key]) for k in range(count)]


def size(space: Space) -> int | None:
    """Return the number of points of a space, None for infinitely many."""
    counts = {key: values_of(space, key) for key in space.distributions}
    if any(values is None for values in counts.values()):
        return None
    deciding = {c.key for needed in space.conditions.values() for c in needed}
    total = 0
    for chosen in _points(space, [key for key in space.distributions if key in deciding]):
        active = (
            key
            for key in space.distributions
            if key not in deciding and space.is_active(key, chosen)
        )
        total += math.prod(len(counts[key] or ()) for key in active)
    return total


def points(space: Space) -> Iterator[Params]:
    """Yield all points of a finite space; the last key varies fastest."""
    return _points(space, list(space.distributions))


def _points(space: Space, keys: list[str]) -> Iterator[Params]:
    values = {key: values_of(space, key) or [] for key in keys}

    def below(depth: int, chosen: Params) -> Iterator[Params]:
        if depth == len(keys):
            yield chosen
        elif not space.is_active(keys[depth], chosen):
            yield from below(depth + 1, chosen)
        else:
            for value in values[keys[depth]]:
                yield from below(depth + 1, {**chosen, keys[depth]: value})

    if not space.is_conditional():  # the same, without a generator for each key
        return (
            dict(zip(keys, row, strict=True)) for row in itertools.product(*values.values())
        )
    return below(0, {})


def _annotations(space: Mapping[str, SearchRange], spec: Spec) -> dict[str, Any]:
    """Return the type that each key wants, where it is searched; deciding keys first."""
    settled = conditions(spec, varied(space))
    found = {}
    for key in settled:
        chosen: Params = {}
        _choose(key, settled, chosen)
        data = plain(apply(spec, chosen))
        found[key] = annotation_at(type(spec), data, tuple(key.split(".")))
    return found


def _choose(key: str, settled: Mapping[str, tuple[Condition, ...]], chosen: Params) -> None:
    """Add values under which a key is searched."""
    for needed in settled[key]:
        _choose(needed.key, settled, chosen)
        chosen.setdefault(needed.key, needed.values[0])


def _distribution(found: SearchRange, annotation: Any) -> BaseDistribution:
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    if found.choices is not None:
        return CategoricalDistribution([word(choice) for choice in found.choices])
    assert found.low is not None
    assert found.high is not None
    high = _last(found)
    if _is_whole(found, annotation):
        step = 1 if found.step is None else int(found.step)
        return IntDistribution(int(found.low), int(high), log=found.log, step=step)
    return FloatDistribution(found.low, high, log=found.log, step=found.step)


def _is_whole(found: SearchRange, annotation: Any) -> bool:
    """Return whether a range is of whole numbers only."""
    numbers = [n for n in (found.low, found.high, found.step) if n is not None]
    known = annotation is not None and annotation is not Any
    whole = all(float(n).is_integer() if known else isinstance(n, int) for n in numbers)
    return whole and not _takes_fractions(annotation)


def _last(found: SearchRange) -> int | float:
    """Return the largest value of a range, which its steps may not reach."""
    assert found.low is not None
    assert found.high is not None
    if found.step is None:
        return found.high
    low, high, step = (Decimal(str(n)) for n in (found.low, found.high, found.step))
    return _like(found.high, low + (high - low) // step * step)


def _like(number: int | float, exact: Decimal) -> int | float:
    whole = isinstance(number, int) and exact == int(exact)
    return int(exact) if whole else float(exact)


def _decoded(value: Any, found: SearchRange) -> Any:
    if found.choices is not None:
        return json.loads(value)
    return _snapped(value, found) if isinstance(value, float) else value


def _snapped(value: float, found: SearchRange) -> float:
    """Return a value of a range with steps as one would write it: 0.3, not 0.1 + 0.2."""
    if found.step is None or found.low is None:
        return value
    low, step = Decimal(str(found.low)), Decimal(str(found.step))
    return float(low + round((Decimal(value) - low) / step) * step)


def is_among(value: Any, wanted: tuple[Any, ...]) -> bool:
    """Return whether a value is one of some others; 1 and 1.0 are one value."""
    return word(_as_fractions(value)) in (word(_as_fractions(other)) for other in wanted)


def _as_fractions(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _as_fractions(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_as_fractions(item) for item in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _takes_fractions(annotation: Any) -> bool:
    if annotation is float:
        return True
    return any(_takes_fractions(argument) for argument in get_args(annotation))
