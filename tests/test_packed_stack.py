"""A plain stack's own gradients are those that autograd finds."""

import pytest
import torch
from scipy.stats import kstest
from torch import Tensor, nn
from torch.func import functional_call
from training_data import classes, replica

from modelscale.losses.base import LossSpec
from modelscale.losses.cross_entropy import CrossEntropy
from modelscale.losses.focal import Focal
from modelscale.losses.mean_squared_error import MeanSquaredError
from modelscale.models.modules.dropout import Dropout
from modelscale.models.modules.noise import playing
from modelscale.training.batches import dropout_noise
from modelscale.training.layout import Layout
from modelscale.training.packed import packed_stack

REPLICAS, BATCH = 3, 5


def stack_of(activation: nn.Module) -> nn.Sequential:
    """Return a network with every kind of layer that a plain stack may have."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(6, 7, bias=False),
        nn.LayerNorm(7),
        activation,
        Dropout(0.3),
        nn.Linear(7, 4),
        activation,
        nn.Linear(4, 2),
    )


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.mark.parametrize("activation", [nn.ReLU(), nn.GELU(), nn.SiLU(), nn.Tanh()], ids=repr)
def test_gradients_of_a_plain_stack_are_those_of_autograd(activation: nn.Module) -> None:
    network = stack_of(activation).train()
    layout, packed = Layout.of(network), packed_stack(network)
    assert packed is not None
    theta_KP, x_KB = random(REPLICAS, layout.numel), random(REPLICAS, BATCH, 2, 3)
    noise_KM = torch.rand(REPLICAS, BATCH * 7, generator=torch.Generator().manual_seed(0))
    rates_K = torch.tensor([0.1, 0.3, 0.6])
    grad_KBO = random(REPLICAS, BATCH, 2)
    stack = dict(zip(layout.names, layout.views(theta_KP), strict=True))
    found_KP = torch.full_like(theta_KP, torch.nan)
    into = dict(zip(layout.names, layout.views(found_KP), strict=True))
    tape: list[tuple[Tensor, ...]] = []
    with torch.no_grad():
        outputs = packed.outputs(stack, {"4.rate": rates_K}, x_KB, noise_KM, tape)
        packed.gradients(stack, tape, grad_KBO, into)

    for k in range(REPLICAS):
        theta_P = theta_KP[k].clone().requires_grad_()
        leaves = layout.tensors(theta_P) | {"4.rate": rates_K[k]}
        with playing(noise_KM[k]):
            alone = functional_call(network, leaves, (x_KB[k],))
        (expected_P,) = torch.autograd.grad(alone, theta_P, grad_KBO[k])
        torch.testing.assert_close(outputs[k], alone.detach())
        torch.testing.assert_close(found_KP[k], expected_P, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("loss", "targets"),
    [(CrossEntropy(), torch.tensor([0, 2, 1])), (MeanSquaredError(), random(3, 4))],
    ids=["cross_entropy", "mean_squared_error"],
)
def test_written_slopes_of_a_loss_are_those_of_autograd(
    loss: LossSpec, targets: Tensor
) -> None:
    outputs = (3 * random(3, 4)).requires_grad_()
    expected = loss.per_example(outputs, targets)
    (slopes,) = torch.autograd.grad(expected.sum(), outputs)
    found = loss.slopes(outputs.detach(), targets)
    assert found is not None
    torch.testing.assert_close(found, (expected.detach(), slopes))


@pytest.mark.parametrize("loss", [CrossEntropy(label_smoothing=0.1), Focal()], ids=repr)
def test_other_losses_are_differentiated(loss: LossSpec) -> None:
    assert loss.slopes(random(3, 4), torch.tensor([0, 2, 1])) is None


def test_a_stack_with_frozen_parameters_is_not_called_plain() -> None:
    network = stack_of(nn.ReLU())
    network[1].weight.requires_grad_(False)
    assert packed_stack(network) is None


def test_noise_for_dropout_is_uniform() -> None:
    """By the test of Kolmogorov and Smirnov."""
    noise_KM = dropout_noise(
        [replica(classes(), seed=k) for k in (1, 2)], [0, 7], [100_001] * 2, torch.device("cpu")
    )
    assert noise_KM.shape == (2, 100_001)
    assert float(noise_KM.min()) >= 0
    assert float(noise_KM.max()) < 1
    assert all(kstest(row.numpy(), "uniform").pvalue > 1e-3 for row in noise_KM)
