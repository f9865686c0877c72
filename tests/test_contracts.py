"""What every kind of every family keeps. A new file is tested here unasked.

The networks' contracts are in `test_models.py` and the losses' in `test_losses.py`; both run
on every kind as well.
"""

import inspect
import json
import pkgutil
from importlib import import_module
from pathlib import Path
from typing import get_args

import jsonschema
import pytest
import torch
from pydantic import ValidationError

import modelscale
from modelscale.components import Component
from modelscale.data.augmentations.base import AugmentationSpec
from modelscale.evaluation.metrics.base import MetricSpec
from modelscale.losses.base import LossSpec
from modelscale.models.base import ModelSpec
from modelscale.optimizers.base import OptimizerSpec
from modelscale.optimizers.schedules.base import ScheduleSpec
from modelscale.spec.docstrings import field_docs
from modelscale.spec.schema import schema_of
from modelscale.tensors import Task

FAMILIES = [
    family
    for module in pkgutil.walk_packages(modelscale.__path__, "modelscale.")
    if module.name.endswith(".base")
    for _, family in inspect.getmembers(import_module(module.name), inspect.isclass)
    if issubclass(family, Component) and family.__module__ == module.name
]
KINDS = [
    pytest.param(family, kind, id=f"{family.__name__}-{kind}")
    for family in FAMILIES
    for kind in family.kinds()
]
every_family = pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.__name__)
every_kind = pytest.mark.parametrize(("family", "kind"), KINDS)


def kinds_of(family):
    return pytest.mark.parametrize("kind", family.kinds())


VALUES = ("x", "iris", "x.csv", Path("x.csv"), 1, 0.5, ("x",), (1,), ("x", "y"), {"x": 1})


def smallest(family, kind):
    """Return the spec of a kind with defaults, and some value where a field has none."""
    given = {"kind": kind}
    for name, field in family.of_kind(kind).model_fields.items():
        if field.is_required():
            given[name] = next((v for v in VALUES if _fits(family, given, name, v)), None)
            if given[name] is None:
                pytest.skip(f"{kind}.{name} has no default and takes none of {VALUES}")
    return family.model_validate(given)


def _fits(family, given, name, value):
    try:
        family.model_validate({**given, name: value})
    except ValidationError as error:
        return not any(fault["loc"][:1] == (name,) for fault in error.errors())
    return True


# Every family


@every_family
def test_family_without_a_kind_says_which_there_are(family):
    if family.default_kind is not None:
        assert family.model_validate({}).own_kind() == family.default_kind
        return
    with pytest.raises(ValidationError) as raised:
        family.model_validate({})
    assert all(kind in str(raised.value) for kind in family.kinds())


@every_family
def test_unknown_kind_names_the_nearest_one(family):
    for kind in family.kinds():
        with pytest.raises(ValidationError, match=f"did you mean '{kind}'"):
            family.model_validate({"kind": kind + "zz"})


@every_kind
def test_defaults_are_valid_and_survive_writing(family, kind):
    spec = smallest(family, kind)
    assert spec.own_kind() == kind
    assert type(spec) is family.of_kind(kind)
    assert spec.model_dump()["kind"] == kind
    assert family.model_validate(spec.model_dump()) == spec


@every_kind
def test_written_form_is_json_that_the_schema_accepts(family, kind):
    spec = smallest(family, kind)
    written = json.loads(spec.model_dump_json())
    assert next(iter(written)) == "kind"
    jsonschema.validate(written, schema_of(family, family.__name__))
    assert family.model_validate(written) == spec


@every_kind
def test_bare_name_is_short_for_the_kind(family, kind):
    if family.from_shorthand(kind) != {"kind": kind}:
        return  # the family means something else by a bare name
    required = any(f.is_required() for f in family.of_kind(kind).model_fields.values())
    if not required:
        assert family.model_validate(kind) == family.model_validate({"kind": kind})


@every_kind
def test_unknown_field_is_an_error(family, kind):
    with pytest.raises(ValidationError, match="unknown field"):
        family.model_validate({**smallest(family, kind).model_dump(), "no_such_field": 1})


@every_kind
def test_class_and_every_field_are_documented(family, kind):
    spec = family.of_kind(kind)
    assert vars(spec).get("__doc__"), f"{kind} has no docstring of its own"
    assert [n for n in spec.model_fields if not field_docs(spec).get(n)] == []


@every_kind
def test_spec_is_frozen(family, kind):
    spec = smallest(family, kind)
    for name in type(spec).model_fields:
        with pytest.raises(ValidationError, match="frozen"):
            setattr(spec, name, None)


# Models and losses


@kinds_of(ModelSpec)
def test_replicas_may_only_differ_in_fields_that_exist(kind):
    model = ModelSpec.of_kind(kind)
    assert set(model.per_replica) <= set(model.model_fields)
    assert model.takes


