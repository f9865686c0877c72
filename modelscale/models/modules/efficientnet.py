"""Weights of EfficientNet-Lite as they were published, as those of `EfficientnetLite`."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from modelscale.models.modules.batch_norm import BatchNorm2d

PUBLISHED_EPS = 1e-3
_STATISTICS = ".running_mean"


def from_published(named: Mapping[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """Return published weights by the names of `network`, which they are for.

    The shifts of narrow layers' norms go into the means that the next norms subtract, and the
    difference of eps into the variances, so that the answers stay the same.

    Args:
        named: By the names that the PyTorch port gives them, in the order of the layers.
        network: What `EfficientnetLite` builds at the published size.
    """
    layers = dict(network.named_modules())
    convolutions = [name for name, layer in layers.items() if isinstance(layer, nn.Conv2d)]
    norms = [name for name, layer in layers.items() if isinstance(layer, BatchNorm2d)]
    old_weights = [tensor for tensor in named.values() if tensor.dim() == 4]
    old_norms = [name.removesuffix(_STATISTICS) for name in named if name.endswith(_STATISTICS)]
    tensors: dict[str, Tensor] = {}
    shift: Tensor | None = None
    narrow = False
    for place, norm, weight, old in zip(
        convolutions, norms, old_weights, old_norms, strict=True
    ):
        layer = layers[norm]
        assert isinstance(layer, BatchNorm2d)
        mean, bias = named[old + _STATISTICS], named[f"{old}.bias"]
        if narrow and shift is not None:
            mean = mean - weight.flatten(1) @ shift
        tensors |= {
            f"{place}.weight": weight,
            f"{norm}.weight": named[f"{old}.weight"],
            norm + _STATISTICS: mean,
            f"{norm}.running_var": named[f"{old}.running_var"] + (PUBLISHED_EPS - layer.eps),
            f"{norm}.num_batches_tracked": named[f"{old}.num_batches_tracked"],
        }
        narrow = layer.bias is None
        if narrow:
            adds = layers[norm.partition(".")[0]].adds
            shift = bias if shift is None or not adds else shift + bias
        else:
            tensors[f"{norm}.bias"] = bias
    last = list(layers)[-1]
    return tensors | {f"{last}.{part}": named[f"_fc.{part}"] for part in ("weight", "bias")}
