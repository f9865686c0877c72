"""The experiment: everything that a YAML spec can say."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from modelscale.data.section import DataSection
from modelscale.evaluation.metrics.base import MetricSpec
from modelscale.evaluation.section import EvaluateSection
from modelscale.losses.base import LossSpec
from modelscale.models.base import ModelSpec
from modelscale.optimizers.base import OptimizerSpec
from modelscale.optimizers.schedules.base import ScheduleSpec
from modelscale.spec.base import Spec, faults_at
from modelscale.spec.names import RunName
from modelscale.spec.quantities import Seconds
from modelscale.tensors import Task
from modelscale.training.plan import Regularization, TrainPlan
from modelscale.tuning.section import TuneSection


class Budget(Spec):
    """Bounds on a whole run, however often it was interrupted."""

    time_s: Seconds | None = Field(None, gt=0)
    """Seconds of training after which the run ends with what it has."""


class Experiment(Spec):
    """One experiment: data, model, how it learns, and what is asked about it."""

    version: Literal[1] = 1
    """Version of the spec format."""

    name: RunName | None = None
    """Folder under the runs folder; the spec file's name when left out."""

    seed: int = Field(0, ge=0)
    """Seed of weights, order, dropout and augmentation."""

    task: Task | None = None
    """What is learnt; inferred from the target when left out."""

    data: DataSection
    """What to learn from."""

    model: ModelSpec
    """What learns it."""

    loss: LossSpec | None = None
    """What is minimised; by default cross-entropy, or mean squared error for regression."""

    optimizer: OptimizerSpec = Field(
        default_factory=lambda: OptimizerSpec.model_validate("adam")
    )
    """How it learns."""

    scheduler: ScheduleSpec = Field(
        default_factory=lambda: ScheduleSpec.model_validate("constant")
    )
    """How the learning rate changes during training."""

    regularization: Regularization = Field(default_factory=Regularization)
    """Penalties in the loss."""

    train: TrainPlan = Field(default_factory=TrainPlan)
    """How long and in what bites to train."""

    metrics: tuple[MetricSpec, ...] = ()
    """What is measured beside the loss; by default what suits the task."""

    tune: TuneSection | None = None
    """The search that `modelscale tune` runs."""

    evaluate: EvaluateSection = Field(default_factory=EvaluateSection)
    """Intervals of the measured metrics."""

    budget: Budget = Field(default_factory=Budget)
    """Bounds on the whole run."""

    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$")
    """`auto` takes CUDA where it is present; or `cpu`, `cuda`, `cuda:1`."""

    @model_validator(mode="after")
    def _space_exists(self) -> Self:
        if self.tune is not None:
            from modelscale.tuning.starting import tune_faults

            fixed = self.model_copy(update={"tune": None})
            faults = [(("tune", *place), m) for place, m in tune_faults(self.tune, fixed)]
            if faults:
                raise faults_at(*faults)
        return self

    @model_validator(mode="after")
    def _batches_are_read(self) -> Self:
        plan = self.train
        defaults = TrainPlan()
        if self.optimizer.full_batch:
            faults = [
                (("train", name), f"{self.optimizer.own_kind()} takes all rows in every step")
                for name in ("batch_size", "accumulate")
                if getattr(plan, name) != getattr(defaults, name)
            ]
            if faults:
                raise faults_at(*faults)
        return self
