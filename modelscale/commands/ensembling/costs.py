"""What an ensemble costs beside one model: counted, and measured on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

    from modelscale.commands.assembly import Assembly
    from modelscale.training.artifact import Model

_BATCHES = (1, 128)
_LATENCY_S = 0.1


def costs_of(
    ensemble: Model, single: Model, seconds: float, assembly: Assembly, *, trains: bool
) -> dict[str, Any]:
    """Return size, operations and latency of the ensemble and of one model.

    Args:
        ensemble: The whole.
        single: One member.
        seconds: That the training took in all.
        assembly: What was trained.
        trains: Whether anything was; then one model's training time is estimated from its
            step alone.
    """
    document = {
        "ensemble": {**_facts(ensemble.network, ensemble), "seconds": round(seconds, 3)},
        "member": _facts(single.network, single),
    }
    if trains:
        document["member"]["seconds"] = round(_alone_seconds(assembly), 3)
    return document


def _facts(network: nn.Module, model: Model) -> dict[str, Any]:
    import torch

    from modelscale.evaluation.latency import measure_latency
    from modelscale.evaluation.macs import count_macs, parameter_bytes, parameter_count

    shape, cpu = model.inputs.shape, torch.device("cpu")
    latencies = measure_latency(network, shape, _BATCHES, cpu, seconds=_LATENCY_S)
    return {
        "parameters": parameter_count(network),
        "macs": count_macs(network, shape),
        "bytes": parameter_bytes(network),
        "latency_ms": {str(found.batch): found.median_ms for found in latencies},
    }


def _alone_seconds(assembly: Assembly) -> float:
    """Return what training the spec's model alone would take: a step's time, all steps."""
    from modelscale.training.grouping import measure

    replica = assembly.replica(0, assembly.experiment.seed)
    (speed,) = measure([replica], assembly.device)
    return speed.step_s * replica.total_steps
