"""Networks that do not export: cut by what Torch-Pruning finds, or left whole and told why."""

import sys

import pytest
import torch
from torch import nn

from modelscale.pruning.proof import without_effect
from modelscale.pruning.structure import find_units
from modelscale.pruning.surgery import cut


class Loud(nn.Module):
    """Scales by what it sees: all layers run whichever way it goes."""

    def __init__(self):
        super().__init__()
        self.a, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.b, self.head = nn.Conv2d(8, 8, 3, padding=1), nn.Linear(8, 4)

    def forward(self, x):
        y = torch.relu(self.norm(self.a(x)))
        y = y + self.b(y)
        if y.sum() > 5:  # depends on the values
            y = y * 0.5
        return self.head(y.mean((2, 3)))


class TwoWays(Loud):
    """One of two layers runs, by the values."""

    def __init__(self):
        super().__init__()
        self.other = nn.Conv2d(8, 8, 1)

    def forward(self, x):
        y = torch.relu(self.a(x))
        y = self.b(y) if x.sum() > 0 else self.other(y)
        return self.head(y.mean((2, 3)))


@pytest.fixture
def examples():
    torch.manual_seed(0)
    return (torch.randn(2, 3, 6, 6),)


def test_units_are_cut_exactly(examples):
    pytest.importorskip("torch_pruning")
    network = Loud().eval()
    structure = find_units(network, examples)
    assert structure.traced is None
    assert sum(group.units for group in structure.groups) == 8
    for group in structure.groups:
        assert without_effect(network, group, [1, 5])
        done = cut(network, structure, {group.name: [0, 2, 3, 4, 6, 7]})
        for factor in (1, -3, 20):
            x = examples[0] * factor
            torch.testing.assert_close(done.network(x), network(x), atol=1e-6, rtol=1e-6)
        fresh = done.edit.apply(Loud())
        assert [p.shape for p in fresh.parameters()] == [
            p.shape for p in done.network.parameters()
        ]


def test_a_layer_on_another_way_through_keeps_all_whole(examples):
    pytest.importorskip("torch_pruning")
    structure = find_units(TwoWays().eval(), examples)
    assert not structure.groups
    (declined,) = structure.declined
    assert "not reached" in declined.reason
    assert declined.layers


def test_without_the_extra_the_reason_says_what_to_install(examples, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_pruning", None)
    structure = find_units(Loud().eval(), examples)
    assert not structure.groups
    assert "does not export" in structure.declined[0].reason
    assert "pip install 'modelscale[prune-fallback]'" in structure.declined[0].reason
