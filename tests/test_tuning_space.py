"""Search spaces: exact values, conditions, starting points, and faults told where they are."""

import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tuning_spaces import FINITE, NUMBERS, TWO_MODELS, experiment, space

from modelscale.errors import SpecError
from modelscale.spec.loader import dump, load_text
from modelscale.spec.paths import apply
from modelscale.tuning.space import (
    decoded,
    encoded,
    point_word,
    points,
    same_point,
    size,
    values_of,
)
from modelscale.tuning.starting import starting_points


def faults(text, **kwargs):
    with pytest.raises(SpecError) as raised:
        experiment(text, **kwargs)
    return str(raised.value)


KINDS = """
    model.kind: {choices: [mlp, cnn, linear]}
    model.dropout: {choices: [0.0, 0.5], when: {model.kind: [mlp]}}
    model.norm: {choices: [none, batch], when: {model.dropout: [0.5]}}
"""


def test_conditional_keys_belong_only_to_points_that_their_condition_makes():
    where = space(KINDS)
    found = list(points(where))
    assert found == [
        {"model.kind": "mlp", "model.dropout": 0.0},
        {"model.kind": "mlp", "model.dropout": 0.5, "model.norm": "none"},
        {"model.kind": "mlp", "model.dropout": 0.5, "model.norm": "batch"},
        {"model.kind": "cnn"},
        {"model.kind": "linear"},
    ]
    assert size(where) == len(found)


def test_every_point_of_a_conditional_space_is_a_valid_spec():
    spec = experiment(KINDS)
    for point in points(space(KINDS)):
        assert apply(spec, point).model.own_kind() == point["model.kind"]


def test_condition_may_look_into_whole_sections():
    where = space(TWO_MODELS)
    mlp, cnn = values_of(where, "model")
    assert where.is_active("model.dropout", {"model": mlp})
    assert not where.is_active("model.dropout", {"model": cnn})
    assert size(where) is None


def test_conditional_key_is_written_after_the_one_that_decides_it_wherever_it_stands():
    where = space("""
    model.dropout: {choices: [0.0, 0.5], when: {model.kind: [mlp]}}
    optimizer.lr: {choices: [1e-3]}
    model.kind: {choices: [mlp, cnn]}
""")
    order = list(where.distributions)
    assert order.index("model.kind") < order.index("model.dropout")
    assert size(where) == 3


@given(
    st.lists(st.integers(1, 3), min_size=3, max_size=3),
    st.lists(st.sampled_from([None, 0, 1]), min_size=3, max_size=3),
)
@settings(max_examples=25, deadline=None)
def test_size_is_the_number_of_points(counts, depends):
    keys = ["optimizer.lr", "optimizer.weight_decay", "model.dropout"]
    lines = []
    for n, (key, count) in enumerate(zip(keys, counts, strict=True)):
        when = ""
        if depends[n] is not None and depends[n] < n:
            when = f", when: {{{keys[depends[n]]}: [0.125]}}"
        lines.append(f"    {key}: {{choices: {[0.125 * (c + 1) for c in range(count)]}{when}}}")
    where = space("\n" + "\n".join(lines) + "\n")
    found = [point_word(p) for p in points(where)]
    assert len(found) == len(set(found)) == size(where)


# Values


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{low: 0.1, high: 0.5, step: 0.1}", [0.1, 0.2, 0.3, 0.4, 0.5]),
        ("{low: 0.0, high: 0.5, step: 0.2}", [0.0, 0.2, 0.4]),
        ("{low: 0.3, high: 0.3}", [0.3]),
        ("{low: 0, high: 0.9, step: 0.3}", [0, 0.3, 0.6, 0.9]),
        ("{choices: [0.5, 0.1]}", [0.5, 0.1]),
    ],
)
def test_steps_are_exact_and_end_within_the_range(text, expected):
    assert values_of(space(f"\n    model.dropout: {text}\n"), "model.dropout") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{low: 2, high: 5}", [2, 3, 4, 5]),
        ("{low: 2, high: 9, step: 3}", [2, 5, 8]),
        ("{low: 1e1, high: 12.0}", [10, 11, 12]),
        ("{low: 1, high: 4, log: true}", [1, 2, 3, 4]),
    ],
)
def test_key_that_holds_whole_numbers_gets_whole_numbers(text, expected):
    found = values_of(space(f"\n    train.epochs: {text}\n"), "train.epochs")
    assert found == expected
    assert all(isinstance(value, int) for value in found)


