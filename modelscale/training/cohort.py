"""Cohorts: replicas of one structure, stacked along a leading axis K."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from modelscale.losses.base import LossSpec
from modelscale.models.edits.base import edited
from modelscale.models.modules.members import Answer, tell_members
from modelscale.models.modules.noise import count_noise, playing, uniform
from modelscale.models.modules.widths import rescale
from modelscale.seeds import derive
from modelscale.tensors import Task
from modelscale.training.depth import still_parts
from modelscale.training.layout import Layout
from modelscale.training.packed import packed_stack
from modelscale.training.padding import Padding, corner, widest
from modelscale.training.replica import Replica
from modelscale.training.widening import factors_of

Buffers = dict[str, Tensor]  # by name, each (K, *shape)


@dataclass
class Weights:
    """What a network knows, for K replicas.

    Attributes:
        theta_KP: (K, P) float32 parameters.
        buffers_K: Running statistics and rates, each (K, *shape).
    """

    theta_KP: Tensor
    buffers_K: Buffers

    def take(self, chosen: list[int]) -> Weights:
        """Return a copy for the replicas at these positions."""
        return Weights(
            self.theta_KP[chosen], {name: b_K[chosen] for name, b_K in self.buffers_K.items()}
        )

    def clone(self) -> Weights:
        """Return a copy that later steps do not touch."""
        return self.take(list(range(len(self.theta_KP))))

    def joined(self, other: Weights) -> Weights:
        """Return these replicas' weights and then the other's."""
        return Weights(
            torch.cat([self.theta_KP, other.theta_KP]),
            {n: torch.cat([b_K, other.buffers_K[n]]) for n, b_K in self.buffers_K.items()},
        )

    def put(self, position: int, other: Weights, source: int) -> None:
        """Overwrite one replica with a replica of other weights."""
        self.theta_KP[position] = other.theta_KP[source]
        for name, buffer_K in self.buffers_K.items():
            buffer_K[position] = other.buffers_K[name][source]


class Cohort:
    """K replicas of one structure with the network that they share.

    The network is written for one replica. With K = 1 it is called as it is, its parameters
    and buffers being views of the stack; with more, `vmap` lifts it, and autograd sees the
    batched operations only.
    """

    def __init__(
        self,
        replicas: list[Replica],
        network: nn.Module,
        weights: Weights,
        padding: Padding | None = None,
    ) -> None:
        self.replicas, self.network, self.weights = replicas, network, weights
        self.padding = padding
        self.layout = Layout.of(network)
        self._compiled = replicas[0].plan.compile
        self._solo = torch.compile(network) if self._compiled else network
        self._lifts: dict[bool, Callable[..., Tensor]] = {}
        self.packed = packed_stack(network)
        start = replicas[0].start
        self._still = still_parts(network, start.frozen if start else ())
        self._bind()

    @staticmethod
    def start(replicas: list[Replica], device: torch.device) -> Cohort:
        """Initialise K replicas; replica k draws the weights that it would draw alone.

        Where they differ in widths, the network is one that all of them fit into.
        """
        networks = [build_network(replica) for replica in replicas]
        widths = [replica.model.layer_widths() for replica in replicas]
        if all(own == widths[0] for own in widths):
            return Cohort(replicas, networks[0].to(device), _stacked(networks, device))
        model = widest([replica.model for replica in replicas])
        network = build_network(replace(replicas[0], model=model))
        padding = Padding.of(networks, widths, Layout.of(network))
        weights = _stacked_in(network, networks, padding, device)
        return Cohort(replicas, network.to(device), weights, padding.to(device))

    def __len__(self) -> int:
        return len(self.replicas)

    @property
    def device(self) -> torch.device:
        """Where the replicas live."""
        return self.weights.theta_KP.device

    def keep(self, chosen: list[int]) -> None:
        """Go on with the replicas at these positions alone."""
        self.replicas = [self.replicas[k] for k in chosen]
        self.weights = self.weights.take(chosen)
        self.padding = self.padding.take(chosen) if self.padding else None
        self._bind()

    def own(self, weights: Weights, k: int) -> Weights:
        """Return a copy of replica k's weights (K = 1) as its own network has them."""
        found = weights.take([k])
        if self.padding is None:
            return found
        return Weights(
            self.padding.own(k, found.theta_KP[0])[None],
            {
                name: self.padding.own_buffer(k, name, buffer_K[0]).clone()[None]
                for name, buffer_K in found.buffers_K.items()
            },
        )

    def noise_counts(self, x_B: Tensor) -> list[int]:
        """Return how many random numbers each replica takes for inputs like x_B (B, …)."""
        if self.padding is not None:
            return self.padding.noise_counts(x_B)
        return [count_noise(self.network, x_B)] * len(self)

    def extend(self, chosen: list[int], replicas: list[Replica]) -> Weights:
        """Go on with the replicas at these positions and with new ones after them.

        Returns:
            The weights that the new ones begin with.
        """
        assert self.padding is None, "who joins is of the width of those that are there"
        networks = [build_network(replica) for replica in replicas]
        fresh = _stacked(networks, self.device)
        self.replicas = [*(self.replicas[k] for k in chosen), *replicas]
        self.weights = self.weights.take(chosen).joined(fresh)
        self._bind()
        return fresh

    def set_training(self, training: bool = True) -> None:
        """Let the network answer as in training, but for frozen parts, or as in evaluation.

        Frozen parts drop nothing, and their norms neither read nor change what a batch says.
        """
        self.network.train(training)
        for part in self._still:
            part.eval()

    def replace(self, weights: Weights) -> None:
        """Give the replicas other weights."""
        self.weights = weights
        self._bind()

    def _bind(self) -> None:
        """Make the leaves that autograd differentiates, which share the stack's memory."""
        views = self.layout.views(self.weights.theta_KP)
        self.stack = dict(zip(self.layout.names, views, strict=True))
        if len(self) != 1:
            self.leaves = [view.detach().requires_grad_() for view in views]
            return
        self.leaves = [nn.Parameter(view[0]) for view in views]
        for name, leaf in zip(self.layout.names, self.leaves, strict=True):
            owner, _, field = name.rpartition(".")
            setattr(self.network.get_submodule(owner), field, leaf)
        for name, buffer_K in self.weights.buffers_K.items():
            owner, _, field = name.rpartition(".")
            setattr(self.network.get_submodule(owner), field, buffer_K[0])

    def forward(self, x_KB: Tensor, noise_KM: Tensor | None) -> Tensor:
        """Return outputs (K, B, O) for inputs (K, B, *inputs).

        Args:
            x_KB: float32 inputs of each replica.
            noise_KM: Uniform numbers for dropout, or None where the network takes none.
        """
        if len(self) > 1:
            leaves = dict(zip(self.layout.names, self.leaves, strict=True))
            lift = self._training_lift(noisy=noise_KM is not None)
            return lift(leaves, self.weights.buffers_K, x_KB, noise_KM)
        with nullcontext() if noise_KM is None else playing(noise_KM[0]):
            outputs_BO: Tensor = self._solo(x_KB[0])
        return outputs_BO[None]

    def _training_lift(self, *, noisy: bool) -> Callable[..., Tensor]:
        if noisy not in self._lifts:
            in_dims = (0, 0, 0, 0 if noisy else None)
            lift: Callable[..., Tensor] = vmap(self._one, in_dims=in_dims, randomness="error")
            if self.packed is not None:
                lift = self.packed.outputs
            self._lifts[noisy] = torch.compile(lift) if self._compiled else lift
        return self._lifts[noisy]

    def _one(
        self, leaves: dict[str, Tensor], buffers: Buffers, x_B: Tensor, noise_M: Tensor | None
    ) -> Tensor:
        with nullcontext() if noise_M is None else playing(noise_M):
            outputs_BO: Tensor = functional_call(self.network, (leaves, buffers), (x_B,))
        return outputs_BO

    @torch.no_grad()
    def outputs(self, weights: Weights, x: Tensor, *, shared: bool) -> Tensor:
        """Return outputs (K, B, O) in evaluation mode.

        Args:
            weights: Of these replicas; the cohort's own, or an average of them.
            x: (B, *inputs) where `shared`, else (K, B, *inputs).
            shared: Whether all replicas see the same inputs.
        """
        views = self.layout.views(weights.theta_KP.detach())
        leaves = dict(zip(self.layout.names, views, strict=True))
        was_training = self.network.training
        self.network.eval()
        if len(self) == 1:
            solo = {name: view[0] for name, view in leaves.items()}
            buffers = {name: b_K[0] for name, b_K in weights.buffers_K.items()}
            x_B = x if shared else x[0]
            outputs = functional_call(self.network, (solo, buffers), (x_B,))[None]
        elif self.packed is not None:
            x_KB = x.expand(len(self), *x.shape) if shared else x
            outputs = self.packed.outputs(leaves, weights.buffers_K, x_KB)
        else:
            lift = vmap(self._one, in_dims=(0, 0, None if shared else 0, None))
            outputs = lift(leaves, weights.buffers_K, x, None)
        self.set_training(was_training)
        return torch.as_tensor(outputs)

    @torch.no_grad()
    def outputs_of_one(self, weights: Weights, k: int, x_B: Tensor) -> Tensor:
        """Return outputs (B, O) of replica k alone, in evaluation mode."""
        views = self.layout.views(weights.theta_KP[k : k + 1].detach())
        known = {n: view[0] for n, view in zip(self.layout.names, views, strict=True)}
        known |= {name: b_K[k] for name, b_K in weights.buffers_K.items()}
        was_training = self.network.training
        self.network.eval()
        outputs_BO: Tensor = functional_call(self.network, known, (x_B,))
        self.network.train(was_training)
        return outputs_BO


