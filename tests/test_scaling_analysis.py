"""Optima, intervals, outliers, ranking and warnings of fitted laws."""

from pathlib import Path

import numpy as np
import pytest

from modelscale.scaling import cautions
from modelscale.scaling.analysis import Options, analyse, predict
from modelscale.scaling.bootstrap import resample
from modelscale.scaling.fitting import fit_law
from modelscale.scaling.isoflop import minima
from modelscale.scaling.laws.base import LawSpec
from modelscale.scaling.optimum import allocate, nearly_optimal, serve, tokens_for
from modelscale.scaling.outliers import Rule, rule_of
from modelscale.scaling.points import points
from modelscale.scaling.recommendation import iso_flop, next_run, returns, spend

A, B, E, ALPHA, BETA = 406.4, 410.7, 1.69, 0.34, 0.28
CHINCHILLA = LawSpec.of_kind("chinchilla")()
DATA = Path(__file__).parent.parent.parent / "shared" / "data" / "scaling"


def loss_of(size, tokens):
    return E + A * size**-ALPHA + B * tokens**-BETA


def best_size(compute):
    ratio = (ALPHA * A / (BETA * B)) ** (1 / (ALPHA + BETA))
    return ratio * (compute / 6) ** (BETA / (ALPHA + BETA))


def ladder(noise=0.0, seed=0, sizes=6):
    size = np.repeat(np.geomspace(1e7, 1e10, sizes), 4)
    tokens = size * np.tile([5, 20, 80, 320.0], sizes)
    rng = np.random.default_rng(seed)
    loss = loss_of(size, tokens) * np.exp(noise * rng.standard_normal(len(size)))
    return points({"parameters": size, "tokens": tokens}, loss)


@pytest.fixture(scope="module")
def exact():
    return fit_law(CHINCHILLA, ladder())


@pytest.fixture(scope="module")
def analysis():
    laws = {kind: LawSpec.of_kind(kind)() for kind in ("chinchilla", "kaplan", "overtraining")}
    return analyse(ladder(0.005), laws, Options(resamples=200))


class TestOptimum:
    @pytest.mark.parametrize("compute", [1e19, 5.76e23])
    def test_it_is_that_of_the_closed_form(self, exact, compute):
        found = allocate(exact.frame, exact.z_P[None], compute)
        assert found.parameters_B[0] == pytest.approx(best_size(compute), rel=1e-6)
        assert found.tokens_B[0] == pytest.approx(compute / 6 / best_size(compute), rel=1e-6)
        assert not found.edge_B[0]

    def test_loss_at_the_ends_of_the_range_is_half_a_percent_above(self, exact):
        z, compute = exact.z_P[None], 1e21
        found = allocate(exact.frame, z, compute)
        for size in nearly_optimal(exact.frame, z, compute, found):
            loss = loss_of(size[0], compute / 6 / size[0])
            assert loss == pytest.approx(1.005 * found.loss_B[0], rel=1e-7)

    def test_without_inference_the_cheapest_is_the_compute_optimal_one(self, exact):
        found = serve(exact.frame, exact.z_P[None], 1e9, None, 1.0)
        assert found.parameters_B[0] == pytest.approx(1e9, rel=1e-2)
        assert abs(found.saved_B[0]) < 1e-4

    def test_served_model_is_smaller_as_good_and_cheaper(self, exact):
        tokens = tokens_for(exact.frame, exact.z_P[None], 13e9)[0]
        assert best_size(6 * 13e9 * tokens) == pytest.approx(13e9, rel=1e-3)
        found = serve(exact.frame, exact.z_P[None], 13e9, tokens, 2e12)
        size, seen = found.parameters_B[0], found.tokens_B[0]
        assert size < 13e9
        assert loss_of(size, seen) == pytest.approx(loss_of(13e9, tokens), rel=1e-7)
        # Cheapest: a little more or less of it costs more.
        for other in (0.97 * size, 1.03 * size):
            left = loss_of(13e9, tokens) - E - A * other**-ALPHA
            cost = 6 * other * (left / B) ** (-1 / BETA) + 2 * other * 2e12
            assert cost > found.total_B[0]

    def test_law_without_an_optimum_says_so(self):
        data = ladder()
        flat = points(
            {n: data.inputs[n] for n in ("parameters", "tokens")},
            1.5 + 30 * data.inputs["tokens"] ** -0.2,
        )
        fit = fit_law(CHINCHILLA, flat)
        assert allocate(fit.frame, fit.z_P[None], 1e21).edge_B[0]

    def test_minima_of_budgets_are_near_the_truth(self):
        budgets = np.geomspace(1e18, 1e21, 4)
        size = best_size(budgets)[:, None] * np.geomspace(1 / 8, 8, 9)
        tokens = budgets[:, None] / 6 / size
        data = points(
            {"parameters": size.ravel(), "tokens": tokens.ravel()},
            loss_of(size, tokens).ravel(),
        )
        found = minima(data)
        assert [m.points for m in found] == [9] * 4
        assert not any(m.edge for m in found)
        np.testing.assert_allclose([m.parameters for m in found], best_size(budgets), rtol=0.05)


