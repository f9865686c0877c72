"""Models that grow by rule: which fields of a model make it wide and which make it deep.

Width is the number of units of its layers, depth the number of layers or blocks. Kaplan et al.
(arXiv:2001.08361) find that performance hardly depends on how the two share the parameters,
so that one rule for all kinds will do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_LISTS = ("hidden", "channels")
_WIDTH, _DEPTH, _HEADS = "width", "blocks", "heads"


def can_grow(model: Mapping[str, Any]) -> bool:
    """Return whether a model has a width: a list of layers, or a field `width`."""
    return _WIDTH in model or bool(_list_of(model))


def grown(model: Mapping[str, Any], width: float, depth: float) -> dict[str, Any]:
    """Return the fields of a model that change when it grows.

    Args:
        model: Its fields by name.
        width: Multiple of its width.
        depth: Multiple of its depth.
    """
    name = _list_of(model)
    if name is not None:
        layers = list(model[name])
        count = max(1, round(len(layers) * depth))
        # New layers repeat the last one: the shape of the front stays what it was.
        layers = layers[:count] + [layers[-1]] * (count - len(layers))
        return {name: tuple(max(1, round(units * width)) for units in layers)}
    changes: dict[str, Any] = {}
    own = model[_WIDTH]
    if isinstance(own, int):
        step = model.get(_HEADS, 1)
        changes[_WIDTH] = max(1, round(own * width / step)) * step
    else:
        changes[_WIDTH] = own * width
    if _DEPTH in model and depth != 1:
        changes[_DEPTH] = max(1, round(model[_DEPTH] * depth))
    return changes


def extrapolated(values: tuple[Any, ...]) -> Any | None:
    """Return the value that follows in a row of sizes, None where none is foreseen.

    Whole numbers, and lists of them of one length, grow as they did from the last value but
    one to the last.
    """
    if len(values) < 2:
        return None
    before, last = values[-2:]
    if _is_whole(before) and _is_whole(last) and before > 0:
        return max(last, round(last * last / before))
    lists = isinstance(before, (tuple, list)) and isinstance(last, (tuple, list))
    if lists and len(before) == len(last):
        items = [extrapolated(pair) for pair in zip(before, last, strict=True)]
        return None if None in items or not items else tuple(items)
    return None


def _list_of(model: Mapping[str, Any]) -> str | None:
    return next((name for name in _LISTS if name in model and len(model[name])), None)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
