"""Structured pruning over the zoo of hard graphs: exact, or declined by name; never wrong."""

import copy
import functools
import sys

import numpy as np
import pytest
import torch
from hard_graphs import HardGraph, zoo
from torch.utils._pytree import tree_leaves

from modelscale.models.edits.base import EditSpec
from modelscale.models.modules.slicing import named_tensors
from modelscale.pruning.graph.units import Group
from modelscale.pruning.proof import without_effect
from modelscale.pruning.structure import Structure, find_units
from modelscale.pruning.surgery import cut

pytestmark = pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")

# The others run in the slow tier.
QUICK = {
    "branch on values",
    "channel split and shuffle",
    "dense concatenation",
    "few wide groups",
    "inverted residual",
    "residual",
    "shared keys, expanded",
    "shortcut padded with zeros",
    "unfamiliar operator",
}
GRAPHS = [
    pytest.param(g, id=g.name, marks=[] if g.name in QUICK else [pytest.mark.slow])
    for g in zoo()
]
CUTTABLE = [p for p in GRAPHS if p.values[0].units]
every_graph = pytest.mark.parametrize("graph", GRAPHS)
every_cuttable_graph = pytest.mark.parametrize("graph", CUTTABLE)

# Their statistics over twice the same values are those of the values.
UNMOVED_BY_COPIES = {"layer_norm", "rms_norm", "group_norm", "mean", "amax", "amin"}
PRODUCTS = {"scaled_dot_product_attention", "matmul", "bmm", "einsum"}


