"""CPU time of starting the command line, over that of `python -c pass` and `import torch`.

    python benchmarks/startup.py [RUNS]

Each row is the median of RUNS (default 9) child processes, taken in turn so that a busy
machine slows all rows alike; the spread is half the range between the quartiles. The bars are
ratios to `python -c pass` of the same run. Exit code 1 if a bar is missed.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median, quantiles

ROOT = Path(__file__).parent.parent
MAIN = "import sys; from modelscale.cli.app import main; sys.argv[0] = 'modelscale'; main()"
SPEC = """\
data: {source: digits, split: {test: 0.2, validation: 0.2, stratify: true}}
model: {kind: mlp, hidden: [128, 128], dropout: 0.1}
loss: cross_entropy
optimizer: {kind: adam, lr: 1e-3}
train: {epochs: 40, batch_size: 64}
metrics: [accuracy, recall, f1]
"""
SILENT = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
BARS = {"--help": 10.0, "validate spec.yaml": 20.0}


def cpu_ms(line, folder):
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(line, cwd=folder, env=env, check=True, **SILENT)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1000 * (after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)


def lines():
    """Return what is measured, by name."""
    python = [sys.executable, "-c"]
    commands = ["--help", "validate spec.yaml"]
    if (ROOT / "modelscale" / "cli" / "runs.py").is_file():
        commands.append("runs ls")
    named = {
        "python -c pass": [*python, "pass"],
        "import pydantic (one model)": [*python, MODEL],
    }
    named |= {f"modelscale {c}": [*python, MAIN, *c.split()] for c in commands}
    return named | {"import torch": [*python, "import torch"]}


MODEL = "from pydantic import BaseModel\nclass A(BaseModel):\n    x: int = 1\nA(x=2)"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="?", type=int, default=9, help="of each command")
    runs = parser.parse_args().runs
    times = {name: [] for name in lines()}
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "spec.yaml").write_text(SPEC)
        for line in lines().values():  # warms the caches
            cpu_ms(line, folder)
        for _ in range(runs):
            for name, line in lines().items():
                times[name].append(cpu_ms(line, folder))
    base, torch = median(times["python -c pass"]), median(times["import torch"])
    print(f"{'':32}{'CPU ms':>10}{'±':>6}{'/ pass':>9}{'/ torch':>9}{'bar':>7}")
    missed = False
    for name, seen in times.items():
        low, _, high = quantiles(seen, n=4)
        bar = BARS.get(name.removeprefix("modelscale "))
        ratio = median(seen) / base
        missed |= bar is not None and ratio > bar
        told = f"{bar:.0f}" if bar else ""
        print(
            f"{name:32}{median(seen):10.1f}{(high - low) / 2:6.1f}"
            f"{ratio:9.1f}{median(seen) / torch:9.3f}{told:>7}"
        )
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
