"""Distillation: the unpruned model's answers as part of the target."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from modelscale.errors import SpecError
from modelscale.losses.base import LossSpec

if TYPE_CHECKING:
    from torch import Tensor

    from modelscale.training.artifact import Model
    from modelscale.training.replica import Replica

_ROWS_AT_ONCE = 2048


def taught(student: Replica, teacher: Model, share: float) -> Replica:
    """Return a replica whose training targets are mixed with a teacher's answers.

    Args:
        student: What is trained.
        teacher: The unpruned model, on the CPU.
        share: Of the teacher's answer; the rest is the true target.
    """
    import torch
    from torch.nn import functional as F

    data = student.data
    if data.task in {"transcription", "translation"}:
        raise SpecError("prune.distill: what is written cannot be mixed; leave it out")
    classes = data.task == "classification"
    truth = data.y.cpu()
    truth = F.one_hot(truth, data.targets).float() if classes else truth.clone()
    y, rows = truth.clone(), data.rows["train"].cpu()
    pieces: list[Tensor] = []
    with torch.no_grad():
        for some in rows.split(_ROWS_AT_ONCE):
            x = data.x.take(some.to(data.y.device)).cpu()
            pieces.append(teacher.loss.predictions(teacher.network(x).float()))
    y[rows] = share * torch.cat(pieces) + (1 - share) * truth[rows]
    loss = student.loss
    if classes and loss.outputs(data.targets) > 1:
        loss = LossSpec.model_validate("cross_entropy")  # the plain one takes soft targets
    elif classes:
        loss = LossSpec.model_validate("binary_cross_entropy")
        y = y[:, 1]
    return replace(student, loss=loss, data=replace(data, y=y.to(data.y.device)))
