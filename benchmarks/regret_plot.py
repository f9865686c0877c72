"""The plot of regret by trials and by time."""

from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from regret import Searched, clock_grid, mean_curve


def plot(found: dict[str, dict[str, list[Searched]]], path: Path, clock: str) -> None:
    """Save a figure: a column a data set, regret by trials above, by time below.

    Lines are means over seeds; random searches are dashed, those one by one are dotted. The
    standard error is shaded for the plain alternative, our default and random search.
    """
    figure = Figure(figsize=(4.6 * len(found), 8.2), layout="constrained")
    rows = figure.subplots(2, len(found), squeeze=False)
    families = sorted({_family(name) for searches in found.values() for name in searches})
    palette = dict(zip(families, colormaps["tab10"].colors, strict=False))
    for column, (data, searches) in enumerate(found.items()):
        least = min(min(s.values) for own in searches.values() for s in own)
        for name, own in searches.items():
            style = {
                "color": palette[_family(name)],
                "linestyle": _dashes(name),
                "linewidth": 2.0 if name in {"tpe, cohorts", "Optuna TPE, plain loop"} else 1.1,
            }
            count = min(48, *(len(s.values) for s in own))
            best_ST = np.array([np.minimum.accumulate(s.values)[:count] - least for s in own])
            middle = best_ST.mean(0)
            above, below = rows[0][column], rows[1][column]
            above.plot(range(1, count + 1), middle, label=name, **style)
            if name in {"tpe, cohorts", "Optuna TPE, plain loop", "random, cohorts"}:
                error = best_ST.std(0) / max(1, len(own) - 1) ** 0.5
                above.fill_between(
                    range(1, count + 1),
                    middle - error,
                    middle + error,
                    color=style["color"],
                    alpha=0.15,
                    linewidth=0,
                )
            times = clock_grid(own, clock)
            below.plot(times, mean_curve(own, times, clock, least), **style)
        above.set(title=data, xlabel="trials", yscale="log", ylabel="regret, log-loss")
        below.set(
            xlabel=f"seconds of {clock} time",
            xscale="log",
            yscale="log",
            ylabel="regret, log-loss",
        )
    handles, labels = rows[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize="small")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def _family(name: str) -> str:
    return name if name.startswith("Optuna") else name.partition(",")[0]


def _dashes(name: str) -> str:
    if "random" in name:
        return "--"
    return ":" if "one by one" in name else "-"
