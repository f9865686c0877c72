"""From the smaller model to its checkpoint, its tables and the document."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from modelscale.commands.documents import clean
from modelscale.commands.members import predictions_csv
from modelscale.commands.pruning import facts
from modelscale.commands.pruning.bench import Bench
from modelscale.commands.pruning.timing import Turns, compared
from modelscale.commands.trained_model import TrainedModel, shown
from modelscale.pruning.kinds.structured import Structured

if TYPE_CHECKING:
    from modelscale.pruning.kinds.int8 import Int8
    from modelscale.training.artifact import Model

TIMES = "latency.json"


def finished(
    bench: Bench,
    files: Mapping[str, bytes],
    source: TrainedModel,
    steps: list[dict[str, Any]],
    step: int,
    int8: Int8 | None,
) -> dict[str, Any]:
    """Save the model as the run's own, measure it beside the first one; return the document.

    Args:
        bench: Data and the first model.
        files: What has become of it.
        source: Where the first one came from.
        steps: What was done.
        step: Optimizer steps of all re-training; names the checkpoint.
        int8: The last step, where it is asked for.
    """
    from modelscale.training.ensemble_artifact import load_predictor

    run, assembly = bench.shop.run, bench.shop.assembly
    store = run.checkpoints()
    store.save(step, files)
    store.point("best", step)
    store.prune(keep={step}, newest=1)
    model = load_predictor(files)  # what any other command will see
    before, after = facts.measured(bench, bench.first), facts.measured(bench, model)
    for part, found in after.items():
        run.write(f"predictions-{part}.csv", predictions_csv(found, bench.replica))
    turns = _turns(bench, model)
    runtime = _runtime(bench, turns)
    document: dict[str, Any] = {
        "before": facts.size_of(bench.first, source.checkpoint.files)
        | _side(before, turns, "before", runtime),
        "after": facts.size_of(model, files) | _side(after, turns, "after", runtime),
        "runtime": runtime,
        "threads": _threads(),
        "speedup": facts.speedups(turns),
        "difference": facts.differences(bench, before, after),
        "metrics": {p: m.evaluation.to_json()["metrics"] for p, m in after.items()},
        "baseline": {p: m.baseline for p, m in after.items()},
        "model": {k: v for k, v in facts.size_of(model, files).items() if k != "file_bytes"},
        "steps": steps,
        "source": {
            "run": None if source.run is None else shown(source.run),
            "checkpoint": shown(source.checkpoint.path),
            "sha256": source.checkpoint.sha256,
        },
        "seconds": round(bench.shop.seconds, 3),
        "warnings": [*assembly.loaded.warnings, *bench.shop.divergences],
    }
    if assembly.folds > 1:
        document["best_member"] = f"fold-{bench.fold}-seed-{bench.seed}"
    document["verdict"] = verdict_of(document)
    if int8 is not None:
        from modelscale.commands.pruning.eight_bits import quantised

        document["int8"] = quantised(bench, model, step, int8)
    return dict(clean(document))


def _turns(bench: Bench, model: Model) -> dict[str, Turns]:
    """Return the times of both models; measured once, so that a resumed run tells the same."""
    path = bench.shop.run.path / TIMES
    if not path.is_file():
        found = compared(
            bench.first.network, model.network, bench.example, bench.shop.assembly.device
        )
        bench.shop.run.write(TIMES, json.dumps(found).encode())
    stored = json.loads(path.read_bytes())
    return {
        runtime: {
            who: {int(batch): ms for batch, ms in batches.items()}
            for who, batches in turns.items()
        }
        for runtime, turns in stored.items()
    }


def _runtime(bench: Bench, turns: dict[str, Turns]) -> str:
    """Return the runtime whose milliseconds stand in `latency_ms`: the one aimed at."""
    section = bench.shop.assembly.experiment.prune
    assert section is not None
    wanted = [part.runtime for part in section.parts() if isinstance(part, Structured)]
    return wanted[0] if wanted and wanted[0] in turns else "eager"


def _threads() -> int:
    import torch

    return torch.get_num_threads()


def _side(measured: Any, turns: dict[str, Turns], who: str, runtime: str) -> dict[str, Any]:
    by_runtime = facts.latencies(turns, who)
    return {
        "latency_ms": by_runtime[runtime],
        "latency_by_runtime_ms": by_runtime,
        "metrics": {p: m.evaluation.to_json()["metrics"] for p, m in measured.items()},
    }


def verdict_of(document: dict[str, Any]) -> str:
    """Return in a sentence what was won, and where nothing was."""
    before, after = document["before"], document["after"]
    fewer = before["macs"] / max(1, after["macs"])
    smaller = before["file_bytes"] / max(1, after["file_bytes"])
    text = f"{fewer:.2f}× fewer MACs, file {smaller:.2f}× smaller"
    places: dict[str, list[str]] = {"faster": [], "within noise": [], "slower": []}
    for runtime, batches in document["speedup"].items():
        for batch, found in batches.items():
            times = f"{found['value']:.2f}× " if found["verdict"] != "within noise" else ""
            places[found["verdict"]].append(f"{times}in {runtime} at batch {batch}")
    words = {"faster": "faster", "within noise": "not measurably faster", "slower": "slower"}
    for verdict, found_places in places.items():
        if found_places:
            text += f"; {words[verdict]}: {', '.join(found_places)}"
    return text
