"""What a model is before and after: counted, stored and measured."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median
from typing import TYPE_CHECKING, Any

from modelscale.commands.pruning.timing import Turns, speedup
from modelscale.tensors import Part

if TYPE_CHECKING:
    from modelscale.commands.measuring import Measured
    from modelscale.commands.pruning.bench import Bench
    from modelscale.training.artifact import Model

PARTS: tuple[Part, ...] = ("validation", "test")


def measured(bench: Bench, model: Model) -> dict[Part, Measured]:
    """Return what a model is worth, by the parts that have rows."""
    from modelscale.commands.measuring import measure

    assembly = bench.shop.assembly
    return {
        part: measure(
            model, bench.data, part, assembly.goal.metrics, assembly.experiment.evaluate
        )
        for part in PARTS
        if len(bench.data.rows[part])
    }


def size_of(model: Model, files: Mapping[str, bytes] | None = None) -> dict[str, int]:
    """Return what a model weighs: parameters, MACs of an example, bytes, bytes on disk.

    Args:
        model: One network or an ensemble.
        files: As it is stored; worked out where they are left out, of one network.
    """
    from modelscale.evaluation.macs import count_macs, parameter_bytes, parameter_count
    from modelscale.training.artifact import WEIGHTS, dump_network

    return {
        "parameters": parameter_count(model.network),
        "macs": count_macs(model.network, model.inputs.shape),
        "bytes": parameter_bytes(model.network),
        "file_bytes": len((files or dump_network(model))[WEIGHTS]),
    }


def latencies(runs: dict[str, Turns], who: str) -> dict[str, dict[str, float]]:
    """Return median milliseconds by runtime and batch size."""
    return {
        runtime: {str(batch): median(ms) for batch, ms in turns[who].items()}
        for runtime, turns in runs.items()
    }


def speedups(runs: dict[str, Turns]) -> dict[str, dict[str, dict[str, Any]]]:
    """Return how much faster the smaller model is, by runtime and batch size."""
    return {
        runtime: {
            str(batch): speedup(ms, turns["after"][batch]).to_json()
            for batch, ms in turns["before"].items()
        }
        for runtime, turns in runs.items()
    }


def differences(
    bench: Bench, before: dict[Part, Measured], after: dict[Part, Measured]
) -> dict[Part, dict[str, dict[str, Any]]]:
    """Return what each metric gained or lost, paired over examples, by part and metric."""
    from modelscale.evaluation.intervals import paired_difference

    section = bench.shop.assembly.experiment.evaluate
    return {
        part: {
            metric.label(): paired_difference(
                metric,
                after[part].predictions,
                before[part].predictions,
                after[part].targets,
                resamples=section.resamples,
                confidence=section.confidence,
            ).to_json()
            for metric in bench.shop.assembly.goal.metrics
        }
        for part in after
    }
