"""A faster lift for plain stacks of layers: batched matrix products without `vmap`.

`vmap` dispatches every operation twice, which small networks feel. A network that is one
`nn.Sequential` of the layers below is run on the whole stack directly, with activations as
(K, features, batch), so that the gradients of weights come out in the weights' own layout.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor, baddbmm, nn
from torch.nn import functional as F

from modelscale.models.modules.dropout import Dropout

PackedForward = Callable[
    [Mapping[str, Tensor], Mapping[str, Tensor], Tensor, Tensor | None], Tensor
]

ELEMENTWISE = (nn.ReLU, nn.GELU, nn.SiLU, nn.Tanh)


def packed_forward(network: nn.Module) -> PackedForward | None:
    """Return the forward pass of K replicas in training mode, or None where `vmap` must do.

    The result maps leaves (K, *shape) by name, buffers, x (K, B, *inputs) and noise (K, M)
    to outputs (K, B, O).
    """
    if not (isinstance(network, nn.Sequential) and _is_plain_stack(network)):
        return None
    layers = list(network.named_children())

    def forward(
        leaves: Mapping[str, Tensor],
        buffers: Mapping[str, Tensor],
        x_KB: Tensor,
        noise_KM: Tensor | None,
    ) -> Tensor:
        y_KFB, taken = x_KB.flatten(2).mT, 0
        for name, layer in layers:
            if isinstance(layer, nn.Linear):
                y_KFB = _linear(leaves, name, y_KFB)
            elif isinstance(layer, nn.LayerNorm):
                y_KFB = _layer_norm(layer, leaves, name, y_KFB)
            elif isinstance(layer, Dropout):
                assert noise_KM is not None
                count = y_KFB[0].numel()
                noise_KB = noise_KM[:, taken : taken + count]
                y_KFB, taken = _dropout(buffers, name, y_KFB, noise_KB), taken + count
            elif not isinstance(layer, nn.Flatten):
                y_KFB = layer(y_KFB)
        return y_KFB.mT

    return forward


def _is_plain_stack(network: nn.Sequential) -> bool:
    first, *rest = network
    inner = (nn.Linear, nn.LayerNorm, Dropout, *ELEMENTWISE)
    return isinstance(first, (nn.Flatten, *inner)) and all(isinstance(m, inner) for m in rest)


def _linear(leaves: Mapping[str, Tensor], name: str, y_KFB: Tensor) -> Tensor:
    weight_KOF, bias_KO = leaves[f"{name}.weight"], leaves.get(f"{name}.bias")
    if bias_KO is None:
        return weight_KOF @ y_KFB
    return baddbmm(bias_KO.unsqueeze(2), weight_KOF, y_KFB)


def _dropout(
    buffers: Mapping[str, Tensor], name: str, y_KFB: Tensor, noise_KB: Tensor
) -> Tensor:
    rate_K = buffers[f"{name}.rate"][:, None, None]
    noise_KFB = noise_KB.view_as(y_KFB.mT).mT
    return y_KFB * ((noise_KFB >= rate_K) / (1 - rate_K))


def _layer_norm(
    layer: nn.LayerNorm, leaves: Mapping[str, Tensor], name: str, y_KFB: Tensor
) -> Tensor:
    normal_KBF = F.layer_norm(y_KFB.mT, layer.normalized_shape, eps=layer.eps)
    weight_KF, bias_KF = leaves.get(f"{name}.weight"), leaves.get(f"{name}.bias")
    if weight_KF is not None:
        normal_KBF = normal_KBF * weight_KF[:, None]
    if bias_KF is not None:
        normal_KBF = normal_KBF + bias_KF[:, None]
    return normal_KBF.mT
