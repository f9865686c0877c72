"""Metrics of imbalanced and costly decisions, against scikit-learn and hand counts."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle

from modelscale.evaluation.metrics.expected_cost import ExpectedCost
from modelscale.evaluation.metrics.precision_at_recall import PrecisionAtRecall
from modelscale.evaluation.metrics.recall_at_fpr import RecallAtFpr

few = settings(max_examples=60, deadline=None)


def scored(seed, N, steps):
    """Return (scores (N,) with ties, truth (N,)) that has both classes."""
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, steps + 1, N) / steps
    truth = rng.integers(0, 2, N)
    truth[:2] = [0, 1]
    return scores, truth


def two_columns(scores):
    return torch.from_numpy(np.stack([1 - scores, scores], axis=1))


@given(
    st.integers(0, 2**32 - 1),
    st.integers(2, 60),
    st.sampled_from([1, 3, 1000]),
    st.sampled_from([0.0, 0.05, 0.1, 0.5]),
)
@few
def test_recall_at_fpr_is_the_highest_point_of_sklearns_roc_curve(seed, N, steps, fpr):
    scores, truth = scored(seed, N, steps)
    rate, recall, _ = oracle.roc_curve(truth, scores, drop_intermediate=False)
    expected = recall[rate <= fpr + 1e-12].max()
    found = RecallAtFpr(fpr=fpr).compute(two_columns(scores), torch.from_numpy(truth))
    assert found.item() == pytest.approx(expected, abs=1e-12)


@given(
    st.integers(0, 2**32 - 1),
    st.integers(2, 60),
    st.sampled_from([1, 3, 1000]),
    st.sampled_from([0.05, 0.5, 0.8, 1.0]),
)
@few
def test_precision_at_recall_is_the_highest_point_of_sklearns_curve(seed, N, steps, wanted):
    scores, truth = scored(seed, N, steps)
    precision, recall, _ = oracle.precision_recall_curve(truth, scores)
    expected = precision[:-1][recall[:-1] >= wanted - 1e-12].max()  # the last is no threshold
    found = PrecisionAtRecall(recall=wanted).compute(
        two_columns(scores), torch.from_numpy(truth)
    )
    assert found.item() == pytest.approx(expected, abs=1e-12)


def test_precision_at_recall_tells_its_recall_and_needs_the_class():
    assert PrecisionAtRecall().label() == "precision_at_recall"
    assert PrecisionAtRecall(recall=0.5).label() == "precision_at_recall_0.5"
    shares = torch.rand(4, 2).softmax(-1)
    assert PrecisionAtRecall().compute(shares, torch.zeros(4).long()).isnan()
    assert PrecisionAtRecall().compute(shares, torch.ones(4).long()).item() == 1


def test_recall_at_fpr_tells_its_rate_and_needs_both_classes():
    assert RecallAtFpr().label() == "recall_at_fpr"
    assert RecallAtFpr(fpr=0.01).label() == "recall_at_fpr_0.01"
    for truth in (torch.zeros(4), torch.ones(4)):
        assert RecallAtFpr().compute(torch.rand(4, 2).softmax(-1), truth.long()).isnan()


@given(st.integers(0, 2**32 - 1), st.floats(0.1, 20), st.floats(0.1, 20))
@few
def test_expected_cost_of_two_classes_is_that_of_the_threshold_from_the_costs(
    seed, miss, alarm
):
    scores, truth = scored(seed, 40, 997)
    decided = (scores * miss > (1 - scores) * alarm).astype(int)
    confusion = oracle.confusion_matrix(truth, decided, labels=[0, 1])
    expected = (confusion[0, 1] * alarm + confusion[1, 0] * miss) / 40
    spec = ExpectedCost(costs=((0, alarm), (miss, 0)))
    found = spec.compute(two_columns(scores), torch.from_numpy(truth)).item()
    assert found == pytest.approx(expected)


def test_expected_cost_without_costs_is_the_error_rate():
    predictions = torch.rand(50, 3, generator=torch.Generator().manual_seed(0)).softmax(-1)
    truth = torch.arange(50) % 3
    wrong = 1 - oracle.accuracy_score(truth, predictions.argmax(-1))
    assert ExpectedCost().compute(predictions, truth).item() == pytest.approx(wrong)


@pytest.mark.parametrize(
    ("costs", "message"),
    [
        (((0, 1),), "a row and a column for each class"),
        (((0, 1, 1), (1, 0, 1)), "a row and a column for each class"),
        (((0, 1), (1, 1)), "row 2: the right answer must cost less than a wrong one"),
        (((0, -1), (1, 0)), "greater than or equal to 0"),
        (((0, float("inf")), (1, 0)), "finite number"),
    ],
)
def test_costs_that_make_no_sense_are_refused(costs, message):
    with pytest.raises(ValueError, match=message):
        ExpectedCost(costs=costs)


def test_costs_of_another_number_of_classes_are_refused():
    ExpectedCost(costs=((0, 1), (1, 0))).check(2)
    with pytest.raises(ValueError, match="costs is for 2 classes, and there are 3"):
        ExpectedCost(costs=((0, 1), (1, 0))).check(3)
