"""The commands `train` and `tune` as programs of the fault harness, on a table of 150 rows.

The spec has whatever carries state from step to step: dropout, batch norm, AdamW, a schedule
with warm-up, a moving average, checkpoints within an epoch, a best epoch before the last.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import random
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fault_harness import fresh, in_child, tell, workplace
from pydantic import BaseModel

from modelscale.commands.experiment import Experiment
from modelscale.commands.launching import Request
from modelscale.runs.record import Record
from modelscale.runs.trials import TrialRecord, read_trials
from modelscale.spec.base import Spec
from modelscale.spec.loader import load_text

ROWS = 150
_DIFFERS = {
    *("seconds", "started", "attempts", "created", "updated", "finished"),
    "latency_ms",  # measured, not computed
    *("run", "git_commit"),  # its folder's name has the time, and somebody may commit meanwhile
}
_IMPORTED = {
    *("modelscale", "torch", "optuna", "numpy", "scipy"),
    *("onnx", "onnx_ir", "onnxruntime", "onnxscript"),
}
_OWN = {"study.db", ".lock", "timings.jsonl", "MANIFEST.json", "session.json", "trial.json"}

SPEC = """
version: 1
data:
  source: {{kind: csv, path: {path}, target: y}}
  split: {{test: 0.2, validation: 0.2, stratify: true}}
model: {{kind: mlp, hidden: [12, 8], norm: batch, dropout: 0.2}}
optimizer: {{kind: adamw, lr: 0.05, weight_decay: 0.01}}
scheduler: {{kind: cosine, warmup: 0.2}}
train: {{epochs: 3, batch_size: 24, checkpoint_steps: 3, ema: 0.5}}
evaluate: {{resamples: 100}}
"""
SEARCH = """
tune:
  sampler: {{kind: tpe, startup_trials: 2}}
  metric: validation/loss
  n_trials: 6
  cohort: 3
  early_stop: {{kind: successive_halving, first: 1, reduction: 2}}
  space:
    optimizer.lr: {{low: 1e-3, high: 1e-1, log: true}}
    model.dropout: {{low: 0.1, high: 0.5}}
"""


class Told:
    """A listener whose words go to the harness and to the child's output."""

    def note(self, text: str) -> None:
        sys.stdout.write(f"{text}\n")

    def detail(self, text: str) -> None:
        if text.startswith("trial "):
            tell(" ".join(text.split()[:3]))

    def warn(self, text: str) -> None:
        sys.stdout.write(f"warning: {text}\n")

    @contextmanager
    def progress(self, label: str, total: float) -> Iterator[ToldProgress]:
        yield ToldProgress(label)

    @contextmanager
    def trials(self, *search: object) -> Iterator[ToldTrials]:
        yield ToldTrials()


class ToldTrials:
    """A search of which the end of each trial is told."""

    def training(self, numbers: Sequence[int], epoch: int, epochs: int) -> None:
        return

    def ended(self, trial: TrialRecord) -> None:
        tell(f"trial {trial.number} {trial.state}")


@dataclass(frozen=True)
class ToldProgress:
    """Progress of which whole epochs are told."""

    label: str

    def update(self, done: float, text: str = "") -> None:
        if self.label == "train":
            tell(f"epoch {int(done)}")


def write_table(path: Path, *, odd: Mapping[int, str] | None = None) -> Path:
    """Write rows of three overlapping classes; `odd` replaces the first value of some."""
    draw = random.Random(3)
    lines = ["a,b,c,d,y"]
    for row in range(ROWS):
        label = row % 3
        values = [f"{draw.gauss(label * (k % 2), 1.5):.3f}" for k in range(4)]
        values[0] = (odd or {}).get(row, values[0])
        lines.append(",".join([*values, "xyz"[label]]))
    path.write_text("\n".join(lines) + "\n")
    return path


