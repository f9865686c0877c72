"""Where a search starts: points that the user names, and what the spec itself says."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from modelscale.spec.base import Spec
from modelscale.spec.paths import apply, child, frozen, plain
from modelscale.spec.places import Place
from modelscale.spec.spaces import Condition, conditions, space_faults
from modelscale.tuning.section import SearchRange, TuneSection
from modelscale.tuning.space import Params, endless, is_among, same_point, varied, word

_ROUNDING = 1e-9  # steps, by which a value may miss a step


def tune_faults(section: TuneSection, spec: Spec) -> Iterator[tuple[Place, str]]:
    """Yield the place within the `tune` section, and the message, of each fault of a search.

    Args:
        section: The search.
        spec: What is varied, without the search itself.
    """
    faults = list(space_faults(spec, varied(section.space)))
    yield from ((("space", *place), message) for place, message in faults)
    if faults:
        return
    if section.sampler.finite_only:
        for key in endless(section.space, spec):
            yield ("space", key), f"{section.sampler.own_kind()} needs 'step' or 'choices' here"
    yield from _prior_faults(section)
    settled = conditions(spec, varied(section.space))
    for index, point in enumerate(section.enqueue):
        yield from (
            (("enqueue", index, *place), message)
            for place, message in _point_faults(point, section.space, settled)
        )
        earlier = same_point(point, section.enqueue[:index])
        if earlier is not None and point:
            yield ("enqueue", index), f"is the same as number {earlier + 1} of the list"


def starting_points(section: TuneSection, spec: Spec) -> list[Params]:
    """Return the first trials' values, as far as they are given.

    Args:
        section: The search; free of faults.
        spec: What is varied.
    """
    points = [dict(point) for point in section.enqueue]
    if section.start_with_defaults:
        points.insert(0, _defaults(section, spec))
    return [json.loads(word(point)) for point in points]


def takes(found: SearchRange, value: Any) -> bool:
    """Return whether a range has a value."""
    if found.choices is not None:
        return is_among(value, found.choices)
    assert found.low is not None
    assert found.high is not None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    if not found.low <= value <= found.high:
        return False
    if found.step is None:
        return True
    steps = (value - found.low) / found.step
    return math.isclose(steps, round(steps), abs_tol=_ROUNDING)


def _defaults(section: TuneSection, spec: Spec) -> Params:
    """Return the spec's own values of the keys of the space, where the space has them."""
    settled = conditions(spec, varied(section.space))
    chosen: Params = {}
    for key, needed in settled.items():
        if not all(c.key in chosen and is_among(chosen[c.key], c.values) for c in needed):
            continue
        found, own = section.space[key], _at(spec, key)
        if found.choices is not None:
            alike = [c for c in found.choices if _at(apply(spec, {key: c}), key) == own]
            chosen |= {key: alike[0]} if alike else {}
        elif takes(found, own):
            chosen[key] = own
    return chosen


def _prior_faults(section: TuneSection) -> Iterator[tuple[Place, str]]:
    kind = section.sampler.own_kind()
    for key, found in section.space.items():
        if found.prior is None:
            continue
        if not section.sampler.takes_priors:
            yield ("space", key, "prior"), f"{kind} chooses all values itself; leave it out"
        elif not takes(found, found.prior.center):
            told = f"{found.prior.center!r} is not in the range"
            yield ("space", key, "prior", "center"), told


def _at(spec: Spec, key: str) -> Any:
    data: Any = plain(spec)
    for part in key.split("."):
        data = child(data, part)
    return frozen(data)


def _point_faults(
    point: Params,
    space: Mapping[str, SearchRange],
    settled: Mapping[str, tuple[Condition, ...]],
) -> Iterator[tuple[Place, str]]:
    for key, value in point.items():
        if key not in space:
            yield (key,), "is no key of the search space"
        elif not takes(space[key], value):
            yield (key,), f"{value!r} is not in the search space"
        else:
            for needed in settled[key]:
                if needed.key not in point:
                    yield (key,), f"needs a value of {needed.key!r} beside it"
                elif not is_among(point[needed.key], needed.values):
                    yield (key,), f"is not searched with this {needed.key!r}"
