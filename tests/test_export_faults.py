"""An export that is killed anywhere ends with the file of one that nobody disturbed."""

from __future__ import annotations

import errno
import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from fault_harness import Run, fail_everywhere, kill_everywhere, tell
from fault_programs import Told, convert_here, import_for, program, the_run, write_table

from modelscale.commands.export import ExportRequest, export
from modelscale.commands.export_files import Quantize, Target
from modelscale.commands.trained_model import open_model

pytestmark = [pytest.mark.timeout(1800), pytest.mark.slow]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained model's run."""
    folder = tmp_path_factory.mktemp("source")
    program("train", write_table(folder / "table.csv"))(folder)
    return the_run(folder)


def exporting(source: Path, to: Target, quantize: Quantize) -> Callable[[Path], None]:
    """Return the program that exports a run's model into its folder."""

    def run(folder: Path) -> None:
        convert_here()
        torch.set_num_threads(1)
        asked = ExportRequest(to, folder / "model.file", quantize, tolerance=1.0, seconds=0.0)
        export(open_model(source, folder, "cpu", 1, Told()), asked, Told())
        tell("done")

    return run


def digest(folder: Path) -> Mapping[str, str]:
    """Return the hash of each file; of the certificate without times."""
    found = {}
    for path in sorted(folder.rglob("*")):
        data = path.read_bytes()
        if path.suffix == ".json":
            data = json.dumps(_without_times(json.loads(data))).encode()
        found[path.name] = hashlib.sha256(data).hexdigest()
    return found


def _without_times(certificate: dict[str, Any]) -> dict[str, Any]:
    del certificate["document"]["latency_ms"]
    return certificate


@pytest.fixture(params=["onnx none", "onnx int8-static", "torch-export none"])
def run(request: pytest.FixtureRequest, source: Path) -> Run:
    """The exports of the model, what they import imported."""
    to, quantize = request.param.split()
    assert to in get_args(Target)
    if to == "onnx":
        pytest.importorskip("onnxruntime")
    made = exporting(source, to, quantize)
    import_for(made)
    return made


def test_export_killed_twice_ends_with_the_same_bytes(run: Run) -> None:
    report = kill_everywhere(run, digest, at_most=6)
    assert not report.failures
    assert report.kills > report.experiments > 4


def test_export_on_a_full_disk_ends_with_74_and_goes_on_later(run: Run) -> None:
    report = fail_everywhere(run, digest, errno.ENOSPC, 74, at_most=3)
    assert not report.failures