def program(
    verb: str,
    table: Path,
    overrides: Sequence[str] = (),
    threads: int = 1,
    max_time_s: float | None = None,
) -> Callable[[Path], None]:
    """Return `train` or `tune` of the spec as a program; its runs are below its folder."""
    text = (SPEC + SEARCH * (verb == "tune")).format(path=table)
    loaded = load_text(text, "spec.yaml", Experiment, tuple(overrides))

    def run(folder: Path) -> None:
        root, words = folder / "runs", ("modelscale", verb, "spec.yaml")
        asked = Request(
            verb, loaded, "spec", root, words, threads=threads, max_time_s=max_time_s
        )
        command(verb)(asked, Told())
        tell("done")

    return run


def command(verb: str) -> Callable[[Request, Told], object]:
    """Return the function of a verb."""
    return getattr(importlib.import_module(f"modelscale.commands.{verb}"), verb)  # type: ignore[no-any-return]


def convert_here() -> None:
    """Let this process convert graphs to ONNX: what is killed is the program, not its child."""
    from modelscale.export import worker
    from modelscale.export.child import OPSET, Converter

    def onnx(
        _: Converter,
        program: bytes,
        inputs: Sequence[str],
        outputs: Sequence[str],
        opset: int = OPSET,
    ) -> bytes:
        return worker._onnx(program, list(inputs), list(outputs), opset)

    Converter.onnx = onnx  # type: ignore[method-assign]


def import_for(run: Callable[[Path], None]) -> None:
    """Import here whatever the program imports, so that no child has to."""
    importlib.import_module("torch._dynamo")  # by far the most of it, else imported twice
    with workplace() as work:
        names = work / "names"

        def body() -> None:
            run(fresh(work / "folder"))
            names.write_text("\n".join(sys.modules))

        code, output = in_child(body, work)
        assert code == 0, output
        for name in names.read_text().splitlines():
            if name.partition(".")[0] in _IMPORTED:
                with contextlib.suppress(ImportError):
                    importlib.import_module(name)
    for family in (Spec, Record):
        for model in _below(family):
            model.model_rebuild()


def _below(family: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for model in family.__subclasses__():
        yield model
        yield from _below(model)


def the_run(folder: Path) -> Path:
    """Return the only run below a program's folder."""
    (run,) = (folder / "runs" / "spec").glob("2*")
    return run


def digest(folder: Path) -> Mapping[str, str]:
    """Return the hash of every file of the run, seconds and times of day left out."""
    run = the_run(folder)
    found = {
        "latest": str((run.parent / "latest").readlink()) == run.name,
        "leftovers": [str(p) for p in folder.rglob(".*.part")],
    }
    for path in sorted(run.rglob("*")):
        name = str(path.relative_to(run))
        if path.is_symlink():
            found[name] = str(path.readlink())
        elif path.is_file() and path.name not in _OWN and path.suffix != ".torn":
            data = path.read_bytes()
            if path.suffix == ".json":
                data = json.dumps(_timeless(json.loads(data))).encode()
            found[name] = hashlib.sha256(data).hexdigest()
    return {name: str(value) for name, value in found.items()}


def digest_without_temporaries(folder: Path) -> Mapping[str, str]:
    """Return `digest` without temporary files.

    A power loss can bring back what was deleted last; in a finished run nobody looks for it.
    """
    found = digest(folder)
    return {k: v for k, v in found.items() if ".part" not in k and k != "leftovers"}


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _timeless(v) for key, v in value.items() if key not in _DIFFERS}
    return [_timeless(inner) for inner in value] if isinstance(value, list) else value


def kept(folder: Path, told: Sequence[str]) -> None:
    """Check that every trial, epoch and end that was told is on disk."""
    for words in told:
        run = the_run(folder)
        subject, *rest = words.split()
        if subject == "done":
            assert json.loads((run / "run.json").read_bytes())["status"] == "done"
        elif subject == "epoch":
            lines = whole_lines(run)  # one or more for each epoch of each cohort
            assert len(lines) >= int(rest[0]), f"a metric line of {words} is lost"
        else:
            states = {trial.number: trial.state for trial in read_trials(run)}
            assert states.get(int(rest[0])) == rest[1], f"{words} is lost"


def whole_lines(run: Path) -> list[bytes]:
    """Return the metric lines of a run that are not cut off."""
    data = (run / "metrics.jsonl").read_bytes()
    return [line for line in data.splitlines(keepends=True) if line.endswith(b"\n")]
