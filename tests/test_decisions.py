"""Costly decisions: thresholds against brute force, calibration against scikit-learn."""

import re

import numpy as np
import pytest
import torch
from command_line import cli
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from modelscale.evaluation.decisions import (
    cheapest_threshold,
    fit_platt,
    mean_with_interval,
    threshold_of,
)

few = settings(max_examples=60, deadline=None)


@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 30),
    st.sampled_from([3, 1000]),
    st.floats(0.1, 10),
    st.floats(0.1, 10),
)
@few
def test_no_threshold_is_cheaper_on_the_examples(seed, N, steps, miss, alarm):
    rng = np.random.default_rng(seed)
    p_N, true_N = rng.integers(0, steps + 1, N) / steps, rng.integers(0, 2, N)
    cost_CC = torch.tensor([[0.0, alarm], [miss, 0.5 * miss]])

    def cost(threshold):
        return cost_CC.numpy()[true_N, (p_N > threshold).astype(int)].sum()

    found = cheapest_threshold(torch.from_numpy(p_N), torch.from_numpy(true_N), cost_CC)
    least = min(cost(t) for t in [0.0, *p_N.tolist()])
    assert cost(found) == pytest.approx(least, rel=1e-6)
    assert 0 <= found <= 1


def test_threshold_of_costs_is_where_both_decisions_cost_the_same():
    cost_CC = torch.tensor([[0.0, 5.0], [1.0, 0.0]])
    p = threshold_of(cost_CC)
    assert p == pytest.approx(5 / 6)
    assert (1 - p) * 5 == pytest.approx(p * 1)


def test_calibration_is_logistic_regression_on_the_log_odds_with_platts_targets():
    rng = np.random.default_rng(0)
    odds_N = rng.normal(size=400) * 2
    true_N = (rng.random(400) < 1 / (1 + np.exp(-(0.4 * odds_N - 1)))).astype(int)
    p_N = torch.from_numpy(1 / (1 + np.exp(-odds_N)))
    found = fit_platt(p_N, torch.from_numpy(true_N))
    ones = true_N.sum()
    share_N = np.where(true_N == 1, (ones + 1) / (ones + 2), 1 / (400 - ones + 2))
    oracle = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(
        np.tile(odds_N, 2)[:, None],
        np.repeat([1, 0], 400),
        sample_weight=np.concatenate([share_N, 1 - share_N]),
    )
    assert found.slope == pytest.approx(oracle.coef_[0, 0], rel=1e-4)
    assert found.intercept == pytest.approx(oracle.intercept_[0], rel=1e-4)
    truth_N = torch.from_numpy(true_N)
    assert (found.apply(p_N) - truth_N).square().mean() < (p_N - truth_N).square().mean()


def test_classes_that_part_completely_keep_the_calibration_finite():
    found = fit_platt(torch.tensor([0.1, 0.2, 0.8, 1.0]), torch.tensor([0, 0, 1, 1]))
    assert np.isfinite([found.slope, found.intercept]).all()


def test_interval_of_a_mean_is_students():
    found = mean_with_interval(torch.tensor([1.0, 2.0, 3.0]), 0.95)
    assert found.value == 2
    assert found.high - found.value == pytest.approx(4.3027 / 3**0.5, rel=1e-3)


SPEC = """
version: 1
data:
  source: breast_cancer
  split: {test: 0.2, validation: 0.2, seed: 0}
model: linear
train: {epochs: 5, batch_size: 64, keep: last}
metrics: [accuracy, {kind: expected_cost, costs: COSTS}, recall_at_fpr]
evaluate: {resamples: 100, costs: COSTS}
"""


def test_evaluate_prices_decisions_and_chooses_a_threshold_on_validation(tmp_path):
    (tmp_path / "s.yaml").write_text(SPEC.replace("COSTS", "[[0, 10], [1, 0]]"))
    trained = cli(tmp_path, "train", "s.yaml", "--json", "-q")
    assert trained.code == 0, trained.err
    priced = trained.document["metrics"]["test"]["expected_cost"]["value"]
    found = cli(tmp_path, "evaluate", trained.document["run"], "--json", "-q").document
    decisions = found["decisions"]
    assert decisions["costs"] == [[0, 10], [1, 0]]
    assert decisions["thresholds"]["by_costs"] == pytest.approx(10 / 11)
    assert 0 < decisions["thresholds"]["by_validation"] < 1
    assert decisions["cost"]["cheapest by probability"]["value"] == pytest.approx(priced)
    assert priced < decisions["cost"]["always the same"]["value"]
    assert (
        "threshold of validation"
        in cli(tmp_path, "evaluate", trained.document["run"], "-q").out
    )
    assert cli(tmp_path, "report", trained.document["run"], "-q").code == 0
    page = re.sub(r"<[^>]+>|\s+", " ", next(tmp_path.rglob("report.html")).read_text())
    threshold = decisions["thresholds"]["by_validation"]
    assert f"from a probability of {threshold:.4g} on, chosen on the validation part" in page
    value = decisions["cost"]["threshold of validation"]["value"]
    shown = re.search(r"threshold of validation +([0-9.]+) \[", page)
    assert float(shown[1]) == pytest.approx(value, abs=0.051)


def test_each_fold_decides_by_its_own_threshold_in_the_report(tmp_path):
    spec = SPEC.replace("COSTS", "[[0, 10], [1, 0]]")
    (tmp_path / "s.yaml").write_text(spec.replace("{test: 0.2, ", "{kind: kfold, folds: 3, "))
    trained = cli(tmp_path, "train", "s.yaml", "--json", "-q")
    assert trained.code == 0, trained.err
    assert cli(tmp_path, "report", trained.document["run"], "-q").code == 0
    page = next(tmp_path.rglob("report.html")).read_text()
    assert re.search(r"from a probability of [0-9.]+ to [0-9.]+ on", page)


def test_costs_that_do_not_fit_the_classes_are_refused_before_training(tmp_path):
    costs = "[[0, 1, 1], [1, 0, 1], [1, 1, 0]]"
    (tmp_path / "s.yaml").write_text(SPEC.replace("COSTS", costs))
    result = cli(tmp_path, "train", "s.yaml")
    assert result.code == 78
    assert "evaluate.costs: is for 3 classes, and there are 2 (" in result.err
