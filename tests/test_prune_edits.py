"""Layers replaced by cheaper ones, masks, and the sparse file: exact where they must be."""

import copy

import numpy as np
import pytest
import torch
from pruning_models import IMAGE, network_of
from torch import nn

from modelscale.evaluation.macs import count_macs
from modelscale.models.edits.base import EditSpec, edited
from modelscale.models.edits.low_rank import Factored, LowRank
from modelscale.models.edits.masked import Masked
from modelscale.models.edits.separable import Separable
from modelscale.models.edits.sparse import Sparse
from modelscale.models.modules.mask import mask_of, original_of
from modelscale.pruning.low_rank import ranks_that_fit, spectra
from modelscale.training.sparse_storage import packed, unpacked

RESNET = {"kind": "resnet", "width": 8, "blocks": 1, "stages": 2}


def test_whole_rank_computes_the_same():
    network = network_of(RESNET)
    convolution = network[3].body[0]
    rank = min(convolution.weight.flatten(1).shape)
    head = next(n for n, m in network.named_modules() if isinstance(m, nn.Linear))
    edit = LowRank(
        factored=(
            Factored(layer="3.body.0", rank=rank),
            Factored(layer=head, rank=min(network.get_submodule(head).weight.shape)),
        )
    )
    x = torch.rand(4, *IMAGE)
    torch.testing.assert_close(
        edit.apply(copy.deepcopy(network))(x), network(x), atol=1e-4, rtol=1e-4
    )


def test_lower_rank_is_the_best_one_there_is():
    layer = nn.Linear(12, 9)
    made = LowRank(factored=(Factored(layer="0", rank=3),)).apply(nn.Sequential(layer))[0]
    product = (made[1].weight @ made[0].weight).detach().numpy()
    left, values, right = np.linalg.svd(layer.weight.detach().numpy(), full_matrices=False)
    np.testing.assert_allclose(product, left[:, :3] * values[:3] @ right[:3], atol=1e-5)
    assert torch.equal(made[1].bias, layer.bias)


def test_separable_kernels_are_the_nearest_of_rank_one():
    layer = nn.Conv2d(3, 5, 3, padding=1, bias=True)
    made = Separable(layers=("0",)).apply(nn.Sequential(copy.deepcopy(layer)))[0]
    depthwise, pointwise = made[0].weight[:, 0].detach(), made[1].weight[:, :, 0, 0].detach()
    for channel in range(3):
        kernels = layer.weight[:, channel].flatten(1).detach().numpy()
        left, values, right = np.linalg.svd(kernels, full_matrices=False)
        nearest = values[0] * np.outer(left[:, 0], right[0])
        ours = np.outer(pointwise[:, channel], depthwise[channel].flatten())
        np.testing.assert_allclose(ours, nearest, atol=1e-5)


def test_separable_equals_a_convolution_that_is_separable_already():
    separable = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1, groups=3, bias=False))
    separable.append(nn.Conv2d(3, 5, 1))
    dense = nn.Conv2d(3, 5, 3, padding=1)
    with torch.no_grad():
        dense.weight.copy_(
            separable[1].weight[:, :, 0, 0, None, None] * separable[0].weight[None, :, 0]
        )
        dense.bias.copy_(separable[1].bias)
    made = Separable(layers=("0",)).apply(nn.Sequential(dense))
    x = torch.rand(2, 3, 8, 8)
    torch.testing.assert_close(made(x), separable(x), atol=1e-5, rtol=1e-4)


def test_edits_make_the_same_shapes_on_a_fresh_network_and_survive_writing():
    edits = (
        Separable(layers=("3.body.0",)),
        LowRank(factored=(Factored(layer="4.body.0", rank=4),)),
        Masked(tensors=("4.body.0.1.weight",)),
    )
    written = tuple(EditSpec.model_validate_json(e.model_dump_json()) for e in edits)
    assert written == edits
    one, other = (edited(network_of(RESNET, seed=s), written) for s in (0, 1))
    shapes = [{n: t.shape for n, t in made.state_dict().items()} for made in (one, other)]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize(
    "edit",
    [
        Separable(layers=("nowhere",)),
        Separable(layers=("1",)),
        LowRank(factored=(Factored(layer="0", rank=99),)),
        LowRank(factored=(Factored(layer="1", rank=1),)),
        Masked(tensors=("nowhere.weight",)),
        Sparse(tensors=("nowhere.weight",)),
    ],
    ids=lambda edit: f"{edit.own_kind()}",
)
def test_edit_of_another_network_is_refused(edit):
    with pytest.raises(ValueError, match=r"\w"):
        edit.apply(network_of(RESNET))


def test_ranks_are_the_largest_that_fit():
    network = network_of({"kind": "mlp", "hidden": [64, 64]}, (64,))
    layers, whole = spectra(network, (64,)), count_macs(network, (64,))

    def left(ranks):
        return whole - sum((1 - s.cost(ranks.get(s.layer))) * s.macs for s in layers)

    ranks = ranks_that_fit(layers, 4, lambda r: left(r) <= 0.6 * whole)
    edit = LowRank(factored=tuple(Factored(layer=n, rank=r) for n, r in ranks.items()))
    counted = count_macs(edit.apply(copy.deepcopy(network)), (64,))
    assert counted == pytest.approx(left(ranks), rel=0.01)
    assert 0.5 * whole < counted <= 0.6 * whole
    assert ranks_that_fit(layers, 4, lambda _: False) is None


def test_masked_weight_is_zero_and_gets_no_gradient_where_the_mask_is():
    network = nn.Sequential(nn.Linear(6, 4))
    Masked(tensors=("0.weight",)).apply(network)
    named = dict(network.named_parameters()) | dict(network.named_buffers())
    mask = torch.rand(4, 6) > 0.5
    named[mask_of("0.weight")].copy_(mask)
    assert torch.equal(network[0].weight == 0, ~mask)
    network(torch.rand(3, 6)).sum().backward()
    gradient = named[original_of("0.weight")].grad
    assert torch.equal(gradient == 0, ~mask)


@pytest.mark.parametrize("sparsity", [0.0, 0.5, 0.97, 1.0])
@pytest.mark.parametrize("shape", [(7, 5), (8, 16), (1, 3)])
def test_packed_weights_come_back_bit_for_bit(sparsity, shape):
    network = nn.Sequential(nn.Linear(shape[1], shape[0]))
    with torch.no_grad():
        network[0].weight.mul_(torch.rand(shape) >= sparsity)
    edits, state = (Sparse(tensors=("0.weight",)),), network.state_dict()
    stored = packed(state, edits)
    assert set(stored) == {"0.weight.bits", "0.weight.values", "0.bias"}
    back = unpacked(stored, network, edits)
    assert all(torch.equal(back[name], state[name]) for name in state)


def test_packed_weights_that_do_not_fit_are_refused():
    network, edits = nn.Sequential(nn.Linear(4, 4)), (Sparse(tensors=("0.weight",)),)
    stored = packed(network.state_dict(), edits)
    for change in (
        {"0.weight.bits": stored["0.weight.bits"][:1]},
        {"0.weight.bits": stored["0.weight.bits"].long()},
        {"0.weight.values": stored["0.weight.values"][:3]},
    ):
        with pytest.raises(ValueError, match=r"0\.weight"):
            unpacked(stored | change, network, edits)
    with pytest.raises(KeyError):
        unpacked({"0.bias": stored["0.bias"]}, network, edits)
