"""Which loss is minimised where the spec does not say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelscale.commands.experiment import Experiment
from modelscale.losses.base import LossSpec

if TYPE_CHECKING:
    from modelscale.data.loading import LoadedData
    from modelscale.data.raw import Raw
    from modelscale.tensors import Task

_DEFAULT_LOSS: dict[Task, str] = {
    "classification": "cross_entropy",
    "regression": "mean_squared_error",
    "language_model": "next_token",
    "ranking": "bpr",
    "transcription": "ctc",
    "translation": "teacher_forcing",
}


def loss_of(experiment: Experiment, loaded: LoadedData) -> LossSpec:
    """Return the loss that an experiment names, or the usual one of its task."""
    if experiment.loss is not None:
        return experiment.loss
    if experiment.task == "anomaly":
        return LossSpec.model_validate("reconstruction")
    if loaded.task == "pretraining":
        return LossSpec.model_validate(_pretext_of(loaded.raw))
    return LossSpec.model_validate(_DEFAULT_LOSS[loaded.task])


def _pretext_of(raw: Raw) -> str:
    """Return the game that suits some data."""
    from modelscale.data.roles import is_long

    if raw.array is not None:
        return "rotation" if raw.array.ndim == 4 else "masked_values"
    return "masked_symbols" if any(map(is_long, raw.columns.values())) else "masked_values"
