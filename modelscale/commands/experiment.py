"""The experiment: everything that a YAML spec can say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from modelscale.data.section import DataSection
from modelscale.ensembling.methods.base import EnsembleSpec
from modelscale.evaluation.metrics.base import MetricSpec
from modelscale.evaluation.section import EvaluateSection
from modelscale.losses.base import LossSpec
from modelscale.models.base import ModelSpec
from modelscale.optimizers.base import OptimizerSpec
from modelscale.optimizers.schedules.base import ScheduleSpec
from modelscale.pruning.kinds.base import PruneSpec
from modelscale.scaling.section import ScaleSection
from modelscale.spec.base import Spec, faults_at
from modelscale.spec.names import RunName
from modelscale.spec.quantities import Seconds
from modelscale.tensors import StatedTask
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

    task: StatedTask | None = None
    """What is learnt; inferred from the target when left out. `anomaly` learns what examples
    look like, without labels, and needs a model that makes its input again."""

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

    prune: PruneSpec | None = None
    """What `modelscale prune` does to a trained model."""

    ensemble: EnsembleSpec | None = None
    """The ensemble that `modelscale ensemble` makes."""

    scale: ScaleSection | None = None
    """The ladder that `modelscale scale` trains."""

    evaluate: EvaluateSection = Field(default_factory=EvaluateSection)
    """Intervals of the measured metrics."""

    budget: Budget = Field(default_factory=Budget)
    """Bounds on the whole run."""

    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$")
    """`auto` takes CUDA where it is present; or `cpu`, `cuda`, `cuda:1`."""

    @property
    def known_task(self) -> StatedTask | None:
        """What is learnt, as far as the spec says it; else the target tells."""
        if self.task is None and self.loss is not None and self.loss.task == "pretraining":
            return "pretraining"
        return self.task

    @model_validator(mode="after")
    def _base_width_fits(self) -> Self:
        if self.train.mup is not None:
            try:
                self._check_base_width(self.train.mup)
            except ValidationError as error:
                fault = error.errors()[0]
                place = ("train", "mup", *fault["loc"][:1])
                raise faults_at((place, fault["msg"])) from None
            except ValueError as error:
                raise faults_at((("train", "mup"), str(error))) from None
        return self

    def _check_base_width(self, widths: Mapping[str, Any]) -> None:
        """Raise ValueError where no rule carries the learning rate from the base width."""
        self.model.at_widths(widths)
        if not widths:
            raise ValueError(f"names no width, such as {self.model.widths[0]}")
        if not self.optimizer.scale_free:
            raise ValueError(
                f"its rates are those for adam and adamw, not for {self.optimizer.own_kind()}"
            )
        if self.regularization.l1 or self.regularization.l2:
            raise ValueError("the penalties of `regularization` follow no such rule; use adamw")

    @model_validator(mode="after")
    def _space_exists(self) -> Self:
        if self.tune is not None:
            from modelscale.tuning.starting import tune_faults

            fixed = self.model_copy(update={"tune": None, "ensemble": None})
            faults = [(("tune", *place), m) for place, m in tune_faults(self.tune, fixed)]
            if faults:
                raise faults_at(*faults)
        return self

    @model_validator(mode="after")
    def _members_vary_what_exists(self) -> Self:
        if self.ensemble is not None and self.ensemble.vary:
            from modelscale.spec.spaces import space_faults
            from modelscale.tuning.space import varied

            fixed = self.model_copy(update={"tune": None, "ensemble": None})
            found = space_faults(fixed, varied(self.ensemble.vary))
            faults = [(("ensemble", "vary", *place), message) for place, message in found]
            if faults:
                raise faults_at(*faults)
        return self

    @model_validator(mode="after")
    def _sizes_exist(self) -> Self:
        if self.scale is not None and self.scale.sizes:
            from modelscale.scaling.section import size_values
            from modelscale.spec.spaces import Varied, space_faults

            absent = dict.fromkeys(("tune", "ensemble", "scale"))
            varied = {key: Varied(found) for key, found in size_values(self.scale).items()}
            found = space_faults(self.model_copy(update=absent), varied)
            faults = [(("scale", "sizes", *place), message) for place, message in found]
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
                for name in ("batch_size", "accumulate", "sampling")
                if getattr(plan, name) != getattr(defaults, name)
            ]
            if faults:
                raise faults_at(*faults)
        return self
