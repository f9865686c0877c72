"""A trained model as files: weights as safetensors, architecture and answers' meaning as JSON.

`model.json` can only select from the closed registry of kinds; nothing in it can import or
call other code.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, cast

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from modelscale.data.prepared import Prepared
from modelscale.data.preprocessing import Preprocessing
from modelscale.errors import DataError
from modelscale.losses.base import LossSpec
from modelscale.models.base import ModelSpec
from modelscale.models.edits.base import EditSpec, edited
from modelscale.models.modules.members import tell_members
from modelscale.models.modules.noise import uniform
from modelscale.models.modules.slicing import named_tensors
from modelscale.tensors import Inputs, Task
from modelscale.training.cohort import Weights, answer_of
from modelscale.training.layout import Layout
from modelscale.training.replica import Replica
from modelscale.training.sparse_storage import packed, unpacked
from modelscale.training.translating import translated

WEIGHTS = "model.safetensors"
FACTS = "model.json"
FORMAT = 1


@dataclass(frozen=True)
class Model:
    """A trained network with everything that gives its numbers a meaning.

    Attributes:
        spec: What the network was built from.
        network: In evaluation mode; maps pre-processed inputs to outputs.
        loss: Says what the outputs are.
        preprocessing: What turns the user's values into inputs, and outputs into answers.
        task: What was learnt.
        inputs: What one example looks like to the network.
        targets: Number of classes or target values.
        fingerprint: sha256 of the data that it was trained on.
        edits: What was done to the network after its spec had built it.
    """

    spec: ModelSpec
    network: nn.Module
    loss: LossSpec
    preprocessing: Preprocessing
    task: Task
    inputs: Inputs
    targets: int
    fingerprint: str
    edits: tuple[EditSpec, ...] = ()

    @torch.no_grad()
    def predictions(self, x: Tensor) -> Tensor:
        """Return class probabilities (N, C), or target values (N, T) in the user's units.

        Of translations, what `translating.translated` returns.

        Args:
            x: (N, *inputs.shape) float32, pre-processed.
        """
        if self.task == "translation":
            return translated(self.network, self.loss, self.preprocessing, x)
        answers = self.loss.predictions(self.network(x).float())
        if self.task == "classification":
            return answers
        return self.preprocessing.inverse_target(answers)


def dump_model(replica: Replica, weights: Weights, layout: Layout) -> dict[str, bytes]:
    """Return the files `model.safetensors` and `model.json` of one trained replica.

    Args:
        replica: What was trained.
        weights: Its weights, stacked with K = 1.
        layout: Of its network's parameters; the cohort's, which has the same structure.
    """
    data = replica.data
    tensors = layout.tensors(weights.theta_KP[0].cpu())
    tensors |= {name: buffer_K[0].cpu() for name, buffer_K in weights.buffers_K.items()}
    if replica.start is not None:
        tensors |= {name: replica.start.tensors[name] for name in replica.start.frozen}
    facts = _facts(replica.model, replica.edits, replica.loss, data)
    return _files(packed(tensors, replica.edits), facts)


def dump_network(model: Model) -> dict[str, bytes]:
    """Return the same files of a network as it is, such as one that was just edited."""
    kept: dict[int, str] = {}  # a tensor that has several names is written once
    tensors = {
        name: tensor.detach().cpu()
        for name, tensor in model.network.state_dict(keep_vars=True).items()
        if kept.setdefault(id(tensor), name) == name
    }
    facts = _facts(model.spec, model.edits, model.loss, model)
    return _files(packed(tensors, model.edits), facts)


def _facts(
    spec: ModelSpec, edits: tuple[EditSpec, ...], loss: LossSpec, data: Prepared | Model
) -> dict[str, Any]:
    facts = {
        "format": FORMAT,
        "model": spec.model_dump(mode="json"),
        "loss": loss.model_dump(mode="json"),
        "task": data.task,
        "inputs": asdict(data.inputs),
        "targets": data.targets,
        "preprocessing": data.preprocessing.to_json(),
        "fingerprint": data.fingerprint,
    }
    if edits:
        facts["edits"] = [edit.model_dump(mode="json") for edit in edits]
    return facts


def _files(tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> dict[str, bytes]:
    contiguous = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    return {WEIGHTS: save(contiguous), FACTS: json.dumps(facts, indent=1).encode()}


def load_model(files: Mapping[str, bytes]) -> Model:
    """Return the model of a checkpoint's files, on the CPU.

    Raises:
        DataError: If the files are not a model that this version can build.
    """
    try:
        facts: dict[str, Any] = json.loads(files[FACTS])
        if facts["format"] != FORMAT:
            raise DataError(f"{FACTS}: format {facts['format']!r} is not one of: {FORMAT}")
        spec = ModelSpec.model_validate_json(json.dumps(facts["model"]))
        loss = LossSpec.model_validate_json(json.dumps(facts["loss"]))
        shape, sizes = facts["inputs"]["shape"], facts["inputs"]["categories"]
        quantiles = tuple(map(tuple, facts["inputs"].get("quantiles", ())))
        own = tuple(facts["inputs"].get("of_item", ()))
        inputs = Inputs(
            tuple(shape),
            tuple(sizes),
            facts["inputs"]["vocabulary"],
            quantiles,
            own,
            facts["inputs"].get("written", 0),
        )
        spec.check(inputs)
        edits = tuple(
            EditSpec.model_validate_json(json.dumps(edit)) for edit in facts.get("edits", [])
        )
        network = spec.build(inputs, loss.outputs(facts["targets"]))
        tell_members(network, answer_of(loss, facts["task"], facts["targets"]))
        network = edited(network, edits)
        network = loss.pretext(network, inputs, uniform)
        _load_weights(network, unpacked(load(files[WEIGHTS]), network, edits))
        return Model(
            spec=spec,
            network=network.eval(),
            loss=loss,
            preprocessing=Preprocessing.from_json(facts["preprocessing"]),
            task=cast(Task, facts["task"]),
            inputs=inputs,
            targets=facts["targets"],
            fingerprint=facts["fingerprint"],
            edits=edits,
        )
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        if isinstance(error, ValidationError):
            error = ValueError("; ".join(fault["msg"] for fault in error.errors()))
        raise DataError(f"{FACTS}: not a model that can be built: {_first(error)}") from None
    except SafetensorError as error:
        raise DataError(f"{WEIGHTS}: damaged: {_first(error)}") from None


def _load_weights(network: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Load every tensor; one that has several names may come under any one of them."""
    named = named_tensors(network)
    given = {id(named[name]): tensor for name, tensor in tensors.items() if name in named}
    under_all_names = {
        name: given[id(tensor)] for name, tensor in named.items() if id(tensor) in given
    }
    network.load_state_dict({**under_all_names, **tensors}, strict=True)


def _first(error: BaseException) -> str:
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__
