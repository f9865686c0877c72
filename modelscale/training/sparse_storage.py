"""Weights that are mostly zero, as a bit for each number and the values that are not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from modelscale.models.edits.base import EditSpec
from modelscale.models.edits.sparse import Sparse
from modelscale.models.modules.slicing import named_tensors

BITS, VALUES = "bits", "values"
_PLACES = torch.tensor([1, 2, 4, 8, 16, 32, 64, 128], dtype=torch.uint8)


def packed(tensors: Mapping[str, Tensor], edits: Iterable[EditSpec]) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint with those that an edit calls sparse packed.

    `w` becomes `w.bits` (uint8, eight numbers in each, the first in the lowest bit, in the
    order of memory) and `w.values`.
    """
    made = dict(tensors)
    for name in _sparse(edits):
        weight = made.pop(name).detach().reshape(-1)
        kept = weight != 0
        padded = torch.nn.functional.pad(kept.to(torch.uint8), (0, -len(kept) % 8))
        made[f"{name}.{BITS}"] = (padded.view(-1, 8) * _PLACES).sum(dim=1, dtype=torch.uint8)
        made[f"{name}.{VALUES}"] = weight[kept]
    return made


def unpacked(
    tensors: Mapping[str, Tensor], network: nn.Module, edits: Iterable[EditSpec]
) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint with packed ones as they were.

    Raises:
        ValueError: If bits and values do not fit the network.
    """
    made, named = dict(tensors), named_tensors(network)
    for name in _sparse(edits):
        if name in made:
            continue  # as a state that is still trained has it
        bits, values = made.pop(f"{name}.{BITS}"), made.pop(f"{name}.{VALUES}")
        shape = named[name].shape
        if bits.dtype != torch.uint8 or bits.shape != (-(-shape.numel() // 8),):
            raise ValueError(f"{name}.{BITS}: not a bit for each of {tuple(shape)}")
        kept = (bits[:, None] & _PLACES).ne(0).view(-1)[: shape.numel()]
        if values.shape != (int(kept.sum()),):
            raise ValueError(f"{name}.{VALUES}: not a value for each bit")
        weight = torch.zeros(shape.numel(), dtype=values.dtype)
        weight[kept] = values
        made[name] = weight.view(shape)
    return made


def _sparse(edits: Iterable[EditSpec]) -> list[str]:
    return [n for edit in edits if isinstance(edit, Sparse) for n in edit.tensors]
