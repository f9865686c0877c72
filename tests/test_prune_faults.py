"""A pruning that is killed anywhere ends like one that nobody disturbed."""

from __future__ import annotations

import errno
import hashlib
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from fault_harness import Run, fail_everywhere, kill_everywhere, tell
from fault_programs import (
    SPEC,
    Told,
    convert_here,
    digest,
    import_for,
    program,
    the_run,
    write_table,
)
from torch import nn

from modelscale.commands.ensemble import ensemble
from modelscale.commands.experiment import Experiment
from modelscale.commands.launching import Request
from modelscale.commands.prune import prune
from modelscale.commands.pruning import accuracy_budget, latency_target, timing
from modelscale.commands.trained_model import open_model
from modelscale.evaluation.macs import count_macs
from modelscale.spec.loader import load_text

pytestmark = pytest.mark.timeout(1800)

SECTIONS = {
    "structured": "prune: {target: {macs: 0.5}, retrain: {epochs: 3}}",
    "sparse": "prune: {kind: sparse, sparsity: 0.8, retrain: {epochs: 3}}",
    "sequence": "prune: [{kind: low_rank, energy: 0.7, align: 1, retrain: {epochs: 2}},"
    " {kind: structured, allocation: global, retrain: {epochs: 2, distill: 0.5}}]",
    "iterative": "prune: {target: {macs: 0.4}, align: 1, schedule: iterative,"
    " allocation: global, retrain: {epochs: 3}}",
    "sweep": "prune: {sweep: {macs: [0.6, 0.4], criteria: [magnitude, random]}, align: 1,"
    " retrain: {epochs: 2}}",
    "budget": "prune: {max_drop: 0.2, align: 1, retrain: {epochs: 2}}",
    "latency": "prune: {target: {latency: 0.5}, align: 1, retrain: {epochs: 2}}",
    "methods": "prune: {sweep: {macs: [0.6], methods: [structured, low_rank]}, align: 1,"
    " allocation: global, retrain: {epochs: 2}}",
    "int8": "prune: {kind: int8, scheme: static, tolerance: 1}",
    "structured, int8": "prune: [{kind: structured, align: 1, allocation: global,"
    " retrain: {epochs: 2}}, {kind: int8, tolerance: 1}]",
}
POINTS = {
    "structured": 10,
    "sparse": 6,
    "sequence": 6,
    "iterative": 4,
    "sweep": 3,
    "budget": 4,
    "latency": 3,
    "methods": 3,
    "int8": 4,
    "structured, int8": 4,
    "ensemble": 4,
}
"""Sampled steps at which each program is killed."""


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """The prunings of one trained model."""
    folder = tmp_path_factory.mktemp("source")
    table = write_table(folder / "table.csv")
    program("train", table)(folder)
    source = the_run(folder)
    made = {name: pruning(source, table, section) for name, section in SECTIONS.items()}
    several = folder / "several"
    several.mkdir()
    together(table)(several)
    made["ensemble"] = pruning(the_run(several), table, SECTIONS["structured"])
    for name, run in made.items():
        if "int8" not in name or find_spec("onnxruntime") is not None:
            import_for(run)
    return made


def together(table: Path) -> Callable[[Path], None]:
    """Return the program that trains an ensemble of two."""
    text = SPEC.format(path=table) + "ensemble: {kind: average, members: 2}"
    loaded = load_text(text, "spec.yaml", Experiment)

    def run(folder: Path) -> None:
        words = ("modelscale", "ensemble", "spec.yaml")
        ensemble(Request("ensemble", loaded, "spec", folder / "runs", words, threads=1), Told())

    return run


def pruning(source: Path, table: Path, section: str) -> Callable[[Path], None]:
    """Return the program that prunes a run's model."""
    text, fixed = SPEC.format(path=table) + section, ("train.cohort=2",)
    loaded = load_text(text, "spec.yaml", Experiment, fixed)  # else it is measured

    def run(folder: Path) -> None:
        latency_target.timed = accuracy_budget.timed = by_work  # type: ignore[assignment]
        timing.TURNS, timing.SECONDS = 1, 0.0  # nobody looks at the times
        if "int8" in section:
            convert_here()
        else:
            sys.modules["onnxruntime"] = None  # type: ignore[assignment]
        torch.set_num_threads(1)
        told = Told()
        trained = open_model(source, folder, "cpu", 1, told)
        words = ("modelscale", "prune", "source")
        asked = Request("prune", loaded, "spec", folder / "runs", words, threads=1)
        prune(asked, trained, told)
        tell("done")

    return run


def by_work(
    calls: Mapping[str, nn.Module], example: tuple[int, ...], batches: Sequence[int], **_: Any
) -> dict[str, dict[int, list[float]]]:
    """Return times in proportion to the work, so that they are the same every time."""
    work = {name: float(count_macs(network, example)) for name, network in calls.items()}
    return {name: {batch: [work[name]] * 5 for batch in batches} for name in calls}


def digest_without_times(folder: Path) -> Mapping[str, str]:
    """Return the digest of a run without what was timed."""
    found = dict(digest(folder))
    found = {name: value for name, value in found.items() if not _is_timed(name)}
    # A sweep's points and the proof of a file have times among what was computed.
    for path in [*the_run(folder).rglob("result.json"), *the_run(folder).rglob("*.onnx.json")]:
        text = json.dumps(_without_times(json.loads(path.read_bytes())), sort_keys=True)
        found[str(path.relative_to(the_run(folder)))] = text
    record = json.loads((the_run(folder) / "run.json").read_bytes())
    text = json.dumps(_without_times(record["result"]), sort_keys=True)
    found["run.json"] = hashlib.sha256(text.encode()).hexdigest() + record["status"]
    return found


def _is_timed(name: str) -> bool:
    """Return whether a file is about times, or has them beside what was computed."""
    return name.startswith("latency") or name in {"points.csv", "plots/pareto.svg"}


def _without_times(value: Any) -> Any:
    times = {"latency_ms", "latency_by_runtime_ms", "speedup", "verdict", "seconds", "source"}
    times |= {"ms_1", "ms_128", "speedup_1", "speedup_128"}
    times |= {"ms", "over_float", "over_before_eager"}
    times |= {"run", "checkpoint", "file", "files"}  # their folder's name has the time
    if isinstance(value, dict):
        return {k: _without_times(v) for k, v in value.items() if k not in times}
    return [_without_times(item) for item in value] if isinstance(value, list) else value


@pytest.mark.slow
@pytest.mark.parametrize(("name", "at_most"), list(POINTS.items()))
def test_pruning_killed_twice_ends_like_an_undisturbed_one(
    programs: dict[str, Run], name: str, at_most: int
) -> None:
    if "int8" in name:
        pytest.importorskip("onnxruntime")
    report = kill_everywhere(programs[name], digest_without_times, at_most=at_most)
    assert not report.failures
    assert report.kills > report.experiments


@pytest.mark.slow
def test_pruning_on_a_full_disk_ends_with_74_and_goes_on_later(
    programs: dict[str, Run],
) -> None:
    report = fail_everywhere(
        programs["structured"], digest_without_times, errno.ENOSPC, 74, at_most=8
    )
    assert not report.failures
