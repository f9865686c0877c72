"""Cutting units out of a network for good: a smaller network, and the cut as data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn

    from modelscale.models.edits.cut import Cut, Example, Kept
    from modelscale.pruning.graph.patches import Remains
    from modelscale.pruning.structure import Structure, Traced


NOISE = 0.1
TOLERANCE = 1e-4  # of float32 results that two orders of summation may give
FINE_TOLERANCE = 1e-9
"""Of float64 results. Code that runs with a wrong size, such as two heads where one is left,
may come within `TOLERANCE` where the weights are small."""


class CannotCut(ValueError):
    """A cut that would not leave a network that runs."""


@dataclass(frozen=True)
class CutNetwork:
    """A network after a cut.

    Attributes:
        network: The smaller network; a module of the same classes, or a graph where `edit`
            says that it had to be rewritten.
        edit: The cut as data; applied to a freshly built network it makes the same shapes.
    """

    network: nn.Module
    edit: Cut


def cut(
    network: nn.Module, structure: Structure, keep: Mapping[str, Sequence[int]]
) -> CutNetwork:
    """Return a copy of a network with the kept units only.

    The copy runs the network's own forward code where that can work at other sizes, which is
    tried on the examples and compared with the rewritten graph; else it is the graph.

    Args:
        network: Of the shapes that `structure` was found on; it is left as it is.
        structure: Its units.
        keep: For each group by name, the numbers of the units that stay, one at least;
            groups that are not named stay whole.

    Raises:
        ValueError: If `keep` names no such group or unit, or keeps none of a group.
        CannotCut: If what is left does not run.
    """
    from modelscale.models.edits.cut import Cut, Rewriting
    from modelscale.models.modules.exported import rewrite, twin_of
    from modelscale.models.modules.slicing import assign, held_values, slice_tensors
    from modelscale.pruning.graph.patches import changes_of
    from modelscale.pruning.sizes import possible_settings

    smaller = twin_of(network)
    _check(structure, keep)
    if not keep:
        return CutNetwork(smaller, Cut())
    if structure.traced is None:
        return _cut_by_members(smaller, structure, keep)
    traced = structure.traced
    remains = _remains(structure, traced, keep)
    kept, changes = _kept(traced, remains), changes_of(traced.graph, remains)
    slice_tensors(smaller, kept)
    assign(smaller, {})
    graph = rewrite(traced.graph, smaller, changes)
    try:
        wanted = _outputs_on_trial(graph, structure.examples)
    except RuntimeError as error:
        raise CannotCut(f"what is left does not run: {error}") from error
    for settings in possible_settings(smaller, traced.graph, changes, remains):
        before = held_values(smaller, settings)
        assign(smaller, settings)
        if _runs_alike(smaller, structure.examples, wanted):
            return CutNetwork(smaller, Cut(kept=kept, settings=settings))
        assign(smaller, before)
    if not _runs_other_batches(graph, structure.examples):
        raise CannotCut("sizes are written into the network's code, the batch size as well")
    rewriting = Rewriting(inputs=_described(structure.examples), changes=changes)
    return CutNetwork(graph.eval(), Cut(kept=kept, rewriting=rewriting))


def _cut_by_members(
    network: nn.Module, structure: Structure, keep: Mapping[str, Sequence[int]]
) -> CutNetwork:
    """Cut a network without a graph: by what its groups say, run by its own code."""
    import numpy as np
    import torch

    from modelscale.models.edits.cut import Cut, Kept
    from modelscale.models.modules.slicing import assign, named_tensors, positions_of
    from modelscale.models.modules.slicing import slice_tensors as sliced

    stays: dict[tuple[str, int], np.ndarray] = {}
    tensors = named_tensors(network)
    for name, units in keep.items():
        for member in structure.group(name).members:
            size = tensors[member.tensor].shape[member.dim]
            mask = stays.setdefault((member.tensor, member.dim), np.ones(size, dtype=bool))
            mask &= (member.owner < 0) | np.isin(member.owner, np.asarray(units))
    kept = tuple(
        Kept(positions=positions_of(mask.tolist()), tensors=(f"{tensor}:{dim}",))
        for (tensor, dim), mask in stays.items()
        if not mask.all()
    )
    sliced(network, kept)
    assign(network, {})
    try:
        with torch.no_grad():
            network(*structure.examples)
    except (RuntimeError, ValueError, IndexError) as error:
        raise CannotCut(f"what is left does not run: {error}") from error
    return CutNetwork(network, Cut(kept=kept))


def _check(structure: Structure, keep: Mapping[str, Sequence[int]]) -> None:
    for name, units in keep.items():
        group = structure.group(name)
        if len(units) == 0:
            raise ValueError(f"{name}: at least one of its {group.units} units must stay")
        if min(units) < 0 or max(units) >= group.units:
            raise ValueError(
                f"{name}: units are numbered 0 to {group.units - 1}, got {min(units)} to "
                f"{max(units)}"
            )


def _remains(
    structure: Structure, traced: Traced, keep: Mapping[str, Sequence[int]]
) -> Remains:
    import numpy as np

    from modelscale.pruning.graph.patches import Remains

    _check(structure, keep)
    gone = np.zeros(len(traced.flow.atoms), dtype=bool)
    for name, units in keep.items():
        removed = np.ones(len(traced.roots[name]), dtype=bool)
        removed[np.asarray(units, dtype=np.int64)] = False
        gone[traced.roots[name][removed]] = True
    return Remains(traced.flow, gone)


def _kept(traced: Traced, remains: Remains) -> tuple[Kept, ...]:
    from modelscale.models.edits.cut import Kept
    from modelscale.models.modules.slicing import positions_of

    alike: dict[str, list[str]] = {}
    for tensor, axes in traced.weights.items():
        for dim, axis in enumerate(axes):
            kept = remains.kept(axis, 1)
            if kept.all():
                continue
            if not kept.any():
                raise CannotCut(f"nothing would be left of {tensor}, dimension {dim}")
            alike.setdefault(positions_of(kept.tolist()), []).append(f"{tensor}:{dim}")
    return tuple(
        Kept(positions=positions, tensors=tuple(tensors))
        for positions, tensors in alike.items()
    )


def _runs_other_batches(graph: nn.Module, examples: tuple[Tensor, ...]) -> bool:
    import torch

    twice = tuple(torch.cat([x, x]) if x.dim() else x for x in examples)
    try:
        outputs_of(graph, twice)
    except RuntimeError:
        return False
    return True


def _runs_alike(network: nn.Module, examples: tuple[Tensor, ...], wanted: list[Tensor]) -> bool:
    """Return whether a network's own code computes what the rewritten graph computes."""
    try:
        found = _outputs_on_trial(network, examples)
    except Exception:  # noqa: BLE001  (code written for other sizes may raise anything)
        return False
    return alike(found, wanted)


