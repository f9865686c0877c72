"""Metrics by name: what `monitor: f1` or `metric: validation/accuracy` means."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

from modelscale.errors import did_you_mean
from modelscale.evaluation.metrics._averages import AveragedMetric
from modelscale.evaluation.metrics.base import MetricSpec
from modelscale.tensors import Part

if TYPE_CHECKING:
    from modelscale.tensors import Task

_DEFAULTS: dict[Task, tuple[str, ...]] = {
    "classification": ("accuracy", "recall", "f1"),
    "regression": ("rmse", "mae", "r2"),
    "language_model": ("perplexity", "bits_per_token"),
    "ranking": ("ndcg", "hit_rate", "mrr"),
    "pretraining": ("pretext_loss",),
    "transcription": ("word_error_rate", "character_error_rate"),
    "translation": ("token_accuracy", "token_perplexity"),
}


def metrics_for(task: Task) -> dict[str, MetricSpec]:
    """Return every metric of the task by its label: each kind, and each of its averages."""
    kinds = [MetricSpec.of_kind(kind) for kind in MetricSpec.kinds()]
    found: list[MetricSpec] = []
    for kind in (k for k in kinds if k.task == task):
        if issubclass(kind, AveragedMetric):
            averages = get_args(kind.model_fields["average"].annotation)
            found += [kind(average=average) for average in averages]
        else:
            found.append(kind())
    return {metric.label(): metric for metric in found}


def metric_for(name: str, task: Task) -> MetricSpec:
    """Return the metric that a label such as `accuracy` or `f1_micro` names.

    Raises:
        ValueError: If the task has no such metric; the message says which ones it has.
    """
    return _lookup(name, task, metrics_for(task), others=())


def default_metrics(task: Task) -> tuple[MetricSpec, ...]:
    """Return what is measured where a spec names no metrics."""
    return tuple(metric_for(name, task) for name in _DEFAULTS[task])


def anomaly_metrics() -> tuple[MetricSpec, ...]:
    """Return what is measured of anomaly scores, which need no threshold, by default."""
    names = ("average_precision", "roc_auc", "recall_at_fpr")
    return tuple(metric_for(name, "classification") for name in names)


def direction_of(name: str, task: Task) -> Literal["maximize", "minimize"]:
    """Return which way is better, of `loss` or a metric, with or without `validation/`.

    Raises:
        ValueError: If the part or the metric does not exist.
    """
    part, slash, metric = name.rpartition("/")
    if slash and part not in get_args(Part):
        raise ValueError(
            f"unknown part {part!r} in {name!r}{did_you_mean(part, get_args(Part))}"
        )
    if metric == "loss":
        return "minimize"
    return _lookup(metric, task, metrics_for(task), others=("loss",)).direction


def _lookup(
    name: str, task: Task, known: dict[str, MetricSpec], others: tuple[str, ...]
) -> MetricSpec:
    """Return the metric of this label; `others` are further words that would have done."""
    if name in known:
        return known[name]
    if name in MetricSpec.kinds():
        own_task = MetricSpec.of_kind(name).task
        raise ValueError(
            f"metric {name!r} is for {own_task}, not for {task} "
            f"(one of: {', '.join(sorted([*known, *others]))})"
        )
    raise ValueError(f"unknown metric {name!r}{did_you_mean(name, [*known, *others])}")
