"""Networks of several members that share their weights."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from training_data import classes, replica, trained

from modelscale.losses.base import LossSpec
from modelscale.models.base import ModelSpec
from modelscale.models.modules.members import Members, tell_members
from modelscale.tensors import Inputs
from modelscale.training.artifact import dump_model, load_model
from modelscale.training.cohort import build_network
from modelscale.training.layout import Layout
from modelscale.training.step import losses_of

MEMBERS, OUT = 5, 3


def built(**fields):
    torch.manual_seed(0)
    choice = {"kind": "mlp", "hidden": (8, 7), "members": MEMBERS} | fields
    network = ModelSpec.model_validate(choice).build(Inputs((4,)), OUT)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "scale" in name:  # as if it had learnt
                parameter.add_(torch.randn_like(parameter) / 4)
    return network


def alone(network, m):
    """Return member m as a plain network, by the formula diag(s) W diag(r)."""
    layers = []
    for part in network.body:
        if not list(part.parameters()):
            layers.append(part)
            continue
        weight, bias = part.weight, part.bias[m]
        if weight.dim() == 3:
            weight = weight[m]
        else:
            r_I, s_O = (part.signs + part.scale_in)[m], (1 + part.scale_out)[m]
            weight = s_O[:, None] * weight * r_I
        layer = nn.Linear(weight.shape[1], weight.shape[0])
        layer.weight, layer.bias = nn.Parameter(weight), nn.Parameter(bias)
        layers.append(layer)
    return nn.Sequential(*layers)


def test_each_member_is_a_plain_network_of_scaled_weights():
    network, x = built().train(), torch.randn(6, 4)
    outputs = network(x).unflatten(0, (6, MEMBERS))
    for m in range(MEMBERS):
        torch.testing.assert_close(outputs[:, m], alone(network, m)(x))
    assert outputs.std(dim=1).min() > 0.01  # members differ


@pytest.mark.parametrize("answer", ["classes", "yes", "values"])
def test_answer_is_the_mean_of_the_members_answers(answer):
    network, x = tell_members(built(), answer).eval(), torch.randn(6, 4)
    answers = {"classes": lambda z: z.softmax(-1), "yes": torch.sigmoid, "values": lambda z: z}
    own = torch.stack([answers[answer](alone(network, m)(x)) for m in range(MEMBERS)])
    torch.testing.assert_close(answers[answer](network(x)), own.mean(0))


def test_loss_is_the_mean_of_the_members_losses():
    network, x, y = built().train(), torch.randn(6, 4), torch.arange(6) % OUT
    own = [F.cross_entropy(alone(network, m)(x), y, reduction="none") for m in range(MEMBERS)]
    found = losses_of(LossSpec.model_validate("cross_entropy"), network(x), y)
    torch.testing.assert_close(found, torch.stack(own).mean(0))


@pytest.mark.parametrize("loss", ["cross_entropy", "binary_cross_entropy"])
def test_trains_among_others_as_alone_and_comes_back_from_its_files(loss):
    data = classes(labels=2)
    model = {"kind": "mlp", "hidden": (8,), "dropout": 0.2, "members": 4}
    two = [replica(data, model, "adam", loss=loss, seed=seed) for seed in (1, 2)]
    together = trained(*two)
    for k, one in enumerate(two):
        outcome = trained(one).outcomes[0]
        other = together.outcomes[k].weights
        torch.testing.assert_close(
            other.theta_KP, outcome.weights.theta_KP, atol=2e-4, rtol=1e-3
        )
        read = load_model(dump_model(one, outcome.weights, Layout.of(build_network(one))))
        assert isinstance(read.network, Members)
        p_NC = read.predictions(data.x.take(data.rows["validation"]))
        y_N1 = data.y[data.rows["validation"]][:, None]
        kept = outcome.progress.best_values["validation/loss"]
        assert float(-p_NC.gather(1, y_N1).log().mean()) == pytest.approx(kept, rel=1e-4)


def test_hidden_units_and_members_are_cut_out_of_its_own_code():
    from modelscale.pruning.structure import find_units
    from modelscale.pruning.surgery import cut

    network = built().eval()
    structure = find_units(network, (torch.zeros(2, 4),))
    assert sorted(group.units for group in structure.groups) == [MEMBERS, 7, 8]
    keep = {group.name: list(range(group.units - 2)) for group in structure.groups}
    made = cut(network, structure, keep)
    assert isinstance(made.network, Members)  # so that it trains on as members
    assert made.network.train()(torch.randn(6, 4)).shape == (6 * (MEMBERS - 2), OUT)


def test_members_refuse_batch_norm():
    with pytest.raises(ValueError, match="members have no statistics of their own"):
        ModelSpec.model_validate({"kind": "mlp", "members": 2, "norm": "batch"})
