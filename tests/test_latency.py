"""Latency is measured around the call and leaves the process as it was."""

import gc
import time

import pytest
import torch
from torch import nn

from modelscale.evaluation.latency import measure_latency, measure_peak_memory

CPU = torch.device("cpu")


def test_latency_is_the_time_of_the_call():
    def call(x_B):
        time.sleep(0.004)
        return x_B

    (latency,) = measure_latency(call, (3,), [8], CPU, seconds=0.1)
    assert 4.0 <= latency.p10_ms <= latency.median_ms <= latency.p90_ms
    assert latency.median_ms < 20
    assert latency.throughput_per_s == pytest.approx(8000 / latency.median_ms)
    assert 5 <= latency.rounds <= 25


def test_slow_calls_are_measured_five_times_and_quick_ones_fill_the_time():
    calls = []

    def slow(x_B):
        calls.append(len(x_B))
        time.sleep(0.02)
        return x_B

    (latency,) = measure_latency(slow, (1,), [2], CPU, seconds=0.0)
    assert latency.rounds == 5
    assert calls == [2] * 10  # five to warm up
    (latency,) = measure_latency(lambda x_B: x_B, (1,), [1], CPU, seconds=0.02)
    assert latency.rounds > 100


def test_each_batch_size_is_given_inputs_that_any_network_can_read():
    table = nn.Embedding(2, 4)
    seen = []

    def call(x_B):
        seen.append(x_B.shape)
        assert torch.is_inference_mode_enabled()
        assert not gc.isenabled()
        assert torch.get_num_threads() == 1
        return table(x_B.long())

    threads = torch.get_num_threads()
    measured = measure_latency(call, (5,), [1, 7], CPU, threads=1, seconds=0.0)
    assert [m.batch for m in measured] == [1, 7]
    assert set(seen) == {(1, 5), (7, 5)}
    assert torch.get_num_threads() == threads
    assert gc.isenabled()


def test_a_call_that_fails_leaves_the_settings_as_they_were():
    threads = torch.get_num_threads()

    def broken(x_B):
        raise RuntimeError("no kernel")

    with pytest.raises(RuntimeError, match="no kernel"):
        measure_latency(broken, (5,), [1], CPU, threads=1, seconds=0.0)
    assert torch.get_num_threads() == threads
    assert gc.isenabled()
    assert not torch.is_inference_mode_enabled()


def test_peak_memory_sees_what_the_call_holds_for_a_while():
    def call(x_B):
        wide = torch.ones(len(x_B), 1_000_000)
        return wide.sum(-1)

    small = measure_peak_memory(call, (3,), 1, CPU)
    if small.peak_bytes is None:
        pytest.skip("this system does not tell a process's peak memory")
    large = measure_peak_memory(call, (3,), 64, CPU)
    assert large.source == "resident_set"
    assert 0.9 * 256e6 < large.peak_bytes < 1.2 * 256e6
    assert small.peak_bytes < 20e6


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_on_cuda_the_result_is_waited_for_and_memory_is_the_allocators():
    device = torch.device("cuda")
    weight = torch.rand(4096, 4096, device=device)

    def call(x_B):
        for _ in range(10):
            x_B = x_B @ weight / 4096
        return x_B

    (latency,) = measure_latency(call, (4096,), [4096], device, seconds=0.2)
    assert latency.median_ms > 1  # 1.4 TFLOP take longer on any one GPU
    peak = measure_peak_memory(call, (4096,), 4096, device)
    assert peak.source == "cuda_allocator"
    assert peak.peak_bytes >= 4096 * 4096 * 4