@kinds_of(LossSpec)
def test_loss_is_for_one_task(kind):
    assert LossSpec.of_kind(kind).task in get_args(Task)


# Optimizers


def _slots(spec, theta):
    return {name: torch.zeros_like(theta) for name in spec.slot_names}


@kinds_of(OptimizerSpec)
def test_optimizer_descends_a_quadratic(kind):
    spec = smallest(OptimizerSpec, kind).model_copy(update={"lr": 0.05})
    theta = torch.tensor([3.0, -2.0, 1.0])
    slots, before = _slots(spec, theta), theta.square().sum()
    for step in range(1, 301):
        spec.update(theta, 2 * theta, slots, spec.hypers(), step)
    assert theta.square().sum() < 0.5 * before


@kinds_of(OptimizerSpec)
def test_optimizer_steps_in_place_and_only_from_what_it_is_given(kind):
    spec, theta = smallest(OptimizerSpec, kind), torch.tensor([1.0, 2.0])
    address, slots = theta.data_ptr(), _slots(spec, theta)
    addresses = {name: slot.data_ptr() for name, slot in slots.items()}
    state = torch.random.get_rng_state()
    spec.update(theta, torch.ones(2), slots, spec.hypers(), 1)
    assert theta.data_ptr() == address
    assert {name: slot.data_ptr() for name, slot in slots.items()} == addresses
    assert torch.equal(torch.random.get_rng_state(), state)
    assert not torch.equal(theta, torch.tensor([1.0, 2.0]))


@kinds_of(OptimizerSpec)
@pytest.mark.parametrize("rows", [False, True], ids=["stacked", "fused"])
def test_stack_of_replicas_steps_as_each_alone(kind, rows):
    K, P = 4, 7
    spec = smallest(OptimizerSpec, kind)
    g = torch.Generator().manual_seed(0)
    theta_KP = torch.randn(K, P, generator=g)
    hypers = [
        {name: value * (1 - 0.1 * k) for name, value in spec.hypers().items()} for k in range(K)
    ]
    stacked = {name: torch.tensor([[h[name]] for h in hypers]) for name in hypers[0]}
    alone = [row.clone() for row in theta_KP]
    slots_KP, slots = _slots(spec, theta_KP), [_slots(spec, row) for row in alone]
    for step in range(1, 6):
        grad_KP = torch.randn(K, P, generator=g)
        for k in range(K):
            spec.update(alone[k], grad_KP[k].clone(), slots[k], hypers[k], step)
        if rows:
            if not spec.update_rows(theta_KP, grad_KP.clone(), slots_KP, hypers, [step] * K):
                return
        else:
            spec.update(theta_KP, grad_KP.clone(), slots_KP, stacked, step)
    torch.testing.assert_close(theta_KP, torch.stack(alone), atol=1e-6, rtol=1e-5)
    for name in spec.slot_names:
        torch.testing.assert_close(
            slots_KP[name], torch.stack([s[name] for s in slots]), atol=1e-6, rtol=1e-5
        )


# Schedules


@kinds_of(ScheduleSpec)
@pytest.mark.parametrize("warmup", [0.0, 0.1, 0.9])
@pytest.mark.parametrize(("total", "per_epoch"), [(1, 1), (7, 3), (200, 10), (100, 100)])
def test_schedule_is_a_fraction_of_the_peak(kind, warmup, total, per_epoch):
    spec = smallest(ScheduleSpec, kind).model_copy(update={"warmup": warmup})
    factors = [spec.factor(step, total, per_epoch) for step in range(1, total + 1)]
    assert all(0 <= factor <= 1 for factor in factors)
    assert max(factors) > 0  # it does train


# Augmentations


def _images(B=5, side=8):
    g = torch.Generator().manual_seed(0)
    return torch.rand(B, 2, side, side, generator=g)


def _series(B=5, positions=20):
    x = torch.randn(B, 4, positions, generator=torch.Generator().manual_seed(0))
    length = torch.arange(B)[:, None, None] * 3 + 5
    there = (torch.arange(positions) < length).float()
    x[:, 2] = (x[:, 2] > 0).float()  # a flag
    return torch.cat([x[:, :-1] * there, there], dim=1)


def _examples(spec):
    return _series() if spec.form == "series" else _images()


@kinds_of(AugmentationSpec)
def test_augmentation_of_an_image_does_not_depend_on_its_batch(kind):
    spec = smallest(AugmentationSpec, kind)
    x = _examples(spec)
    uniform = torch.rand(len(x), spec.draws, generator=torch.Generator().manual_seed(1))
    before = x.clone()
    out = spec.apply(x, uniform)
    assert torch.equal(x, before)
    assert out.shape == x.shape
    assert out.isfinite().all()
    for i in range(len(x)):
        alone = spec.apply(x[i : i + 1], uniform[i : i + 1])
        torch.testing.assert_close(out[i : i + 1], alone, atol=1e-6, rtol=1e-5)


