"""Objectives, bounds, Pareto fronts, and what random search would have found."""

import itertools
import math
import random

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tuning_spaces import NUMBERS, experiment

from modelscale.errors import SpecError
from modelscale.tuning.fronts import domination_scores, hypervolume, pareto_front
from modelscale.tuning.goals import Bound, maximizes, violations
from modelscale.tuning.random_baseline import expected_best_of_random

TWO = "  objectives: [{metric: validation/accuracy}, {metric: model/parameters}]\n"


def refusal(extra):
    with pytest.raises(SpecError) as raised:
        experiment(NUMBERS, extra=extra)
    return str(raised.value)


def test_first_objective_is_the_metric():
    tune = experiment(NUMBERS, extra=TWO).tune
    assert tune.metric == "validation/accuracy"
    assert [o.metric for o in tune.all_objectives()] == [
        "validation/accuracy",
        "model/parameters",
    ]
    alone = experiment(NUMBERS, extra="  metric: validation/f1\n  direction: maximize\n").tune
    (one,) = alone.all_objectives()
    assert (one.metric, one.direction) == ("validation/f1", "maximize")


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (TWO + "  metric: validation/loss\n", "'metric' and 'objectives' exclude each other"),
        (TWO + "  direction: maximize\n", "'direction' and 'objectives' exclude each other"),
        ("  objectives: [{metric: validation/f1}]\n", "names only one; say it as 'metric'"),
        (
            "  objectives: [{metric: model/macs}, {metric: model/macs}]\n",
            "names 'model/macs' twice",
        ),
        (
            "  objectives: [{metric: model/macs}, {metric: latency/1}]\n",
            "unknown measure 'latency/1'; did you mean 'latency_ms'? (one of: valid",
        ),
        ("  constraints: {latency_ms/0: {at_most: 1}}\n", "unknown measure 'latency_ms/0'"),
        ("  constraints: {model/macs: {}}\n", "needs 'at_most' or 'at_least'"),
        (
            "  constraints: {model/macs: {at_least: 3, at_most: 2}}\n",
            "at_least 3 is above at_most 2",
        ),
    ],
)
def test_goal_that_makes_no_sense_is_told(extra, message):
    assert message in refusal(extra)


def test_costs_are_minimised_and_metrics_know_their_direction():
    assert not maximizes("model/macs", "auto", "classification")
    assert not maximizes("latency_ms/1", "auto", "regression")
    assert maximizes("validation/accuracy", "auto", "classification")
    assert not maximizes("validation/rmse", "auto", "regression")
    assert maximizes("model/macs", "maximize", "classification")


def test_violation_is_positive_where_a_bound_is_missed_and_relative_to_it():
    bounds = {
        "model/macs": Bound(at_most=2000.0),
        "validation/accuracy": Bound(at_least=0.9, at_most=1.0),
    }
    measured = {"model/macs": 3000.0, "validation/accuracy": 0.8, "more": 1.0}
    assert violations(bounds, measured) == pytest.approx((0.5, -0.2, 0.1))
    assert violations(bounds, measured | {"model/macs": math.nan})[0] == 1.0


# Fronts

coordinate = st.integers(0, 4).map(float)
point_lists = st.integers(1, 3).flatmap(
    lambda d: st.tuples(
        st.lists(st.tuples(*[coordinate] * d), min_size=1, max_size=12),
        st.lists(st.booleans(), min_size=d, max_size=d),
    )
)


@given(point_lists)
@settings(deadline=None, max_examples=60)
def test_front_is_optunas_front(case):
    values, maximize = case
    study = optuna.create_study(
        directions=["maximize" if up else "minimize" for up in maximize]
    )
    study.add_trials([optuna.create_trial(values=list(v)) for v in values])
    front = pareto_front(values, maximize)
    if len(maximize) > 1:
        assert front == sorted(t.number for t in study.best_trials)
    else:
        assert {values[i] for i in front} == {tuple(study.best_trial.values)}


@given(point_lists)
def test_scores_peel_the_fronts_off(case):
    values, maximize = case
    scores = domination_scores(values, maximize)
    assert [i for i, s in enumerate(scores) if s == 0] == pareto_front(values, maximize)
    left = list(range(len(values)))
    for depth in range(len(set(scores))):
        front = [left[i] for i in pareto_front([values[i] for i in left], maximize)]
        assert [i for i in left if scores[i] == -depth] == front
        left = [i for i in left if i not in front]
    assert left == []


@given(point_lists)
def test_hypervolume_counts_the_dominated_cells(case):
    values, maximize = case
    corner = tuple(-1.0 if up else 5.0 for up in maximize)
    cells = 0
    for cell in itertools.product(*[[k - 0.5 for k in range(6)]] * len(maximize)):
        cells += any(
            all(v > c if up else v < c for v, c, up in zip(point, cell, maximize, strict=True))
            for point in values
        )
    assert hypervolume(values, maximize, corner) == pytest.approx(cells)


def test_point_beyond_the_reference_covers_nothing():
    assert hypervolume([(6.0, 1.0)], [False, False], (5.0, 5.0)) == 0.0


# Random search

results = st.lists(st.floats(-100, 100), min_size=1, max_size=8)


@given(results, st.booleans())
@settings(deadline=None)
def test_expected_best_is_the_mean_over_all_subsets(values, maximize):
    best = max if maximize else min
    budgets = range(1, len(values) + 1)
    brute = [np.mean([best(s) for s in itertools.combinations(values, n)]) for n in budgets]
    ours = expected_best_of_random(values, budgets, maximize=maximize)
    np.testing.assert_allclose(ours, brute, atol=1e-9)


@given(results)
def test_expected_best_never_gets_worse_and_ends_at_the_best(values):
    curve = expected_best_of_random(values, range(1, len(values) + 1), maximize=False)
    assert all(b <= a + 1e-9 for a, b in itertools.pairwise(curve))
    assert curve[-1] == pytest.approx(min(values))
    assert curve[0] == pytest.approx(float(np.mean(values)), abs=1e-9)


def test_expected_best_of_many_trials_is_exact():
    values = [float(k) for k in range(3000)]
    (best,) = expected_best_of_random(values, [29], maximize=False)
    assert best == pytest.approx((3000 + 1) / (29 + 1) - 1)  # mean minimum of a draw of ranks


def test_failed_trials_count_as_the_worst():
    values = [1.0, None, 2.0, math.nan, math.inf]
    assert expected_best_of_random(values, [1], maximize=False)[0] == pytest.approx(9 / 5)
    assert expected_best_of_random(values, [1], maximize=True)[0] == pytest.approx(6 / 5)


def test_expected_best_agrees_with_drawn_searches():
    rng = random.Random(0)
    values = [rng.gauss(0, 1) for _ in range(40)]
    drawn = [max(rng.sample(values, 10)) for _ in range(4000)]
    (ours,) = expected_best_of_random(values, [10], maximize=True)
    assert abs(ours - np.mean(drawn)) < 4 * np.std(drawn) / math.sqrt(4000)


@pytest.mark.parametrize("budget", [0, 3])
def test_budget_beyond_the_trials_is_refused(budget):
    with pytest.raises(ValueError, match="a budget must be from 1 to 2, got"):
        expected_best_of_random([1.0, 2.0], [budget], maximize=True)
    with pytest.raises(ValueError, match="no random trial has a finite value"):
        expected_best_of_random([None], [1], maximize=True)
