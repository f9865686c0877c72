"""Exhaustive search."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from modelscale.tuning.samplers.base import Asker, SamplerSpec

if TYPE_CHECKING:
    from modelscale.tuning.history import History
    from modelscale.tuning.space import Params


class Grid(SamplerSpec):
    """Every point of the space, in the order of the spec; the last key varies fastest.

    Each key needs `choices`, or `step`, or whole numbers between `low` and `high`. It ends when
    all points are tried, however many trials are asked for.
    """

    finite_only: ClassVar[bool] = True
    takes_priors: ClassVar[bool] = False

    def begin(self, history: History) -> Asker:
        return _Remaining(history)


class _Remaining:
    """The points in order, without those that were tried."""

    def __init__(self, history: History) -> None:
        from modelscale.tuning.space import point_word, points

        tried = {point_word(trial.params) for trial in history.finished}
        self.left = (p for p in points(history.space) if point_word(p) not in tried)
        self.passed: list[Params] = []  # not asked for yet, since a starting point was

    def ask(self, number: int, attempt: int, fixed: Params) -> Params | None:
        """Return the first point left that has the fixed values."""
        for index, point in enumerate(self.passed):
            if _has(point, fixed):
                return self.passed.pop(index)
        for point in self.left:
            if _has(point, fixed):
                return point
            self.passed.append(point)
        return None


def _has(point: Params, fixed: Params) -> bool:
    from modelscale.tuning.space import point_word

    return all(
        key in point and point_word({key: point[key]}) == point_word({key: value})
        for key, value in fixed.items()
    )
