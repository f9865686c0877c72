"""The members that an ensemble trains: seeds, and settings drawn like a random search's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from modelscale.commands.experiment import Experiment
from modelscale.spec.paths import apply

if TYPE_CHECKING:
    from modelscale.commands.assembly import Assembly


@dataclass(frozen=True)
class Candidate:
    """One member, or one for each fold.

    Attributes:
        label: Its name.
        seed: Of everything random.
        params: In what it differs from the spec, by spec key.
        variant: The spec with that.
    """

    label: str
    seed: int
    params: dict[str, Any]
    variant: Experiment


def candidates_of(assembly: Assembly, count: int | None = None) -> list[Candidate]:
    """Return the members that the `ensemble` section asks for.

    Args:
        assembly: With an `ensemble` section.
        count: Members; those of the section by default.

    Raises:
        SpecError: If a setting that was drawn makes no valid spec.
    """
    section = assembly.experiment.ensemble
    assert section is not None
    base = assembly.experiment.model_copy(update={"tune": None, "ensemble": None})
    count = section.members if count is None else count
    found = []
    for number, params in enumerate(_settings(assembly, count)):
        seed = assembly.experiment.seed + number
        try:
            variant = apply(base, params) if params else base
        except ValidationError as error:
            reasons = "; ".join(str(fault["msg"]) for fault in error.errors())
            raise assembly.fault("ensemble.vary", f"{params}: {reasons}") from None
        found.append(Candidate(f"member-{number:02d}", seed, params, variant))
    return found


def _settings(assembly: Assembly, count: int) -> list[dict[str, Any]]:
    from modelscale.tuning.section import TunedRange
    from modelscale.tuning.space import points, size, space_of
    from modelscale.tuning.unit_cube import random_point

    experiment = assembly.experiment
    assert experiment.ensemble is not None
    if not experiment.ensemble.vary:
        return [{} for _ in range(count)]
    base = experiment.model_copy(update={"tune": None, "ensemble": None})
    ranges = {key: TunedRange(**dict(own)) for key, own in experiment.ensemble.vary.items()}
    space = space_of(ranges, base)
    finite = size(space)
    if finite is not None and finite <= count:
        every = list(points(space))
        return [every[number % finite] for number in range(count)]
    return [random_point(space, experiment.seed, number, 0, {}) for number in range(count)]
