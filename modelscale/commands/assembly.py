"""From an experiment to what can be trained: data, loss, goal and replicas."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from modelscale.commands.experiment import Experiment
from modelscale.commands.loss_choice import loss_of
from modelscale.commands.starting_points import (
    StartingPoint,
    adoption_of,
    begin,
    read_starting_point,
    seen_before,
)
from modelscale.errors import SpecError, did_you_mean
from modelscale.evaluation.metric_names import (
    anomaly_metrics,
    default_metrics,
    direction_of,
    metric_for,
)
from modelscale.losses.base import LossSpec
from modelscale.models._from_checkpoint import FromCheckpoint
from modelscale.models.base import ModelSpec

if TYPE_CHECKING:
    import torch

    from modelscale.data.adopting import Adoption
    from modelscale.data.loading import LoadedData
    from modelscale.data.prepared import Prepared
    from modelscale.evaluation.metrics.base import MetricSpec
    from modelscale.models.edits.base import EditSpec
    from modelscale.tensors import Encoding
    from modelscale.training.replica import Replica
    from modelscale.training.scoring import Monitor
    from modelscale.training.session import Goal
    from modelscale.training.starting import Start


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
        root: The runs folder, in which `model.from` is looked up too.
        adopts: Pre-processing to take over, for a model that was trained with it.
    """

    experiment: Experiment
    places: dict[str, str]
    loaded: LoadedData
    loss: LossSpec
    goal: Goal
    device: torch.device
    threads: int | None = None
    root: Path = Path("runs")
    adopts: Adoption | None = None
    _prepared: dict[tuple[int, str], Prepared] = field(default_factory=dict)
    _points: dict[Path, StartingPoint] = field(default_factory=dict)

    @property
    def folds(self) -> int:
        """Rounds of cross-validation; 1 without."""
        return len(self.loaded.folds)

    def data(self, fold: int, encoding: Encoding, bins: int | None = None) -> Prepared:
        """Return one fold ready for training; made once.

        Where the experiment's model begins with a checkpoint, the data is what that one reads.

        Args:
            fold: Round of cross-validation.
            encoding: How categories reach the network.
            bins: Into how many bins numbers are cut; by default as the experiment's model asks.
        """
        model = self.experiment.model
        if isinstance(model, FromCheckpoint):
            return self.data_for(fold, model)
        return self.data_for(fold, encoding, model.quantile_bins() if bins is None else bins)

    def data_for(self, fold: int, reader: FromCheckpoint | Encoding, bins: int = 0) -> Prepared:
        """Return one fold ready for a checkpoint's network, or in an encoding; made once.

        Raises:
            SpecError: If the data is not what the checkpoint's network reads.
        """
        from modelscale.data.loading import prepare

        section, fitting = self.experiment.data, (self.loaded, fold)
        if not isinstance(reader, FromCheckpoint):
            key = (fold, f"{reader} {bins}")
            if key not in self._prepared:
                self._prepared[key] = prepare(
                    *fitting, reader, section, self.device, bins=bins, adoption=self.adopts
                )
            return self._prepared[key]
        point = self.point(reader)
        key = (fold, f"{point.sha256} {reader.scaling} {reader.length}")
        if key not in self._prepared:
            if section.text is not None:
                raise self.fault(
                    "data.text", "a checkpoint brings its own symbols and length; leave it out"
                )
            adoption = adoption_of(reader, point)
            encoding = adoption.saved.encoding
            try:
                self._prepared[key] = prepare(
                    *fitting, encoding, section, self.device, adoption=adoption
                )
            except ValueError as error:
                raise self.misfit(reader, error) from None
        return self._prepared[key]

    def point(self, model: FromCheckpoint) -> StartingPoint:
        """Return the checkpoint that a model begins with; read once."""
        if model.source not in self._points:
            self._points[model.source] = read_starting_point(model, self.root)
        return self._points[model.source]

    def beginning_warnings(self) -> list[str]:
        """Return what a user should look at in the checkpoint that the model begins with."""
        model, fingerprint = self.experiment.model, self.loaded.raw.fingerprint
        if not isinstance(model, FromCheckpoint):
            return []
        found = seen_before(model, self.point(model), self.experiment, fingerprint)
        return [] if found is None else [found]

    def misfit(self, model: FromCheckpoint, error: ValueError) -> SpecError:
        """Return the error about a checkpoint that does not fit the experiment."""
        return self.fault("model.from", f"{model.source}: {error}")

    def replica(self, fold: int, seed: int, variant: Experiment | None = None) -> Replica:
        """Return a replica of the experiment, or of a variant with other numbers.

        Raises:
            SpecError: If the model cannot take the data.
        """
        from modelscale.training.replica import Replica

        spec = variant or self.experiment
        wanted, model = spec.model, spec.model
        if isinstance(wanted, FromCheckpoint):
            data, model = self.data_for(fold, wanted), self.point(wanted).model.spec
        else:
            data = self.data_for(fold, model.encoding, model.quantile_bins())
        try:
            model.check(data.inputs)
        except ValueError as error:
            raise self.fault("model", str(error)) from None
        learns = "classification" if data.task == "pretraining" else data.task
        if learns not in model.tasks:
            kind, fits = model.own_kind(), " and ".join(model.tasks)
            raise self.fault("model", f"{kind} is for {fits}, and the task is {data.task}")
        if model.reconstructs != self.loss.reconstructs:
            raise self.fault("model", _misfit(model, self.loss))
        loss = self.loss if variant is None else loss_of(variant, self.loaded)
        try:
            loss.outputs(data.targets)
            loss = loss.resolved(_class_counts(data))
        except ValueError as error:
            raise self.fault("loss", str(error)) from None
        start: Start | None = None
        edits: tuple[EditSpec, ...] = ()
        if isinstance(wanted, FromCheckpoint):
            edits = self.point(wanted).model.edits
            try:
                model, start = begin(wanted, self.point(wanted), data, loss)
            except ValueError as error:
                raise self.misfit(wanted, error) from None
        return Replica(
            model=model,
            loss=loss,
            optimizer=spec.optimizer,
            scheduler=spec.scheduler,
            regularization=spec.regularization,
            plan=spec.train,
            seed=seed,
            data=data,
            augment=spec.data.augment,
            edits=edits,
            start=start,
            narrow=None if spec.train.mup is None else self._narrow(model, spec, data, loss),
        )

    def _narrow(
        self, model: ModelSpec, spec: Experiment, data: Prepared, loss: LossSpec
    ) -> ModelSpec:
        """Return the model at its base width.

        Raises:
            SpecError: If no rule says how it grows from there.
        """
        import torch

        from modelscale.models.modules.widths import width_factors

        assert spec.train.mup is not None
        if data.task == "pretraining":
            raise self.fault("train.mup", "is not defined for pretraining")
        narrow = model.at_widths(spec.train.mup)
        outputs = loss.outputs(data.targets)
        with torch.random.fork_rng(devices=[]):
            try:
                width_factors(*(m.build(data.inputs, outputs) for m in (model, narrow)))
            except ValueError as error:
                raise self.fault("train.mup", str(error)) from None
        return narrow

    def fault(self, path: str, message: str) -> SpecError:
        """Return the error about one key of the spec, with the place where it stands."""
        return SpecError(f"{self.places.get(path, 'spec')}: {path}: {message}")


