"""Intervals hold what they promise; an evaluation agrees with scikit-learn."""

import json
import math
import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as oracle

from modelscale.evaluation.intervals import (
    Interval,
    _bca,
    bootstrap,
    bootstrap_all,
    paired_difference,
)
from modelscale.evaluation.metric_names import default_metrics, metric_for, metrics_for
from modelscale.evaluation.section import EvaluateSection
from modelscale.evaluation.student import mean_over_seeds, t_quantile
from modelscale.evaluation.summary import calibration_curve, evaluate

ACCURACY = metric_for("accuracy", "classification")
F1 = metric_for("f1", "classification")
RMSE = metric_for("rmse", "regression")


@pytest.fixture(autouse=True)
def one_thread():
    """Many small operations: threads would only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def classified(N, C, seed=0, skill=1.5):
    """Return predictions (N, C) of some skill and targets (N,)."""
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randint(C, (N,), generator=generator)
    scores = torch.randn(N, C, generator=generator)
    scores[torch.arange(N), targets] += skill
    return scores.softmax(-1), targets


def regressed(N, seed=0, noise=0.5):
    """Return predictions and targets (N, 1) whose RMSE tends to `noise`."""
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randn(N, 1, generator=generator)
    return targets + noise * torch.randn(N, 1, generator=generator), targets


def right_and_wrong(right, N):
    predictions = torch.tensor([[0.9, 0.1]]).repeat(N, 1)
    return predictions, (torch.arange(N) >= right).long()


@given(st.floats(0.0001, 0.9999), st.integers(1, 2000))
@settings(max_examples=100, deadline=None)
def test_t_quantiles_match_scipy(probability, degrees):
    expected = stats.t.ppf(probability, degrees)
    assert t_quantile(probability, degrees) == pytest.approx(expected, rel=1e-8, abs=1e-8)


def test_mean_over_seeds_is_the_student_interval():
    values = [0.91, 0.94, 0.90, 0.95, 0.93]
    found = mean_over_seeds(values, confidence=0.9)
    low, high = stats.t.interval(0.9, 4, np.mean(values), stats.sem(values))
    assert (found.low, found.high) == pytest.approx((low, high))
    assert found.std == pytest.approx(np.std(values, ddof=1))
    assert found.n == 5


def test_no_interval_reaches_beyond_what_a_metric_can_be():
    assert mean_over_seeds([0.99, 0.9, 1.0], possible=(0.0, 1.0)).high == 1.0
    g = torch.Generator().manual_seed(0)
    targets = torch.randn(12, 1, generator=g)
    near = targets + 0.01 * torch.rand(12, 1, generator=g) ** 8
    kinds = ("mae", "rmse", "r2")
    for kind in kinds:
        metric = metric_for(kind, "regression")
        least, greatest = metric.possible
        found = bootstrap_all([metric], near, targets, 50, 0.9999, 0)[0]
        assert least <= found.low <= found.value <= found.high <= greatest
        assert found.possible == metric.possible


def test_one_seed_has_a_mean_and_no_interval_and_a_diverged_seed_has_neither():
    one = mean_over_seeds([0.5])
    assert one.mean == 0.5
    assert math.isnan(one.low)
    assert math.isnan(one.std)
    assert math.isnan(mean_over_seeds([0.5, math.nan]).mean)
    with pytest.raises(ValueError, match="at least one value"):
        mean_over_seeds([])


@pytest.mark.parametrize("N", [20, 50, 200])
@pytest.mark.parametrize("truth", [0.7, 0.9, 0.98])
def test_accuracy_intervals_cover_the_truth(N, truth):
    chance = stats.binom.pmf(np.arange(N + 1), N, truth)
    found = [bootstrap(ACCURACY, *right_and_wrong(right, N)) for right in range(N + 1)]
    assert all(i.low <= i.value <= i.high for i in found)
    covered = sum(p for p, i in zip(chance, found, strict=True) if i.low <= truth <= i.high)
    assert 0.92 < covered < 0.99


def test_accuracy_interval_is_wilsons():
    found = bootstrap(ACCURACY, *right_and_wrong(45, 50), confidence=0.9)
    expected = stats.binomtest(45, 50).proportion_ci(0.9, method="wilson")
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    micro = bootstrap(
        metric_for("f1_micro", "classification"), *right_and_wrong(45, 50), 100, 0.9
    )
    assert micro == found


def test_rmse_intervals_cover_the_truth():
    found = [
        bootstrap(RMSE, *regressed(50, seed), resamples=300, seed=seed) for seed in range(200)
    ]
    covered = np.mean([i.low <= 0.5 <= i.high for i in found])
    assert 0.90 < covered < 0.97  # 0.92 to 0.94 over 1,500 samples; percentile: 0.91


def test_bca_quantiles_match_scipys_on_the_same_resamples():
    error = np.random.default_rng(0).exponential(size=40)

    def rms(sample, axis):
        return np.sqrt((sample**2).mean(axis))

    oracle_result = stats.bootstrap(
        (error,), rms, n_resamples=2000, method="BCa", rng=np.random.default_rng(1)
    )
    without = [rms(np.delete(error, i), 0) for i in range(40)]
    found = _bca(
        float(rms(error, 0)),
        torch.from_numpy(oracle_result.bootstrap_distribution),
        torch.tensor(without, dtype=torch.float64),
        stats.norm.ppf(0.975),
    )
    expected = oracle_result.confidence_interval
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-3)


def test_resamples_depend_on_the_seed_alone_and_not_on_how_they_are_cut(monkeypatch):
    predictions, targets = classified(300, 3)
    whole = bootstrap(F1, predictions, targets, seed=1)
    assert bootstrap(F1, predictions, targets, seed=1) == whole
    assert bootstrap(F1, predictions, targets, seed=2) != whole
    monkeypatch.setattr("modelscale.evaluation.intervals._CHUNK_NUMBERS", 60_000)
    assert bootstrap(F1, predictions, targets, seed=1) == whole


def test_several_metrics_share_resamples_and_equal_each_by_itself():
    predictions, targets = classified(100, 2)
    metrics = list(metrics_for("classification").values())
    together = bootstrap_all(metrics, predictions, targets, resamples=200)
    for metric, interval in zip(metrics, together, strict=True):
        assert interval == bootstrap(metric, predictions, targets, resamples=200), (
            metric.label()
        )
        assert interval.low <= interval.high


def test_more_confidence_is_wider_and_more_examples_are_narrower():
    def width(N, confidence):
        found = bootstrap(F1, *classified(N, 3), confidence=confidence)
        return found.high - found.low

    assert width(100, 0.99) > width(100, 0.9) > width(1000, 0.9)


def test_a_thousand_resamples_are_quick_and_small():
    predictions, targets = classified(2000, 10)
    start = time.process_time()
    bootstrap(metric_for("balanced_accuracy", "classification"), predictions, targets)
    assert time.process_time() - start < 3  # 0.2 s on a quiet core


def test_many_examples_are_jackknifed_within_a_fifth_of_the_exact_width():
    predictions, targets = regressed(20_001)
    found = bootstrap(RMSE, predictions, targets)
    exact = 1.96 * 0.5 / math.sqrt(2 * 20_001)  # of the RMSE of normal errors
    assert found.high - found.value == pytest.approx(exact, rel=0.2)
    assert found.value - found.low == pytest.approx(exact, rel=0.2)
    difference = paired_difference(RMSE, predictions, predictions + 0.1, targets)
    assert difference.high < 0


def test_where_resampling_says_nothing_there_is_no_interval():
    perfect = torch.eye(2)[torch.arange(30) % 2]
    found = bootstrap(F1, perfect, torch.arange(30) % 2)
    assert found.value == 1
    assert math.isnan(found.low)
    single = bootstrap(RMSE, torch.tensor([[1.0]]), torch.tensor([[3.0]]))
    assert single.value == 2
    assert math.isnan(single.high)
    broken = bootstrap(ACCURACY, torch.full((4, 2), torch.nan), torch.zeros(4).long())
    assert math.isnan(broken.value)
    one_of_a_class = torch.zeros(5).long()
    one_of_a_class[0] = 1  # a third of the resamples have no example of it
    auc = bootstrap(metric_for("roc_auc", "classification"), torch.rand(5, 2), one_of_a_class)
    assert not math.isnan(auc.value)
    assert math.isnan(auc.low)


def test_paired_difference_tells_apart_what_separate_intervals_do_not():
    base, targets = classified(400, 2, skill=1.2)
    better = base.clone()
    wrong = (base.argmax(-1) != targets).nonzero().flatten()[:15]
    better[wrong] = better[wrong].flip(-1)
    for metric in (ACCURACY, F1, metric_for("mcc", "classification")):
        difference = paired_difference(metric, better, base, targets)
        assert difference.low > 0
        assert difference.value == pytest.approx(
            (metric.compute(better, targets) - metric.compute(base, targets)).item()
        )
        mirrored = paired_difference(metric, base, better, targets)
        assert mirrored.value == -difference.value
        assert mirrored.high < 0
        alone = bootstrap(metric, better, targets), bootstrap(metric, base, targets)
        assert alone[0].low < alone[1].high


def test_paired_accuracy_difference_covers_the_truth():
    generator = torch.Generator().manual_seed(0)
    covered = []
    for _ in range(500):
        outcome = torch.multinomial(
            torch.tensor([0.75, 0.10, 0.05, 0.10]), 60, replacement=True, generator=generator
        )
        right_a, right_b = outcome <= 1, (outcome == 0) | (outcome == 2)
        targets = torch.zeros(60).long()
        a, b = (torch.stack((r.double(), 1 - r.double()), -1) for r in (right_a, right_b))
        found = paired_difference(ACCURACY, a, b, targets)
        covered.append(found.low <= 0.05 <= found.high)
    assert 0.93 < np.mean(covered) < 0.99


def test_a_model_does_not_differ_from_itself():
    predictions, targets = classified(50, 2)
    for metric in (ACCURACY, F1):
        found = paired_difference(metric, predictions, predictions.clone(), targets)
        assert found == Interval(0.0, 0.0, 0.0)


def test_one_model_asked_in_two_ways_is_not_called_different():
    draws = torch.Generator().manual_seed(0)
    shares = torch.rand(40, 3, generator=draws).softmax(-1)
    rounded = shares * (1 + 1e-7)
    found = paired_difference(
        metric_for("log_loss", "classification"), shares, rounded, torch.arange(40) % 3
    )
    assert found.low == found.high == pytest.approx(0, abs=1e-6)


def test_intervals_are_valid_json():
    assert Interval(0.5, 0.4, 0.6).to_json() == {"value": 0.5, "low": 0.4, "high": 0.6}
    assert Interval(math.inf, math.nan, math.nan).to_json() == {
        "value": None,
        "low": None,
        "high": None,
        "nonfinite": "inf",
    }


def test_classification_summary_matches_sklearn():
    predictions, targets = classified(200, 4)
    labels = ["ash", "birch", "cedar", "dogwood"]
    metrics = default_metrics("classification")
    section = EvaluateSection(resamples=200)
    found = evaluate(predictions, targets, metrics, labels, section, "classification")
    predicted = predictions.argmax(-1)
    report = oracle.classification_report(
        targets, predicted, target_names=labels, output_dict=True
    )
    for entry in found.classes:
        expected = report[entry.label]
        assert entry.precision == pytest.approx(expected["precision"])
        assert entry.recall == pytest.approx(expected["recall"])
        assert entry.f1 == pytest.approx(expected["f1-score"])
        assert entry.support == expected["support"]
    assert np.array_equal(found.confusion, oracle.confusion_matrix(targets, predicted))
    assert found.metrics["accuracy"].value == pytest.approx(report["accuracy"])
    assert found.metrics["f1"] == bootstrap(F1, predictions, targets, 200)
    assert found.count == 200
    text = json.dumps(found.to_json(), allow_nan=False)
    assert list(json.loads(text)) == ["count", "metrics", "classes", "confusion", "calibration"]


def test_calibration_curve_adds_up_to_the_calibration_error():
    predictions, targets = classified(500, 3)
    curve = calibration_curve(predictions, targets, 15)
    assert sum(b.count for b in curve) == 500
    filled = [b for b in curve if b.count]
    assert all(b.low < b.confidence <= b.high for b in filled)
    error = sum(b.count / 500 * abs(b.accuracy - b.confidence) for b in filled)
    metric = metric_for("calibration_error", "classification")
    assert error == pytest.approx(metric.compute(predictions, targets).item())
    assert all(math.isnan(b.accuracy) for b in curve if not b.count)


def test_regression_summary_holds_residual_quantiles():
    predictions, targets = regressed(101)
    predictions, targets = predictions.repeat(1, 2), targets.repeat(1, 2)
    predictions[:, 1] += 1
    metrics = default_metrics("regression")
    found = evaluate(
        predictions, targets, metrics, ["a", "b"], EvaluateSection(resamples=100), "regression"
    )
    first, second = found.residuals
    error = (predictions - targets)[:, 0].double().numpy()
    expected = np.quantile(error, [0.05, 0.25, 0.5, 0.75, 0.95])
    quantiles = [first.q05, first.q25, first.q50, first.q75, first.q95]
    assert quantiles == pytest.approx(expected.tolist())
    assert second.mean == pytest.approx(first.mean + 1, abs=1e-6)
    json.dumps(found.to_json(), allow_nan=False)


def test_predictions_that_are_not_numbers_are_told_and_not_hidden():
    predictions, targets = classified(20, 2)
    predictions[3] = torch.nan
    found = evaluate(
        predictions,
        targets,
        default_metrics("classification"),
        ["no", "yes"],
        EvaluateSection(resamples=100),
        "classification",
    )
    plain = found.to_json()
    assert plain["metrics"]["accuracy"]["value"] is None
    assert plain["metrics"]["accuracy"]["nonfinite"] == "nan"
    assert plain["classes"][0]["recall"] is None
    assert plain["confusion"] == []
    assert sum(b.count for b in found.calibration) == 19
    json.dumps(plain, allow_nan=False)
