"""Several trained networks as one: members of equal structure answer in one batched pass."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from modelscale.losses.base import LossSpec
from modelscale.models.modules.dropout import Dropout
from modelscale.training.combination import Combination
from modelscale.training.layout import Layout
from modelscale.training.packed import packed_stack

EXAMPLES_AT_ONCE = 65_536
"""Examples times members of one pass; more are split, to bound memory."""


class Trained(NamedTuple):
    """One member's network and what its outputs are.

    Attributes:
        network: In evaluation mode.
        loss: Says how outputs become answers.
    """

    network: nn.Module
    loss: LossSpec


class Stack(nn.Module):
    """K networks of one structure, their parameters one matrix (K, P)."""

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        from modelscale.models.modules.exported import twin_of

        super().__init__()
        skeleton = twin_of(networks[0]).eval().requires_grad_(True)
        # In a tuple, since a module in an attribute would be a part with parameters of its own.
        self._skeleton = (skeleton,)
        self.layout = Layout.of(skeleton)
        rows = [self.layout.flatten(network) for network in networks]
        self.theta_KP = nn.Parameter(torch.stack(rows), requires_grad=False)
        named = [dict(network.named_buffers()) for network in networks]
        self._buffer_names = {name: f"buffer_{i}" for i, name in enumerate(named[0])}
        for name, own in self._buffer_names.items():
            self.register_buffer(own, torch.stack([b[name].detach() for b in named]))
        self._packed = packed_stack(_without_dropout(skeleton))

    def __len__(self) -> int:
        return len(self.theta_KP)

    def forward(self, x: Tensor) -> Tensor:
        """Return outputs (K, B, O) for inputs (B, *inputs.shape)."""
        leaves = dict(zip(self.layout.names, self.layout.views(self.theta_KP), strict=True))
        if self._packed is not None:
            return self._packed.outputs(leaves, {}, x.expand(len(self), *x.shape))
        buffers = {name: getattr(self, own) for name, own in self._buffer_names.items()}
        if len(self) == 1 or torch.compiler.is_compiling():
            # `vmap` writes sizes of the example batch into an exported graph (pooling does),
            # and makes of convolutions what runtimes have no kernels for.
            each = [self._one(_of(leaves, k), _of(buffers, k), x) for k in range(len(self))]
            return torch.stack(each)
        lift = vmap(self._one, in_dims=(0, 0, None))
        return torch.as_tensor(lift(leaves, buffers, x))

    def _one(self, leaves: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor) -> Tensor:
        return torch.as_tensor(functional_call(self._skeleton[0], (leaves, buffers), (x,)))


def _of(stacked: Mapping[str, Tensor], member: int) -> dict[str, Tensor]:
    return {name: tensor_K[member] for name, tensor_K in stacked.items()}


class EnsembleNetwork(nn.Module):
    """All members of an ensemble and the way their answers are combined.

    Outputs are logits for classes, target values for regression: those of a single network
    with cross-entropy or mean squared error.
    """

    temperature: Tensor

    def __init__(
        self,
        members: Sequence[Trained],
        combination: Combination,
        group: int = 1,
        temperature: float = 1.0,
    ) -> None:
        """Make the network.

        Args:
            members: In order; every `group` of them in turn are one candidate.
            combination: Of the candidates.
            group: Members whose mean answer is a candidate's.
            temperature: Divides the logits (Guo et al., arXiv:1706.04599).
        """
        super().__init__()
        places: dict[object, list[int]] = {}
        for place, member in enumerate(members):
            places.setdefault(_structure(member), []).append(place)
        self.stacks = nn.ModuleList(
            Stack([members[k].network for k in own]) for own in places.values()
        )
        self.losses = tuple(members[own[0]].loss for own in places.values())
        order = [k for own in places.values() for k in own]
        self._order = None if order == sorted(order) else order
        self.combination, self.group, self.count = combination, group, len(members)
        self.register_buffer("temperature", torch.tensor(temperature))

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C) logits or (B, T) values for inputs (B, *inputs.shape)."""
        if torch.compiler.is_compiling():
            return self._combined(x)
        size = max(32, EXAMPLES_AT_ONCE // self.count)
        return torch.cat([self._combined(part) for part in x.split(size)])

    def _combined(self, x: Tensor) -> Tensor:
        outputs = self.combination(self.candidates(x))
        return torch.as_tensor(outputs / self.temperature)

    def candidates(self, x: Tensor) -> Tensor:
        """Return the answers (M, B, A) that are combined; see `combination`."""
        answers_KBA = self.members(x)
        if self.group == 1:
            return answers_KBA
        grouped = answers_KBA.unflatten(0, (-1, self.group))
        if self.combination.task == "regression":
            return torch.as_tensor(grouped.mean(dim=1))
        return torch.as_tensor(grouped.logsumexp(dim=1) - math.log(self.group))

    def members(self, x: Tensor) -> Tensor:
        """Return each member's log-probabilities or values, or raw outputs, (K, B, A)."""
        found = []
        for stack, loss in zip(self.stacks, self.losses, strict=True):
            outputs_KBO = stack(x).float()
            if not self.combination.takes_outputs:
                outputs_KBO = answers(outputs_KBO, loss)
            found.append(outputs_KBO)
        answers_KBA = found[0] if len(found) == 1 else torch.cat(found)
        return answers_KBA if self._order is None else answers_KBA[self._inverse()]

    def _inverse(self) -> list[int]:
        assert self._order is not None
        return sorted(range(len(self._order)), key=self._order.__getitem__)


def answers(outputs: Tensor, loss: LossSpec) -> Tensor:
    """Return log-probabilities (…, C), or target values (…, T), of a network's outputs."""
    found = loss.predictions(outputs)
    if loss.task == "regression":
        return found
    return found.clamp_min(torch.finfo(found.dtype).tiny).log()


def _structure(member: Trained) -> object:
    state = member.network.state_dict()
    shapes = tuple((name, tensor.shape) for name, tensor in state.items())
    return repr(member.network), shapes, repr(member.loss.model_dump())


def _without_dropout(network: nn.Module) -> nn.Module:
    """Return a plain stack of layers without those that only training needs."""
    if not isinstance(network, nn.Sequential):
        return network
    kept = nn.Sequential()
    for name, layer in network.named_children():
        if not isinstance(layer, Dropout):
            kept.add_module(name, layer)
    return kept