@kinds_of(AugmentationSpec)
def test_augmentation_reads_nothing_but_its_uniform_numbers(kind):
    spec = smallest(AugmentationSpec, kind)
    x = _examples(spec)
    uniform, state = torch.rand(len(x), spec.draws), torch.random.get_rng_state()
    first = spec.apply(x, uniform.clone())
    assert torch.equal(first, spec.apply(x, uniform.clone()))
    assert torch.equal(torch.random.get_rng_state(), state)


@kinds_of(AugmentationSpec)
def test_mixing_augmentation_keeps_a_share_of_each_example(kind):
    spec = smallest(AugmentationSpec, kind)
    if not spec.mixes:
        return
    uniform = torch.rand(50, spec.draws, generator=torch.Generator().manual_seed(1))
    share = spec.blend(uniform)
    assert share.shape == (50,)
    assert ((share >= 0) & (share <= 1)).all()


# Metrics


def _answers(spec, *leading, N=40):
    """Return predictions (*leading, N, C or T) and targets that they fit better than chance."""
    g = torch.Generator().manual_seed(0)
    if spec.task == "regression":
        y = torch.randn(*leading, N, 2, generator=g) + 5
        return y + 0.5 * torch.randn(*leading, N, 2, generator=g), y
    if spec.task in {"language_model", "pretraining"}:
        y = torch.rand(*leading, N, 1, generator=g) + 3
        return y - torch.rand(*leading, N, 1, generator=g), y
    if spec.task == "ranking":
        y = torch.randint(11, 500, (*leading, N, 1), generator=g).float()
        return torch.randint(2, 30, (*leading, N, 1), generator=g).float(), y
    if spec.task == "transcription":  # words of two letters, some of them misheard
        y = torch.randint(97, 100, (*leading, N, 5), generator=g)
        y[..., 2] = 32
        wrong = torch.rand(*leading, N, 5, generator=g) < 0.1
        return torch.where(wrong, 120, y), y
    if spec.task == "translation":  # symbols and letters; nats, symbols foreseen and letters
        y = torch.randint(97, 100, (*leading, N, 31), generator=g)
        y[..., 0], y[..., 5::5] = 6, 32
        wrong = torch.rand(*leading, N, 30, generator=g) < 0.1
        forced = torch.randint(1, 5, (*leading, N, 2), generator=g)
        return torch.cat([forced, torch.where(wrong, 120, y[..., 1:])], -1), y
    C = 2 if spec.binary_only else 3
    y = torch.randint(C, (*leading, N), generator=g)
    logits = torch.randn(*leading, N, C, generator=g) + 2 * torch.eye(C)[y]
    return logits.softmax(-1), y


@kinds_of(MetricSpec)
def test_metric_broadcasts_over_leading_dimensions(kind):
    spec = smallest(MetricSpec, kind)
    predictions, y = _answers(spec, 2, 3)
    found = spec.compute(predictions, y)
    assert found.shape == (2, 3)
    assert found.isfinite().all()
    one_y = spec.compute(predictions, y[0, 0])  # one set of targets for all replicas
    resampled = spec.compute(predictions[0, 0], y)  # one set of predictions
    for i in range(2):
        for j in range(3):
            torch.testing.assert_close(found[i, j], spec.compute(predictions[i, j], y[i, j]))
            torch.testing.assert_close(one_y[i, j], spec.compute(predictions[i, j], y[0, 0]))
            torch.testing.assert_close(
                resampled[i, j], spec.compute(predictions[0, 0], y[i, j])
            )


@kinds_of(MetricSpec)
def test_metric_prefers_the_truth_in_its_direction(kind):
    spec = smallest(MetricSpec, kind)
    predictions, y = _answers(spec)
    if spec.task in {"language_model", "pretraining"}:
        truth = torch.zeros_like(y)  # nothing comes as a surprise
    elif spec.task == "ranking":
        truth = torch.ones_like(y)  # every item comes first
    elif spec.task in {"regression", "transcription"}:
        truth = y
    elif spec.task == "translation":
        truth = torch.cat([torch.zeros_like(y[..., :1]), y], -1)
    else:
        truth = torch.eye(predictions.shape[-1])[y]
    sign = 1 if spec.direction == "maximize" else -1
    assert sign * spec.compute(truth, y) > sign * spec.compute(predictions, y)


@kinds_of(MetricSpec)
def test_metric_does_not_depend_on_the_order_of_examples(kind):
    spec = smallest(MetricSpec, kind)
    predictions, y = _answers(spec)
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(
        spec.compute(predictions[order], y[order]), spec.compute(predictions, y)
    )