def test_whole_bounds_of_a_key_that_holds_fractions_leave_fractions():
    where = space("\n    optimizer.weight_decay: {low: 0, high: 1}\n")
    assert values_of(where, "optimizer.weight_decay") is None


@given(st.integers(0, 30))
def test_decoding_an_encoded_value_gives_it_back(k):
    where = space("""
    model.dropout: {low: 0.0, high: 0.9, step: 0.03}
    model.hidden: {choices: [[64, 64], [8]]}
    train.epochs: {low: 1, high: 40}
""")
    values = [values_of(where, key) for key in where.ranges]
    params = {
        key: found[k % len(found)] for key, found in zip(where.ranges, values, strict=True)
    }
    back = decoded(encoded(params, where.ranges), where.ranges)
    assert json.dumps(back) == json.dumps(params)


def test_equal_points_are_recognised_in_any_order_and_writing():
    earlier = [{"a": 1, "b": [1, 2]}, {"a": 2, "b": {"x": 1, "y": 2.0}}]
    assert same_point({"b": (1.0, 2), "a": 1.0}, earlier) == 0
    assert same_point({"b": {"y": 2, "x": 1}, "a": 2}, earlier) == 1
    assert same_point({"a": 1, "b": [2, 1]}, earlier) is None
    assert same_point({"a": True}, [{"a": 1}]) is None


# Starting points

ENQUEUED = """  enqueue:
    - {model: {kind: mlp, hidden: [64]}, model.dropout: 0.25}
    - {optimizer.lr: 1e-3}
"""


def test_starting_points_are_the_specs_own_values_then_those_given():
    spec = experiment(
        TWO_MODELS,
        extra=ENQUEUED + "  start_with_defaults: true\n",
        model="{kind: mlp, hidden: [64], dropout: 0.1}",
        optimizer="{kind: adamw, lr: 0.02}",
    )
    assert starting_points(spec.tune, spec) == [
        {"optimizer.lr": 0.02},  # its model is none of the two: it has other dropout
        {"model": {"kind": "mlp", "hidden": [64]}, "model.dropout": 0.25},
        {"optimizer.lr": 0.001},
    ]


def test_default_that_is_outside_the_space_is_left_to_the_sampler():
    spec = experiment(
        FINITE, extra="  start_with_defaults: true\n", model="{kind: mlp, dropout: 0.2}"
    )
    assert starting_points(spec.tune, spec) == [{"optimizer.lr": 1e-3, "model.dropout": 0.2}]


def test_default_section_is_found_among_the_choices():
    spec = experiment(
        "\n    model: {choices: [cnn, {kind: mlp, hidden: [8]}]}\n"
        "    model.dropout: {choices: [0.0, 0.1], when: {model.kind: [mlp]}}\n",
        extra="  start_with_defaults: true\n",
        model="{kind: mlp, hidden: [8]}",
    )
    assert starting_points(spec.tune, spec) == [
        {"model": {"kind": "mlp", "hidden": [8]}, "model.dropout": 0.0}
    ]


@pytest.mark.parametrize(
    ("point", "message"),
    [
        ("{optimizer.lr: 5}", "tune.enqueue.0.optimizer.lr: 5 is not in the search space"),
        ("{optimizer.momentum: 0.9}", "tune.enqueue.0.optimizer.momentum: is no key of the"),
        ("{model.dropout: 0.1}", "tune.enqueue.0.model.dropout: needs a value of 'model'"),
        (
            "{model: {kind: cnn}, model.dropout: 0.1}",
            "tune.enqueue.0.model.dropout: is not searched with this 'model'",
        ),
        ("{model: {kind: linear}}", "tune.enqueue.0.model: {'kind': 'linear'} is not in"),
    ],
)
def test_starting_point_that_is_outside_is_told_where_it_is(point, message):
    assert message in faults(TWO_MODELS, extra=f"  enqueue: [{point}]\n")