def assemble(
    experiment: Experiment, places: dict[str, str], device: torch.device, root: Path
) -> Assembly:
    """Read the data and decide what the experiment leaves open.

    Args:
        experiment: What was asked for.
        places: Where each value came from, by its path.
        device: Where it is to be trained.
        root: The runs folder.

    Raises:
        SpecError: If task, loss, metrics and data do not fit together.
        DataError: If the data is damaged.
    """
    from modelscale.data.loading import load
    from modelscale.training.scoring import Monitor
    from modelscale.training.session import Goal

    loaded = load(experiment.data, experiment.known_task)
    loss = loss_of(experiment, loaded)
    goal = Goal(default_metrics(loaded.task), Monitor("loss", maximize=False))
    assembly = Assembly(experiment, places, loaded, loss, goal, device, root=root)
    if (experiment.task == "anomaly") != loss.reconstructs:
        raise assembly.fault(
            "task", f"must be anomaly for the loss reconstruction, not for {loss.own_kind()}"
        )
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
    if experiment.train.sampling == "balanced" and loaded.task != "classification":
        raise assembly.fault(
            "train.sampling", f"balanced is for classification, and the task is {loaded.task}"
        )
    return assembly


def _misfit(model: ModelSpec, loss: LossSpec) -> str:
    """Return what is wrong where only one of the two is for making inputs again."""
    kinds = [kind for kind in ModelSpec.kinds() if ModelSpec.of_kind(kind).reconstructs]
    if loss.reconstructs:
        return f"{model.own_kind()} does not make its input again; these do: {', '.join(kinds)}"
    return f"{model.own_kind()} learns without labels; say task: anomaly"


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
    if section.alarms is not None:
        _check_alarms(assembly)
    if section.ranking is not None:
        for field in ("user", "item"):
            name = getattr(section.ranking, field)
            if name not in loaded.raw.columns:
                raise assembly.fault(
                    f"evaluate.ranking.{field}",
                    f"no column '{name}'{did_you_mean(name, loaded.raw.columns)}",
                )


