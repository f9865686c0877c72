"""Scores of units and weights, against formulas written out by hand."""

import pytest
import torch
from pruning_models import IMAGE, evidence_of, network_of
from torch.nn import functional as F

from modelscale.pruning.criteria.base import CriterionSpec
from modelscale.pruning.kinds.structured import Structured

MLP = {"kind": "mlp", "hidden": [6, 5]}


def scores_of(criterion, evidence, group):
    return CriterionSpec.model_validate(criterion).unit_scores(group, evidence)


@pytest.fixture
def mlp():
    """A perceptron 4-6-5-10; its layers are 1, 3 and 5, or 0, 2 and 4."""
    network = network_of(MLP, (4,))
    structure, evidence = evidence_of(network, (4,))
    layers = [m for m in network.modules() if isinstance(m, torch.nn.Linear)]
    return layers, structure.groups, evidence


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_magnitude_is_the_norm_of_what_makes_and_reads_a_unit(mlp, norm):
    layers, groups, evidence = mlp
    found = scores_of({"kind": "magnitude", "norm": norm}, evidence, groups[0])
    both = torch.cat([layers[0].weight, layers[1].weight.T], dim=1).detach()
    torch.testing.assert_close(found, both.norm(p=1 if norm == "l1" else 2, dim=1))


def test_taylor_is_the_mean_square_of_the_units_gradient_times_weight(mlp):
    layers, groups, evidence = mlp
    found = scores_of("taylor", evidence, groups[1])
    expected = torch.zeros(5)
    for x, y in evidence.batches:
        loss = F.cross_entropy(evidence.network(x), y)
        weight, bias = torch.autograd.grad(loss, [layers[1].weight, layers[1].bias])
        with torch.no_grad():
            change = (weight * layers[1].weight).sum(1) + bias * layers[1].bias
        expected += change.square() / len(evidence.batches)
    torch.testing.assert_close(found, expected)


def test_gradient_weight_sums_products_with_the_mean_gradient(mlp):
    layers, groups, evidence = mlp
    found = scores_of("gradient_weight", evidence, groups[0])
    mean = [torch.zeros_like(layers[0].weight), torch.zeros_like(layers[1].weight)]
    for x, y in evidence.batches:
        loss = F.cross_entropy(evidence.network(x), y)
        grads = torch.autograd.grad(loss, [layers[0].weight, layers[1].weight])
        mean = [m + g / len(evidence.batches) for m, g in zip(mean, grads, strict=True)]
    expected = (mean[0] * layers[0].weight).abs().sum(1) + (
        mean[1] * layers[1].weight
    ).abs().sum(0)
    torch.testing.assert_close(found, expected.detach())


def test_activation_is_the_weight_times_the_norm_of_what_it_reads(mlp):
    layers, groups, evidence = mlp
    hidden = []
    handle = layers[1].register_forward_pre_hook(lambda _, inputs: hidden.append(inputs[0]))
    for x, _ in evidence.batches:
        evidence.network(x)
    handle.remove()
    mean_square = torch.cat(hidden).detach().square().mean(0)
    name = next(n for n, p in evidence.tensors.items() if p is layers[1].weight)
    by_weight = CriterionSpec.model_validate("activation").weight_scores(name, evidence)
    expected = layers[1].weight.detach().abs() * mean_square.sqrt()
    torch.testing.assert_close(by_weight, expected)
    found = scores_of("activation", evidence, groups[0])
    torch.testing.assert_close(found, expected.square().sum(0).sqrt())


def test_the_default_does_not_see_the_size_of_filters_that_a_batch_norm_makes_arbitrary():
    network = network_of({"kind": "resnet", "width": 4, "blocks": 1, "stages": 2})
    structure, evidence = evidence_of(network)
    default = Structured().criterion.own_kind()
    before = {g.name: scores_of(default, evidence, g) for g in structure.groups}
    draws = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for conv, norm in (("3.body.0", "3.body.1"), ("4.body.0", "4.body.1")):
            times = 1 + 9 * torch.rand(
                network.get_submodule(norm).num_features, generator=draws
            )
            network.get_submodule(conv).weight *= times.view(-1, 1, 1, 1)
            network.get_submodule(norm).running_mean *= times
            network.get_submodule(norm).running_var *= times.square()
    _, again = evidence_of(network)
    for group in structure.groups:
        if group.name in {"3.body.0", "4.body.0"}:
            found = scores_of(default, again, group)
            torch.testing.assert_close(found, before[group.name], rtol=1e-3, atol=1e-4)


def test_geometric_median_is_the_sum_of_distances(mlp):
    layers, groups, evidence = mlp
    found = scores_of("geometric_median", evidence, groups[0])
    rows = layers[0].weight.detach()
    expected = torch.stack([(rows - row).norm(dim=1).sum() for row in rows])
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_batch_norm_scale_sums_the_norms_of_a_residual_stage():
    network = network_of({"kind": "resnet", "width": 4, "blocks": 1, "stages": 2})
    structure, evidence = evidence_of(network)
    group = structure.groups[0]
    named = dict(network.named_parameters())
    norms = [
        m.tensor
        for m in group.makers
        if isinstance(network.get_submodule(m.tensor.rpartition(".")[0]), torch.nn.BatchNorm2d)
        and m.tensor.endswith("weight")
    ]
    assert len(norms) == 2  # the stem's and the block's
    found = scores_of("batch_norm_scale", evidence, group)
    torch.testing.assert_close(found, sum(named[n].detach().abs() for n in norms))


def test_batch_norm_scale_refuses_a_network_without_any(mlp):
    with pytest.raises(ValueError, match="needs a network with batch norm"):
        CriterionSpec.model_validate("batch_norm_scale").check(mlp[2])


def test_random_scores_depend_on_the_seed_and_the_layer_alone(mlp):
    _, groups, evidence = mlp
    first = scores_of("random", evidence, groups[0])
    assert torch.equal(first, scores_of("random", evidence, groups[0]))
    evidence.seed = 1
    assert not torch.equal(first, scores_of("random", evidence, groups[0]))


@pytest.fixture(scope="module")
def mobilenet():
    return evidence_of(network_of({"kind": "mobilenet", "width": 0.25}), IMAGE)


@pytest.mark.parametrize("kind", CriterionSpec.kinds())
def test_every_criterion_scores_every_unit_of_a_network(kind, mobilenet):
    structure, evidence = mobilenet
    for group in structure.groups:
        found = scores_of(kind, evidence, group)
        assert found.shape == (group.units,)
        assert found.isfinite().all()
        assert (found >= 0).all()


@pytest.mark.parametrize("kind", CriterionSpec.kinds())
def test_scores_leave_the_network_as_it_was(kind, mlp):
    _, groups, evidence = mlp
    before = {n: p.detach().clone() for n, p in evidence.tensors.items()}
    scores_of(kind, evidence, groups[0])
    assert all(torch.equal(p, before[n]) for n, p in evidence.tensors.items())
    assert all(p.grad is None for p in evidence.tensors.values())
