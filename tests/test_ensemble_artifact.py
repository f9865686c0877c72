"""Ensembles as files and as one network: equal to their members one by one."""

import json

import pytest
import torch
from training_data import TINY, classes, replica, trained, values

from modelscale.errors import DataError
from modelscale.export.program import traced
from modelscale.models.base import ModelSpec
from modelscale.models.modules.exported import quietly
from modelscale.training.artifact import FACTS, WEIGHTS, dump_model, load_model
from modelscale.training.averaging import mean_network
from modelscale.training.combination import Linear, Mean, Sum, Votes
from modelscale.training.ensemble_artifact import (
    Blueprint,
    MemberFiles,
    dump_ensemble,
    kind_of,
    load_members,
    load_predictor,
    member_files,
)

SHAPES = {"vector": (6,), "image": (1, 8, 8)}


def members_of(data, models, epochs=1):
    found = []
    for seed, model in enumerate(models):
        trainer = trained(replica(data, model, seed=seed, epochs=epochs))
        files = dump_model(
            trainer.replicas[0], trainer.outcomes[0].weights, trainer.cohort.layout
        )
        found.append(MemberFiles(f"m{seed}", files))
    return found


def predictor(members, combination, data, group=1, temperature=1.0):
    blueprint = Blueprint(combination, group, temperature, data.task, data.targets)
    return load_predictor(dump_ensemble(members, blueprint))


def equal(count):
    return torch.full((count,), 1 / count)


@pytest.mark.parametrize("kind", ModelSpec.kinds())
def test_members_answer_together_as_each_alone(kind):
    spec = ModelSpec.of_kind(kind)
    form = spec.takes[0]
    if "classification" not in spec.tasks or spec.reconstructs:
        pytest.skip("its answers are not averaged")
    if form not in SHAPES:
        pytest.skip(f"no data of {form} here")
    data = classes(SHAPES[form])
    try:
        spec().check(data.inputs)
    except ValueError as error:
        pytest.skip(str(error))
    members = members_of(data, [{"kind": kind, **TINY.get(kind, {})}] * 3)
    model = predictor(members, Mean("classification", equal(3)), data)
    x = data.x.take(torch.arange(20))
    alone = [load_model(m.files).predictions(x) for m in members]
    torch.testing.assert_close(
        model.predictions(x), torch.stack(alone).mean(0), atol=2e-6, rtol=2e-5
    )
    assert kind_of(model) == f"ensemble of 3 {kind}"


@pytest.mark.parametrize(
    ("form", "model"),
    [
        ("vector", {"kind": "mlp", "hidden": (8,), "members": 3}),
        pytest.param("image", {"kind": "cnn", "channels": (4, 4)}, marks=pytest.mark.slow),
    ],
)
def test_graph_of_members_is_of_plain_operators_and_answers_like_them(form, model):
    """As other formats are made from; they know no `vmap`."""
    data = classes(SHAPES[form])
    members = members_of(data, [model] * 2)
    network = predictor(members, Mean("classification", equal(2)), data).network.eval()
    program = traced(network, (data.x.take(torch.arange(3)),))
    names = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    assert not [name for name in names if not name.startswith("aten.")]
    x = data.x.take(torch.arange(20))
    with quietly():
        plain = program.run_decompositions().module()
    torch.testing.assert_close(plain(x), network(x))


def test_members_of_different_shapes_and_losses_keep_their_order():
    data = classes(labels=2)
    models = [{"kind": "mlp", "hidden": (8,)}, "linear", {"kind": "mlp", "hidden": (8,)}]
    members = members_of(data, models)
    binary = trained(replica(data, "linear", loss="binary_cross_entropy", seed=9, epochs=1))
    files = dump_model(binary.replicas[0], binary.outcomes[0].weights, binary.cohort.layout)
    members.append(MemberFiles("binary", files))
    x = data.x.take(torch.arange(20))
    for place, member in enumerate(members):
        only = torch.tensor([0.0] * place + [1.0] + [0.0] * (3 - place))
        model = predictor(members, Mean("classification", only), data)
        torch.testing.assert_close(
            model.predictions(x), load_model(member.files).predictions(x), atol=1e-6, rtol=1e-5
        )


def test_dropout_and_batch_norm_answer_as_in_evaluation():
    data = classes()
    for norm in ("none", "layer", "batch"):
        model = {"kind": "mlp", "hidden": (8, 8), "dropout": 0.5, "norm": norm}
        members = members_of(data, [model] * 2)
        made = predictor(members, Mean("classification", equal(2)), data)
        x = data.x.take(torch.arange(9))
        alone = [load_model(m.files).predictions(x) for m in members]
        torch.testing.assert_close(
            made.predictions(x), torch.stack(alone).mean(0), atol=2e-6, rtol=2e-5
        )


