"""The last step of a sequence: arithmetic with eight bits, in ONNX Runtime."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import TYPE_CHECKING, Any

from modelscale.commands.export_files import Quantize
from modelscale.commands.pruning.bench import Bench
from modelscale.commands.pruning.timing import Call, Turns, speedup, timed
from modelscale.commands.trained_model import TrainedModel, shown
from modelscale.pruning.kinds.base import PruneSpec
from modelscale.pruning.kinds.int8 import Int8
from modelscale.runs.checkpoints import read_checkpoint

if TYPE_CHECKING:
    from modelscale.training.artifact import Model

TIMES = "latency-int8.json"
FILE = "model.int8.onnx"
_CALIBRATION_BATCH = 32
_SCHEMES: dict[str, Quantize] = {
    "auto": "int8",
    "static": "int8-static",
    "dynamic": "int8-dynamic",
}


def asked_for(section: PruneSpec, steps: Sequence[Mapping[str, Any]]) -> Int8 | None:
    """Return how the finished model is to get eight bits; None where it is not.

    Args:
        section: Whose last step may be `int8`.
        steps: What was done; a sweep may have picked a point with eight bits, whose file may
            lose what the point itself has left of the budget.
    """
    last = section.parts()[-1]
    if isinstance(last, Int8):
        return last
    picked = [step["eight_bits"] for step in steps if "eight_bits" in step]
    return Int8(tolerance=picked[-1]["tolerance"]) if picked else None


def quantised(bench: Bench, model: Model, step: int, section: Int8) -> dict[str, Any]:
    """Export the run's model with eight bits, prove it, and time it beside the first model.

    Returns:
        The key `int8` of the document; `fault` is there where the file loses too much, and
        then none is kept.

    Raises:
        GateFailed: If the network cannot be exported or quantised.
        Unavailable: If a package is missing.
    """
    import torch

    from modelscale.commands.export import ExportRequest, export

    run, assembly = bench.shop.run, bench.shop.assembly
    checkpoint = read_checkpoint(run.checkpoints().path(step))
    cpu = torch.device("cpu")
    trained = TrainedModel(checkpoint, model, cpu, run.path, assembly.experiment, bench.fold)
    exported = export(
        trained,
        ExportRequest(
            to="onnx",
            quantize=_SCHEMES[section.scheme],
            output=run.path / "exports" / FILE,
            tolerance=section.tolerance,
            metric=bench.metric.label(),
            seconds=0.1,
        ),
        bench.shop.tell,
    )
    document = exported.document
    if exported.faults:
        bench.shop.tell.warn(exported.faults[0])
        return {"fault": exported.faults[0], "parity": document["parity"]}
    turns = _turns(bench, model, document["quantize"])
    return {
        "file": shown(run.path / "exports" / FILE),
        "scheme": document["quantize"],
        "bytes": document["bytes"],
        "part": document["data"]["part"],
        "metrics": {
            label: {"value": found["artifact"], "float": found["model"]}
            for label, found in document["parity"]["metrics"].items()
        },
        "latency": {
            str(batch): {
                "ms": median(ms),
                "over_float": speedup(turns["float"][batch], ms).to_json(),
                "over_before_eager": speedup(turns["before"][batch], ms).to_json(),
            }
            for batch, ms in turns["int8"].items()
        },
    }


def _turns(bench: Bench, model: Model, scheme: str) -> Turns:
    """Return the times of the first model in PyTorch, and of the float and int8 networks."""
    path = bench.shop.run.path / TIMES
    if not path.is_file():
        found = timed(_calls(bench, model, scheme), bench.example)
        bench.shop.run.write(TIMES, json.dumps(found).encode())
    stored = json.loads(path.read_bytes())
    return {
        name: {int(batch): ms for batch, ms in batches.items()}
        for name, batches in stored.items()
    }


def _calls(bench: Bench, model: Model, scheme: str) -> dict[str, Call]:
    from modelscale.export.onnx_file import export_network
    from modelscale.export.quantise import quantise_dynamic, quantise_static
    from modelscale.export.runtime import onnx_call

    plain = export_network(model.network, bench.example)
    small = (
        quantise_static(plain, calibration(bench))
        if scheme == "int8-static"
        else quantise_dynamic(plain)
    )
    return {
        "before": bench.first.network,
        "float": onnx_call(plain),
        "int8": onnx_call(small),
    }


def calibration(bench: Bench) -> Iterator[dict[str, Any]]:
    """Yield batches of training rows, pre-processed, as a bare network takes them."""
    for x, _ in bench.batches[:2]:
        for some in x.split(_CALIBRATION_BATCH):
            yield {"x": some.numpy()}
