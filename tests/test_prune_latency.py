"""A latency as the target of a pruning."""

import pytest
from command_line import cli
from pruning_commands import timed_little, with_trained

from modelscale.commands.pruning import latency_target
from modelscale.evaluation.macs import count_macs


@pytest.fixture(scope="module", autouse=True)
def hasty():
    with timed_little():
        yield


@pytest.fixture(scope="module")
def folder(workshop, tmp_path_factory):
    return with_trained(workshop, tmp_path_factory.mktemp("prune"))


def by_work_and_overhead(overhead):
    """Return what stands for a clock: a call takes its work and something on top."""

    def timed(calls, example, batches, **_):
        work = {name: float(count_macs(network, example)) for name, network in calls.items()}
        whole = max(work.values())
        ms = {name: overhead + (1 - overhead) * own / whole for name, own in work.items()}
        return {name: {batch: [own] * 5 for batch in batches} for name, own in ms.items()}

    return timed


class TestLatency:
    SIZES = ("--set", "prune.align=1", "--set", "prune.retrain.epochs=1", "--threads", "1")

    def test_latency_within_reach_is_met(self, folder, monkeypatch):
        monkeypatch.setattr(latency_target, "timed", by_work_and_overhead(0.5))
        words = ("--target", "latency=0.7", "--name", "reached", *self.SIZES)
        result = cli(folder, "prune", "digits", *words, "--json")
        assert result.code == 0, result.err
        found = result.document["steps"][0]["latency"]
        assert found["met"]
        assert 0.6 < found["reached"] <= 0.7 * 1.03
        assert "out of reach" not in result.err

    def test_latency_out_of_reach_is_told_first_and_ends_with_3_and_what_comes_nearest(
        self, folder, monkeypatch
    ):
        """Nine tenths of a call are overhead, so that no cut can halve it."""
        monkeypatch.setattr(latency_target, "timed", by_work_and_overhead(0.9))
        words = ("--target", "latency=0.5", "--name", "missed", *self.SIZES)
        result = cli(folder, "prune", "digits", *words, "--json")
        assert (result.code, result.document["status"]) == (3, "error")
        (step,) = result.document["steps"]
        assert not step["latency"]["met"]
        assert 0.9 < step["latency"]["reached"] < 0.94
        (message,) = result.document["messages"]
        assert "latency=0.5 is not met in eager at batch 1" in message
        early = result.err.index("may be out of reach")
        assert early < result.err.index("is not met")
        # No more was cut than what is as fast as the smallest widths.
        share = result.document["after"]["macs"] / result.document["before"]["macs"]
        assert 0.1 < share < 0.5
        assert cli(folder, "evaluate", "missed").code == 0
        again = cli(folder, "prune", "digits", *words, "--json")
        assert (again.code, again.document) == (3, result.document)
        shown = cli(folder, "prune", "digits", *words)
        assert shown.code == 3
        assert message in shown.err
