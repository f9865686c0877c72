"""Laws: every kind is recovered from its own points, in any units, against SciPy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.optimize import curve_fit, nnls

from modelscale.scaling.fitting import Frame, fit_law
from modelscale.scaling.laws.base import LawSpec
from modelscale.scaling.points import points
from modelscale.scaling.quantiles import student_quantile
from modelscale.scaling.starting import separable

X = np.geomspace(1e4, 1e9, 24)
N = np.repeat(np.geomspace(1e7, 1e10, 6), 6)
D = np.tile(np.geomspace(1e9, 1e12, 6), 6)
TRUTH = {
    "power": {"A": 30.0, "alpha": 0.2},
    "power_floor": {"E": 0.5, "A": 40.0, "alpha": 0.3},
    "shifted_power": {"B": 300.0, "gamma": 1e-7, "c": 0.35},
    "m4": {"E": 0.3, "E0": 2.5, "a": 0.7, "b": 900.0, "c": 0.55},
    "exponential": {"E": 0.4, "A": 2.0, "tau": 1e8},
    "broken_power": {"E": 0.1, "b": 3.0, "c0": 0.05, "c1": 0.3, "d1": 1e6, "f1": 0.4},
    "chinchilla": {"A": 406.4, "B": 410.7, "E": 1.69, "alpha": 0.34, "beta": 0.28},
    "kaplan": {"Nc": 8.8e13, "Dc": 5.4e13, "alpha_N": 0.076, "alpha_D": 0.095},
    "overtraining": {"a": 400.0, "b": 300.0, "E": 1.6, "eta": 0.15},
    "cross_term": {"A": 400.0, "B": 400.0, "E": 1.7, "F": 3e4, "alpha": 0.34, "beta": 0.28},
    "logistic": {"E": 0.05, "T": 0.85, "x0": 3e6, "k": 0.7},
    "log_accuracy": {"E": 0.05, "A": 30.0, "alpha": 0.25},
    "data_constrained": {
        "A": 521.0,
        "B": 1488.0,
        "E": 1.87,
        "alpha": 0.353,
        "beta": 0.353,
        "r": 15.4,
        "s": 5.3,
    },
}
every_law = pytest.mark.parametrize("kind", LawSpec.kinds())


def inputs_of(law):
    if law.inputs == ("size",):
        return {"size": X}
    if "unique_tokens" in law.inputs:
        unique = np.concatenate([D / share for share in (1, 4, 16, 64)])
        return {"parameters": np.tile(N, 4), "tokens": np.tile(D, 4), "unique_tokens": unique}
    return {"parameters": N, "tokens": D}


def surface(law, truth, inputs):
    theta = [np.array([[truth[name]]]) for name in law.names()]
    return np.exp(law.log_loss(theta, *(np.log(inputs[name]) for name in law.inputs)))[0]


@every_law
def test_law_is_recovered_from_points_without_noise(kind):
    law = LawSpec.of_kind(kind)()
    truth, inputs = TRUTH[kind], inputs_of(law)
    fit = fit_law(law, points(inputs, surface(law, truth, inputs)))
    assert fit.params == pytest.approx(truth, rel=1e-6)


@every_law
def test_derivatives_are_those_of_differences(kind):
    law = LawSpec.of_kind(kind)()
    truth, inputs = TRUTH[kind], inputs_of(law)
    logs = [np.log(inputs[name]) for name in law.inputs]
    theta = [np.array([[truth[name]]]) for name in law.names()]
    value, slopes = law.with_slopes(theta, *logs)
    np.testing.assert_allclose(value, law.log_loss(theta, *logs), rtol=1e-12)
    for i, slope in enumerate(slopes):
        step = 1e-5 * theta[i]
        sides = [
            law.log_loss([t + k * step if i == j else t for j, t in enumerate(theta)], *logs)
            for k in (1, -1)
        ]
        rise = (sides[0] - sides[1]) / (2 * step)
        scale = np.abs(rise).max() + 1e-300
        np.testing.assert_allclose(slope / scale, rise / scale, atol=2e-4)


@every_law
def test_parameters_in_other_units_say_the_same(kind):
    law = LawSpec.of_kind(kind)()
    truth, inputs = TRUTH[kind], inputs_of(law)
    loss = 1.0 if law.bounded else 7.0
    scales = [50.0] if law.inputs == ("size",) else [50.0, 300.0, 300.0][: len(law.inputs)]
    theta = np.array([truth[name] for name in law.names()])
    moved = dict(zip(law.names(), law.in_units(theta, scales, loss), strict=True))
    larger = {n: inputs[n] * s for n, s in zip(law.inputs, scales, strict=True)}
    if kind == "overtraining":
        assert moved["eta"] == truth["eta"]
    np.testing.assert_allclose(
        surface(law, moved, larger), loss * surface(law, truth, inputs), rtol=1e-9
    )


@every_law
def test_docstring_names_formula_and_every_parameter(kind):
    law = LawSpec.of_kind(kind)
    assert "=" in law.__doc__.splitlines()[0]
    assert "arXiv" in law.__doc__ or "IJCAI" in law.__doc__


def noisy(seed=0, noise=0.01):
    rng = np.random.default_rng(seed)
    return surface(
        LawSpec.of_kind("power_floor")(), TRUTH["power_floor"], {"size": X}
    ) * np.exp(noise * rng.standard_normal(len(X)))


def test_least_squares_are_those_of_scipy():
    loss = noisy()
    fit = fit_law(LawSpec.of_kind("power_floor")(), points({"size": X}, loss), np.inf)

    def log_law(x, e, a, alpha):
        return np.log(np.exp(e) + np.exp(a) * (x / 1e6) ** -alpha)

    found, _ = curve_fit(log_law, X, np.log(loss), p0=(-1, 0, 0.2), xtol=1e-14, ftol=1e-14)
    assert fit.params["E"] == pytest.approx(np.exp(found[0]), rel=1e-6)
    assert fit.params["A"] == pytest.approx(np.exp(found[1]) * 1e6 ** found[2], rel=1e-5)
    assert fit.params["alpha"] == pytest.approx(found[2], rel=1e-6)


@settings(max_examples=10)
@given(st.floats(-12, 12), st.floats(-3, 3), st.permutations(range(24)))
def test_units_and_order_do_not_matter(size_scale, loss_scale, order):
    law, loss = LawSpec.of_kind("power_floor")(), noisy()
    base = fit_law(law, points({"size": X}, loss)).params
    order = np.array(order)
    size, unit = 10.0**size_scale, 10.0**loss_scale
    other = fit_law(law, points({"size": X[order] * size}, loss[order] * unit)).params
    assert other["alpha"] == pytest.approx(base["alpha"], rel=1e-5)
    assert other["E"] == pytest.approx(base["E"] * unit, rel=1e-5)
    assert other["A"] == pytest.approx(base["A"] * unit * size ** base["alpha"], rel=1e-4)


def test_non_negative_coefficients_are_those_of_scipy():
    rng = np.random.default_rng(0)
    columns = rng.random((20, 15, 3))
    loss = 1 + rng.random(15)
    places, found = separable(columns, loss, 20)
    for place, coefficients in zip(places, found, strict=True):
        true, _ = nnls(columns[place] / loss[:, None], np.ones(15))
        np.testing.assert_allclose(coefficients, true, atol=1e-5)


@pytest.mark.parametrize("freedom", [1, 2, 3.5, 10, 200])
@pytest.mark.parametrize("probability", [0.05, 0.5, 0.9, 0.975])
def test_quantiles_are_those_of_scipy(freedom, probability):
    found = student_quantile(probability, freedom)
    assert found == pytest.approx(stats.t.ppf(probability, freedom), abs=1e-9)


def test_frame_centres_its_inputs():
    frame = Frame(
        LawSpec.of_kind("chinchilla")(), points({"parameters": N, "tokens": D}, N / N)
    )
    assert [abs(log.mean()) < 1e-12 for log in frame.logs] == [True, True]