def _stacked(networks: list[nn.Module], device: torch.device) -> Weights:
    """Return what networks of one structure know, as a stack."""
    layout = Layout.of(networks[0])
    theta_KP = torch.stack([layout.flatten(network) for network in networks])
    named = [dict(network.named_buffers()) for network in networks]
    buffers_K = {
        name: torch.stack([buffers[name].detach() for buffers in named]).to(device)
        for name in named[0]
    }
    return Weights(theta_KP.to(device), buffers_K)


def _stacked_in(
    wide: nn.Module, networks: list[nn.Module], padding: Padding, device: torch.device
) -> Weights:
    """Return what networks know as a stack for a wide one that they all fit into."""
    numel = Layout.of(wide).numel
    own = [Layout.of(network).flatten(network) for network in networks]
    theta_KP = torch.stack([padding.wide(k, theta_P, numel) for k, theta_P in enumerate(own)])
    named = [dict(network.named_buffers()) for network in networks]
    buffers_K = {}
    for name, buffer in wide.named_buffers():
        buffers_K[name] = buffer.detach().expand(len(networks), *buffer.shape).clone()
        for buffer_own, buffers in zip(buffers_K[name], named, strict=True):
            buffer_own[corner(buffers[name].shape)] = buffers[name].detach()
    return Weights(
        theta_KP.to(device), {name: b_K.to(device) for name, b_K in buffers_K.items()}
    )


def build_network(replica: Replica) -> nn.Module:
    """Return a replica's network with the weights that its seed draws, edited."""
    data = replica.data
    with torch.random.fork_rng(devices=[]):
        # `torch.manual_seed` also notes where it was called: 0.3 ms a network.
        torch.default_generator.manual_seed(derive(replica.seed, "weights"))
        network = replica.model.build(data.inputs, replica.loss.outputs(data.targets))
        rescale(network, factors_of(replica, network))
    tell_members(network, answer_of(replica.loss, data.task, data.targets))
    network = replica.loss.pretext(edited(network, replica.edits), data.inputs, uniform)
    if replica.start is not None:
        replica.start.put_into(network)
    return network


def answer_of(loss: LossSpec, task: Task, targets: int) -> Answer:
    """Return what a network's outputs are with a loss."""
    if task == "regression":
        return "values"
    return "yes" if loss.outputs(targets) == 1 else "classes"
