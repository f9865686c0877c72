"""A faster way for plain stacks of layers: batched matrix products, without `vmap` or autograd.

`vmap` dispatches every operation twice, and autograd keeps a graph that a plain stack doesn't
need: small networks feel both, large ones feel the copies. A network that is one
`nn.Sequential` of the layers below is run on the whole stack directly, and its gradients are
written where the optimizer reads them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from modelscale.models.modules.dropout import Dropout

Leaves = Mapping[str, Tensor]  # by name, each (K, *shape)
Tape = list[tuple[Tensor, ...]]  # of each layer, what its gradient needs
Drops = Mapping[str, tuple[Tensor, Tensor]]  # of each dropout layer, see `PackedStack.drops`

ELEMENTWISE = (nn.ReLU, nn.GELU, nn.SiLU, nn.Tanh)
LAYERS = (nn.Linear, nn.LayerNorm, Dropout, *ELEMENTWISE)

LARGE_MATRIX = 2**15
"""Numbers of a weight from which its gradient is not computed elsewhere and copied."""


def packed_stack(network: nn.Module) -> PackedStack | None:
    """Return the network as a plain stack of trained layers, or None where it isn't one."""
    if not isinstance(network, nn.Sequential) or not len(network):
        return None
    first, *rest = network
    plain = all(isinstance(layer, LAYERS) for layer in rest)
    if not plain or not isinstance(first, (nn.Flatten, *LAYERS)):
        return None
    if not all(parameter.requires_grad for parameter in network.parameters()):
        return None
    if any(layer.bias is None for layer in network if isinstance(layer, nn.LayerNorm)):
        return None
    return PackedStack(tuple(network._modules.items()))  # `named_children` skips repeated ones


@dataclass(frozen=True)
class PackedStack:
    """K replicas of a plain stack of layers.

    Attributes:
        layers: By name, in the order of the network.
    """

    layers: tuple[tuple[str, nn.Module], ...]

    def drops(self, buffers: Leaves) -> Drops:
        """Return each dropout layer's rates and the factors on what it keeps, (K, 1, 1)."""
        found = {}
        for name, layer in self.layers:
            if isinstance(layer, Dropout):
                rate_K11 = buffers[f"{name}.rate"][:, None, None]
                found[name] = rate_K11, 1 / (1 - rate_K11)
        return found

    def outputs(
        self,
        leaves: Leaves,
        buffers: Leaves,
        x_KB: Tensor,
        noise_KM: Tensor | None = None,
        tape: Tape | None = None,
        drops: Drops | None = None,
    ) -> Tensor:
        """Return outputs (K, B, O).

        Args:
            leaves: Parameters.
            buffers: Dropout rates.
            x_KB: (K, B, *inputs) float32.
            noise_KM: Uniform numbers for dropout; without them nothing is dropped.
            tape: Is filled with what `gradients` needs.
            drops: Of `drops`, where they are known.
        """
        if noise_KM is not None and drops is None:
            drops = self.drops(buffers)
        y_KBF, taken = x_KB.flatten(2), 0
        for name, layer in self.layers:
            saved: tuple[Tensor, ...] = (y_KBF,)
            if isinstance(layer, nn.Linear):
                y_KBF = _linear(leaves, name, y_KBF)
            elif isinstance(layer, nn.LayerNorm):
                y_KBF, saved = _layer_norm(layer, leaves, name, y_KBF)
            elif isinstance(layer, Dropout):
                if noise_KM is not None and drops is not None:
                    count = y_KBF[0].numel()
                    noise_KBF = noise_KM[:, taken : taken + count].view(y_KBF.shape)
                    rate_K11, scale_K11 = drops[name]
                    # Answers that are written as numbers at once: six times faster.
                    mask_KBF = torch.ge(noise_KBF, rate_K11, out=torch.empty_like(noise_KBF))
                    mask_KBF.mul_(scale_K11)
                    y_KBF, taken, saved = y_KBF * mask_KBF, taken + count, (mask_KBF,)
            elif not isinstance(layer, nn.Flatten):
                y_KBF = layer.forward(y_KBF)  # not called, which costs more than a small ReLU
                saved = (*saved, y_KBF)
            if tape is not None:
                tape.append(saved)
        return y_KBF

    def gradients(self, leaves: Leaves, tape: Tape, grad_KBO: Tensor, into: Leaves) -> None:
        """Write the parameters' gradients, with the outputs' given.

        Args:
            leaves: Parameters.
            tape: Of `outputs`, with noise where the network takes some.
            grad_KBO: Gradient of the outputs.
            into: Is written, by the names of the parameters.
        """
        first = next(i for i, (_, layer) in enumerate(self.layers) if layer._parameters)
        grad = grad_KBO
        for i in range(len(self.layers) - 1, first - 1, -1):
            name, layer = self.layers[i]
            if isinstance(layer, nn.Linear):
                _put_linear(tape[i][0], grad, name, into)
                if i > first:
                    grad = torch.bmm(grad, leaves[f"{name}.weight"])
            elif isinstance(layer, nn.LayerNorm):
                grad = _layer_norm_gradient(layer, leaves, name, tape[i], grad, into)
            elif isinstance(layer, Dropout):
                grad = grad * tape[i][0]
            else:
                grad = _elementwise_gradient(layer, tape[i], grad)


