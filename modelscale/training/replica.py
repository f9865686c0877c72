"""Replicas: the models that are to be trained, before any of them has weights."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from modelscale.data.augmentations.base import AugmentationSpec
from modelscale.data.prepared import Prepared
from modelscale.losses.base import LossSpec
from modelscale.models.base import ModelSpec
from modelscale.models.edits.base import EditSpec
from modelscale.optimizers.base import OptimizerSpec
from modelscale.optimizers.schedules.base import ScheduleSpec
from modelscale.training.plan import Regularization, TrainPlan
from modelscale.training.starting import Start


@dataclass(frozen=True, eq=False)
class Replica:
    """One model to be trained: what it is, how and on what it learns, and its seed.

    Attributes:
        loss: With everything that depends on the data resolved.
        data: One fold; replicas that share it share its memory.
        train_rows: int64 rows to learn from; None for the fold's training part.
        weights: (N,) float32 weight of each example of the data in the mean loss, such as
            bootstrap counts; None for equal weights.
        edits: What is done to the network after it was built, such as a cut.
        start: The weights that it begins with; None where its seed draws all of them.
        narrow: The model at the base width, whose layers say how those of this one begin and
            learn; None where all do so alike.
    """

    model: ModelSpec
    loss: LossSpec
    optimizer: OptimizerSpec
    scheduler: ScheduleSpec
    regularization: Regularization
    plan: TrainPlan
    seed: int
    data: Prepared
    augment: tuple[AugmentationSpec, ...] = ()
    train_rows: Tensor | None = None
    weights: Tensor | None = None
    edits: tuple[EditSpec, ...] = ()
    start: Start | None = None
    narrow: ModelSpec | None = None

    @property
    def ranks(self) -> bool:
        """Whether chosen items are compared with others."""
        return self.loss.compared() is not None

    @property
    def rows(self) -> Tensor:
        """Rows to learn from, int64."""
        return self.data.rows["train"] if self.train_rows is None else self.train_rows

    @property
    def batch_size(self) -> int:
        """Examples of one forward pass."""
        return len(self.rows) if self.optimizer.full_batch else self.plan.batch_size

    @property
    def step_size(self) -> int:
        """Examples of one optimizer step."""
        whole = self.optimizer.full_batch
        return len(self.rows) if whole else self.plan.batch_size * self.plan.accumulate

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps of one pass over the rows."""
        return -(-len(self.rows) // self.step_size)

    @property
    def total_steps(self) -> int:
        """Optimizer steps of the whole plan."""
        return self.steps_per_epoch * self.plan.epochs


def structure_of(replica: Replica) -> tuple[Any, ...]:
    """Return what replicas must have in common to be trained in lockstep.

    Left out are the numbers that each replica has for itself: learning rate, decay, betas,
    schedule, penalties, dropout rate, seed, weights and which rows (but not how many).
    """
    model = replica.model.model_dump()
    for field in replica.model.per_replica:
        model[field] = model[field] > 0  # a rate of 0 builds no layer
    shared = {
        name: value
        for name, value in replica.optimizer.model_dump().items()
        if not isinstance(value, float)
    }
    plan = replica.plan.model_dump(exclude={"seeds", "checkpoint_s", "checkpoint_steps"})
    # Edges are buffers of the network, so that the folds of a table may differ in them.
    bins = tuple((float(len(edges)),) for edges in replica.data.inputs.quantiles)
    return (
        replace(replica.data.inputs, quantiles=bins),
        replica.data.targets,
        repr(model),
        repr(replica.loss.model_dump()),
        repr(shared),
        repr(plan),
        repr([a.model_dump() for a in replica.augment]),
        tuple(edit.model_dump_json() for edit in replica.edits),
        len(replica.rows),
        replica.weights is None,
        len(replica.data.rows["validation"]) > 0,
        None if replica.start is None else repr(replica.start.structure),
    )
