"""Extrapolated learning curves: exact on their own forms, sane on strange ones."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelscale.scaling.curve_ensemble import Curve, extrapolate
from modelscale.scaling.curve_intervals import foretell

X = np.geomspace(1e3, 1e6, 40)
FURTHER = np.array([1.2e6, 1.6e6, 2e6])


def one(x, loss, places=FURTHER):
    return foretell([Curve(np.asarray(x, float), np.asarray(loss, float))], [places])[0]


@pytest.mark.parametrize(
    "truth",
    [
        lambda x: 0.3 + 20 * x**-0.4,
        lambda x: 5 * (1 / x + 1e-6) ** 0.2,
        lambda x: 4 * x**-0.15,
    ],
    ids=["floor", "shifted", "power"],
)
def test_smooth_curves_are_foretold(truth):
    found = one(X, truth(X))
    np.testing.assert_allclose(found.loss_Q, truth(FURTHER), rtol=0.01)


STRANGE = {
    "one point": ([5.0], [2.0]),
    "two points": ([5.0, 9.0], [2.0, 1.5]),
    "one place": ([3.0, 3.0, 3.0], [1.0, 2.0, 1.5]),
    "constant": (X, np.ones(40)),
    "rising": (X, X**0.1),
    "double descent": (X, 1 + X**-0.2 + 2 * np.exp(-((np.log(X) - 11) ** 2))),
    "a spike": (X, np.where(np.arange(40) == 20, 50, 1 + 30 * X**-0.5)),
    "steep": (X, np.exp(-X / 1e5)),
    "tiny and huge": (X * 1e12, 1e-9 * X**-0.5),
    "noise alone": (X, np.exp(0.3 * np.random.default_rng(0).standard_normal(40))),
}


@pytest.mark.parametrize("name", STRANGE)
def test_strange_curves_have_finite_ordered_answers(name):
    x, loss = (np.asarray(values, float) for values in STRANGE[name])
    found = one(x, loss, x[-1] * np.array([1.0, 2.0, 10.0]))
    low, high = found.interval(0.9)
    assert np.isfinite(found.loss_Q).all()
    assert (found.loss_Q > 0).all()
    assert (low <= found.loss_Q).all()
    assert (found.loss_Q <= high).all()
    if name != "steep":
        assert (found.loss_Q[:2] <= 1.5 * loss.max()).all()
        assert (found.loss_Q[:2] >= 0.3 * loss.min()).all()


def test_spike_hardly_moves_the_answer():
    clean = 1 + 30 * X**-0.5
    spoilt = clean.copy()
    spoilt[20] = 50
    np.testing.assert_allclose(one(X, spoilt).loss_Q, one(X, clean).loss_Q, rtol=0.01)


def test_intervals_widen_with_distance_and_noise():
    loss = 0.3 + 20 * X**-0.4
    rng = np.random.default_rng(0)
    calm, noisy = (one(X, loss * np.exp(s * rng.standard_normal(40))) for s in (1e-4, 0.03))
    assert (np.diff(calm.sd_Q) > 0).all()
    assert (noisy.sd_Q > calm.sd_Q).all()


def test_noisy_measurements_lie_inside_as_often_as_promised():
    rng = np.random.default_rng(0)
    inside = []
    places = np.linspace(1.05e6, 2e6, 20)
    curves, truths = [], []
    for _ in range(30):
        floor, slope = rng.uniform(0.05, 0.5), rng.uniform(0.2, 0.6)

        def truth(x, floor=floor, slope=slope):
            return floor + 1000**slope * x**-slope

        curves.append(Curve(X, truth(X) * np.exp(0.02 * rng.standard_normal(40))))
        truths.append(truth(places) * np.exp(0.02 * rng.standard_normal(20)))
    for found, true in zip(foretell(curves, [places] * 30), truths, strict=True):
        low, high = found.interval(0.9)
        inside.append(np.mean((low <= true) & (true <= high)))
    assert 0.84 < np.mean(inside) <= 1


@settings(max_examples=8)
@given(st.floats(-6, 6), st.floats(-3, 3))
def test_units_do_not_matter(size, unit):
    rng = np.random.default_rng(1)
    loss = (0.3 + 20 * X**-0.4) * np.exp(0.01 * rng.standard_normal(40))
    base = extrapolate([Curve(X, loss)], [FURTHER])[0].median()
    scale = 10.0**size
    moved = extrapolate([Curve(X * scale, loss * 10.0**unit)], [FURTHER * scale])[0].median()
    np.testing.assert_allclose(moved, base + unit * np.log(10), atol=1e-4)


def test_a_curve_is_the_same_alone_and_among_others():
    rng = np.random.default_rng(2)
    curves = [
        Curve(X[:n], (0.3 + 20 * X[:n] ** -0.4) * np.exp(0.01 * rng.standard_normal(n)))
        for n in (40, 12, 5)
    ]
    together = extrapolate(curves, [FURTHER] * 3)
    for curve, found in zip(curves, together, strict=True):
        alone = extrapolate([curve], [FURTHER])[0]
        np.testing.assert_allclose(found.median(), alone.median(), atol=1e-6)
