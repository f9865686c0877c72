"""Ladders end to end: does the law foretell the rung that it has not seen?

    python benchmarks/scale_ladder.py [--quick] [--only NAME] [--runs DIR]

Each ladder is run by `modelscale scale` as a user runs it: sizes by fractions of the data by
seeds. The law is fitted to rungs of at most a quarter of the top rung's compute. What it says
of the top rung stands beside two plainer answers from the same rungs: a straight line through
log loss and log compute of the rungs that no cheaper one beats (no floor), and the loss of the
largest rung fitted, taken as it is. `sd` is the deviation over the top rung's seeds: no answer
can be expected to be nearer than about sd / sqrt(seeds). `mup` ladders try learning rates on
one size, whose best one all sizes have. Data that are not there are left out.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

ROOT = Path(__file__).parent.parent
TEXT = ROOT.parent / "shared" / "data" / "text" / "tinyshakespeare.txt.gz"
DIGITS = """
data: {source: digits, split: {test: 0.2, validation: 0.3, stratify: true, seed: 0},
  augment: [{kind: rotate, degrees: 10}]}
model: {kind: mlp, hidden: [8]}
optimizer: {kind: adamw, lr: 3e-3, weight_decay: 0.05}
scheduler: one_cycle
train: {epochs: 30, batch_size: 32, keep: last}
scale:
  sizes: {model.hidden: {choices: [[8], [32], [128], [512]]}}
  data: {fractions: [0.1, 0.3, 1.0]}
"""
DIABETES = """
task: regression
data: {source: diabetes, split: {test: 0.2, validation: 0.2, seed: 0}}
model: {kind: mlp, hidden: [2]}
optimizer: {kind: adamw, lr: 3e-3, weight_decay: 0.05}
scheduler: one_cycle
train: {epochs: 60, batch_size: 32, keep: last}
scale:
  sizes: {model.hidden: {choices: [[2], [8], [32], [128]]}}
  data: {fractions: [0.1, 0.3, 1.0]}
  metric: validation/rmse
"""
# A tenth of the text would be only 130 steps. With that, and rates tried on two sizes, the top
# rung was foretold 5 % off; the two were not told apart.
SHAKESPEARE = """
data:
  source: {kind: text_file, path: TEXT, length: 64, stride: 64}
  split: {kind: time, validation: 0.1, test: 0}
model: {kind: text_decoder, width: 8, blocks: 2, heads: 2}
loss: next_token
optimizer: {kind: adamw, lr: 3e-3, beta2: 0.99, weight_decay: 0.1}
scheduler: {kind: cosine, warmup: 0.05, final: 0.1}
train: {epochs: 1, batch_size: 12, clip_norm: 1.0, keep: last}
scale:
  sizes: {model.width: {choices: [8, 16, 32, 64, 96]}}
  data: {fractions: [0.25, 0.5, 1.0]}
  lr: {sweep: [1e-2, 3e-2, 1e-1], sizes: 3}
"""
SWEEP = "lr: {sweep: [1e-2, 3e-2, 1e-1], sizes: 3}"
MUP = "lr: {rule: mup, base: 1, sweep: [1e-2, 3e-2, 1e-1]}"


class Outcome(NamedTuple):
    """What a ladder said of its top rung, and what was measured.

    Attributes:
        measured: Mean over seeds.
        sd: Relative deviation over seeds.
        law: Foretold by the law, with its interval.
        line: By a straight line in log loss and log compute.
        last: The largest fitted rung's loss.
        seconds: Of training.
        kind: The law's.
        rungs: All of them.
    """

    measured: float
    sd: float
    law: tuple[float, float, float]
    line: float
    last: float
    seconds: float
    kind: str
    rungs: int


def outcome_of(document: dict[str, Any]) -> Outcome:
    """Return what a ladder's document says."""
    held, points = document["held_out"], document["points"]
    top = held["compute"]
    fitted: dict[int, list[float]] = {}
    for point in points:
        if point["loss"] is not None and 4 * point["compute"] <= top * (1 + 1e-9):
            fitted.setdefault(point["compute"], []).append(point["loss"])
    compute = np.array(sorted(fitted))
    loss = np.array([np.mean(fitted[c]) for c in compute])
    best = loss <= np.minimum.accumulate(loss)
    slope, start = np.polyfit(np.log(compute[best]), np.log(loss[best]), 1)
    seeds = np.array(held["seeds"])
    return Outcome(
        held["measured"],
        float(np.log(seeds).std(ddof=1)) if len(seeds) > 1 else float("nan"),
        (held["value"], held["low"], held["high"]),
        float(np.exp(start + slope * np.log(top))),
        float(loss[-1]),
        document["seconds"],
        document["law"]["kind"],
        len(points),
    )


def run(name: str, text: str, folder: Path) -> Outcome:
    """Run one ladder."""
    config = folder / f"{name}.yaml"
    config.write_text(text)
    program = "from modelscale.cli.app import main; main()"
    words = ["scale", str(config), "--json", "--runs", str(folder / "runs")]
    line = [sys.executable, "-c", program, *words]
    done = subprocess.run(line, cwd=ROOT, stdout=subprocess.PIPE, check=False)
    if done.returncode:
        raise SystemExit(f"{name}: ended with {done.returncode}")
    return outcome_of(json.loads(done.stdout))


def main() -> None:
    """Run the ladders and print a table."""
    quick = "--quick" in sys.argv
    specs = {"digits": DIGITS, "diabetes, RMSE": DIABETES}
    if not quick:
        specs["mnist_5k"] = (ROOT / "configs" / "mnist_5k_scale.yaml").read_text()
        if TEXT.is_file():
            specs["tinyshakespeare"] = SHAKESPEARE.replace("TEXT", str(TEXT))
            specs["tinyshakespeare-mup"] = specs["tinyshakespeare"].replace(SWEEP, MUP)
    if "--only" in sys.argv:
        name = sys.argv[sys.argv.index("--only") + 1]
        specs = {name: specs[name]}
    print(
        f"{'ladder':19} {'rungs':>5} {'s':>5}  {'law':12} {'measured':>9} {'sd':>6}  "
        f"{'foretold':>9} {'90 % interval':>20} {'inside':>7} {'error':>7} {'line':>7} "
        f"{'last':>7}"
    )
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        if "--runs" in sys.argv:
            folder = Path(sys.argv[sys.argv.index("--runs") + 1])
            folder.mkdir(parents=True, exist_ok=True)
        for name, text in specs.items():
            o = run(name.partition(",")[0], text, folder)
            value, low, high = o.law
            errors = [f"{x / o.measured - 1:+7.1%}" for x in (value, o.line, o.last)]
            print(
                f"{name:19} {o.rungs:5} {o.seconds:5.0f}  {o.kind:12} {o.measured:9.4g} "
                f"{o.sd:6.1%}  {value:9.4g} [{low:8.4g}, {high:8.4g}] "
                f"{'yes' if low <= o.measured <= high else 'no':>7} {' '.join(errors)}",
                flush=True,
            )


if __name__ == "__main__":
    main()
