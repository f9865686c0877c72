"""Widths, costs and masks: targets are met, and counted costs are the true ones."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pruning_models import IMAGE, evidence_of, network_of

from modelscale.evaluation.macs import count_macs, parameter_count
from modelscale.pruning import masks
from modelscale.pruning.allocation import kept_units, ladder_of, shrink, step_of
from modelscale.pruning.calibration import recalibrate
from modelscale.pruning.costs import costs_of
from modelscale.pruning.criteria.base import CriterionSpec
from modelscale.pruning.latency_table import table_of, widths_to_measure
from modelscale.pruning.surgery import cut

MODELS = {
    "resnet": ({"kind": "resnet", "width": 8, "blocks": 1, "stages": 2}, IMAGE),
    "mobilenet": ({"kind": "mobilenet", "width": 0.5}, IMAGE),
    "ft_transformer": ({"kind": "ft_transformer", "width": 16, "heads": 4}, (6,)),
    "mlp": ({"kind": "mlp", "hidden": [32, 16]}, (20,)),
}
every_model = pytest.mark.parametrize("name", MODELS)


@pytest.fixture(scope="module")
def units():
    made = {}
    for name, (section, shape) in MODELS.items():
        network = network_of(section, shape)
        structure, evidence = evidence_of(network, shape)
        criterion = CriterionSpec.model_validate("magnitude")
        scores = {g.name: criterion.unit_scores(g, evidence) for g in structure.groups}
        costs = costs_of(network, structure, shape)
        made[name] = (network, shape, structure, scores, costs)
    return made


def ladders_of(structure, scores, align="auto", least=0.1):
    return {g.name: ladder_of(g, scores[g.name], align, least) for g in structure.groups}


@every_model
def test_costs_are_those_of_the_network_that_is_cut(units, name):
    network, shape, structure, scores, costs = units[name]
    counts = {g.name: max(1, g.units // 2) for g in structure.groups}
    made = cut(network, structure, kept_units(scores, counts)).network
    assert costs.parameters(counts) == parameter_count(made)
    assert costs.macs(counts) == pytest.approx(count_macs(made, shape), rel=0.01)


@every_model
@pytest.mark.parametrize("allocation", ["global", "uniform"])
@pytest.mark.parametrize("share", [0.6, 0.3])
def test_shrinking_meets_a_target_and_could_not_keep_more(units, name, allocation, share):
    _, _, structure, scores, costs = units[name]
    bound = share * costs.macs(costs.whole)
    ladders = ladders_of(structure, scores, least=0.0)
    counts = shrink(ladders, allocation, lambda c: costs.macs(c) <= bound)
    assert costs.macs(counts) <= bound
    for group, ladder in ladders.items():
        assert counts[group] in ladder.rungs
        above = ladder.above(counts[group])
        if above is not None:
            assert costs.macs({**counts, group: above}) > bound


@every_model
def test_units_that_stay_are_the_best_of_their_layer(units, name):
    _, _, structure, scores, _ = units[name]
    counts = {g.name: max(1, g.units // 3) for g in structure.groups}
    for group, kept in kept_units(scores, counts).items():
        gone = sorted(set(range(len(scores[group]))) - set(kept))
        assert len(kept) == counts[group]
        assert kept == sorted(kept)
        if gone:
            assert scores[group][kept].min() >= scores[group][gone].max()


def test_a_target_that_no_width_meets_gives_nothing(units):
    _, _, structure, scores, _ = units["mlp"]
    assert shrink(ladders_of(structure, scores), "global", lambda _: False) is None


@pytest.mark.parametrize(
    ("width", "step"), [(4, 2), (8, 4), (16, 8), (24, 8), (32, 16), (64, 16), (512, 16), (3, 1)]
)
def test_widths_are_powers_of_two_up_to_sixteen(width, step):
    assert step_of(width, "auto") == step


def test_global_allocation_takes_the_layer_that_matters_least(units):
    _, _, structure, _, costs = units["mlp"]
    first, second = (g.name for g in structure.groups)
    uneven = {first: torch.ones(32), second: torch.ones(16)}
    uneven[first][8:] = 0.01  # most of the first layer does nothing
    ladders = ladders_of(structure, uneven, least=0.0)
    bound = 0.5 * costs.macs(costs.whole)
    counts = shrink(ladders, "global", lambda c: costs.macs(c) <= bound)
    assert counts[first] / 32 < counts[second] / 16


@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=4),
    st.floats(0.01, 0.99),
    st.integers(0, 2**31),
)
def test_masks_zero_just_the_share_that_is_asked_for(sizes, sparsity, seed):
    draws = torch.Generator().manual_seed(seed)
    scores = {str(k): torch.rand(n, 3, generator=draws) for k, n in enumerate(sizes)}
    made = masks.by_sparsity(scores, sparsity, per_layer=False)
    total = sum(score.numel() for score in scores.values())
    assert sum(int((~mask).sum()) for mask in made.values()) == round(sparsity * total)
    kept = torch.cat([scores[n][made[n]] for n in scores])
    gone = torch.cat([scores[n][~made[n]] for n in scores])
    if len(kept) and len(gone):
        assert kept.min() >= gone.max()
    layered = masks.by_sparsity(scores, sparsity, per_layer=True)
    for name, mask in layered.items():
        assert int((~mask).sum()) == round(sparsity * scores[name].numel())


@pytest.mark.parametrize(("kept", "of"), [(2, 4), (1, 4), (1, 2)])
def test_pattern_keeps_the_best_of_each_block(kept, of):
    draws = torch.Generator().manual_seed(0)
    scores = {
        "a": torch.rand(6, 8, generator=draws),
        "b": torch.rand(4, 2, 2, 3, generator=draws),
    }
    made = masks.by_pattern(scores, kept, of)
    for name, mask in made.items():
        blocks, values = mask.reshape(-1, of), scores[name].reshape(-1, of)
        assert (blocks.sum(dim=1) == kept).all()
        best = values.topk(kept, dim=1).values[:, -1:]
        assert torch.equal(values >= best, blocks)


def test_rows_that_the_pattern_does_not_divide_stay_whole():
    assert masks.by_pattern({"a": torch.rand(3, 5)}, 2, 4)["a"].all()


def test_cubic_law_ends_at_the_sparsity_and_never_falls():
    values = [masks.cubic(0.9, share / 10) for share in range(11)]
    assert values[0] == 0
    assert values[-1] == pytest.approx(0.9)
    assert values == sorted(values)
    assert masks.cubic(0.8, 0.5) == pytest.approx(0.8 * (1 - 0.125))


def test_recalibration_gives_the_statistics_of_the_data():
    network = network_of({"kind": "resnet", "width": 4, "blocks": 1, "stages": 2})
    batches = [torch.rand(16, *IMAGE) + 3 for _ in range(4)]
    assert recalibrate(network, batches)
    conv, norm = network[0], network[1]
    with torch.no_grad():
        means = torch.stack([conv(x).mean((0, 2, 3)) for x in batches]).mean(0)
        spread = torch.stack([conv(x).var((0, 2, 3)) for x in batches]).mean(0)
    torch.testing.assert_close(norm.running_mean, means)
    torch.testing.assert_close(norm.running_var, spread)
    assert norm.momentum == 0.1
    assert not network.training
    assert not recalibrate(network_of({"kind": "mlp"}, (4,)), [])


def test_latency_table_adds_the_savings_of_groups(units):
    _, _, structure, scores, _ = units["mlp"]
    ladders = ladders_of(structure, scores)
    shares = {
        (name, width): 0.5 + 0.5 * width / ladder.rungs[-1]
        for name, ladder in ladders.items()
        for width in widths_to_measure(ladder)
    }
    table = table_of(ladders, shares)
    whole = {name: ladder.rungs[-1] for name, ladder in ladders.items()}
    assert table.share(whole) == 1
    first, second = whole
    half = {**whole, first: ladders[first].nearest(0.5)}
    assert table.share(half) == pytest.approx(0.75, abs=0.05)
    both = table.share({**half, second: ladders[second].nearest(0.5)})
    assert both == pytest.approx(0.5, abs=0.1)
    assert not math.isnan(both)
