"""How trials are marked by the way they ended: alike in all plots of a search."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from modelscale.report.figures.palette import REST

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WHOLE, STOPPED, INFEASIBLE = "trial", "stopped early", "infeasible"


def by_ending(
    rows: Sequence[int], stopped: Collection[int], infeasible: Collection[int]
) -> dict[str, list[int]]:
    """Return trials by how they ended; those that others are drawn over come first."""
    early, broken = set(stopped), set(infeasible)
    return {
        INFEASIBLE: [i for i in rows if i in broken],
        STOPPED: [i for i in rows if i in early - broken],
        WHOLE: [i for i in rows if i not in early | broken],
    }


def mark_trials(axes: Axes, x: Sequence[float], y: Sequence[float], ending: str) -> None:
    """Draw trials: a dot for a whole one, a ring for a stopped, a cross for an infeasible."""
    if not x:
        return
    if ending == INFEASIBLE:
        axes.scatter(x, y, s=26, marker="x", color=REST, linewidths=1.4, label=ending)
        return
    hollow = ending == STOPPED
    axes.scatter(
        x,
        y,
        s=24,
        facecolors="none" if hollow else REST,
        edgecolors=REST if hollow else "none",
        linewidths=1.2 if hollow else 0,
        label=ending,
    )