class TestUncertainty:
    def test_intervals_hold_the_truth(self, analysis):
        params = analysis.params()
        assert analysis.kind in {"chinchilla", "overtraining"}
        assert params["E"].low < E < params["E"].high

    def test_a_law_that_fails_above_its_cuts_has_wide_intervals_beyond(self):
        # The floor sets in late: below the cuts a power without one looks right.
        x = np.geomspace(1e3, 1e6, 24)
        noise = np.exp(0.002 * np.random.default_rng(0).standard_normal(24))
        power = {"power": LawSpec.of_kind("power")()}
        wide, narrow = (
            predict(
                analyse(
                    points({"size": x}, (floor + 20 * x**-0.3) * noise),
                    power,
                    Options(resamples=200),
                ),
                {"size": 4e6},
            )
            for floor in (0.2, 0.0)
        )
        assert wide.whole.low < 0.2 + 20 * 4e6**-0.3 < wide.whole.high
        assert narrow.whole.low < 20 * 4e6**-0.3 < narrow.whole.high
        assert np.log(narrow.whole.high / narrow.whole.low) < 0.04

    @pytest.mark.skipif(not DATA.is_dir(), reason="needs ../shared/data/scaling")
    def test_most_of_a_published_held_out_top_is_inside_its_intervals(self):
        import csv

        with (DATA / "chinchilla_epoch_ai.csv").open(newline="") as stream:
            rows = sorted(csv.DictReader(stream), key=lambda row: -float(row["loss"]))[5:]
        size, flops, loss = (
            np.array([float(row[name]) for row in rows])
            for name in ("Model Size", "Training FLOP", "loss")
        )
        data = points({"parameters": size, "compute": flops}, loss)
        options = Options(resamples=200, rule=Rule("none"))
        judged = analyse(data, {"chinchilla": CHINCHILLA}, options).judged
        assert judged.inside / len(judged.points) == pytest.approx(0.9, abs=0.06)

    def test_same_seed_gives_the_same_intervals(self):
        fit = fit_law(CHINCHILLA, ladder(0.005))
        one, two, other = (resample(fit, seed, 50).params() for seed in (1, 1, 2))
        np.testing.assert_array_equal(one, two)
        assert not np.array_equal(one, other)

    def test_points_of_a_group_are_resampled_together(self):
        data = ladder(0.005)
        grouped = points(
            {n: data.inputs[n] for n in ("parameters", "tokens")},
            data.loss_M,
            group_M=np.repeat(np.arange(6), 4),
        )
        draws = resample(fit_law(CHINCHILLA, grouped), 0, 50)
        assert draws.scheme == "wild"
        assert draws.freedom == 1

    @pytest.mark.slow
    @pytest.mark.parametrize("level", [0.8, 0.9])
    def test_coverage_is_near_the_nominal_one(self, level):
        truth, compute = [], 1e23
        for seed in range(60):
            fit = fit_law(CHINCHILLA, ladder(0.005, seed))
            draws = resample(fit, seed, 200)
            size = allocate(fit.frame, fit.z_P[None], compute).parameters_B[0]
            sizes = allocate(fit.frame, draws.z_BP, compute).parameters_B
            found = draws.interval(size, sizes, level)
            truth.append(found.low <= best_size(compute) <= found.high)
        assert abs(np.mean(truth) - level) < 0.13  # 2.5 standard errors

    def test_prediction_far_out_is_wider(self, analysis):
        names = analysis.fit.law.inputs
        near, far = (
            predict(analysis, dict(zip(names, (n, 20 * n), strict=True))) for n in (1e9, 1e12)
        )
        assert near.beyond == 1
        assert far.beyond > 100
        assert far.law.high / far.law.low > near.law.high / near.law.low
        assert far.whole.low < far.law.low
        assert "not to be relied on" in cautions.about_prediction(far)[0]
        assert cautions.about_prediction(near) == []