def test_folds_are_averaged_before_candidates_are_combined():
    data = classes()
    members = members_of(data, ["linear"] * 4)
    weight = torch.tensor([0.25, 0.75])
    model = predictor(members, Mean("classification", weight), data, group=2)
    x = data.x.take(torch.arange(5))
    p = torch.stack([load_model(m.files).predictions(x) for m in members])
    wanted = 0.25 * p[:2].mean(0) + 0.75 * p[2:].mean(0)
    torch.testing.assert_close(model.predictions(x), wanted, atol=1e-6, rtol=1e-5)


def test_temperature_divides_the_logits():
    data = classes()
    members = members_of(data, ["linear"] * 2)
    plain = predictor(members, Mean("classification", equal(2)), data)
    warm = predictor(members, Mean("classification", equal(2)), data, temperature=2.0)
    x = data.x.take(torch.arange(5))
    wanted = (plain.predictions(x).log() / 2).softmax(-1)
    torch.testing.assert_close(warm.predictions(x), wanted, atol=1e-6, rtol=1e-5)


def test_sum_takes_outputs_and_values_come_in_the_units_of_the_data():
    data = values()
    members = members_of(data, ["linear"] * 2)
    model = predictor(
        members, Sum("regression", torch.tensor([0.5, 0.25]), torch.tensor([3.0])), data
    )
    x = data.x.take(torch.arange(5))
    a, b = (load_model(m.files).network(x) for m in members)
    torch.testing.assert_close(model.predictions(x), 3 + 0.5 * a + 0.25 * b)


def test_votes_go_to_the_class_with_most_weight():
    answers = torch.tensor([[[0.6, 0.4, 0.0]], [[0.1, 0.8, 0.1]], [[0.0, 0.2, 0.8]]]).log()
    votes = Votes("classification", torch.tensor([0.3, 0.3, 0.4]))(answers)
    assert votes.argmax(-1).tolist() == [2]
    torch.testing.assert_close(votes.sum(-1), torch.zeros(1))


def test_member_survives_as_the_model_that_it_was():
    data = classes()
    members = members_of(data, ["linear", {"kind": "mlp", "hidden": (4,)}])
    blueprint = Blueprint(Mean("classification", equal(2)), 1, 1.0, data.task, data.targets)
    files = dump_ensemble(members, blueprint)
    x = data.x.take(torch.arange(7))
    for before, after in zip(members, member_files(files), strict=True):
        assert before.label == after.label
        assert json.loads(before.files[FACTS]) == json.loads(after.files[FACTS])
        assert before.files[WEIGHTS] == after.files[WEIGHTS]
    assert torch.equal(
        load_members(files)[1].predictions(x), load_model(members[1].files).predictions(x)
    )
    assert files == dump_ensemble(member_files(files), blueprint)


@pytest.mark.parametrize(
    "change",
    [
        {"combination": {"kind": "os.system", "group": 1, "temperature": 1.0}},
        {"combination": {"kind": "mean", "group": 3, "temperature": 1.0}},
        {"combination": {"kind": "linear", "group": 1, "temperature": 1.0}},
        {"combination": None},
        {"members": []},
        {"members": [{"label": "x", "facts": {}}]},
        {"members": 3},
        {"task": "magic"},
    ],
)
def test_damaged_ensemble_is_refused_as_bad_data(change):
    data = classes()
    members = members_of(data, ["linear"] * 2)
    blueprint = Blueprint(Mean("classification", equal(2)), 1, 1.0, data.task, data.targets)
    files = dump_ensemble(members, blueprint)
    facts = json.loads(files[FACTS]) | change
    with pytest.raises(DataError):
        load_predictor(files | {FACTS: json.dumps(facts).encode()})


def test_linear_meta_learner_sees_centred_logits():
    answers = torch.tensor([[[1.0, 3.0]], [[-1.0, 1.0]]])
    weight = torch.tensor([[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]])
    made = Linear("classification", weight, torch.zeros(2))
    assert made(answers).tolist() == [[-1.0, 1.0]]


def test_mean_of_one_network_is_that_network_with_fresh_statistics():
    data = classes()
    (member,) = members_of(data, [{"kind": "mlp", "hidden": (8,), "norm": "batch"}])
    network, x = load_model(member.files).network, data.x.take(data.rows["train"])
    made = mean_network([network, network], x)
    for name, parameter in network.named_parameters():
        torch.testing.assert_close(dict(made.named_parameters())[name], parameter)
    first, norm = made[0], made[1]
    inner = first(x)
    torch.testing.assert_close(norm.running_mean, inner.mean(0))
    torch.testing.assert_close(norm.running_var, inner.var(0), atol=1e-4, rtol=1e-3)
    assert not made.training