def _check_alarms(assembly: Assembly) -> None:
    """Refuse alarms where nothing sets their threshold."""
    from modelscale.data.targets import class_labels

    loaded = assembly.loaded
    if loaded.task != "classification" or len(class_labels(loaded.raw)) != 2:
        raise assembly.fault("evaluate.alarms", "are for two classes")
    if any(len(fold.validation) == 0 for fold in loaded.folds):
        raise assembly.fault("evaluate.alarms", "need a validation part")


def _check_metric(assembly: Assembly, path: str, metric: MetricSpec) -> None:
    """Refuse a metric that does not suit the task, or needs what is not installed."""
    from modelscale.data.targets import class_labels

    task = assembly.loaded.task
    if metric.task != task:
        raise assembly.fault(
            path, f"{metric.own_kind()} is for {metric.task}, and the task is {task}"
        )
    metric.require()
    if task == "classification":
        try:
            metric.check(len(class_labels(assembly.loaded.raw)))
        except ValueError as error:
            raise assembly.fault(path, str(error)) from None


def _goal(assembly: Assembly) -> tuple[tuple[MetricSpec, ...], Monitor]:
    from modelscale.training.scoring import Monitor

    experiment, task = assembly.experiment, assembly.loaded.task
    unlabelled = experiment.task == "anomaly"
    default = anomaly_metrics() if unlabelled else _usual_metrics(assembly.loaded)
    metrics = list(experiment.metrics or default)
    for place, metric in enumerate(experiment.metrics):
        _check_metric(assembly, f"metrics.{place}", metric)
    wanted = experiment.train.monitor
    tune = experiment.tune
    followed = (
        [o.metric for o in tune.all_objectives()] + list(tune.constraints) if tune else []
    )
    tuned = [
        ("tune", name.partition("/")[2]) for name in followed if name.startswith("validation/")
    ]
    for path, name in (("train.monitor", wanted), *tuned):
        if name in {"auto", "loss"}:
            continue
        try:
            found = {metric.label(): metric for metric in metrics}.get(name)
            found = found or metric_for(name, task)
        except ValueError as error:
            raise assembly.fault(path, str(error)) from None
        if not found.during_training:
            raise assembly.fault(path, f"{name} is measured when training has ended alone")
        if found not in metrics:
            metrics.append(found)
    label = "loss" if wanted == "auto" else wanted
    return tuple(metrics), Monitor(label, direction_of(label, task) == "maximize")


def _usual_metrics(loaded: LoadedData) -> tuple[MetricSpec, ...]:
    """Return what is measured where the spec does not say: more where a class is rare."""
    import numpy as np

    from modelscale.data.targets import RARE, class_codes

    usual = default_metrics(loaded.task)
    if loaded.task != "classification":
        return usual
    rows_of_class = np.bincount(class_codes(loaded.raw))
    if len(rows_of_class) != 2 or rows_of_class.min() >= RARE * rows_of_class.sum():
        return usual
    more = ("average_precision", "roc_auc", "recall_at_fpr")
    return (*(metric_for(name, loaded.task) for name in more), *usual)


def _class_counts(data: Prepared) -> tuple[int, ...]:
    if data.task != "classification":
        return ()
    return tuple(data.y[data.rows["train"]].bincount(minlength=data.targets).tolist())
