"""Commands as a user gives them, in this process or in one of their own."""

import csv
import gc
import io
import json
import os
import subprocess
import sys
import time
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

import numpy as np
from sklearn.datasets import load_digits, load_wine

from modelscale.cli.app import main
from modelscale.data.sources.base import SourceSpec

RUN = "import sys; sys.argv[0] = 'modelscale'; from modelscale.cli.app import main; main()"
GROWERS = ("barolo", "grignolino", "barbera")
SPECS = {
    "digits": """\
data: {source: digits, split: {test: 0.2, validation: 0.2, seed: 0}}
model: {kind: mlp, hidden: [16], dropout: 0.1}
optimizer: {kind: adam, lr: 1e-2}
train: {epochs: 3, batch_size: 64}
metrics: [accuracy]
""",
    "wine": """\
data: {source: {kind: csv, path: wine.csv, target: grower}}
model: {kind: mlp, hidden: [16]}
optimizer: {kind: adam, lr: 1e-2}
train: {epochs: 8, batch_size: 32}
metrics: [accuracy, {kind: f1, average: weighted}]
""",
    "diabetes": """\
task: regression
data: {source: diabetes, split: {test: 0.2, validation: 0.2, seed: 0}}
model: {kind: mlp, hidden: [16]}
optimizer: {kind: adam, lr: 1e-2}
train: {epochs: 10, batch_size: 32}
""",
    "search": """\
data: {source: digits, split: {test: 0.2, validation: 0.2, seed: 0}}
model: {kind: mlp, hidden: [16], dropout: 0.1}
optimizer: {kind: adam, lr: 1e-2}
train: {epochs: 3, batch_size: 64}
tune:
  n_trials: 6
  cohort: 2
  metric: validation/accuracy
  space:
    optimizer.lr: {low: 1e-4, high: 1e-1, log: true}
    model.hidden: {choices: [[8], [16]]}
""",
}


class Ended(NamedTuple):
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def document(self):
        """The one JSON document on stdout."""
        return json.loads(self.out)


def cli(folder, *arguments):
    """Run a command in a folder, in this process."""
    out, err = io.StringIO(), io.StringIO()
    line = ["modelscale", *map(str, arguments)]
    code = 0
    told = redirect_stdout(out), redirect_stderr(err)
    with chdir(folder), patch.object(sys, "argv", line), told[0], told[1]:
        try:
            main()
        except SystemExit as leaving:
            code = leaving.code
        finally:
            gc.enable()
    return Ended(code, out.getvalue(), err.getvalue())


def started(folder, *arguments, **environment):
    """Start a command in a folder, in a process of its own."""
    root = Path(__file__).parent.parent
    env = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1", **environment}
    return subprocess.Popen(
        [sys.executable, "-c", RUN, *map(str, arguments)],
        cwd=folder,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process):
    """Return how a process ended."""
    out, err = process.communicate(timeout=120)
    return Ended(process.returncode, out, err)


def wait_until(there, process):
    """Wait until something is there; the process must not end before."""
    for _ in range(6000):
        if there():
            return
        assert process.poll() is None, ended(process)
        time.sleep(0.01)
    raise AssertionError("it never came")


def lines_of(path):
    """Return the lines of a file, none if it is not there."""
    return path.read_text().splitlines() if path.is_file() else []


def make_workshop(folder):
    """Write data files and specs into a folder and train each spec that is to be trained."""
    for name, text in SPECS.items():
        (folder / f"{name}.yaml").write_text(text)
    write_wine(folder)
    for name in ("digits", "wine", "diabetes"):
        result = cli(folder, "train", f"{name}.yaml", "-q")
        assert result.code == 0, result.err
    return folder


def write_wine(folder):
    """Write the wine data as `wine.csv` with the growers by name, and `new.csv` without."""
    wine = load_wine()
    for file, more in (("wine.csv", ["grower"]), ("new.csv", [])):
        with (folder / file).open("w", newline="") as stream:
            table = csv.writer(stream)
            table.writerow([*wine.feature_names, *more])
            for x, y in zip(wine.data, wine.target, strict=True):
                table.writerow([*map(repr, map(float, x)), *([GROWERS[y]] if more else [])])


def write_digits(folder, name, *, with_target):
    """Write the digits as the arrays of an `.npz` file."""
    raw = SourceSpec.model_validate("digits").read()
    arrays = {"x": raw.array.astype(np.float32)}
    if with_target:
        arrays["y"] = load_digits().target
    np.savez(folder / name, **arrays)


def run_of(folder, name):
    """Return the newest run of a name."""
    return (folder / "runs" / name / "latest").resolve()
