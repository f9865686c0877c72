"""What an exported file is held to: comparison, eight bits, its certificate."""

import json
import math

import numpy as np
import onnx
import pytest
import torch
from export_models import array, expected, model_of
from torch import nn

from modelscale.errors import CannotCreate, GateFailed
from modelscale.evaluation.metric_names import metric_for
from modelscale.evaluation.section import EvaluateSection
from modelscale.export.child import Converter
from modelscale.export.onnx_file import export_network, export_onnx
from modelscale.export.parity import compare
from modelscale.export.quantise import quantise_dynamic, quantise_static, scheme_for
from modelscale.export.runtime import onnx_answers, onnx_call
from modelscale.runs import atomic
from modelscale.runs.export_files import (
    certificate_of,
    check_place,
    read_certificate,
    write_export,
)

SECTION = EvaluateSection(resamples=100)


@pytest.fixture(scope="module")
def converter():
    with Converter() as running:
        yield running


def compared(expected, found, targets, *metrics):
    task = "regression" if targets.dim() == 2 else "classification"
    wanted = [metric_for(name, task) for name in metrics]
    return compare(expected, found, targets, wanted, SECTION)


class TestCompare:
    def test_probabilities_differ_by_their_difference(self):
        p = torch.tensor([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.7, 0.3]])
        q = p.clone()
        q[1] = torch.tensor([0.52, 0.48])
        parity = compared(p, q, torch.tensor([0, 1, 1, 0]), "accuracy", "log_loss")
        assert parity.max_abs_diff == pytest.approx(0.12)
        assert parity.max_scaled_diff == parity.max_abs_diff
        assert parity.metric_diff == -0.25
        assert parity.metrics[0].loss == 0.25
        nats = math.log(0.6) - math.log(0.48)
        assert parity.metrics[1].loss == pytest.approx(nats / 4, rel=1e-4)
        low, high = parity.metrics[0].difference.low, parity.metrics[0].difference.high
        assert low < -0.25 < high

    def test_values_differ_in_units_of_their_spread_or_size(self):
        targets = torch.tensor([[-3.0], [3.0], [3.0], [-3.0]])
        y = torch.tensor([[-3.0], [2.0], [600.0], [-3.0]])
        off = y + torch.tensor([[0.03], [0.0], [3.0], [0.0]])
        parity = compared(y, off, targets, "rmse")
        assert parity.max_abs_diff == pytest.approx(3)
        assert parity.max_scaled_diff == pytest.approx(0.03 / 3, rel=1e-4)

    def test_an_error_in_the_target_s_units_counts_as_a_share(self):
        targets = torch.zeros(4, 1)
        parity = compared(torch.full((4, 1), 50.0), torch.full((4, 1), 51.0), targets, "mae")
        assert parity.metrics[0].loss == pytest.approx(0.02)
        better = compared(torch.full((4, 1), 50.0), torch.full((4, 1), 49.0), targets, "mae")
        assert better.metrics[0].loss == 0
        assert better.metric_diff == -1

    def test_equal_answers_are_no_difference_even_if_not_finite(self):
        y = torch.tensor([[math.inf], [math.nan], [1.0]])
        parity = compared(y, y.clone(), torch.ones(3, 1))
        assert (parity.max_abs_diff, parity.max_scaled_diff) == (0, 0)

    @pytest.mark.parametrize("broken", [math.nan, math.inf])
    def test_a_file_that_is_not_finite_is_infinitely_far(self, broken):
        p = torch.tensor([[0.9, 0.1], [0.4, 0.6]])
        q = p.clone()
        q[0, 0] = broken
        parity = compared(p, q, torch.tensor([0, 1]), "log_loss")
        assert parity.max_scaled_diff == math.inf

    def test_a_file_that_answers_something_else_is_infinitely_far(self):
        parity = compared(torch.ones(3, 2), torch.ones(3, 1), torch.tensor([0, 1, 0]))
        assert parity.max_abs_diff == math.inf
        assert parity.metric_diff is None


