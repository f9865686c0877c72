"""What an exported file gives, and how that is read.

Files of most tasks give answers. Where an answer takes a search, or knowledge of what came, a
file gives the logits behind it: of each next symbol of a text or of a translation, or of what
is said.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from modelscale.errors import GateFailed

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.fx import GraphModule

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
    return task in {"language_model", "transcription", "translation"}


def answering_network(model: Answering) -> nn.Module:
    """Return what computes a file's outputs: the network, or what comes before its surprise.

    Raises:
        GateFailed: If a language model has no logits to give.
    """
    from torch.fx import GraphModule

    from modelscale.models.modules.text import TextDecoder

    network = model.network
    if model.task != "language_model" or isinstance(network, TextDecoder):
        return network
    if isinstance(network, GraphModule):
        return _before_surprise(network)
    raise GateFailed("the network tells its surprise alone, and no logits")


def outputs_of(model: Answering, network: nn.Module, x: Tensor) -> Tensor:
    """Return what a file of a model gives.

    Args:
        model: In evaluation mode.
        network: Of `answering_network`.
        x: Pre-processed rows; of a text the symbols to go on from, (N, positions).

    Returns:
        (N, C) probabilities or (N, T) values; (N, positions, V) logits of the next symbol;
        (N, frames, V) logits of what is said; (N, T, V) of what is written.
    """
    if not gives_logits(model.task):
        return model.predictions(x)
    if model.task == "language_model":
        x = _as_taken(network, x)
    score = network if model.task == "transcription" else getattr(network, "logits", network)
    outputs: Tensor = score(x)
    return outputs.float()


def expected_outputs(model: Answering, x: Tensor) -> Tensor:
    """Return what a file should give for rows that the model itself takes."""
    symbols = x[:, :-1] if model.task == "language_model" else x
    return outputs_of(model, answering_network(model), symbols)


def takes_shorter(model: Answering) -> bool:
    """Return whether a language model goes on from fewer symbols than its windows have."""
    from modelscale.models.modules.text import TextDecoder

    return isinstance(model.network, TextDecoder) and model.preprocessing.shape[0] > 2


def read(model: Answering, outputs: Tensor, x: Tensor) -> Tensor:
    """Return the answers that metrics take, of what a file gave.

    Args:
        model: Whose file it is.
        outputs: As from `outputs_of`.
        x: The rows as the model takes them.
    """
    from modelscale.models.modules.translation import forced

    if model.task == "language_model":
        came = x[:, 1:].long().unsqueeze(-1)
        nats = -outputs.log_softmax(-1).gather(-1, came).squeeze(-1)
        return nats[:, -model.preprocessing.outputs :].mean(-1, keepdim=True)
    if model.task == "transcription":
        return model.preprocessing.inverse_target(model.loss.predictions(outputs))
    if model.task == "translation":
        return model.loss.predictions(forced(outputs, x))
    return outputs


def answers(model: Answering, x: Tensor) -> Tensor:
    """Return the model's own answers, of the sort that `read` returns of a file's.

    Of a translator what it thinks of the true translation; what it writes itself is a matter of
    how beginnings are followed, which files leave to their users.
    """
    if model.task == "translation":
        return model.loss.predictions(model.network(x).float())
    return model.predictions(x)


def _as_taken(network: nn.Module, symbols: Tensor) -> Tensor:
    """Return symbols as a network takes them: a graph wants one more, which it ignores."""
    import torch
    from torch.fx import GraphModule

    if isinstance(network, GraphModule):
        return torch.cat([symbols, symbols[:, :1]], dim=1)
    return symbols


def _before_surprise(network: GraphModule) -> GraphModule:
    """Return a rewritten network up to the logits of which it takes the logarithmic softmax.

    Raises:
        GateFailed: If there are none.
    """
    import copy

    from torch.fx import GraphModule
    from torch.fx.node import map_arg

    from modelscale.models.modules.exported import quietly

    with quietly():
        graph = copy.deepcopy(network.graph)
    surprise = [node for node in graph.nodes if "log_softmax" in str(node.target)]
    if len(surprise) != 1:
        raise GateFailed("the pruned network tells its surprise alone, and no logits")
    logits, output = surprise[0].args[0], graph.output_node()
    output.args = map_arg(output.args, lambda _: logits)
    graph.eliminate_dead_code()
    graph.lint()
    with quietly():
        return GraphModule(network, graph)
