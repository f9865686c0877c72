"""Multiply-accumulates against hand formulas, and the module left as it was."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from modelscale.evaluation.macs import (
    count_flops,
    count_macs,
    parameter_bytes,
    parameter_count,
)
from modelscale.models.base import ModelSpec
from modelscale.models.modules.exported import export_graph
from modelscale.tensors import Inputs


class Attention(nn.Module):
    """Single-head attention written out with matmul, or fused."""

    def __init__(self, width, fused):
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width)
        self.fused = fused

    def forward(self, x_BTD):
        q, k, v = self.qkv(x_BTD).chunk(3, -1)
        if self.fused:
            return F.scaled_dot_product_attention(q, k, v)
        return (q @ k.transpose(-2, -1)).softmax(-1) @ v


class Called(nn.Module):
    def __init__(self, function, *layers):
        super().__init__()
        self.function = function
        self.layers = nn.ModuleList(layers)

    def forward(self, x_B):
        return self.function(x_B, *self.layers)


def norm(width):
    return nn.BatchNorm2d(width)


LSTM = nn.LSTM(5, 8, num_layers=2, batch_first=True, bidirectional=True)
LSTM_MACS = 7 * 2 * 4 * 8 * ((5 + 8) + (16 + 8))
ENCODER_MACS = 6 * (3 * 16 * 16) + 2 * 6 * 6 * 16 + 6 * 16 * 16 + 2 * 6 * 16 * 32


@pytest.mark.parametrize(
    ("module", "shape", "macs"),
    [
        (nn.Linear(7, 5), (7,), 35),
        (nn.Linear(7, 5, bias=False), (3, 7), 105),
        (nn.Conv2d(3, 8, 3, padding=1), (3, 10, 12), 10 * 12 * 8 * 3 * 9),
        (nn.Conv2d(4, 8, 3, stride=2, groups=2), (4, 9, 9), 4 * 4 * 8 * 2 * 9),
        (nn.Conv2d(6, 6, 3, padding=1, groups=6), (6, 5, 5), 25 * 6 * 9),
        (nn.Conv1d(3, 4, 5, dilation=2), (3, 20), 12 * 4 * 3 * 5),
        (nn.ConvTranspose2d(3, 4, 2, stride=2), (3, 5, 5), 25 * 3 * 4 * 4),
        (nn.Sequential(nn.Conv2d(1, 4, 1), norm(4), nn.ReLU()), (1, 3, 3), 36),
        (Attention(4, fused=False), (6, 4), 6 * 4 * 12 + 2 * 6 * 6 * 4),
        (Attention(4, fused=True), (6, 4), 6 * 4 * 12 + 2 * 6 * 6 * 4),
        (Called(lambda x, lstm: lstm(x)[0], LSTM), (7, 5), LSTM_MACS),
        (nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), (6, 16), ENCODER_MACS),
        (Called(lambda x, e: e(x.long()).sum(1), nn.Embedding(9, 4)), (5,), 0),
        (Called(lambda x: torch.einsum("bij,bkj->bik", x, x)), (3, 4), 36),
        (Called(lambda x, layer: layer(x, x), nn.Bilinear(3, 3, 2)), (3,), 18),
        (Called(lambda x: x @ torch.ones(4, device=x.device)), (3, 4), 12),
        (Called(lambda x: x * 2), (3, 4), 0),
    ],
)
def test_macs_match_the_hand_formula(module, shape, macs):
    assert count_macs(module, shape) == macs
    assert count_flops(module, shape) == 2 * macs


@pytest.mark.parametrize("training", [True, False])
def test_counting_leaves_the_module_as_it_was(training):
    module = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5)).train(training)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    noise = torch.get_rng_state()
    count_macs(module, (4,))
    assert module.training is training
    assert all(p.device.type == "cpu" and p.requires_grad for p in module.parameters())
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name])
    assert torch.equal(torch.get_rng_state(), noise)


class Offset(nn.Module):
    """Holds a tensor that is neither parameter nor buffer."""

    def __init__(self):
        super().__init__()
        self.offset = torch.ones(4)
        self.linear = nn.Linear(4, 4)

    def forward(self, x_B):
        return self.linear(x_B + self.offset)


def test_plain_tensor_attributes_do_not_get_in_the_way():
    assert count_macs(Offset(), (4,)) == 16


def test_huge_networks_are_counted_without_memory():
    with torch.device("meta"):
        module = nn.Linear(200_000, 200_000)
    assert count_macs(module, (200_000,)) == 200_000**2


def test_squeezing_modules_are_counted_as_for_a_real_batch():
    module = Called(lambda x, layer: layer(x.squeeze().flatten(1)), nn.Linear(4, 2))
    assert count_macs(module, (1, 4)) == 8


def test_tied_parameters_count_once_and_bytes_follow_the_type():
    module = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False))
    module[1].weight = module[0].weight
    module.append(nn.BatchNorm1d(4, affine=False))
    assert parameter_count(module) == 16
    assert parameter_bytes(module) == 64
    assert parameter_bytes(module.half()) == 32


def test_graph_in_place_of_a_network_counts_like_it():
    """Pruning leaves the graph of a network whose code has sizes in it; it makes tensors."""
    inputs = Inputs((9,), vocabulary=12)
    spec = ModelSpec.model_validate(
        {"kind": "text_decoder", "width": 8, "blocks": 1, "heads": 2}
    )
    network = spec.build(inputs, 8)
    graph = export_graph(network, (torch.ones(2, 9),))
    assert count_macs(graph, (9,)) == count_macs(network, (9,)) > 0
