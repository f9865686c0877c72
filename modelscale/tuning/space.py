"""The search space: from the keys of a spec to Optuna's distributions and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, get_args

from modelscale.spec.base import Spec
from modelscale.spec.paths import annotation_at, plain
from modelscale.tuning.section import SearchRange

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Params = dict[str, Any]  # values by spec key, as a spec holds them


def distributions(space: Mapping[str, SearchRange], spec: Spec) -> dict[str, BaseDistribution]:
    """Return Optuna's form of a space, by spec key.

    Bounds of a key that holds whole numbers make whole numbers. Choices are told apart by
    their JSON, since Optuna compares only scalars.
    """
    data = plain(spec)
    return {
        key: _distribution(found, annotation_at(type(spec), data, tuple(key.split("."))))
        for key, found in space.items()
    }


def decoded(params: Mapping[str, Any], space: Mapping[str, SearchRange]) -> Params:
    """Return Optuna's parameters as the values that the spec takes."""
    return {
        key: json.loads(value) if space[key].choices is not None else value
        for key, value in params.items()
    }


def encoded(params: Params, space: Mapping[str, SearchRange]) -> dict[str, Any]:
    """Return the spec's values as Optuna's parameters; the inverse of `decoded`."""
    return {
        key: _word(value) if space[key].choices is not None else value
        for key, value in params.items()
    }


def _distribution(found: SearchRange, annotation: Any) -> BaseDistribution:
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    if found.choices is not None:
        return CategoricalDistribution([_word(choice) for choice in found.choices])
    assert found.low is not None
    assert found.high is not None
    whole = all(isinstance(v, int) for v in (found.low, found.high, found.step or 1))
    if whole and not _takes_fractions(annotation):
        step = int(found.step or 1)
        return IntDistribution(int(found.low), int(found.high), log=found.log, step=step)
    return FloatDistribution(found.low, found.high, log=found.log, step=found.step)


def _takes_fractions(annotation: Any) -> bool:
    if annotation is float:
        return True
    return any(_takes_fractions(argument) for argument in get_args(annotation))


def _word(choice: Any) -> str:
    plain_choice = choice.model_dump(mode="json") if isinstance(choice, Spec) else choice
    return json.dumps(plain_choice, sort_keys=True)