class TestEightBits:
    def net(self):
        torch.manual_seed(0)
        layers = [nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Conv2d(16, 32, 3), nn.ReLU()]
        return nn.Sequential(*layers, nn.Flatten(), nn.Linear(32 * 4 * 4, 4))

    def test_convolutions_are_static_and_other_nets_dynamic(self, converter):
        assert scheme_for(export_network(self.net(), (1, 8, 8), converter)) == "static"
        assert scheme_for(export_network(nn.Linear(4, 2), (4,), converter)) == "dynamic"

    def test_static_weights_fit_seven_bits_and_answers_stay_near(self, converter):
        x = torch.randn(64, 1, 8, 8)
        network = self.net()
        data = export_network(network, (1, 8, 8), converter)
        small = quantise_static(data, [{"x": part.numpy()} for part in x.split(16)])
        assert len(small) < len(data) / 2
        with torch.no_grad():
            wanted = network(x)
        off = (onnx_call(small)(x) - wanted).abs().max() / wanted.std()
        assert 0 < off < 0.2
        weights = [
            onnx.numpy_helper.to_array(tensor)
            for tensor in onnx.load_model_from_string(small).graph.initializer
            if tensor.data_type == onnx.TensorProto.INT8 and len(tensor.dims) > 1
        ]
        assert len(weights) == 3
        assert all(np.abs(weight).max() <= 64 for weight in weights)

    def test_dynamic_leaves_convolutions_alone(self, converter):
        x = torch.randn(32, 1, 8, 8)
        network = self.net()
        small = quantise_dynamic(export_network(network, (1, 8, 8), converter))
        kinds = [node.op_type for node in onnx.load_model_from_string(small).graph.node]
        assert kinds.count("Conv") == 2
        assert "MatMulInteger" in kinds
        with torch.no_grad():
            wanted = network(x)
        assert (onnx_call(small)(x) - wanted).abs().max() / wanted.std() < 0.2

    def test_a_model_with_nothing_to_quantise_is_told(self, converter):
        data = export_network(nn.Conv2d(1, 2, 3), (1, 8, 8), converter)
        with pytest.raises(GateFailed, match="it has no layer of the sort"):
            quantise_dynamic(data)

    def test_answers_and_inputs_are_not_rounded_to_eight_bits(self, converter):
        """A value far from zero in the user's units, and codes beyond 256, stay as they are."""
        scale = {"name": "price", "log": False, "mean": 1e6, "scale": 10.0}
        raw = array((1, 8, 8), rows=64)
        model = model_of(raw, "cnn", "mean_squared_error", (scale,), channels=[8, 8])
        batches = [{"images": raw.array[i : i + 16]} for i in range(0, 64, 16)]
        answer = onnx_answers(quantise_static(export_onnx(model, converter), batches))
        found = answer({"images": raw.array})
        assert len(np.unique(found)) > 32
        assert np.abs(found - expected(model, raw)).max() < 2

    def test_a_whole_model_keeps_its_bytes_and_probabilities(self, converter):
        raw = array((1, 8, 8), rows=64, dtype="uint8")
        model = model_of(raw, "cnn", channels=[8, 8])
        batches = [{"images": raw.array[i : i + 16]} for i in range(0, 64, 16)]
        answer = onnx_answers(quantise_static(export_onnx(model, converter), batches))
        found = answer({"images": raw.array})
        np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
        assert np.abs(found - expected(model, raw)).max() < 0.05


class TestCertificate:
    def test_it_is_found_while_it_fits(self, tmp_path):
        path = tmp_path / "model.onnx"
        write_export(path, b"one", {"digest": "d"})
        assert read_certificate(path)["digest"] == "d"
        assert path.read_bytes() == b"one"
        path.write_bytes(b"two")
        assert read_certificate(path) is None

    @pytest.mark.parametrize("text", [b"", b"[]", b"{", b'{"sha256": 1}', b"[" * 100_000])
    def test_a_damaged_one_is_none(self, tmp_path, text):
        path = tmp_path / "model.onnx"
        path.write_bytes(b"one")
        certificate_of(path).write_bytes(text)
        assert read_certificate(path) is None

    def test_a_kill_between_the_two_leaves_no_certificate_that_fits(
        self, tmp_path, monkeypatch
    ):
        path = tmp_path / "model.onnx"
        write_export(path, b"old", {"digest": "old"})

        def killed(place, data):
            if place == path:
                raise KeyboardInterrupt
            atomic.write_file(place, data)

        monkeypatch.setattr("modelscale.runs.export_files.write_file", killed)
        with pytest.raises(KeyboardInterrupt):
            write_export(path, b"new", {"digest": "new"})
        assert path.read_bytes() == b"old"
        assert json.loads(certificate_of(path).read_bytes())["digest"] == "new"
        assert read_certificate(path) is None

    def test_a_place_that_cannot_be_is_refused_at_once(self, tmp_path):
        with pytest.raises(CannotCreate, match="is a folder"):
            check_place(tmp_path)
        (tmp_path / "file").touch()
        with pytest.raises(CannotCreate):
            check_place(tmp_path / "file" / "model.onnx")
        check_place(tmp_path / "new" / "model.onnx")
        assert (tmp_path / "new").is_dir()
