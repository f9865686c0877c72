"""Search spaces: whether each key of a space exists in the spec and takes the values named."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from modelscale.spec.base import Spec
from modelscale.spec.paths import apply, frozen, plain, unknown_path
from modelscale.spec.places import Place, Tree

# What concerns several fields may be right together with the other keys' values.
_OF_SEVERAL = {"clash", "misfit", "value_error"}


def space_faults(
    spec: Spec, space: Mapping[str, Mapping[Place, Any]]
) -> Iterator[tuple[Place, str]]:
    """Yield the place below the space, and the message, of each fault of a search space.

    Args:
        spec: What is varied, without the search itself.
        space: For each key the values that it may take, by where they are written below it.
    """
    for key, values in space.items():
        unknown = unknown_path(spec, key)
        if unknown:
            yield (key,), unknown
            continue
        for place, value in values.items():
            message = _refusal(spec, key, value)
            if message:
                yield (key, *place), message


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
