"""The process that converts, and the time that a converted network takes."""

import os
import sys

import pytest
import torch
from torch import nn

from modelscale.errors import GateFailed, Unavailable
from modelscale.export.child import Converter
from modelscale.export.onnx_file import export_network
from modelscale.export.runtime import runtime_latency


@pytest.fixture(scope="module")
def converter():
    with Converter() as running:
        yield running


class Branching(nn.Module):
    """Cannot be exported: which way it goes depends on the values."""

    def forward(self, x):
        return x + 1 if x.sum() > 0 else x - 1


class Inverting(nn.Module):
    """Has a graph, but ONNX has no such operator."""

    def forward(self, x):
        return torch.linalg.inv(x.unsqueeze(-1) * x.unsqueeze(-2))


@pytest.mark.slow
class TestChild:
    def test_a_network_without_a_graph_is_refused_by_reason(self, converter):
        with pytest.raises(GateFailed, match="the model cannot be exported: "):
            export_network(Branching(), (4,), converter)

    def test_an_operator_that_onnx_lacks_is_named(self, converter):
        with pytest.raises(GateFailed, match="the exporter failed: "):
            export_network(Inverting(), (4,), converter)
        assert export_network(nn.Linear(4, 2), (4,), converter)

    def test_a_child_that_died_is_told_and_replaced(self, converter):
        export_network(nn.Linear(4, 2), (4,), converter)
        converter._child.kill()
        converter._child.wait()
        assert export_network(nn.Linear(4, 2), (4,), converter)
        first = converter._child
        first.stdin.write((1 << 40).to_bytes(8, "big"))  # it dies of a request too large
        with pytest.raises(GateFailed, match="the exporter died with exit code 1"):
            export_network(nn.Linear(4, 2), (4,), converter)
        assert export_network(nn.Linear(4, 2), (4,), converter)
        assert converter._child is not first

    def test_a_child_outlives_the_ctrl_c_that_its_parent_hears(self, converter):
        export_network(nn.Linear(4, 2), (4,), converter)
        assert os.getpgid(converter._child.pid) != os.getpgrp()

    def test_a_child_that_takes_too_long_is_killed(self):
        with Converter(timeout_s=0.01) as hasty:
            with pytest.raises(GateFailed, match="did not end within"):
                export_network(nn.Linear(4, 2), (4,), hasty)
            assert hasty._child is None

    def test_a_user_s_files_do_not_stand_in_for_libraries(self, tmp_path, monkeypatch):
        (tmp_path / "torch.py").write_text("raise SystemExit(9)")
        monkeypatch.chdir(tmp_path)
        assert export_network(nn.Linear(4, 2), (4,))


class TestRuntime:
    def test_latency_of_any_network_in_either_runtime(self, converter):
        network = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        for runtime in ("eager", "onnxruntime"):
            found = runtime_latency(
                network, (4,), runtime, (1, 16), threads=1, seconds=0.02, converter=converter
            )
            assert [entry.batch for entry in found] == [1, 16]
            assert all(0 < e.p10_ms <= e.median_ms <= e.p90_ms for e in found)

    def test_without_the_extra_the_message_says_what_to_install(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "onnxscript", None)
        with pytest.raises(Unavailable, match=r"pip install 'modelscale\[export\]'"):
            export_network(nn.Linear(4, 2), (4,))