def _linear(leaves: Leaves, name: str, y_KBF: Tensor) -> Tensor:
    weight_KOF, bias_KO = leaves[f"{name}.weight"], leaves.get(f"{name}.bias")
    if bias_KO is None:
        return torch.bmm(y_KBF, weight_KOF.mT)
    return torch.baddbmm(bias_KO.unsqueeze(1), y_KBF, weight_KOF.mT)


def _put_linear(x_KBF: Tensor, grad_KBO: Tensor, name: str, into: Leaves) -> None:
    weight_KOF, bias_KO = into[f"{name}.weight"], into.get(f"{name}.bias")
    if weight_KOF[0].numel() < LARGE_MATRIX:
        weight_KOF.copy_(torch.bmm(grad_KBO.mT, x_KBF))
    else:
        torch.bmm(grad_KBO.mT, x_KBF, out=weight_KOF)
    if bias_KO is not None:
        torch.sum(grad_KBO, 1, out=bias_KO)


def _elementwise_gradient(layer: nn.Module, saved: tuple[Tensor, ...], grad: Tensor) -> Tensor:
    x, y = saved
    aten = torch.ops.aten
    if isinstance(layer, nn.ReLU):
        found = aten.threshold_backward(grad, y, 0)
    elif isinstance(layer, nn.Tanh):
        found = aten.tanh_backward(grad, y)
    elif isinstance(layer, nn.SiLU):
        found = aten.silu_backward(grad, x)
    else:
        assert isinstance(layer, nn.GELU)
        found = aten.gelu_backward(grad, x, approximate=layer.approximate)
    return torch.as_tensor(found)


def _layer_norm(
    layer: nn.LayerNorm, leaves: Leaves, name: str, x_KBF: Tensor
) -> tuple[Tensor, tuple[Tensor, ...]]:
    weight_K1F, bias_K1F = (leaves[f"{name}.{field}"][:, None] for field in ("weight", "bias"))
    normal_KBF, mean, rstd = torch.native_layer_norm(
        x_KBF, list(layer.normalized_shape), None, None, layer.eps
    )
    return torch.addcmul(bias_K1F, normal_KBF, weight_K1F), (x_KBF, normal_KBF, mean, rstd)


def _layer_norm_gradient(
    layer: nn.LayerNorm,
    leaves: Leaves,
    name: str,
    saved: tuple[Tensor, ...],
    grad_KBF: Tensor,
    into: Leaves,
) -> Tensor:
    x_KBF, normal_KBF, mean, rstd = saved
    torch.sum(grad_KBF * normal_KBF, 1, out=into[f"{name}.weight"])
    torch.sum(grad_KBF, 1, out=into[f"{name}.bias"])
    found = torch.ops.aten.native_layer_norm_backward(
        grad_KBF * leaves[f"{name}.weight"][:, None],
        x_KBF,
        list(layer.normalized_shape),
        mean,
        rstd,
        None,
        None,
        [True, False, False],
    )
    return torch.as_tensor(found[0])
