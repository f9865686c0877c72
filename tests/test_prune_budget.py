"""What an accuracy budget promises, against populations whose true loss is known."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from modelscale.evaluation.metric_names import metric_for
from modelscale.pruning.budget import (
    TRIES,
    Loss,
    Try,
    each_confidence,
    loss_between,
    promise,
    smallest_within,
)

ACCURACY = metric_for("accuracy", "classification")
RMSE = metric_for("rmse", "regression")


def answers(right_N):
    """Return (N, 2) probabilities that are right where they should be, for targets of 1."""
    return torch.stack([1.0 - right_N, right_N], dim=1).float()


def drawn(generator, rows, lost, gained):
    """Return answers of two models: a share is lost, another one gained."""
    share = torch.rand(rows, generator=generator)
    before, after = torch.ones(rows), torch.ones(rows)
    after[share < lost] = 0
    before[(share >= lost) & (share < lost + gained)] = 0
    return answers(before), answers(after), torch.ones(rows, dtype=torch.long)


def test_a_model_at_the_edge_of_its_budget_is_seldom_let_through_by_any_try():
    """The true loss is a hair above the budget; five tries, 95 % confidence over all."""
    generator, budget = torch.Generator().manual_seed(0), 0.02
    confidence = each_confidence(0.95)
    studies, wrong = 300, 0
    for _ in range(studies):
        for _ in range(TRIES):  # as if all were independent: the worst case
            lost = drawn(generator, 400, lost=0.04, gained=0.019)
            if loss_between(ACCURACY, *lost, confidence).within(budget):
                wrong += 1
                break
    assert wrong / studies <= 0.08  # 0.05 with three standard errors of 300 studies


def test_the_loss_as_measured_lets_such_models_through():
    """What the bound is for: by the point estimate alone nearly every study goes wrong."""
    generator, wrong = torch.Generator().manual_seed(0), 0
    for _ in range(50):
        tries = [
            loss_between(ACCURACY, *drawn(generator, 400, 0.04, 0.019), each_confidence(0.5))
            for _ in range(TRIES)
        ]
        wrong += any(loss.within(0.02) for loss in tries)
    assert wrong > 40


def test_losses_of_errors_are_shares_of_what_they_were():
    truth = torch.zeros(50, 1)
    before, after = truth + 2.0, truth + 2.5
    after[::2] -= 0.1
    loss = loss_between(RMSE, before, after, truth, 0.95)
    wanted = float(((after**2).mean().sqrt() - 2.0) / 2.0)
    assert loss.drop == pytest.approx(wanted)
    assert loss.drop < loss.bound < 0.3


def test_equal_answers_lose_nothing_for_certain():
    answered = torch.rand(20, 2)
    loss = loss_between(ACCURACY, answered, answered, torch.ones(20, dtype=torch.long), 0.99)
    assert (loss.drop, loss.bound) == (0, 0)


@given(st.floats(0.0, 5.0))
def test_the_search_ends_near_the_edge(edge):
    """Sizes up to the edge are within the budget: the best try is the last one below it."""

    def tried(_, halvings):
        return Try({"macs": 2**-halvings}, Loss(halvings, halvings), halvings <= edge)

    tries, best = smallest_within(5.0, tried)
    assert len(tries) == TRIES
    if best is None:
        assert edge < 5 / 2**TRIES
    else:
        assert edge - 5 / 2**TRIES <= tries[best].loss.drop <= edge


def test_the_promise_says_how_sure_it_is():
    tries = (Try({"macs": 0.5}, Loss(0.001, 0.009), within=True),) * TRIES
    sure = promise(tries, 0, 0.01, 0.95, 1000)
    assert "at most 0.009" in sure["text"]
    assert "95 % confidence" in sure["text"]
    assert sure["bound"] == 0.009
    measured = promise(tries, 0, 0.01, 0.5, 1000)
    assert measured["bound"] is None
    assert "may well be above 0.01" in measured["text"]
    nothing = promise(tries, None, 0.005, 0.95, 1000)
    assert "nothing was removed" in nothing["text"]
