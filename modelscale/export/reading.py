"""What an exported file gives, and how that is read.

Files of most tasks give answers. Where an answer takes a search, or knowledge of what came, a
file gives the logits behind it: of each next symbol of a text, or of what is said.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from modelscale.errors import GateFailed

if TYPE_CHECKING:
    from torch import Tensor, nn

    from modelscale.data.preprocessing import Preprocessing
    from modelscale.losses.base import LossSpec
    from modelscale.tensors import Task


class Answering(Protocol):
    """What can be exported: a single model, or several as one."""

    @property
    def network(self) -> nn.Module:
        """Everything that has parameters, in evaluation mode and on the CPU."""

    @property
    def preprocessing(self) -> Preprocessing:
        """What turns the user's values into the network's inputs."""

    @property
    def loss(self) -> LossSpec:
        """What says how outputs become answers."""

    @property
    def task(self) -> Task:
        """What was learnt."""

    def predictions(self, x: Tensor) -> Tensor:
        """Return answers in the user's units for pre-processed x: (N, *inputs.shape)."""


def gives_logits(task: Task) -> bool:
    """Return whether a file gives logits rather than answers."""
    return task in {"language_model", "transcription"}


def outputs_of(model: Answering, x: Tensor) -> Tensor:
    """Return what a file of a model gives.

    Args:
        model: In evaluation mode.
        x: Pre-processed rows; of a text the symbols to go on from, (N, positions).

    Returns:
        (N, C) probabilities or (N, T) values; (N, positions, V) logits of the next symbol;
        (N, frames, V) logits of what is said.
    """
    if model.task == "language_model":
        return _next_symbols(model.network, x).float()
    if model.task == "transcription":
        outputs: Tensor = model.network(x)
        return outputs.float()
    return model.predictions(x)


def expected_outputs(model: Answering, x: Tensor) -> Tensor:
    """Return what a file should give for rows that the model itself takes."""
    return outputs_of(model, x[:, :-1] if model.task == "language_model" else x)


def read(model: Answering, outputs: Tensor, x: Tensor) -> Tensor:
    """Return the answers that metrics take, of what a file gave.

    Args:
        model: Whose file it is.
        outputs: As from `outputs_of`.
        x: The rows as the model takes them.
    """
    if model.task == "language_model":
        came = x[:, 1:].long().unsqueeze(-1)
        nats = -outputs.log_softmax(-1).gather(-1, came).squeeze(-1)
        return nats[:, -model.preprocessing.outputs :].mean(-1, keepdim=True)
    if model.task == "transcription":
        return model.preprocessing.inverse_target(model.loss.predictions(outputs))
    return outputs


def _next_symbols(network: nn.Module, symbols: Tensor) -> Tensor:
    """Return logits (N, positions, V) of what follows each of the symbols (N, positions)."""
    from modelscale.models.modules.text import TextDecoder

    if not isinstance(network, TextDecoder):
        raise GateFailed("the network tells its surprise alone, and no logits")
    return network.logits(symbols)
