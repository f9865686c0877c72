"""What every sampler keeps, and what each does as its method says."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tuning_spaces import FINITE, NUMBERS, TWO_MODELS, experiment, search, search_on, space

from modelscale.errors import SpecError, Unavailable
from modelscale.tuning.history import Finished, History
from modelscale.tuning.optuna_study import GENERATION, StudyAsker
from modelscale.tuning.proposals import propose
from modelscale.tuning.samplers.base import SamplerSpec
from modelscale.tuning.space import point_word, points, size
from modelscale.tuning.starting import takes
from modelscale.tuning.unit_cube import coordinate_of, random_point, value_at

SMALL = {
    "tpe": {"startup_trials": 5},
    "gp": {"startup_trials": 4},
    "cmaes": {"population": 5},
    "nsga2": {"population": 6},
}
SQUARE = """
    model.dropout: {low: 0.0, high: 0.5}
    optimizer.weight_decay: {low: 0.0, high: 1.0}
"""
KINDS = SamplerSpec.kinds()
CHEAP = [kind for kind in KINDS if kind != "gp"]
every_kind = pytest.mark.parametrize("kind", KINDS)
gp_is_slow = pytest.mark.parametrize(
    "kind", [pytest.param(k, marks=[pytest.mark.slow] * (k == "gp")) for k in KINDS]
)


def sampler(kind):
    return SamplerSpec.model_validate({"kind": kind, **SMALL.get(kind, {})})


def proposer(kind, where, seed=0, maximize=(False,), queue=()):
    return lambda finished, count: propose(
        sampler(kind), History(where, finished, maximize, seed), count, queue
    )


def lengths(kind):
    return (5, 10) if kind == "gp" else (14, 27)


@gp_is_slow
@pytest.mark.parametrize(
    "text", [NUMBERS, TWO_MODELS, FINITE], ids=["numbers", "two", "finite"]
)
def test_search_that_is_extended_is_the_longer_search(kind, text):
    where = space(text, model="{kind: mlp}")
    ask = proposer(kind, where)
    if kind == "grid" and size(where) is None:
        return
    half, whole = lengths(kind)
    at_once = search(ask, whole, 4)
    assert search_on(search(ask, half, 4), ask, whole, 4) == at_once
    assert len({point_word(t.params) for t in at_once}) == len(at_once)


@pytest.mark.slow
@pytest.mark.parametrize("kind", CHEAP)
def test_a_hundred_trials_and_a_hundred_more_are_two_hundred(kind):
    where = space(FINITE if kind == "grid" else NUMBERS)
    ask = proposer(kind, where)
    assert search_on(search(ask, 100, 8), ask, 200, 8) == search(ask, 200, 8)


@every_kind
def test_what_a_trial_gets_does_not_depend_on_how_many_follow(kind):
    where = space(FINITE if kind == "grid" else NUMBERS)
    ask = proposer(kind, where, seed=3)
    done = search(ask, 4 if kind == "gp" else 12, 4)
    wide = ask(done, 3)
    assert ask(done, 2) == wide[:2]
    assert ask(done, 1) == wide[:1]


@every_kind
def test_another_seed_gives_another_search_except_for_the_grid(kind):
    where = space(FINITE)
    first, second = (proposer(kind, where, seed)([], 4) for seed in (0, 1))
    assert (first == second) == (kind == "grid")


@pytest.mark.parametrize("kind", CHEAP)
@pytest.mark.parametrize(
    "text", [NUMBERS, TWO_MODELS, FINITE], ids=["numbers", "two", "finite"]
)
def test_proposals_lie_in_the_space_and_have_the_keys_of_their_choice(kind, text):
    where = space(text)
    if kind == "grid" and size(where) is None:
        return
    done = search(proposer(kind, where), 20, 5)
    for found in done:
        assert {k for k in where.ranges if where.is_active(k, found.params)} == set(
            found.params
        )
        assert all(takes(where.ranges[k], v) for k, v in found.params.items())
    if "model" in where.ranges:
        assert len({t.params["model"]["kind"] for t in done}) == 2


@every_kind
def test_finite_space_is_tried_whole_and_nothing_twice(kind):
    where = space("""
    optimizer.lr: {choices: [1e-3, 1e-2, 1e-1]}
    model.dropout: {low: 0.0, high: 0.3, step: 0.1}
