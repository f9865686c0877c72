"""From an experiment to what can be trained: data, loss, goal and replicas."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from modelscale.commands.experiment import Experiment
from modelscale.errors import SpecError, did_you_mean
from modelscale.evaluation.metric_names import default_metrics, direction_of, metric_for
from modelscale.losses.base import LossSpec

if TYPE_CHECKING:
    import torch

    from modelscale.data.loading import LoadedData
    from modelscale.data.prepared import Prepared
    from modelscale.evaluation.metrics.base import MetricSpec
    from modelscale.tensors import Encoding, Task
    from modelscale.training.replica import Replica
    from modelscale.training.scoring import Monitor
    from modelscale.training.session import Goal

_DEFAULT_LOSS: dict[Task, str] = {
    "classification": "cross_entropy",
    "regression": "mean_squared_error",
    "language_model": "next_token",
    "transcription": "ctc",
}


@dataclass
class Assembly:
    """An experiment with its data read and everything that it leaves open decided.

    Attributes:
        experiment: What was asked for.
        places: Where each value of it came from, by its path, for messages.
        loaded: The data, read and divided.
        loss: What is minimised.
        goal: What is measured, and what decides.
        device: Where it is trained.
        threads: CPU threads that the user asked for; None leaves them to a measurement.
    """

    experiment: Experiment
    places: dict[str, str]
    loaded: LoadedData
    loss: LossSpec
    goal: Goal
    device: torch.device
    threads: int | None = None
    _prepared: dict[tuple[int, Encoding], Prepared] = field(default_factory=dict)

    @property
    def folds(self) -> int:
        """Rounds of cross-validation; 1 without."""
        return len(self.loaded.folds)

    def data(self, fold: int, encoding: Encoding) -> Prepared:
        """Return one fold ready for training; made once."""
        from modelscale.data.loading import prepare

        key = (fold, encoding)
        if key not in self._prepared:
            section = self.experiment.data
            self._prepared[key] = prepare(self.loaded, fold, encoding, section, self.device)
        return self._prepared[key]

    def replica(self, fold: int, seed: int, variant: Experiment | None = None) -> Replica:
        """Return a replica of the experiment, or of a variant with other numbers.

        Raises:
            SpecError: If the model cannot take the data.
        """
        from modelscale.training.replica import Replica

        spec = variant or self.experiment
        data = self.data(fold, spec.model.encoding)
        try:
            spec.model.check(data.inputs)
        except ValueError as error:
            raise self.fault("model", str(error)) from None
        if data.task not in spec.model.tasks:
            kind, fits = spec.model.own_kind(), " and ".join(spec.model.tasks)
            raise self.fault("model", f"{kind} is for {fits}, and the task is {data.task}")
        loss = self.loss if variant is None else _loss_of(variant, data.task)
        try:
            loss.outputs(data.targets)
            loss = loss.resolved(_class_counts(data))
        except ValueError as error:
            raise self.fault("loss", str(error)) from None
        return Replica(
            model=spec.model,
            loss=loss,
            optimizer=spec.optimizer,
            scheduler=spec.scheduler,
            regularization=spec.regularization,
            plan=spec.train,
            seed=seed,
            data=data,
            augment=spec.data.augment,
        )

    def fault(self, path: str, message: str) -> SpecError:
        """Return the error about one key of the spec, with the place where it stands."""
        return SpecError(f"{self.places.get(path, 'spec')}: {path}: {message}")


def assemble(experiment: Experiment, places: dict[str, str], device: torch.device) -> Assembly:
    """Read the data and decide what the experiment leaves open.

    Args:
        experiment: What was asked for.
        places: Where each value came from, by its path.
        device: Where it is to be trained.

    Raises:
        SpecError: If task, loss, metrics and data do not fit together.
        DataError: If the data is damaged.
    """
    from modelscale.data.loading import load
    from modelscale.training.scoring import Monitor
    from modelscale.training.session import Goal

    loaded = load(experiment.data, experiment.task)
    loss = _loss_of(experiment, loaded.task)
    goal = Goal(default_metrics(loaded.task), Monitor("loss", maximize=False))
    assembly = Assembly(experiment, places, loaded, loss, goal, device)
    if loss.task != loaded.task:
        raise assembly.fault(
            "loss", f"{loss.own_kind()} is for {loss.task}, and the task is {loaded.task}"
        )
    _check_evaluation(assembly)
    metrics, monitor = _goal(assembly)
    assembly.goal = Goal(metrics, monitor)
    needs_validation = experiment.train.early_stopping or experiment.train.monitor != "auto"
    if needs_validation and any(len(fold.validation) == 0 for fold in loaded.folds):
        raise assembly.fault("train", "needs a validation part; give `data.split.validation`")
    return assembly


def _check_evaluation(assembly: Assembly) -> None:
    """Refuse an `evaluate` section that asks for what such data cannot give."""
    from modelscale.data.targets import class_labels

    section, loaded = assembly.experiment.evaluate, assembly.loaded
    if section.costs is not None:
        if loaded.task != "classification":
            raise assembly.fault(
                "evaluate.costs", f"are for classification, and the task is {loaded.task}"
            )
        labels = class_labels(loaded.raw)
        if len(section.costs) != len(labels):
            raise assembly.fault(
                "evaluate.costs",
                f"is for {len(section.costs)} classes, and there are {len(labels)} "
                f"({', '.join(labels[:10])})",
            )
    if section.ranking is not None:
        for field in ("user", "item"):
            name = getattr(section.ranking, field)
            if name not in loaded.raw.columns:
                raise assembly.fault(
                    f"evaluate.ranking.{field}",
                    f"no column '{name}'{did_you_mean(name, loaded.raw.columns)}",
                )


def _goal(assembly: Assembly) -> tuple[tuple[MetricSpec, ...], Monitor]:
    from modelscale.data.targets import class_labels
    from modelscale.training.scoring import Monitor

    experiment, task = assembly.experiment, assembly.loaded.task
    metrics = list(experiment.metrics or default_metrics(task))
    for place, metric in enumerate(experiment.metrics):
        if metric.task != task:
            raise assembly.fault(
                f"metrics.{place}",
                f"{metric.own_kind()} is for {metric.task}, and the task is {task}",
            )
        if task == "classification":
            try:
                metric.check(len(class_labels(assembly.loaded.raw)))
            except ValueError as error:
                raise assembly.fault(f"metrics.{place}", str(error)) from None
    wanted = experiment.train.monitor
    tune = experiment.tune
    followed = (
        [o.metric for o in tune.all_objectives()] + list(tune.constraints) if tune else []
    )
    tuned = [
        ("tune", name.partition("/")[2]) for name in followed if name.startswith("validation/")
    ]
    for path, name in (("train.monitor", wanted), *tuned):
        if name in {"auto", "loss"} or name in [metric.label() for metric in metrics]:
            continue
        try:
            metrics.append(metric_for(name, task))
        except ValueError as error:
            raise assembly.fault(path, str(error)) from None
    label = "loss" if wanted == "auto" else wanted
    return tuple(metrics), Monitor(label, direction_of(label, task) == "maximize")


def _loss_of(experiment: Experiment, task: Task) -> LossSpec:
    return experiment.loss or LossSpec.model_validate(_DEFAULT_LOSS[task])


def _class_counts(data: Prepared) -> tuple[int, ...]:
    if data.task != "classification":
        return ()
    return tuple(data.y[data.rows["train"]].bincount(minlength=data.targets).tolist())
