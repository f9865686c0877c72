"""The `evaluate` section of a spec."""

from typing import Annotated

from pydantic import Field

from modelscale.evaluation.costs import CostTable
from modelscale.spec.base import Spec


class RankingSection(Spec):
    """How all items are ranked for each user, as `modelscale evaluate` does."""

    user: str
    """Column of the user."""

    item: str
    """Column of the item."""

    k: tuple[Annotated[int, Field(ge=1)], ...] = (10,)
    """Lengths of the list that a user is shown."""

    relevant: float | None = None
    """Target from which on an item counts as relevant; by default every row counts."""


class AlarmSection(Spec):
    """When two classes' probability of the second one raises an alarm."""

    false_positive_rate: float = Field(0.01, ge=0, lt=1)
    """Share of validation rows labelled 0 that may raise an alarm; it sets the threshold."""


class EvaluateSection(Spec):
    """How sure a measured metric is."""

    resamples: int = Field(1000, ge=100)
    """Bootstrap resamples behind each interval."""

    confidence: float = Field(0.95, gt=0.5, lt=1)
    """Nominal coverage of the intervals."""

    seed: int = Field(0, ge=0)
    """Seed of the resamples."""

    costs: CostTable | None = None
    """Cost of each true class (rows) decided as each class (columns), classes in order; has
    `modelscale evaluate` report decisions, with a threshold that the validation part chose."""

    alarms: AlarmSection | None = None
    """For two classes: has `modelscale evaluate` report what alarms find, among rows and, for
    series, among events."""

    ranking: RankingSection | None = None
    """For tables of users and items: has `modelscale evaluate` rank all items for each user."""
