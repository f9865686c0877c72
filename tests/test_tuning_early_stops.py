"""Early stopping of trials: who is stopped, who never is, and how many."""

import random
from collections import Counter
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelscale.tuning.early_stops.base import EarlyStopSpec, Standing
from modelscale.tuning.early_stops.hyperband import brackets
from modelscale.tuning.fronts import domination_scores

KINDS = EarlyStopSpec.kinds()
AGAINST_RIVALS = ["median", "successive_halving", "hyperband"]
EPOCHS = 20


def rule(kind, **fields):
    needed = {"bound": 0.5} if kind == "threshold" else {}
    return EarlyStopSpec.model_validate({"kind": kind, **needed, **fields})


def standing(number, epoch, rivals, curve=None, maximize=True, epochs=EPOCHS):
    curve = curve or {epoch: rivals[number]}
    return Standing(number, epoch, epochs, rivals, curve, maximize)


scores = st.lists(st.floats(0, 1), min_size=1, max_size=40).map(lambda s: dict(enumerate(s)))


@pytest.mark.parametrize("kind", AGAINST_RIVALS)
@given(rivals=scores, epoch=st.integers(1, EPOCHS))
def test_best_trial_is_never_stopped_by_its_rivals(kind, rivals, epoch):
    best = max(rivals, key=rivals.get)
    assert not rule(kind).stops(standing(best, epoch, rivals))


@pytest.mark.parametrize("kind", KINDS)
@given(rivals=scores)
def test_nobody_is_stopped_after_the_last_epoch(kind, rivals):
    worst = min(rivals, key=rivals.get)
    assert not rule(kind).stops(standing(worst, EPOCHS, rivals, {1: 1.0, EPOCHS: 0.0}))


@pytest.mark.parametrize("kind", KINDS)
@given(rivals=scores, epoch=st.integers(1, EPOCHS), order=st.randoms())
def test_answer_depends_on_nothing_but_the_standing(kind, rivals, epoch, order):
    shuffled = list(rivals.items())
    order.shuffle(shuffled)
    for number in rivals:
        first = rule(kind).stops(standing(number, epoch, rivals))
        assert rule(kind).stops(standing(number, epoch, dict(shuffled))) == first


@pytest.mark.parametrize("reduction", [2, 3, 4])
def test_halving_lets_one_in_reduction_of_a_cohort_pass(reduction):
    rng = random.Random(0)
    rivals = {n: rng.random() for n in range(60)}
    halving = rule("successive_halving", first=2, reduction=reduction)
    for rung in (2, 2 * reduction):
        left = [n for n in rivals if not halving.stops(standing(n, rung, rivals))]
        assert len(left) == 60 // reduction
        assert min(rivals[n] for n in left) > max(rivals[n] for n in rivals if n not in left)
    assert not any(halving.stops(standing(n, 3, rivals)) for n in rivals)


@pytest.mark.parametrize("reduction", [2, 3])
def test_halving_lets_about_one_in_reduction_pass_when_they_come_one_by_one(reduction):
    rng = random.Random(1)
    halving = rule("successive_halving", first=2, reduction=reduction)
    rivals, passed = {}, 0
    for n in range(600):
        rivals[n] = rng.random()
        passed += not halving.stops(standing(n, 2, rivals))
    assert passed / 600 == pytest.approx(1 / reduction, abs=0.06)


def test_halving_agrees_with_optuna_on_a_study_of_one_worker():
    import optuna

    pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=2, reduction_factor=3)
    study = optuna.create_study(direction="maximize", pruner=pruner)
    rng = random.Random(2)
    halving, rivals = rule("successive_halving"), {}
    for number in range(60):
        trial, score = study.ask(), rng.random()
        trial.report(score, 2)
        rivals[number] = score
        theirs = trial.should_prune()
        ours = halving.stops(standing(number, 2, rivals))
        if number >= 2:  # Optuna lets the best one pass even among two
            assert ours == theirs
        study.tell(trial, state=optuna.trial.TrialState.PRUNED)


@given(rivals=scores)
def test_median_stops_those_below_it(rivals):
    stops = rule("median", warmup=3, least_rivals=5)
    for number, score in rivals.items():
        assert not stops.stops(standing(number, 3, rivals))
        expected = len(rivals) >= 5 and score < median(rivals.values())
        assert stops.stops(standing(number, 4, rivals)) == expected


# Hyperband


