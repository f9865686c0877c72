"""The `evaluate` section of a spec."""

from pydantic import Field

from modelscale.spec.base import Spec


class EvaluateSection(Spec):
    """How sure a measured metric is."""

    resamples: int = Field(1000, ge=100)
    """Bootstrap resamples behind each interval."""

    confidence: float = Field(0.95, gt=0.5, lt=1)
    """Nominal coverage of the intervals."""

    seed: int = Field(0, ge=0)
    """Seed of the resamples."""
