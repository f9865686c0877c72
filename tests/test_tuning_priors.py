"""Beliefs about good values: what is drawn from them, and that wrong ones do little harm."""

import math

import numpy as np
import pytest
from tuning_spaces import experiment, search, search_on, space

from modelscale.errors import SpecError
from modelscale.tuning.history import Finished, History
from modelscale.tuning.priors import WIDTH, believed
from modelscale.tuning.proposals import propose
from modelscale.tuning.samplers.base import SamplerSpec
from modelscale.tuning.space import point_word, size
from modelscale.tuning.starting import takes

RATE = "{{low: 1e-4, high: 1e-1, log: true{}}}"
DECAY = "{{low: 0.0, high: 1.0{}}}"


def two_keys(rate="", decay=""):
    """Return a space of two numbers with priors."""
    return space(
        f"\n    optimizer.lr: {RATE.format(rate)}"
        f"\n    optimizer.weight_decay: {DECAY.format(decay)}\n"
    )


def proposer(kind, where, seed=0, queue=()):
    sampler = SamplerSpec.model_validate(kind)
    return lambda finished, count: propose(
        sampler, History(where, finished, (False,), seed), count, queue
    )


def rate_of(params):
    """Return the coordinate of the learning rate in [0, 1]."""
    return (math.log10(params["optimizer.lr"]) + 4) / 3


def regret(kind, where, seed, trials, batch=4):
    """Return the least regret in a bowl whose bottom is at lr 1e-2 and decay 0.3."""
    ask = proposer(kind, where, seed)
    done: list[Finished] = []
    while len(done) < trials:
        for params in ask(done, min(batch, trials - len(done))):
            x, y = rate_of(params) - 2 / 3, params["optimizer.weight_decay"] - 0.3
            done.append(Finished(params, (4 * x**2 + y**2,), "complete"))
    return min(trial.values[0] for trial in done)


# What is drawn


@pytest.mark.parametrize("number", [0, 10, 40])
def test_share_of_trials_that_lean_falls_as_stated(number):
    where = two_keys(rate=", prior: {center: 1e-3, weight: 0.8}")
    leaning = [bool(believed(where, seed, number)) for seed in range(2000)]
    expected = 0.8 * 10 / (10 + number)
    error = (expected * (1 - expected) / 2000) ** 0.5
    assert abs(np.mean(leaning) - expected) < 4 * error


@pytest.mark.parametrize("center", [1e-4, 1e-3, 0.08])
def test_values_are_normal_around_the_center_and_cut_to_the_range(center):
    stats = pytest.importorskip("scipy.stats")
    where = two_keys(rate=f", prior: {{center: {center}, weight: 1.0}}")
    drawn = [believed(where, seed, 0)["optimizer.lr"] for seed in range(800)]
    middle = (math.log10(center) + 4) / 3
    law = stats.truncnorm(-middle / WIDTH, (1 - middle) / WIDTH, middle, WIDTH)
    found = [(math.log10(value) + 4) / 3 for value in drawn]
    assert stats.kstest(found, law.cdf).pvalue > 1e-3


def test_keys_of_one_weight_lean_together_and_weaker_ones_less_often():
    where = two_keys(", prior: {center: 1e-3}", ", prior: {center: 0.5}")
    assert {len(believed(where, seed, 0)) for seed in range(50)} == {0, 2}
    where = two_keys(", prior: {center: 1e-3, weight: 0.9}", ", prior: {center: 0.5}")
    assert {tuple(believed(where, seed, 0)) for seed in range(80)} == {
        (),
        ("optimizer.lr",),
        ("optimizer.lr", "optimizer.weight_decay"),
    }


def test_other_trials_of_random_search_are_those_without_priors():
    with_prior = two_keys(rate=", prior: {center: 1e-3}")
    plain = proposer("random", two_keys())([], 60)
    leaned = 0
    for number, params in enumerate(proposer("random", with_prior)([], 60)):
        taken = believed(with_prior, 0, number)
        assert params == {**plain[number], **taken}
        leaned += bool(taken)
    assert 3 <= leaned <= 20


