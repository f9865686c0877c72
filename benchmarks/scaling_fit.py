"""The fitter against published fits: Chinchilla's points, learning curves, noise-free surfaces.

    python benchmarks/scaling_fit.py [--quick] [--data FOLDER]

The folder holds `chinchilla_epoch_ai.csv` (points read off Hoffmann et al., arXiv:2203.15556,
by Besiroglu et al., arXiv:2404.10102) and `learning_curves.csv` (Alabdulmohsin et al.,
arXiv:2209.06640); by default `../shared/data/scaling`. A parabola is fitted through all points
of one budget, as the first two approaches of Hoffmann et al. do.
"""

import csv
import sys
import time
from pathlib import Path
from statistics import mean, median

import numpy as np

from modelscale.commands.fit_curves import fit_curves
from modelscale.scaling.bootstrap import resample
from modelscale.scaling.fitting import Fit, fit_law
from modelscale.scaling.laws.base import LawSpec
from modelscale.scaling.optimum import allocate
from modelscale.scaling.points import Points, points

ROOT = Path(__file__).parent.parent.parent / "shared" / "data" / "scaling"
TRUE = {"A": 477.83, "B": 2143.4, "E": 1.8172, "alpha": 0.3473, "beta": 0.3672}
QUOTED = {
    "A": (285, 744),
    "B": (1042, 5810),
    "E": (1.769, 1.871),
    "alpha": (0.317, 0.373),
    "beta": (0.331, 0.415),
}


def chinchilla_points(folder: Path) -> Points:
    """Return the points without the five of highest loss."""
    with (folder / "chinchilla_epoch_ai.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    rows = sorted(rows, key=lambda row: -float(row["loss"]))[5:]
    sizes, flops, losses = (
        np.array([float(row[name]) for row in rows])
        for name in ("Model Size", "Training FLOP", "loss")
    )
    return points({"parameters": sizes, "compute": flops}, losses)


def fitted(data: Points, repetitions: int) -> Fit:
    """Time the fit and print it beside the optimum."""
    law, seconds = LawSpec.of_kind("chinchilla")(), []
    for _ in range(repetitions):
        start = time.perf_counter()
        fit = fit_law(law, data, 1e-3)
        seconds.append(time.perf_counter() - start)
    assert fit is not None
    print(f"Chinchilla, {len(data)} points: {median(seconds):.3f} s a fit, at most 1")
    print(f"  objective {fit.objective:.10f}, at most 0.0010182800")
    for name, true in TRUE.items():
        print(
            f"  {name:6}{fit.params[name]:12.5f}  of {true}: {fit.params[name] / true - 1:+.1e}"
        )
    return fit


def intervals(fit: Fit, resamples: int) -> None:
    """Print 95 % intervals beside the quoted ones."""
    start = time.perf_counter()
    draws = resample(fit, 0, resamples, "pairs")
    print(f"{resamples} resamples: {time.perf_counter() - start:.1f} s, at most 20 for 1,000")
    for name, column in zip(fit.params, draws.params().T, strict=True):
        found = draws.interval(fit.params[name], column, 0.95)
        low, high = QUOTED[name]
        print(
            f"  {name:6}[{found.low:.4g}, {found.high:.4g}] of [{low}, {high}]: "
            f"{found.low / low - 1:+.1%} {found.high / high - 1:+.1%}"
        )


def curves(folder: Path) -> None:
    """Print the error of extrapolated learning curves."""
    start = time.perf_counter()
    found = fit_curves(folder / "learning_curves.csv", (), 0.9)
    print(f"{len(found.curves)} learning curves: {time.perf_counter() - start:.1f} s")
    domains = {curve.key["domain"] for curve in found.curves}
    for domain in ("all", *sorted(domains)):
        own = [c for c in found.curves if domain in {"all", c.key["domain"]}]
        inside = mean(c.inside / len(c.rows) for c in own)
        print(
            f"  {domain:4} {len(own):3} curves  RMSLE {mean(c.rmsle for c in own):.4f}  "
            f"inside the 90 % interval {inside:.1%}"
        )
    print("  to beat: all 0.0255 (M4 0.0405, BNSL 0.0399), images (IC) 0.0294")


def surfaces() -> None:
    """Print errors of N* on surfaces without noise, of the law and of parabolas."""
    print("noise-free surfaces, budget 1e21, sizes over a factor of 16 to each side")
    for name, theta in {
        "Chinchilla": (406.4, 410.7, 1.69, 0.34, 0.28),
        "asymmetric": (406.4, 410.7, 1.69, 0.62, 0.2),
    }.items():
        A, B, E, alpha, beta = theta
        ratio = (alpha * A / (beta * B)) ** (1 / (alpha + beta))
        budgets = np.geomspace(1e18, 1e21, 4)
        best = ratio * (budgets / 6) ** (beta / (alpha + beta))
        size = best[:, None] * np.geomspace(1 / 16, 16, 9)
        data = budgets[:, None] / (6 * size)
        loss = E + A * size**-alpha + B * data**-beta
        inputs = {"parameters": size.ravel(), "tokens": data.ravel()}
        fit = fit_law(LawSpec.of_kind("chinchilla")(), points(inputs, loss.ravel()))
        assert fit is not None
        worst = max(
            abs(found / true - 1)
            for found, true in zip(fit.params.values(), theta, strict=True)
        )
        law = allocate(fit.frame, fit.z_P[None], budgets[-1]).parameters_B[0]
        bend, slope, _ = np.polyfit(np.log(size[-1]), loss[-1], 2)
        parabola = np.exp(-slope / (2 * bend))
        print(
            f"  {name}: parameters to {worst:.0e}, N* {law / best[-1] - 1:+.0e}, D* "
            f"{best[-1] / law - 1:+.0e}; a parabola's D* {best[-1] / parabola - 1:+.1%}"
        )


def main() -> None:
    quick = "--quick" in sys.argv
    folder = Path(sys.argv[sys.argv.index("--data") + 1]) if "--data" in sys.argv else ROOT
    surfaces()
    if not folder.is_dir():
        print(f"{folder}: not there; give --data FOLDER")
        return
    fit = fitted(chinchilla_points(folder), 3 if quick else 11)
    intervals(fit, 200 if quick else 1000)
    curves(folder)


if __name__ == "__main__":
    main()
