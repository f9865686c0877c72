"""A trainer's whole state as bytes and back; the state is enough for a bit-identical resume."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, cast

import torch
from safetensors.torch import load, save
from torch import Tensor

from modelscale.errors import DataError
from modelscale.evaluation.metrics.base import MetricSpec
from modelscale.training.cohort import Weights
from modelscale.training.replica import Replica
from modelscale.training.scoring import Monitor
from modelscale.training.trainer import Ending, Outcome, Progress, Trainer

TENSORS = "state.safetensors"
FACTS = "state.json"


def dump(trainer: Trainer) -> dict[str, bytes]:
    """Return the files `state.safetensors` and `state.json` of a trainer between two steps."""
    tensors: dict[str, Tensor] = {}
    _put(tensors, "weights", trainer.cohort.weights)
    for name, slot_KP in trainer.stepper.slots_KP.items():
        tensors[f"slot.{name}"] = slot_KP
    if trainer.best is not None:
        _put(tensors, "best", trainer.best)
    if trainer.average_KP is not None:
        tensors["average"] = trainer.average_KP
    if trainer.stepper.scale is not None:
        tensors["scale"] = trainer.stepper.scale.scale_K
        tensors["good_steps"] = trainer.stepper.scale.good_steps_K
    for index, outcome in trainer.outcomes.items():
        _put(tensors, f"outcome.{index}", outcome.weights)
    facts = {
        "step": trainer.step,
        "epoch": trainer.epoch,
        "step_in_epoch": trainer.step_in_epoch,
        "begun": trainer.begun,
        "indices": trainer.indices,
        "loss_sums": trainer.loss_sums,
        "living": [_progress_facts(p) for p in trainer.living],
        "outcomes": {
            str(index): {
                "ending": o.ending,
                "epoch": o.epoch,
                "step": o.step,
                "progress": _progress_facts(o.progress),
            }
            for index, o in trainer.outcomes.items()
        },
    }
    contiguous = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
    return {TENSORS: save(contiguous), FACTS: json.dumps(facts, indent=1).encode()}


def restore(
    files: Mapping[str, bytes],
    replicas: list[Replica],
    metrics: tuple[MetricSpec, ...],
    monitor: Monitor,
    device: torch.device,
) -> Trainer:
    """Return a trainer that goes on where `dump` was called.

    Args:
        files: What `dump` returned.
        replicas: Those that the trainer's own `replicas` were, in the same order: all that had
            begun and were not forgotten.
        metrics: Measured on the validation part after every epoch.
        monitor: Decides which epoch is best.
        device: Where to train.

    Raises:
        DataError: If the state does not belong to these replicas.
    """
    trainer = Trainer(replicas, metrics, monitor, device)
    try:
        tensors = {name: t.to(device) for name, t in load(files[TENSORS]).items()}
        facts = json.loads(files[FACTS])
        _fill(trainer, tensors, facts)
    except (KeyError, ValueError, RuntimeError, IndexError) as error:
        raise DataError(f"the saved state does not fit this spec: {error}") from None
    return trainer


def _fill(trainer: Trainer, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
    trainer.living = [_progress(p) for p in facts["living"]]
    trainer.indices, trainer.begun = facts["indices"], facts["begun"]
    if len(trainer.indices) != len(trainer.replicas):
        raise ValueError(f"it is of {len(trainer.indices)} replicas")
    places = [trainer.indices.index(p.index) for p in trainer.living]
    if places and places != list(range(len(trainer.replicas))):
        trainer.cohort.keep(places)
        trainer.stepper.keep(places)
    weights = _get(tensors, "weights")
    if places and weights.theta_KP.shape != trainer.cohort.weights.theta_KP.shape:
        raise ValueError("other shapes of parameters")
    trainer.cohort.replace(weights)
    trainer.stepper.slots_KP = {n: tensors[f"slot.{n}"] for n in trainer.stepper.slots_KP}
    trainer.best = _get(tensors, "best") if trainer.best is not None else None
    trainer.average_KP = tensors["average"] if trainer.average_KP is not None else None
    trainer.loss_sums = facts["loss_sums"]
    if trainer.stepper.scale is not None:
        trainer.stepper.scale.scale_K = tensors["scale"]
        trainer.stepper.scale.good_steps_K = tensors["good_steps"]
    trainer.step, trainer.epoch = facts["step"], facts["epoch"]
    trainer.step_in_epoch = facts["step_in_epoch"]
    for key, o in facts["outcomes"].items():
        trainer.outcomes[int(key)] = Outcome(
            cast(Ending, o["ending"]),
            o["epoch"],
            o["step"],
            _progress(o["progress"]),
            _get(tensors, f"outcome.{key}"),
        )


def _put(tensors: dict[str, Tensor], prefix: str, weights: Weights) -> None:
    tensors[f"{prefix}.theta"] = weights.theta_KP
    for name, buffer_K in weights.buffers_K.items():
        tensors[f"{prefix}.buffer.{name}"] = buffer_K


def _get(tensors: dict[str, Tensor], prefix: str) -> Weights:
    start = f"{prefix}.buffer."
    buffers = {n.removeprefix(start): t for n, t in tensors.items() if n.startswith(start)}
    return Weights(tensors[f"{prefix}.theta"], buffers)


def _progress_facts(progress: Progress) -> dict[str, Any]:
    """Return a progress with numbers that are not finite as words, which JSON can hold."""
    facts = asdict(progress)
    facts["best_score"] = _word(progress.best_score)
    for field in ("best_values", "last_values"):
        facts[field] = {name: _word(value) for name, value in facts[field].items()}
    return facts


def _progress(facts: dict[str, Any]) -> Progress:
    values = {
        field: {name: float(value) for name, value in facts[field].items()}
        for field in ("best_values", "last_values")
    }
    return Progress(**facts | values | {"best_score": float(facts["best_score"])})


def _word(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)
