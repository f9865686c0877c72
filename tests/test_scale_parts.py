"""Parts of a ladder by themselves: subsets, rates by size, how models grow."""

import math

import pytest
import torch

from modelscale.commands.scale_ladder import nested_rows
from modelscale.commands.scale_rates import rule_of
from modelscale.commands.scale_results import Outcome
from modelscale.scaling.growth import extrapolated, grown


class TestParts:
    def test_subsets_are_nested_and_have_the_classes_shares(self, training_part):
        data, classes = training_part
        order = nested_rows(data, 3)
        assert sorted(order.tolist()) == data.rows["train"].tolist()
        for count in (20, 60, 120):
            shares = data.y[order[:count]].bincount(minlength=3) / count
            assert torch.allclose(shares, classes, atol=2 / count + 0.01)
        assert not torch.equal(order, nested_rows(data, 4))

    @pytest.mark.parametrize("a", [0.0, 0.3])
    def test_rule_recovers_a_power_of_the_size(self, a):
        outcomes = []
        for count in (100, 1000, 10000):
            best = 2e-2 * count**-a
            for lr in (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1):
                loss = math.exp(0.05 * math.log(lr / best) ** 2)
                outcomes.append(outcome_of(count, lr, loss))
        rule = rule_of(outcomes, "validation/loss", "classification")
        assert rule.a == pytest.approx(a, abs=1e-6)
        assert rule.c == pytest.approx(2e-2)
        assert rule.edges == ()

    def test_a_rate_at_the_edge_is_told(self):
        outcomes = [outcome_of(10, lr, lr) for lr in (1e-3, 1e-2, 1e-1)]
        assert rule_of(outcomes, "validation/loss", "classification").edges == (10,)

    def test_models_grow_in_width_and_depth(self):
        assert grown({"hidden": (4, 4)}, 2, 1.5) == {"hidden": (8, 8, 8)}
        assert grown({"width": 64, "blocks": 2, "heads": 4}, 1.5, 2) == {
            "width": 96,
            "blocks": 4,
        }
        assert grown({"width": 1.0}, 1.5, 1) == {"width": 1.5}

    def test_rows_of_sizes_go_on(self):
        assert extrapolated(((8,), (16,))) == (32,)
        assert extrapolated((3, 9)) == 27
        assert extrapolated(("a", "b")) is None
        assert extrapolated(((8,), (16, 16))) is None


@pytest.fixture(scope="module")
def training_part():
    from types import SimpleNamespace

    y = torch.tensor([0] * 100 + [1] * 60 + [2] * 40)
    rows = torch.arange(200)
    data = SimpleNamespace(y=y, rows={"train": rows}, task="classification")
    return data, y.bincount() / 200


def outcome_of(parameters, lr, loss):
    from types import SimpleNamespace

    rung = SimpleNamespace(lr=lr, size=SimpleNamespace(parameters=parameters))
    return Outcome(rung, "complete", 1, 1, {"validation/loss": loss}, 0.0)
