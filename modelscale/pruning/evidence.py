"""What criteria look at: weights, gradients and activations of a trained network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from torch import Tensor, nn

    from modelscale.losses.base import LossSpec
    from modelscale.pruning.graph.units import Group, Member

    Batch: TypeAlias = tuple[Tensor, Tensor]
    Values: TypeAlias = Callable[[str, Tensor], Tensor]


@dataclass
class Evidence:
    """A network with training examples; what is dear is computed once, when asked for.

    Attributes:
        network: On the CPU, in evaluation mode; it is left as it is.
        groups: Its units.
        batches: Inputs and targets of training examples, without augmentation.
        loss: What the network minimised.
        seed: For criteria that draw.
    """

    network: nn.Module
    groups: tuple[Group, ...]
    batches: Sequence[Batch]
    loss: LossSpec
    seed: int
    _gradients: list[dict[str, Tensor]] = field(default_factory=list)

    @cached_property
    def tensors(self) -> dict[str, Tensor]:
        """Parameters by name, a tied one under each of its names."""
        return dict(self.network.named_parameters(remove_duplicate=False))

    def summed(
        self,
        group: Group,
        values: Values,
        members: Sequence[Member] | None = None,
        *,
        vectors: bool = False,
    ) -> Tensor:
        """Return (U,) the sum of values over all numbers that belong to each unit.

        Args:
            group: The units.
            values: Gives, for a parameter by name, a value for each of its numbers.
            members: Whose numbers count; all by default.
            vectors: Whether biases and scales count beside kernels and matrices. They do
                anyway for a group that has nothing else.
        """
        import torch

        chosen = [m for m in members or group.members if m.tensor in self.tensors]
        matrices = [m for m in chosen if self.tensors[m.tensor].dim() >= 2]
        if not vectors and matrices:
            chosen = matrices
        total = torch.zeros(group.units)
        for member in chosen:
            weight = self.tensors[member.tensor].detach()
            found = values(member.tensor, weight).movedim(member.dim, 0)
            by_position = found.reshape(found.shape[0], -1).sum(dim=1)
            owner = torch.from_numpy(member.owner)
            own = owner >= 0
            total.index_add_(0, owner[own], by_position[own].float())
        return total

    def rows(self, group: Group, members: Sequence[Member]) -> Tensor:
        """Return (U, D) the numbers of each unit in kernels and matrices, as one row."""
        import torch

        pieces = []
        for member in members:
            weight = self.tensors.get(member.tensor)
            if weight is None or (weight.dim() < 2 and len(members) > 1):
                continue
            owner = torch.from_numpy(member.owner)
            order = torch.argsort(owner, stable=True)[int((owner < 0).sum()) :]
            taken = weight.detach().movedim(member.dim, 0)[order]
            pieces.append(taken.reshape(group.units, -1))
        return torch.cat(pieces, dim=1) if pieces else torch.zeros(group.units, 1)

    def batch_norms(self, group: Group) -> list[Member]:
        """Return the members that are scales of batch norms."""
        from torch.nn.modules.batchnorm import _BatchNorm

        found = []
        for member in group.makers:
            layer, _, leaf = member.tensor.rpartition(".")
            is_scale = leaf == "weight" and member.tensor in self.tensors
            if is_scale and isinstance(self.network.get_submodule(layer), _BatchNorm):
                found.append(member)
        return found

    def gradients(self) -> list[dict[str, Tensor]]:
        """Return the gradient of the mean loss of each batch, by parameter."""
        import torch

        if not self._gradients:
            named = self.tensors
            for x_B, y_B in self.batches:
                loss = self.loss.mean(self.network(x_B).float(), y_B)
                found = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
                self._gradients.append(
                    {
                        name: torch.zeros_like(p) if g is None else g
                        for (name, p), g in zip(named.items(), found, strict=True)
                    }
                )
        return self._gradients

    def mean_gradient(self) -> dict[str, Tensor]:
        """Return the mean of the batches' gradients, by parameter."""
        found = self.gradients()
        return {
            name: sum((g[name] for g in found[1:]), found[0][name]) / len(found)
            for name in found[0]
        }

    def weighed(self, tensor: str, weight: Tensor) -> Tensor:
        """Return the square of each weight times the mean square of what it reads."""
        read = self._inputs.get(tensor)
        squares: Tensor = weight.square()
        if read is None:
            return squares
        groups = read.numel() // squares.shape[1]
        if groups > 1:  # a grouped convolution: each block of filters reads its own channels
            per = squares.shape[0] // groups
            read_OI = read.view(groups, -1).repeat_interleave(per, dim=0)
            return squares * read_OI.view(*squares.shape[:2], *[1] * (squares.dim() - 2))
        return squares * read.view(1, -1, *[1] * (squares.dim() - 2))

    @cached_property
    def _inputs(self) -> dict[str, Tensor]:
        """Return the mean square of each input feature of linear layers and convolutions."""
        import torch
        from torch import nn

        sums: dict[str, Tensor] = {}
        counts: dict[str, int] = {}

        def listen(name: str, features: int) -> Callable[..., None]:
            def hear(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
                x = inputs[0].detach().movedim(features, -1)
                flat = x.reshape(-1, x.shape[-1])
                sums[name] = sums.get(name, torch.zeros(x.shape[-1])) + flat.square().sum(0)
                counts[name] = counts.get(name, 0) + len(flat)

            return hear

        handles = []
        for path, layer in self.network.named_modules():
            name = f"{path}.weight" if path else "weight"
            if isinstance(layer, nn.Linear):
                handles.append(layer.register_forward_pre_hook(listen(name, -1)))
            elif isinstance(layer, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
                handles.append(layer.register_forward_pre_hook(listen(name, 1)))
        try:
            with torch.no_grad():
                for x_B, _ in self.batches:
                    self.network(x_B)
        finally:
            for handle in handles:
                handle.remove()
        return {name: total / max(1, counts[name]) for name, total in sums.items()}