""")
    if kind == "gp":
        where = space("\n    optimizer.lr: {choices: [1e-3, 1e-2, 3e-2, 1e-1, 0.3]}\n")
    done = search(proposer(kind, where), 100, 4)
    assert len(done) == size(where)
    assert Counter(point_word(t.params) for t in done) == Counter(
        map(point_word, points(where))
    )


@pytest.mark.parametrize("kind", ["tpe", "gp"])
def test_learning_samplers_begin_with_the_trials_of_random_search(kind):
    where = space(NUMBERS)
    assert proposer(kind, where)([], 4) == proposer("random", where)([], 4)


@pytest.mark.parametrize("kind", ["tpe", "cmaes", pytest.param("gp", marks=pytest.mark.slow)])
def test_learning_samplers_find_a_better_point_than_random_search(kind):
    where = space(NUMBERS)

    def best(kind):
        totals = []
        for seed in range(1 if kind == "gp" else 2):
            ask = proposer(kind, where, seed)
            done: list[Finished] = []
            while len(done) < (18 if kind == "gp" else 60):
                for p in ask(done, 4):
                    lr = (math.log10(p["optimizer.lr"]) + 2.2) ** 2
                    decay = 50 * (p["optimizer.weight_decay"] - 0.03) ** 2
                    size_ = (math.log2(p["train.batch_size"]) - 5) ** 2 / 10
                    done.append(Finished(p, (lr + decay + size_,), "complete"))
            totals.append(min(t.values[0] for t in done))
        return float(np.mean(totals))

    assert best(kind) < (0.1 if kind == "gp" else best("random"))


def test_starting_points_come_first_and_are_completed():
    where = space(TWO_MODELS)
    queue = [
        {"optimizer.lr": 0.01, "model": {"kind": "mlp", "hidden": [64]}},
        {"model": {"kind": "cnn"}},
    ]
    for kind in (k for k in CHEAP if k != "grid"):
        first, second, third = proposer(kind, where, queue=queue)([], 3)
        assert first["optimizer.lr"] == 0.01
        assert set(first) == {"model", "model.dropout", "optimizer.lr"}
        assert second["model"] == {"kind": "cnn"}
        assert set(second) == {"model", "optimizer.lr"}
        assert third != second


def test_starting_points_do_not_disturb_the_grid():
    where = space(FINITE)
    queue = [{"model.dropout": 0.2, "train.epochs": 3}]
    done = search(proposer("grid", where, queue=queue), 100, 5)
    order = [point_word(p) for p in points(where)]
    first = point_word({"optimizer.lr": 1e-3, "model.dropout": 0.2, "train.epochs": 3})
    order.remove(first)
    assert [point_word(t.params) for t in done] == [first, *order]


@pytest.mark.parametrize("kind", ["tpe", "nsga2", "random", "qmc"])
def test_several_objectives_and_bounds_are_taken(kind):
    where = space(NUMBERS)
    done = []
    for number in range(24):
        point = proposer(kind, where, maximize=(True, False))(done, 1)[0]
        values = (-(math.log10(point["optimizer.lr"]) ** 2), point["optimizer.weight_decay"])
        state = "infeasible" if number % 5 == 4 else "complete"
        done.append(
            Finished(
                point, () if state == "infeasible" else values, state, {}, (number - 12.0,)
            )
        )
    assert len({point_word(t.params) for t in done}) == 24


@pytest.mark.slow
def test_gaussian_process_takes_several_objectives_and_bounds():
    where = space(NUMBERS)
    done = []
    for number in range(8):
        point = proposer("gp", where, maximize=(True, False))(done, 1)[0]
        values = (-(math.log10(point["optimizer.lr"]) ** 2), point["optimizer.weight_decay"])
        done.append(Finished(point, values, "complete", {}, (number - 4.0,)))
    assert len(proposer("gp", where, maximize=(True, False))(done, 2)) == 2


def test_bounds_draw_tpe_into_the_feasible_part():
    where = space(NUMBERS)
    done = []
    for _ in range(50):
        point = proposer("tpe", where)(done, 1)[0]
        decay = point["optimizer.weight_decay"]  # better when larger, allowed up to 0.05
        done.append(Finished(point, (-decay,), "complete", {}, (decay - 0.05,)))
    late = [t.params["optimizer.weight_decay"] for t in done[25:]]
    assert np.mean([v <= 0.055 for v in late]) > 0.6
    assert np.mean(late) > 0.025


def test_batch_of_the_gaussian_process_keeps_its_points_apart():
    where = space("\n    optimizer.lr: {low: 1e-4, high: 1e-1, log: true}\n")
    done = search(proposer("gp", where), 6, 6)
    three = sorted(math.log10(p["optimizer.lr"]) for p in proposer("gp", where)(done, 3))
    assert min(np.diff(three)) > 0.02


# Each method


def test_quasi_random_points_fill_every_part_equally():
    where = space(SQUARE)
    found = proposer("qmc", where)([], 64)
    u = np.array([[p["model.dropout"] * 2, p["optimizer.weight_decay"]] for p in found])
    for rows, columns in ((64, 1), (1, 64), (8, 8), (4, 16)):
        cells = np.floor(u * [rows, columns]).astype(int)
        assert len({tuple(cell) for cell in cells}) == 64


def test_quasi_random_points_are_those_of_scipy_without_scrambling():
    qmc = pytest.importorskip("scipy.stats").qmc
    where = space(SQUARE)
    plain = SamplerSpec.model_validate({"kind": "qmc", "scramble": False})
    found = propose(plain, History(where, [], (False,), 0), 16)
    ours = [[p["model.dropout"] * 2, p["optimizer.weight_decay"]] for p in found]
    np.testing.assert_allclose(ours, qmc.Sobol(2, scramble=False).random(16), atol=1e-12)


def test_evolution_steps_as_the_package_does():
    cma = pytest.importorskip("cmaes")
    where = space(SQUARE)
    done = search(proposer("cmaes", where), 20, 5)
    ours = sampler("cmaes").begin(History(where, done, (False,), 0)).cma
    theirs = cma.CMA(
        np.full(2, 0.5), 1 / 6, bounds=np.array([[0, 1.0], [0, 1.0]]), population_size=5
    )
    for first in range(0, 20, 5):
        told = sorted(
            (t for t in done[first : first + 5]),
            key=lambda t: (
                ["complete", "stopped", "diverged"].index(t.state),
                t.values[0] or 0,
            ),
        )
        x = [[t.params["model.dropout"] * 2, t.params["optimizer.weight_decay"]] for t in told]
        theirs.tell([(np.array(row), float(k)) for k, row in enumerate(x)])
    np.testing.assert_allclose(ours.mean, theirs.mean)
    assert ours.generation == theirs.generation == 4


def test_missing_package_is_named(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "cmaes", None)
    with pytest.raises(
        Unavailable, match=r"needs cmaes; install it with: .*modelscale\[tuning"
    ):
        proposer("cmaes", space(NUMBERS))([], 1)


def test_tpe_proposes_what_optuna_proposes_after_the_same_trials():
    import optuna

    from modelscale.seeds import derive

    where = space(NUMBERS)
    done = search(proposer("random", where), 12, 12)
    ours = proposer("tpe", where, seed=4)(done, 3)
    tpe = optuna.samplers.TPESampler(
        n_startup_trials=5,
        multivariate=True,
        constant_liar=True,
        seed=derive(4, "sampler", 12) % 2**32,
    )
    study = optuna.create_study(sampler=tpe)
    for t in done:
        state = optuna.trial.TrialState.COMPLETE
        value = t.values[0]
        if t.state == "stopped":
            state, value = optuna.trial.TrialState.PRUNED, None
        if t.state == "diverged":
            value = max(o.values[0] for o in done if o.values[0] is not None)
        study.add_trial(
            optuna.create_trial(
                state=state,
                value=value,
                params=t.params,
                distributions=where.distributions,
                intermediate_values=t.curve,
            )
        )
    assert ours == [study.ask(where.distributions).params for _ in range(3)]


def test_generations_follow_from_the_trials_numbers_as_in_one_study_of_optuna():
    import optuna

    where = space(NUMBERS)
    study = optuna.create_study(
        directions=["minimize", "minimize"],
        sampler=optuna.samplers.NSGAIISampler(population_size=6, seed=0),
    )
    finished = []
    for _ in range(20):
        asked = study.ask(where.distributions)
        values = (asked.params["optimizer.lr"], 1 - asked.params["optimizer.weight_decay"])
        study.tell(asked, values)
        finished.append(Finished(asked.params, values, "complete"))
    asker = sampler("nsga2").begin(History(where, finished, (False, False), 0))
    assert isinstance(asker, StudyAsker)
    ours = [t.system_attrs[GENERATION] for t in asker.study.trials]
    assert ours == [t.system_attrs[GENERATION] for t in study.trials]
    parents = [
        {point_word(t.params) for t in s.sampler.get_parent_population(s, 3)}
        for s in (asker.study, study)
    ]
    assert parents[0] == parents[1]


# Coordinates


@given(st.integers(1, 400), st.integers(0, 400), st.floats(0, 1), st.booleans())
@settings(max_examples=60, deadline=None)
def test_whole_numbers_are_reached_and_come_back(low, width, u, log):
    where = space(
        f"\n    train.batch_size: {{low: {low}, high: {low + width}, "
        f"log: {str(log).lower()}}}\n"
    )
    value = value_at(where, "train.batch_size", u)
    assert low <= value <= low + width
    assert isinstance(value, int)
    if width:
        back = coordinate_of(where, "train.batch_size", value)
        assert value_at(where, "train.batch_size", back) == value


def test_each_value_has_an_equal_share_of_random_trials():
    where = space(FINITE)
    count = Counter(
        (p["optimizer.lr"], p["model.dropout"], p["train.epochs"])
        for p in (random_point(where, 0, n, 0, {}) for n in range(2400))
    )
    assert set(count) == {tuple(p.values()) for p in points(where)}
    assert max(abs(n - 100) for n in count.values()) < 45  # 4.5 standard deviations


def test_log_scale_is_even_in_the_orders_of_magnitude():
    where = space(NUMBERS)
    logs = [math.log10(random_point(where, 1, n, 0, {})["optimizer.lr"]) for n in range(1500)]
    parts = np.histogram(logs, bins=3, range=(-4, -1))[0]
    assert abs(parts - 500).max() < 80


def test_grid_refuses_an_endless_range_where_it_is_written():
    with pytest.raises(
        SpecError, match=r"s.yaml:\d+:\d+: tune.space.optimizer.lr: grid needs 'st"
    ):
        experiment(NUMBERS, extra="  sampler: grid\n")


def test_several_objectives_are_refused_where_a_sampler_takes_one():
    both = "[{metric: validation/loss}, {metric: model/macs}]"
    with pytest.raises(SpecError, match=r"tune\.sampler: cmaes takes one objective only"):
        experiment(NUMBERS, extra=f"  sampler: cmaes\n  objectives: {both}\n")
