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

from modelscale.data.preprocessing import Preprocessing
from modelscale.errors import DataError
from modelscale.losses.base import LossSpec
from modelscale.models.base import ModelSpec
from modelscale.tensors import Inputs, Task
from modelscale.training.cohort import Weights
from modelscale.training.layout import Layout
from modelscale.training.replica import Replica

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
    """

    spec: ModelSpec
    network: nn.Module
    loss: LossSpec
    preprocessing: Preprocessing
    task: Task
    inputs: Inputs
    targets: int
    fingerprint: str

    @torch.no_grad()
    def predictions(self, x: Tensor) -> Tensor:
        """Return class probabilities (N, C), or target values (N, T) in the user's units.

        Args:
            x: (N, *inputs.shape) float32, pre-processed.
        """
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
    facts = {
        "format": FORMAT,
        "model": replica.model.model_dump(mode="json"),
        "loss": replica.loss.model_dump(mode="json"),
        "task": data.task,
        "inputs": asdict(data.inputs),
        "targets": data.targets,
        "preprocessing": data.preprocessing.to_json(),
        "fingerprint": data.fingerprint,
    }
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
        inputs = Inputs(tuple(shape), tuple(sizes), facts["inputs"]["vocabulary"])
        spec.check(inputs)
        network = spec.build(inputs, loss.outputs(facts["targets"]))
        network.load_state_dict(load(files[WEIGHTS]), strict=True)
        return Model(
            spec=spec,
            network=network.eval(),
            loss=loss,
            preprocessing=Preprocessing.from_json(facts["preprocessing"]),
            task=cast(Task, facts["task"]),
            inputs=inputs,
            targets=facts["targets"],
            fingerprint=facts["fingerprint"],
        )
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        if isinstance(error, ValidationError):
            error = ValueError("; ".join(fault["msg"] for fault in error.errors()))
        raise DataError(f"{FACTS}: not a model that can be built: {_first(error)}") from None
    except SafetensorError as error:
        raise DataError(f"{WEIGHTS}: damaged: {_first(error)}") from None


def _first(error: BaseException) -> str:
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__