def test_whole_numbers_choices_and_conditional_keys():
    where = space("""
    model:
      choices: [{kind: mlp, hidden: [64]}, {kind: cnn}]
      prior: {center: {kind: cnn}, weight: 0.9}
    model.dropout:
      {low: 0.0, high: 0.5, step: 0.1, prior: {center: 0.2}, when: {model.kind: [mlp]}}
    train.batch_size: {low: 16, high: 256, log: true, prior: {center: 32}}
    optimizer.lr: {low: 0.01, high: 0.01, prior: {center: 0.01}}
""")
    for kind in ("random", "tpe", "nsga2"):
        done = search(proposer(kind, where), 24, 6)
        for trial in done:
            active = {key for key in where.ranges if where.is_active(key, trial.params)}
            assert set(trial.params) == active
            assert all(takes(where.ranges[key], v) for key, v in trial.params.items())
        assert isinstance(done[0].params["train.batch_size"], int)
    first = [proposer("random", where, seed)([], 1)[0] for seed in range(60)]
    assert np.mean([p["model"]["kind"] == "cnn" for p in first]) > 0.8


@pytest.mark.parametrize("kind", ["random", "tpe", "nsga2"])
def test_search_that_is_extended_is_the_longer_search(kind):
    ask = proposer(kind, two_keys(", prior: {center: 1e-3}", ", prior: {center: 0.5}"))
    assert search_on(search(ask, 14, 4), ask, 27, 4) == search(ask, 27, 4)


@pytest.mark.parametrize("kind", ["random", "tpe"])
def test_finite_space_is_tried_whole_and_nothing_twice(kind):
    where = space("""
    optimizer.lr: {choices: [1e-3, 1e-2, 1e-1], prior: {center: 1e-2, weight: 1.0}}
    model.dropout: {low: 0.0, high: 0.3, step: 0.1, prior: {center: 0.1, weight: 1.0}}
""")
    done = search(proposer(kind, where), 100, 4)
    assert len({point_word(t.params) for t in done}) == len(done) == size(where)


def test_starting_points_are_filled_in_by_the_sampler_alone():
    where = two_keys(", prior: {center: 1e-3, weight: 1.0}", ", prior: {center: 0.5}")
    queue = [{"optimizer.weight_decay": 0.25}]
    first = proposer("random", where, queue=queue)([], 1)[0]
    plain = proposer("random", two_keys(), queue=queue)([], 1)[0]
    assert first == plain


# What it is worth


def mean_regret(kind, where, trials, seeds):
    return float(np.mean([regret(kind, where, seed, trials) for seed in range(seeds)]))


RIGHT = (", prior: {center: 1e-2}", ", prior: {center: 0.3}")
WRONG = (", prior: {center: 1e-4}", ", prior: {center: 1.0}")


@pytest.mark.parametrize("kind", ["random", "tpe"])
def test_right_prior_helps_at_once(kind):
    plain = mean_regret(kind, two_keys(), 8, 30)
    assert mean_regret(kind, two_keys(*RIGHT), 8, 30) < plain / 2


def test_wrong_prior_costs_random_search_the_trials_that_it_stands_for():
    plain = mean_regret("random", two_keys(), 54, 60)  # 64 without the 10 that lean
    assert mean_regret("random", two_keys(*WRONG), 64, 60) < 1.5 * plain


@pytest.mark.slow
def test_search_that_learns_recovers_from_a_wrong_prior():
    early, late = (mean_regret("tpe", two_keys(*WRONG), n, 12) for n in (8, 64))
    assert late < early / 20
    assert late < mean_regret("tpe", two_keys(), 32, 12)
    assert late < mean_regret("random", two_keys(), 64, 12)


# What is refused


@pytest.mark.parametrize("kind", ["grid", "qmc", "cmaes"])
def test_sampler_that_chooses_all_values_refuses_priors(kind):
    text = "\n    model.dropout: {low: 0.0, high: 0.3, step: 0.1, prior: {center: 0.1}}\n"
    told = rf"s\.yaml:\d+:\d+: tune\.space\.model\.dropout\.prior: {kind} chooses all values"
    with pytest.raises(SpecError, match=told):
        experiment(text, extra=f"  sampler: {kind}\n")


@pytest.mark.parametrize(
    ("prior", "message"),
    [
        ("{center: 1.0}", r"prior\.center: 1\.0 is not in the range"),
        ("{center: often}", r"prior\.center: 'often' is not in the range"),
        ("{center: 1e-3, weight: 2.0}", r"prior\.weight: .*1"),
        ("{weight: 0.5}", r"prior\.center"),
        ("{centre: 1e-3}", r"prior\.centre: .*did you mean 'center'"),
    ],
)
def test_faults_are_told_where_they_are_written(prior, message):
    with pytest.raises(
        SpecError, match=r"s\.yaml:\d+:\d+: tune\.space\.optimizer\.lr\." + message
    ):
        experiment(f"\n    optimizer.lr: {RATE.format(f', prior: {prior}')}\n")
