"""An ensemble as files: one `model.safetensors`, one `model.json` with a list of members.

Each member keeps the `model.json` that it would have alone, so that what single models can be
(pruned, say) members can be too. `load_predictor` is the one way to any trained model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from modelscale.errors import DataError
from modelscale.losses.base import LossSpec
from modelscale.tensors import Inputs, Task
from modelscale.training.artifact import FACTS, FORMAT, WEIGHTS, Model, load_model
from modelscale.training.combination import Combination, rebuilt
from modelscale.training.ensemble_network import EnsembleNetwork, Trained

_SHARED = ("preprocessing", "fingerprint", "inputs")
"""Keys of a member's facts that are stored once where they are all equal."""
_LOSS: dict[Task, str] = {
    "classification": "cross_entropy",
    "regression": "mean_squared_error",
}


@dataclass(frozen=True)
class MemberFiles:
    """One member as it is stored.

    Attributes:
        label: Its name.
        files: `model.json` and `model.safetensors` of it alone.
    """

    label: str
    files: Mapping[str, bytes]


@dataclass(frozen=True)
class Blueprint:
    """What makes members an ensemble.

    Attributes:
        combination: Of the candidates' answers.
        group: Members in turn that make one candidate.
        temperature: Divides the logits.
        task: What the ensemble answers; members of a boosted one may be of another.
        targets: Number of classes or target values.
    """

    combination: Combination
    group: int
    temperature: float
    task: Task
    targets: int


def is_ensemble(files: Mapping[str, bytes]) -> bool:
    """Return whether a checkpoint's model is an ensemble."""
    try:
        facts = json.loads(files[FACTS])
    except (KeyError, ValueError, RecursionError):
        return False
    return isinstance(facts, dict) and "members" in facts


def dump_ensemble(members: Sequence[MemberFiles], blueprint: Blueprint) -> dict[str, bytes]:
    """Return the files `model.safetensors` and `model.json` of an ensemble."""
    tensors: dict[str, Tensor] = {}
    entries = []
    first = json.loads(members[0].files[FACTS])
    for number, member in enumerate(members):
        facts = json.loads(member.files[FACTS])
        own = {k: v for k, v in facts.items() if k not in _SHARED or v != first[k]}
        entries.append({"label": member.label, "facts": own})
        for name, tensor in load(member.files[WEIGHTS]).items():
            tensors[f"member.{number}.{name}"] = tensor
    for name, tensor in blueprint.combination.state_dict().items():
        tensors[f"combination.{name}"] = tensor.cpu().contiguous()
    document = {
        "format": FORMAT,
        "task": blueprint.task,
        "targets": blueprint.targets,
        "combination": {
            "kind": blueprint.combination.kind,
            "group": blueprint.group,
            "temperature": blueprint.temperature,
        },
        **{key: first[key] for key in _SHARED},
        "members": entries,
    }
    return {WEIGHTS: save(tensors), FACTS: json.dumps(document, indent=1).encode()}


def load_predictor(files: Mapping[str, bytes]) -> Model:
    """Return the trained model of a checkpoint's files, be it one network or an ensemble.

    Raises:
        DataError: If the files are not a model that this version can build.
    """
    if not is_ensemble(files):
        return load_model(files)
    try:
        members, made = load_members(files), blueprint_of(files)
        network = EnsembleNetwork(
            [Trained(model.network, model.loss) for model in members],
            made.combination,
            made.group,
            made.temperature,
        )
        first, targets, task = members[0], made.targets, made.task
        _check_answers(network.eval(), first.inputs, targets)
        return Model(
            spec=first.spec,
            network=network,
            loss=LossSpec.model_validate(_LOSS[task]),
            preprocessing=first.preprocessing,
            task=task,
            inputs=first.inputs,
            targets=targets,
            fingerprint=first.fingerprint,
        )
    except (KeyError, TypeError, ValueError, RuntimeError, IndexError) as error:
        lines = str(error).splitlines() or [type(error).__name__]
        raise DataError(f"{FACTS}: not an ensemble that can be built: {lines[0]}") from None
    except SafetensorError as error:
        raise DataError(f"{WEIGHTS}: damaged: {error}") from None


def blueprint_of(files: Mapping[str, bytes]) -> Blueprint:
    """Return what makes the members of an ensemble's files an ensemble.

    Raises:
        KeyError: If something of it is missing.
        ValueError: If there is no such combination.
    """
    facts: dict[str, Any] = json.loads(files[FACTS])
    made, task = facts["combination"], facts["task"]
    tensors = _below(load(files[WEIGHTS]), "combination.")
    combination = rebuilt(made["kind"], task, tensors)
    group, temperature = int(made["group"]), float(made["temperature"])
    return Blueprint(combination, group, temperature, task, int(facts["targets"]))


def kind_of(model: Model) -> str:
    """Return what a model is, in a word or a few: `mlp`, `ensemble of 8 mlp`."""
    kind = model.spec.own_kind()
    if isinstance(model.network, EnsembleNetwork):
        return f"ensemble of {model.network.count} {kind}"
    return kind


def load_members(files: Mapping[str, bytes]) -> tuple[Model, ...]:
    """Return the members of an ensemble's files, or the only model as its own member.

    Raises:
        DataError: If one cannot be built.
    """
    return tuple(load_model(member.files) for member in member_files(files))


def member_files(files: Mapping[str, bytes]) -> tuple[MemberFiles, ...]:
    """Return the members of an ensemble's files as the models that they would be alone.

    Raises:
        DataError: If the files are damaged.
    """
    if not is_ensemble(files):
        return (MemberFiles("model", {name: files[name] for name in (FACTS, WEIGHTS)}),)
    try:
        facts = json.loads(files[FACTS])
        tensors = load(files[WEIGHTS])
        shared = {key: facts[key] for key in _SHARED}
        return tuple(
            MemberFiles(
                str(entry["label"]),
                {
                    FACTS: json.dumps(shared | entry["facts"], indent=1).encode(),
                    WEIGHTS: save(_below(tensors, f"member.{number}.")),
                },
            )
            for number, entry in enumerate(facts["members"])
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{FACTS}: not an ensemble: {error}") from None
    except SafetensorError as error:
        raise DataError(f"{WEIGHTS}: damaged: {error}") from None


def _check_answers(network: EnsembleNetwork, inputs: Inputs, targets: int) -> None:
    """Let a network answer once: only then is it known that all parts fit together.

    Raises:
        ValueError: If its answers have another shape.
    """
    with torch.no_grad():
        answered = network(torch.zeros(2, *inputs.shape))
    if answered.shape != (2, targets):
        raise ValueError(f"its answers have the shape {tuple(answered.shape)}")


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