class TestOutliers:
    @pytest.mark.parametrize("text", ["all", "highest", "highest:0", "residual:-1", ""])
    def test_unknown_rules_are_none(self, text):
        assert rule_of(text) is None

    def test_they_are_found_and_their_effect_told(self):
        data = ladder(0.004)
        loss = data.loss_M.copy()
        loss[7] *= 1.5
        spoilt = points({n: data.inputs[n] for n in ("parameters", "tokens")}, loss)
        laws = {"chinchilla": CHINCHILLA}
        found = analyse(spoilt, laws, Options(resamples=60))
        assert np.flatnonzero(~found.keep_M).tolist() == [7]
        assert found.whole.objective > found.fit.objective
        clean = fit_law(CHINCHILLA, data.only(np.arange(len(data)) != 7))
        assert found.fit.params == pytest.approx(clean.params, rel=1e-3)
        kept = analyse(spoilt, laws, Options(resamples=60, rule=Rule("none")))
        assert kept.keep_M.all()


class TestDoubts:
    def test_small_ranges_and_open_floors_are_told(self):
        size = np.geomspace(1e6, 5e6, 12)
        rng = np.random.default_rng(0)
        loss = 3 * size**-0.1 * np.exp(0.002 * rng.standard_normal(12))
        data = points({"size": size}, loss)
        laws = {"power_floor": LawSpec.of_kind("power_floor")()}
        told = " ".join(cautions.about_fit(analyse(data, laws, Options(resamples=60))))
        assert "spans only a factor of 5" in told
        assert "floor" in told

    def test_too_few_points_are_refused(self):
        size = np.array([1e6, 1e7])
        with pytest.raises(ValueError, match="2 points are too few: the simplest law needs 3"):
            analyse(
                points({"size": size}, size**-0.1),
                {"power": LawSpec.of_kind("power")()},
                Options(),
            )

    def test_extrapolation_decides_between_forms(self, analysis):
        errors = {form.kind: form.held_out for form in analysis.forms}
        assert errors["kaplan"] > 2 * errors["chinchilla"]
        assert [f.held_out for f in analysis.forms] == sorted(errors.values())


class TestAdvice:
    def test_budget_has_bands_about_its_values(self, analysis):
        found = spend(analysis, 1e22)
        for part in (found.parameters, found.tokens, found.loss, found.low, found.high):
            assert part.low <= part.value <= part.high
        assert found.low.value < found.parameters.value < found.high.value
        assert found.parameters.low < best_size(1e22) < found.parameters.high

    def test_more_of_anything_helps(self, analysis):
        for gain in returns(analysis, 1e9, 2e10):
            assert 0 < gain.gain.low <= gain.gain.value <= gain.gain.high

    def test_next_run_narrows_the_prediction(self, analysis):
        target = {"parameters": 1e11, "tokens": 2e12}
        runs = [{"parameters": n, "tokens": 20 * n} for n in (1e8, 1e9, 1e10, 3e10)]
        found = next_run(analysis, target, runs)
        assert found.sd_after < found.sd_before
        assert found.inputs["parameters"] == 3e10
        assert next_run(analysis, target, []) is None

    def test_iso_flop_needs_several_sizes_of_a_budget(self, analysis):
        assert iso_flop(analysis) == []


@pytest.mark.skipif(not DATA.is_dir(), reason="the data of the benchmarks is not there")
class TestChinchilla:
    def test_optimum_of_the_published_points(self):
        import csv

        with (DATA / "chinchilla_epoch_ai.csv").open(newline="") as stream:
            rows = sorted(csv.DictReader(stream), key=lambda row: -float(row["loss"]))[5:]
        size, flops, loss = (
            np.array([float(row[n]) for row in rows])
            for n in ("Model Size", "Training FLOP", "loss")
        )
        fit = fit_law(CHINCHILLA, points({"parameters": size, "compute": flops}, loss), 1e-3)
        assert fit.objective <= 0.00101828
        true = {"A": 477.83, "B": 2143.4, "E": 1.8172, "alpha": 0.3473, "beta": 0.3672}
        assert fit.params == pytest.approx(true, rel=1e-3)
