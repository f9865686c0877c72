"""`modelscale profile`: what a trained model weighs and costs, counted and measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from modelscale.commands.documents import clean
from modelscale.commands.trained_model import TrainedModel
from modelscale.errors import UsageError


@dataclass(frozen=True)
class Profiled:
    """A model's costs.

    Attributes:
        document: The command's keys of the JSON document.
    """

    document: dict[str, Any]
    exit_code: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the document."""
        return self.document


def profile(trained: TrainedModel, batch_sizes: Sequence[int], seconds: float) -> Profiled:
    """Count and measure a trained model's network; pre-processing is not part of it.

    Args:
        trained: The model.
        batch_sizes: Examples in a call; each is measured by itself.
        seconds: Measured for each batch size.
    """
    import torch

    from modelscale.evaluation.latency import measure_latency, measure_peak_memory
    from modelscale.evaluation.macs import (
        count_flops,
        layer_costs,
        parameter_bytes,
        parameter_count,
    )
    from modelscale.training.artifact import FACTS, WEIGHTS
    from modelscale.training.ensemble_artifact import kind_of

    network, shape, device = trained.model.network, trained.model.inputs.shape, trained.device
    files = trained.checkpoint.files
    flops = count_flops(network, shape)
    layers = layer_costs(network, shape)
    total = max(1, sum(layer.macs for layer in layers))
    # The memory goes first: what is measured later is no longer fresh from the system.
    memory = [measure_peak_memory(network, shape, size, device) for size in batch_sizes]
    latencies = measure_latency(network, shape, batch_sizes, device, seconds=seconds)
    document = {
        **trained.facts(),
        "device": _device_name(trained),
        "threads": torch.get_num_threads(),
        "model": {
            "kind": kind_of(trained.model),
            "parameters": parameter_count(network),
            "macs": flops // 2,
            "flops": flops,
            "bytes": parameter_bytes(network),
            "file_bytes": sum(len(files[name]) for name in (WEIGHTS, FACTS)),
        },
        "latency_ms": {str(found.batch): found.median_ms for found in latencies},
        "batches": [
            asdict(found) | {"peak_bytes": held.peak_bytes, "memory_source": held.source}
            for found, held in zip(latencies, memory, strict=True)
        ],
        "layers": [asdict(layer) | {"share": layer.macs / total} for layer in layers],
    }
    return Profiled(dict(clean(document)))


def _device_name(trained: TrainedModel) -> str:
    from modelscale.training.determinism import fingerprint

    return f"{trained.device.type} {fingerprint(trained.device)['device']}"


def sizes_of(text: str) -> tuple[int, ...]:
    """Return the batch sizes that a text such as `1,8,32` means, each once.

    Raises:
        UsageError: If one is no positive whole number.
    """
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not words or not all(word.isdecimal() and int(word) > 0 for word in words):
        raise UsageError(f"--batch-sizes {text}: expected whole numbers such as 1,8,32")
    return tuple(dict.fromkeys(map(int, words)))