def alike(left: list[Tensor], right: list[Tensor]) -> bool:
    """Return whether outputs are equal up to a part of the largest of them."""
    return len(left) == len(right) and all(
        a.shape == b.shape and a.dtype == b.dtype and _is_near(a, b)
        for a, b in zip(left, right, strict=True)
    )


def _is_near(a: Tensor, b: Tensor) -> bool:
    import torch

    tolerance = FINE_TOLERANCE if a.dtype == torch.float64 else TOLERANCE
    return bool((a - b).abs().max() <= tolerance * (1 + b.abs().max()))


def outputs_of(network: nn.Module, examples: tuple[Tensor, ...]) -> list[Tensor]:
    """Return all output tensors of a forward pass in evaluation mode."""
    import torch
    from torch.utils._pytree import tree_leaves

    from modelscale.models.modules.exported import quietly

    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        with torch.no_grad(), quietly():
            leaves = tree_leaves(network(*examples))
    finally:
        for module, training in modes.items():
            module.training = training
    return [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]


def roughen(network: nn.Module) -> None:
    """Add noise to every parameter in place, the same for the same names and shapes.

    Zeros, such as those that many networks begin some layers with, would hide what a layer
    computes.
    """
    import torch

    noise = torch.Generator().manual_seed(0)
    named = dict(network.named_parameters())
    with torch.no_grad():
        for name in sorted(named):
            draw = torch.randn(named[name].shape, generator=noise) * NOISE
            named[name].add_(draw.to(named[name]))


def fine_outputs(network: nn.Module, examples: tuple[Tensor, ...]) -> list[Tensor]:
    """Return outputs in float64, or as they are where a type is written into the code.

    Raises:
        RuntimeError: If the network does not run at all.
    """
    fine = tuple(x.double() if x.is_floating_point() else x for x in examples)
    try:
        return outputs_of(_copied(network).double(), fine)
    except RuntimeError:
        return outputs_of(network, examples)


def _outputs_on_trial(network: nn.Module, examples: tuple[Tensor, ...]) -> list[Tensor]:
    twin = _copied(network)
    roughen(twin)
    return fine_outputs(twin, examples)


def _copied(network: nn.Module) -> nn.Module:
    from modelscale.models.modules.exported import quietly, twin_of

    with quietly():
        return twin_of(network)


def _described(examples: tuple[Tensor, ...]) -> tuple[Example, ...]:
    from modelscale.models.edits.cut import Example

    return tuple(
        Example.model_validate(
            {"shape": tuple(x.shape), "dtype": str(x.dtype).removeprefix("torch.")}
        )
        for x in examples
    )