@pytest.fixture(autouse=True, scope="module")
def no_fallback():
    """What does not export is declined; `test_prune_fallback.py` is about the other way."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "torch_pruning", None)
        yield


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@functools.cache
def structure_of(graph: HardGraph, attention="heads") -> Structure:
    # Without a trial, which would hide faults of the analysis, unless the trial is the subject.
    prove = "trial" in graph.declines
    return find_units(graph.network(), graph.examples(), attention=attention, prove=prove)


@torch.no_grad()
def outputs(network, inputs):
    return [y for y in tree_leaves(network.eval()(*inputs)) if isinstance(y, torch.Tensor)]


def assert_same(network, other, graph, tolerance=1e-9):
    for batch in (3, 5):  # another one than it was followed with
        inputs = graph.examples(batch)
        before, after = outputs(network, inputs), outputs(other, inputs)
        assert len(before) == len(after) > 0
        for a, b in zip(before, after, strict=True):
            torch.testing.assert_close(a, b, atol=tolerance, rtol=tolerance)
            assert a.abs().max() > 1e-6, "the test would not see a difference"


def some_of(group: Group, seed=0) -> np.ndarray:
    """Return about two thirds of the units, in no pattern."""
    kept = max(1, group.units * 2 // 3)
    return np.sort(np.random.default_rng(seed).permutation(group.units)[:kept])


def others(group: Group, kept) -> np.ndarray:
    return np.setdiff1d(np.arange(group.units), kept)


def sizes(network):
    return {name: tuple(t.shape) for name, t in network.state_dict().items()}


@every_graph
def test_finds_all_units_and_names_what_it_declines(graph):
    structure = structure_of(graph)
    assert sum(group.units for group in structure.groups) == graph.units
    assert len(structure.declined) == len(graph.declines)
    for declined, reason in zip(structure.declined, graph.declines, strict=True):
        assert reason in declined.reason
        assert declined.layers


@every_cuttable_graph
@pytest.mark.parametrize("attention", ["heads", "head_size"])
def test_units_without_outgoing_weights_go_without_a_trace(graph, attention):
    structure = structure_of(graph, attention)
    if attention == "head_size" and not any(g.kind == "head_size" for g in structure.groups):
        return
    network, keep = graph.network(), {}
    for group in structure.groups:
        kept = some_of(group)
        if without_effect(network, group, others(group, kept)):
            keep[group.name] = kept
    done = cut(network, structure, keep)
    assert_same(network, done.network, graph)
    if keep:
        assert sum(map(np.prod, sizes(done.network).values())) < sum(
            map(np.prod, sizes(network).values())
        )


@every_cuttable_graph
def test_outgoing_weights_alone_decide(graph):
    """Each group by itself, where nothing but weights reads it."""
    structure = structure_of(graph)
    for group in structure.groups:
        if group.mixed_by:
            continue
        network, kept = graph.network(), some_of(group, seed=1)
        tensors = named_tensors(network)
        with torch.no_grad():
            for member in group.readers:
                at = torch.from_numpy(
                    np.flatnonzero(np.isin(member.owner, others(group, kept)))
                )
                tensors[member.tensor].index_fill_(member.dim, at, 0)
        assert_same(network, cut(network, structure, {group.name: kept}).network, graph)


@every_cuttable_graph
def test_statistics_are_taken_over_what_is_left(graph):
    """Copies of the kept units change no mean or variance; with them the cut is exact."""
    structure = structure_of(graph)
    for group in structure.groups:
        known = set(group.mixed_by) <= UNMOVED_BY_COPIES
        tied = any(member.side == "both" for member in group.members)
        if not group.mixed_by or not known or tied or group.units % 2:
            continue
        network, half = graph.network(), group.units // 2
        tensors = named_tensors(network)
        with torch.no_grad():
            for member in group.members:
                first, second = (
                    torch.from_numpy(
                        np.flatnonzero((member.owner >= 0) & (member.owner // half == i))
                    )
                    for i in (0, 1)
                )
                values = tensors[member.tensor]
                if member.side == "reads":
                    values.index_fill_(member.dim, second, 0)
                else:
                    values.index_copy_(
                        member.dim, second, values.index_select(member.dim, first)
                    )
        done = cut(network, structure, {group.name: range(half)})
        assert_same(network, done.network, graph, 1e-7)


@every_cuttable_graph
def test_half_of_everything_can_go_and_the_rest_trains(graph):
    network, structure = graph.network(), structure_of(graph)
    keep = {group.name: range(-(-group.units // 2)) for group in structure.groups}
    smaller = cut(network, structure, keep).network
    parameters = [p for p in smaller.parameters() if p.requires_grad]
    loss = sum(y.square().mean() for y in tree_leaves(smaller(*graph.examples())))
    loss.backward()
    assert all(p.grad is not None and p.grad.shape == p.shape for p in parameters)
    names = {name: p.requires_grad for name, p in network.named_parameters()}
    assert {n: p.requires_grad for n, p in smaller.named_parameters()} == {
        n: names[n] for n, _ in smaller.named_parameters()
    }


@every_cuttable_graph
def test_cut_as_data_makes_the_same_network_of_a_new_one(graph):
    network, structure = graph.network(), structure_of(graph)
    untouched = copy.deepcopy(network.state_dict())
    done = cut(network, structure, {g.name: some_of(g) for g in structure.groups})
    assert done.edit.rewritten == graph.rewritten
    for name, values in network.state_dict().items():
        assert torch.equal(values, untouched[name]), f"{name} was changed"
    edit = EditSpec.model_validate_json(done.edit.model_dump_json())
    again = edit.apply(graph.build().double())
    assert sizes(again) == sizes(done.network)
    again.load_state_dict(done.network.state_dict())
    assert_same(done.network, again, graph)


@every_cuttable_graph
def test_cutting_twice_equals_cutting_once(graph):
    network, structure = graph.network(), structure_of(graph)
    if any(
        cut(network, structure, {g.name: some_of(g)}).edit.rewritten for g in structure.groups
    ):
        return  # a graph is followed again in its own test
    first = {g.name: np.arange(max(1, g.units - 1)) for g in structure.groups}
    then = {g.name: np.arange(max(1, g.units - 2)) for g in structure.groups}
    halfway = cut(network, structure, first).network
    found = find_units(halfway, graph.examples(), prove=False)
    left = {g.name: g.units for g in found.groups}
    assert {g.name: left.get(g.name) for g in structure.groups if g.units > 2} == {
        g.name: g.units - 1 for g in structure.groups if g.units > 2
    }
    keep = {g.name: then[g.name] for g in structure.groups if g.units > 2}
    once = cut(network, structure, then).network
    assert sizes(cut(halfway, found, keep).network) == sizes(once)
    assert_same(cut(halfway, found, keep).network, once, graph)
