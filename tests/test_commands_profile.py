"""`profile` and what it counts by layer."""

import pytest
import torch
from command_line import cli, run_of
from torch import nn

from modelscale.evaluation.macs import (
    LayerCost,
    activation_count,
    count_macs,
    layer_costs,
    parameter_count,
)
from modelscale.models.base import ModelSpec
from modelscale.tensors import Inputs


def profiled(folder, *arguments):
    result = cli(folder, "profile", *arguments, "--seconds", "0.02", "--json")
    assert result.code == 0, result.err
    return result.document


class TestCommand:
    def test_size_and_operations_are_the_hand_formula(self, workshop):
        """A network 64-16-10."""
        found = profiled(workshop, "digits", "--batch-sizes", "1,4")
        parameters, macs = 64 * 16 + 16 + 16 * 10 + 10, 64 * 16 + 16 * 10
        model = found["model"]
        assert (model["parameters"], model["macs"], model["flops"]) == (
            parameters, macs, 2 * macs,
        )  # fmt: skip
        assert model["bytes"] == 4 * parameters
        best = run_of(workshop, "digits") / "checkpoints" / "best"
        files = [best / "model.safetensors", best / "model.json"]
        assert model["file_bytes"] == sum(file.stat().st_size for file in files)
        assert [layer["macs"] for layer in found["layers"]] == [1024, 160]
        assert sum(layer["share"] for layer in found["layers"]) == pytest.approx(1)

    def test_latency_by_batch_size(self, workshop):
        found = profiled(workshop, "digits", "--batch-sizes", "8,2,8", "--threads", "1")
        assert [entry["batch"] for entry in found["batches"]] == [8, 2]
        assert found["threads"] == 1
        for entry in found["batches"]:
            assert 0 < entry["p10_ms"] <= entry["median_ms"] <= entry["p90_ms"]
            throughput = entry["batch"] / entry["median_ms"] * 1e3
            assert entry["throughput_per_s"] == pytest.approx(throughput)
            assert found["latency_ms"][str(entry["batch"])] == entry["median_ms"]

    def test_tables(self, workshop):
        result = cli(workshop, "profile", "wine", "--batch-sizes", "1", "--seconds", "0")
        assert result.code == 0
        assert "Linear" in result.out
        assert "examples/s" in result.out

    @pytest.mark.parametrize("sizes", ["", "0", "1,x", "-1"])
    def test_bad_batch_sizes(self, workshop, sizes):
        result = cli(workshop, "profile", "wine", f"--batch-sizes={sizes}")
        assert result.code == 2
        assert "expected whole numbers such as 1,8,32" in result.err


class TestLayers:
    @pytest.mark.parametrize("kind", ModelSpec.kinds())
    def test_layers_add_up_to_the_whole(self, kind):
        spec = ModelSpec.model_validate(kind)
        codes = spec.encoding == "codes"
        inputs = Inputs((5,), categories=(3, 4)) if codes else Inputs((3, 32, 32))
        if spec.takes == ("tokens",):
            inputs = Inputs((9,), vocabulary=11, written=4 * ("translation" in spec.tasks))
        if spec.takes == ("series",):
            inputs = Inputs((4, 9))
        if kind == "voice_encoder":
            inputs = Inputs((1, 32, 32))
        if kind == "autoencoder":
            inputs = Inputs((9,))
        if kind in ("matrix_factorisation", "neural_factorisation", "two_towers"):
            inputs = Inputs((2,), categories=(3, 4), of_item=(1,))
        network = spec.build(inputs, 7)
        layers = layer_costs(network, inputs.shape)
        assert sum(layer.parameters for layer in layers) == parameter_count(network)
        assert sum(layer.macs for layer in layers) == pytest.approx(
            count_macs(network, inputs.shape), abs=len(layers)
        )

    def test_hand_formula(self):
        network = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1, bias=False),
            nn.BatchNorm2d(8),
            nn.Flatten(),
            nn.Linear(8 * 4 * 4, 5),
        )
        assert layer_costs(network, (3, 4, 4)) == (
            LayerCost("0", "Conv2d", 3 * 8 * 9, 3 * 8 * 9 * 16),
            LayerCost("1", "BatchNorm2d", 16, 0),
            LayerCost("3", "Linear", 128 * 5 + 5, 128 * 5),
        )
        assert activation_count(network, (3, 4, 4)) == 3 * 128 + 5

    def test_operations_between_layers_belong_to_the_module_around_them(self):
        class Twice(nn.Module):
            def __init__(self):
                super().__init__()
                self.layer = nn.Linear(4, 4)

            def forward(self, x_BD):
                once = self.layer(x_BD)
                return self.layer(once) @ torch.ones(4, 2, device=x_BD.device)

        assert layer_costs(Twice(), (4,)) == (
            LayerCost("", "Twice", 0, 8),
            LayerCost("layer", "Linear", 20, 32),
        )

    def test_tied_parameters_are_counted_once(self):
        first, second = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)
        second.weight = first.weight
        network = nn.Sequential(first, second)
        assert [layer.parameters for layer in layer_costs(network, (3,))] == [9, 0]