@pytest.mark.parametrize(
    ("epochs", "first", "reduction", "sizes"),
    [
        (40, 2, 3, {0: 27, 1: 12, 2: 6, 3: 4}),
        (81, 1, 3, {0: 81, 1: 34, 2: 15, 3: 8, 4: 5}),  # the table of Li et al.
        (2, 2, 3, {0: 1}),
    ],
)
def test_brackets_come_round_and_are_spread(epochs, first, reduction, sizes):
    cycle = brackets(epochs, first, reduction)
    assert set(cycle) == set(sizes)
    assert first * reduction ** max(sizes) >= epochs  # the last one has no rung
    counts = Counter(cycle)
    assert [counts[b] for b in sorted(counts)] == sorted(counts.values(), reverse=True)
    half = Counter(cycle[: len(cycle) // 2])
    assert all(abs(half[b] - counts[b] / 2) <= 1 for b in counts)


def test_brackets_cost_about_the_same_epochs():
    epochs, first, reduction = 81, 1, 3
    cost = Counter()
    for bracket in brackets(epochs, first, reduction):
        # One in 3 passes each rung, so that a rung's trials and epochs cancel out.
        reached, share, last = 0.0, 1.0, 0
        rung = first * reduction**bracket
        while rung < epochs:
            reached, share, last = reached + share * (rung - last), share / reduction, rung
            rung *= reduction
        cost[bracket] += reached + share * (epochs - last)
    assert max(cost.values()) < 2 * min(cost.values())


def test_hyperband_compares_within_a_bracket_and_one_bracket_stops_nobody():
    band = rule("hyperband", first=2, reduction=3)
    cycle = brackets(EPOCHS, 2, 3)
    numbers = range(10 * len(cycle))
    bracket_of = {n: cycle[n % len(cycle)] for n in numbers}
    rivals = {n: n / 1000 + (bracket_of[n] == 1) for n in numbers}
    stopped = {
        e: {n for n in numbers if band.stops(standing(n, e, rivals))} for e in (2, 6, 18)
    }
    assert {bracket_of[n] for n in stopped[2]} == {0}
    assert {bracket_of[n] for n in stopped[6]} == {0, 1}
    assert {bracket_of[n] for n in stopped[18]} == {0, 1, 2}
    for epoch, bracket in ((2, 0), (6, 1), (18, 2)):
        members = [n for n in numbers if bracket_of[n] == bracket]
        gone = [n for n in members if n in stopped[epoch]]
        assert gone == members[: len(members) - len(members) // 3]


# A trial's own curve


@pytest.mark.parametrize("maximize", [True, False])
def test_patience_counts_from_the_last_improvement(maximize):
    sign = 1 if maximize else -1
    curve = {e: sign * v for e, v in enumerate([0.1, 0.2, 0.3, 0.25, 0.31, 0.1, 0.3], 1)}

    def stopped(epoch, **fields):
        at = standing(0, epoch, {0: 0.0}, curve, maximize)
        return rule("patience", **fields).stops(at)

    assert [e for e in range(1, 8) if stopped(e, epochs=2)] == [7]
    assert [e for e in range(1, 8) if stopped(e, epochs=2, least=0.05)] == [5, 6, 7]
    assert not any(stopped(e, epochs=3) for e in range(1, 8))


def test_threshold_is_in_the_metrics_unit():
    below, above = ({0: -v} for v in (2.0, 3.0))
    loss = rule("threshold", bound=2.5, after=3)
    assert not loss.stops(standing(0, 3, below, {3: 2.0}, maximize=False))
    assert loss.stops(standing(0, 3, above, {3: 3.0}, maximize=False))
    assert not loss.stops(standing(0, 2, above, {2: 3.0}, maximize=False))
    accuracy = rule("threshold", bound=0.6)
    assert accuracy.stops(standing(0, 1, {0: 0.5}, {1: 0.5}))
    assert not accuracy.stops(standing(0, 1, {0: 0.7}, {1: 0.7}))
    assert accuracy.stops(standing(0, 1, {0: 0.7}, {1: float("nan")}))


def test_ranks_of_several_objectives_keep_the_whole_front():
    values = [(0.9, 100.0), (0.5, 10.0), (0.8, 120.0), (0.4, 20.0), (0.3, 30.0), (0.2, 200.0)]
    ranks = dict(enumerate(domination_scores(values, (True, False))))
    halving = rule("successive_halving", reduction=3)
    left = [n for n in ranks if not halving.stops(standing(n, 2, ranks, {2: values[n][0]}))]
    assert left == [0, 1]
