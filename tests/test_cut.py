"""Cuts of the networks that are built here: exact, trained in cohorts, kept in checkpoints."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from test_models import CASES, built, examples, one_thread  # noqa: F401  (a fixture)
from training_data import CPU, classes, replica, trained

from modelscale.errors import DataError
from modelscale.models.base import ModelSpec
from modelscale.models.edits.base import EditSpec, edited
from modelscale.models.edits.cut import Cut
from modelscale.pruning.proof import without_effect
from modelscale.pruning.structure import find_units
from modelscale.pruning.surgery import cut
from modelscale.tensors import Inputs
from modelscale.training.artifact import FACTS, WEIGHTS, dump_model, dump_network, load_model
from modelscale.training.cohort import Cohort, build_network
from modelscale.training.replica import structure_of

# The others run in the slow tier.
KINDS = [
    case
    for case in CASES
    if case.id
    in {
        "cnn-1x8x8",
        "resnet-1x8x8",
        "mlp-6",
        "linear-6",
        "ft_transformer-6codes",
        "ft_transformer-0.0-8-2-1-6",  # one head of two, hardly a weight beside it
    }
]
OTHERS = [
    pytest.param(*c.values, id=c.id, marks=pytest.mark.slow) for c in CASES if c not in KINDS
]
every_case = pytest.mark.parametrize(("spec", "inputs"), KINDS + OTHERS)

SPECS = [
    ({"kind": "mlp", "hidden": (12, 10), "dropout": 0.2, "norm": "layer"}, (6,)),
    ({"kind": "cnn", "channels": (6, 8), "depthwise_separable": True}, (1, 8, 8)),
    pytest.param(
        {"kind": "resnet", "width": 4, "blocks": 1, "stages": 2},
        (1, 8, 8),
        marks=pytest.mark.slow,
    ),
    pytest.param(
        {"kind": "mobilenet", "width": 0.25, "expansion": 2}, (1, 8, 8), marks=pytest.mark.slow
    ),
    ({"kind": "ft_transformer", "width": 12, "heads": 3, "blocks": 2, "dropout": 0.1}, (6,)),
]
every_spec = pytest.mark.parametrize(("choice", "shape"), SPECS, ids=lambda v: str(v)[:24])


def half_of(network, inputs, attention="heads"):
    """Return a network with about half of the units of every group."""
    structure = find_units(network, (examples(inputs, 2),), attention=attention, prove=False)
    keep = {g.name: range(0, g.units, 2) for g in structure.groups}
    return cut(network, structure, keep)


def parameters_of(network):
    return sum(p.numel() for p in network.parameters())


@every_case
@pytest.mark.parametrize("attention", ["heads", "head_size"])
def test_units_without_outgoing_weights_go_without_a_trace(spec, inputs, attention):
    if attention == "head_size" and spec.own_kind() != "ft_transformer":
        return
    network, x = built(spec, inputs).double().eval(), examples(inputs, 5).double()
    structure, keep = find_units(network, (x[:2],), attention=attention, prove=False), {}
    assert structure.declined == ()
    assert structure.groups or spec.own_kind() in {
        "linear",
        "mlp",
    }  # one layer has nothing inside
    for group in structure.groups:
        kept = np.arange(0, group.units, 3)
        if without_effect(network, group, np.setdiff1d(np.arange(group.units), kept)):
            keep[group.name] = kept
    done = cut(network, structure, keep)
    assert not done.edit.rewritten
    assert type(done.network) is type(network)
    torch.testing.assert_close(done.network(x), network(x), atol=1e-9, rtol=1e-9)
    assert (parameters_of(done.network) < parameters_of(network)) == bool(keep)


@every_spec
@pytest.mark.parametrize("attention", ["heads", "head_size"])
def test_smaller_network_trains_among_others_as_alone(choice, shape, attention):
    if attention == "head_size" and choice["kind"] != "ft_transformer":
        return
    data = classes(shape)
    plain = [replica(data, choice, seed=seed, epochs=1) for seed in range(3)]
    done = half_of(build_network(plain[0]), data.inputs, attention)
    assert not done.edit.rewritten
    replicas = [dataclasses.replace(r, edits=(done.edit,)) for r in plain]
    together = trained(*replicas)
    assert together.cohort.layout.numel == parameters_of(done.network)
    for k, one in enumerate(replicas):
        alone = trained(one)
        x = examples(data.inputs, 4)
        many = together.cohort.outputs(together.cohort.weights, x, shared=True)[k]
        solo = alone.cohort.outputs(alone.cohort.weights, x, shared=True)[0]
        torch.testing.assert_close(many, solo, atol=2e-5, rtol=1e-4)


def test_replicas_with_other_cuts_are_of_another_structure():
    data = classes()
    plain = replica(data, {"kind": "mlp", "hidden": (8,)})
    done = half_of(build_network(plain), data.inputs)
    pruned = dataclasses.replace(plain, edits=(done.edit,))
    assert structure_of(pruned) != structure_of(plain)
    same = dataclasses.replace(pruned, seed=1)
    assert structure_of(same) == structure_of(pruned)


@every_spec
def test_checkpoint_loads_without_the_original_and_is_smaller(choice, shape):
    data = classes(shape)
    whole = replica(data, choice, epochs=1)
    trainer = trained(whole)
    files = dump_model(whole, trainer.cohort.weights, trainer.cohort.layout)
    model = load_model(files)
    assert "edits" not in json.loads(files[FACTS])
    done = half_of(model.network, model.inputs)
    smaller = dataclasses.replace(model, network=done.network, edits=(done.edit,))
    written = dump_network(smaller)
    again = load_model(written)
    assert again.edits == (done.edit,)
    assert len(written[WEIGHTS]) < len(files[WEIGHTS])
    x = examples(data.inputs, 4)
    assert torch.equal(again.predictions(x), smaller.predictions(x))

    edited_replica = dataclasses.replace(whole, edits=again.edits)
    trainer = trained(edited_replica)
    files = dump_model(edited_replica, trainer.cohort.weights, trainer.cohort.layout)
    assert load_model(files).edits == again.edits
    assert dump_network(load_model(files)) == files


def test_checkpoint_of_a_network_of_usual_size_is_smaller_with_all_that_the_cut_says():
    data = classes((1, 8, 8))
    for choice in ("resnet", "mobilenet"):
        files = _files(data, choice)
        model = load_model(files)
        done = half_of(model.network, model.inputs)
        smaller = dataclasses.replace(model, network=done.network, edits=(done.edit,))
        assert sum(map(len, dump_network(smaller).values())) < 0.5 * sum(
            map(len, files.values())
        )


def test_two_cuts_one_after_the_other_load():
    data = classes((1, 8, 8))
    model = load_model(_files(data, {"kind": "resnet", "width": 8, "blocks": 1, "stages": 2}))
    first = half_of(model.network, model.inputs)
    second = half_of(first.network, model.inputs)
    edits = (first.edit, second.edit)
    again = load_model(
        dump_network(dataclasses.replace(model, network=second.network, edits=edits))
    )
    x = examples(model.inputs, 4)
    assert torch.equal(again.network(x), second.network.eval()(x))
    spec_built = edited(model.spec.build(model.inputs, 3), edits)
    assert parameters_of(spec_built) == parameters_of(second.network)


def _files(data, choice):
    one = replica(data, choice)
    cohort = Cohort.start([one], CPU)
    return dump_model(one, cohort.weights, cohort.layout)


def kept(positions, tensor):
    return {"kept": [{"positions": positions, "tensors": [tensor]}]}


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (kept("0", "9.weight:0"), "no parameter or buffer is called '9.weight'"),
        (kept("0", "weight"), "no parameter"),
        (kept("0", "0.weight:2"), "0.weight:2: no such dimension"),
        (kept("0", "0.weight:x"), "invalid literal"),
        (kept("0-98", "0.weight:0"), "has 4 positions, no 0-98"),
        (kept("3-1", "0.weight:0"), "has 4 positions, no 3-1"),
        (kept("1 0", "0.weight:0"), "has 4 positions, no 0-0"),
        (kept("", "0.weight:0"), "nothing is kept"),
        (kept("0 x", "0.weight:0"), "invalid literal"),
        (kept("0", "0.weight:0"), "not a model that can be built"),
        ({"settings": {"0.forward": 1}}, "no size is called '0.forward'"),
        ({"settings": {"0.__class__": 1}}, "no size"),
        ({"settings": {"0.training": 1}}, "no size"),
        ({"settings": {"x.in_features": 1}}, "no size"),
        ({"settings": {"0.in_features": [1]}}, "no size"),
        ({"nothing": 1}, "unknown field"),
    ],
)
def test_edit_that_does_not_fit_is_bad_data(edit, message):
    files = _files(classes(), {"kind": "mlp", "hidden": (4,)})
    facts = json.loads(files[FACTS]) | {"edits": [{"kind": "cut", **edit}]}
    with pytest.raises(DataError, match=message):
        load_model({FACTS: json.dumps(facts).encode(), WEIGHTS: files[WEIGHTS]})


def test_cut_refuses_units_that_do_not_exist():
    spec = ModelSpec.model_validate({"kind": "mlp", "hidden": (4,)})
    network, x = built(spec, Inputs((6,))), torch.zeros(2, 6)
    structure = find_units(network, (x,))
    with pytest.raises(ValueError, match=r"no group of units is called '1'.*did you mean '0'"):
        cut(network, structure, {"1": [0]})
    with pytest.raises(ValueError, match="at least one of its 4 units must stay"):
        cut(network, structure, {"0": []})
    with pytest.raises(ValueError, match="numbered 0 to 3, got 0 to 4"):
        cut(network, structure, {"0": [0, 4]})


def test_nothing_to_cut_is_an_edit_that_does_nothing():
    spec = ModelSpec.model_validate("linear")
    network = built(spec, Inputs((6,)))
    done = cut(network, find_units(network, (torch.zeros(2, 6),)), {})
    assert done.edit == Cut()
    assert EditSpec.model_validate({"kind": "cut"}) == done.edit
    x = torch.randn(3, 6)
    assert torch.equal(done.network(x), network(x))


def test_one_example_is_enough():
    spec = ModelSpec.model_validate({"kind": "cnn", "channels": (4, 4)})
    network = built(spec, Inputs((1, 8, 8)))
    structure = find_units(network, (torch.randn(1, 1, 8, 8),))
    assert [(g.name, g.units) for g in structure.groups] == [("0", 4), ("4", 4)]
    smaller = cut(network, structure, {"0": [1, 2]}).network.eval()
    assert smaller(torch.randn(7, 1, 8, 8)).shape == (7, 4)