def test_starting_point_off_the_steps_is_outside():
    assert "0.15 is not in" in faults(FINITE, extra="  enqueue: [{model.dropout: 0.15}]\n")
    experiment(FINITE, extra="  enqueue: [{model.dropout: 0.3}]\n")


def test_starting_point_given_twice_is_a_fault():
    twice = "[{optimizer.lr: 1e-3}, {optimizer.lr: 0.001}]"
    assert "is the same as number 1 of the list" in faults(
        NUMBERS, extra=f"  enqueue: {twice}\n"
    )


# Faults of conditions


@pytest.mark.parametrize(
    ("when", "message"),
    [
        ("{model.kid: [mlp]}", "no key of this space decides it; did you mean 'model.kind'?"),
        ("{optimizer.kind: [adam]}", "no key of this space decides it"),
        ("{model.kind: [resnet]}", "no choice of 'model.kind' makes it 'resnet'"),
        ("{model.kind: []}", "names no value"),
        ("{model.dropout: [0.1]}", "no key of this space decides it"),
    ],
)
def test_condition_that_cannot_hold_is_told_where_it_is(when, message):
    text = faults(f"""
    model.kind: {{choices: [mlp, cnn]}}
    model.dropout: {{low: 0.0, high: 0.5, when: {when}}}
""")
    assert "tune.space.model.dropout.when" in text
    assert message in text


def test_cycle_of_conditions_is_refused():
    text = faults("""
    optimizer.lr: {choices: [1e-3, 1e-2], when: {optimizer.weight_decay: [0.0]}}
    optimizer.weight_decay: {choices: [0.0, 0.1], when: {optimizer.lr: [1e-3]}}
""")
    assert text.count("depends on itself by way of other conditions") == 2


def test_conditions_that_exclude_each_other_are_refused():
    assert "its conditions can never hold together" in faults("""
    model.kind: {choices: [mlp, cnn]}
    model.dropout: {choices: [0.0, 0.1], when: {model.kind: [mlp]}}
    optimizer.lr: {choices: [0.1], when: {model.kind: [cnn], model.dropout: [0.1]}}
""")


def test_key_that_some_choices_do_not_have_asks_for_a_condition():
    text = faults("""
    model: {choices: [{kind: mlp}, {kind: linear}]}
    model.dropout: {low: 0.0, high: 0.5}
""")
    assert (
        "tune.space.model.dropout: does not exist with model: linear; "
        "say when: {model.kind: […]}" in text
    )


def test_value_that_the_conditions_variant_refuses_is_told_where_it_is():
    text = faults(
        """
    model.kind: {choices: [mlp, linear]}
    model.dropout: {low: 0.0, high: 1.5, when: {model.kind: [mlp]}}
""",
        model="linear",
    )
    assert "tune.space.model.dropout.high: must be below 1, got 1.5" in text


def test_key_of_another_kind_is_known_where_its_condition_makes_that_kind():
    where = space("""
    optimizer.kind: {choices: [sgd, adamw]}
    optimizer.momentum: {low: 0.0, high: 0.99, when: {optimizer.kind: [sgd]}}
""")
    assert values_of(where, "optimizer.momentum") is None


@pytest.mark.parametrize("text", [TWO_MODELS, KINDS, NUMBERS])
def test_search_survives_being_written_and_read(text):
    both = "  objectives: [{metric: validation/loss}, {metric: model/macs}]\n"
    for extra in ("", both):
        spec = experiment(text, extra=extra)
        again = load_text(dump(spec), "again.yaml", type(spec)).spec
        assert again == spec


def test_wide_space_is_checked_at_once():
    many = ", ".join(f"{0.001 * n:.3f}" for n in range(1, 200))
    found = experiment(
        "\n    model.kind: {choices: [mlp, cnn]}\n"
        + "".join(
            f"    {key}: {{choices: [{many}]}}\n"
            for key in itertools.islice(["optimizer.lr", "optimizer.weight_decay"], 2)
        )
    )
    assert len(found.tune.space) == 3
