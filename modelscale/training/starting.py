"""Where weights begin that are not drawn: a checkpoint's, and what of it moves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from modelscale.losses.modules.pretext import within
from modelscale.models.edits.base import EditSpec, edited
from modelscale.models.edits.sparse import Sparse
from modelscale.models.modules.dropout import Dropout
from modelscale.models.modules.noise import uniform
from modelscale.models.modules.slicing import named_tensors
from modelscale.training.depth import head_of, layers_of, matching

if TYPE_CHECKING:
    from modelscale.losses.base import LossSpec
    from modelscale.models.base import ModelSpec
    from modelscale.tensors import Inputs
    from modelscale.training.layout import Layout

_SHOWN = 3
POSITIONS = ".positions"
"""End of the name of learnt vectors of positions."""


@dataclass(frozen=True)
class Pace:
    """How fast each layer learns.

    Attributes:
        layer_decay: Factor on the learning rate of each layer for every layer above it.
        unfreeze: Epochs between two layers that begin to learn, from the output down; None
            where all learn from the start.
    """

    layer_decay: float = 1.0
    unfreeze: int | None = None


@dataclass(frozen=True, eq=False)
class Start:
    """Weights to begin with.

    Attributes:
        sha256: Names the checkpoint's content.
        tensors: What is taken over, by the network's own names.
        fresh: Parameters that are drawn by the replica's seed.
        frozen: Parameters that are not trained.
        layers: Parameters of each layer below the output, from the input on.
        pace: How fast each layer learns.
        sparse: Parameters whose zeros stay zeros.
    """

    sha256: str
    tensors: Mapping[str, Tensor]
    fresh: frozenset[str]
    frozen: frozenset[str]
    layers: tuple[tuple[str, ...], ...]
    pace: Pace = Pace()
    sparse: tuple[str, ...] = ()

    @property
    def structure(self) -> tuple[object, ...]:
        """What replicas must have in common to be trained in lockstep."""
        return (self.sha256, sorted(self.fresh), sorted(self.frozen))

    @property
    def is_even(self) -> bool:
        """Whether whatever learns does so at one and the same rate."""
        return self.pace == Pace() and not self.sparse

    @torch.no_grad()
    def put_into(self, network: nn.Module) -> None:
        """Give a freshly built network the weights that are taken over, and freeze some."""
        named = named_tensors(network)
        for name, tensor in self.tensors.items():
            named[name].copy_(tensor)
        for name, parameter in network.named_parameters():
            if name in self.frozen:
                parameter.requires_grad_(False)

    def thawed(self, epoch: int) -> int:
        """Return how many layers learn after so many epochs, the uppermost ones."""
        every = self.pace.unfreeze
        return len(self.layers) if every is None else min(len(self.layers), epoch // every)

    def shares(self, layout: Layout, thawed: int) -> Tensor:
        """Return (P,) float32: the share of the learning rate that each number has.

        Args:
            layout: Of the parameters that are trained.
            thawed: How many layers learn.
        """
        share_P = torch.ones(layout.numel)
        depth = {
            name: len(self.layers) - place
            for place, names in enumerate(self.layers)
            for name in names
        }
        for name, start, shape in zip(layout.names, layout.starts, layout.shapes, strict=True):
            part = share_P[start : start + shape.numel()]
            above = depth.get(name, 0)  # what is no layer is the output
            part.fill_(self.pace.layer_decay**above if above <= thawed else 0.0)
            if name in self.sparse and name in self.tensors:
                part.mul_((self.tensors[name] != 0).float().reshape(-1))
        return share_P


@dataclass(frozen=True)
class Wanted:
    """What is to become of a checkpoint's network.

    Attributes:
        freeze: `none`, `body`, a number of layers from the input on, or patterns of names.
        keeps_head: Whether the outputs mean what they meant, so that they are taken over.
        pace: How fast each layer learns.
    """

    freeze: str | int | tuple[str, ...]
    keeps_head: bool
    pace: Pace


@dataclass(frozen=True)
class Target:
    """The network that is to be trained.

    Attributes:
        model: Its architecture.
        edits: What is done to it after it was built.
        loss: What it is trained under.
        inputs: What one example looks like.
        outputs: Number of outputs.
    """

    model: ModelSpec
    edits: tuple[EditSpec, ...]
    loss: LossSpec
    inputs: Inputs
    outputs: int

    def build(self, outputs: int) -> nn.Module:
        """Return what is trained, for a number of outputs."""
        network = edited(self.model.build(self.inputs, outputs), self.edits)
        return self.loss.pretext(network, self.inputs, uniform)


def start_of(source: nn.Module, sha256: str, target: Target, wanted: Wanted) -> Start:
    """Return what a network takes over from a trained one.

    Args:
        source: The trained network.
        sha256: Names its checkpoint's content.
        target: The network that is to be trained.
        wanted: What is to become of it.

    Raises:
        ValueError: If the two do not fit; says what differs.
    """
    head = head_of(target.build, target.outputs)
    with torch.random.fork_rng(devices=[]):
        network = target.build(target.outputs)
    trained, tensors = named_tensors(within(source)), {}
    prefix = "" if within(network) is network else "network."
    rates, here_named = _rates(network), named_tensors(network)
    parameters = dict(network.named_parameters())
    names = [*parameters, *dict(network.named_buffers())]
    fresh = frozenset() if wanted.keeps_head else head
    misfits = []
    for name in names:
        if name in fresh or name in rates:
            continue
        here, there = here_named[name], trained.get(name.removeprefix(prefix))
        if there is not None and name.endswith(POSITIONS) and there.shape[1:] == here.shape[1:]:
            there = there[: len(here)]  # of shorter texts, the first ones
        if there is None or there.shape != here.shape:
            was = "missing" if there is None else str(tuple(there.shape))
            misfits.append(f"{name} is {was} there and {tuple(here.shape)} here")
        else:
            tensors[name] = there.detach().clone()
    if misfits:
        more = f" and {len(misfits) - _SHOWN} more" if len(misfits) > _SHOWN else ""
        raise ValueError(f"its weights do not fit: {'; '.join(misfits[:_SHOWN])}{more}")
    if not tensors:
        raise ValueError("nothing of its weights would be taken over")
    layers = layers_of(network, head)
    frozen = _frozen(wanted.freeze, tuple(parameters), head, layers)
    if not set(parameters) - frozen:
        raise ValueError("nothing would be left to train (model.freeze)")
    sparse = _names_of_sparse(target.edits)
    return Start(sha256, tensors, fresh, frozen, layers, wanted.pace, sparse)


def _rates(network: nn.Module) -> frozenset[str]:
    """Return the buffers that say how much is dropped: they are settings, not weights."""
    modules = network.named_modules()
    return frozenset(f"{name}.rate" for name, m in modules if isinstance(m, Dropout))


def _frozen(
    freeze: str | int | tuple[str, ...],
    names: tuple[str, ...],
    head: frozenset[str],
    layers: tuple[tuple[str, ...], ...],
) -> frozenset[str]:
    if freeze == "none":
        return frozenset()
    if freeze == "body":
        return frozenset(names) - head
    if isinstance(freeze, int):
        if freeze > len(layers):
            raise ValueError(
                f"model.freeze: {freeze} layers, and it has {len(layers)} below its output"
            )
        return frozenset(name for layer in layers[:freeze] for name in layer)
    assert isinstance(freeze, tuple)
    return matching(names, freeze)


def _names_of_sparse(edits: Iterable[EditSpec]) -> tuple[str, ...]:
    return tuple(n for edit in edits if isinstance(edit, Sparse) for n in edit.tensors)
