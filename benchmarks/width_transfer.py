"""Does the learning rate that is best for a narrow model suit a wide one?

    python benchmarks/width_transfer.py [--quick]

Perceptrons of two hidden layers on digits, widths from 16 to 1,024, a grid of learning rates:
the training loss of the last epoch, mean over three seeds, and the best rate of each width,
with standard rules and with those of maximal update parametrisation next to width 16. `cost` is
what the best rate of width 16 costs here: the loss with it over the least loss of the grid.
"""

import math
import sys
from pathlib import Path
from statistics import fmean

import torch

from modelscale.commands.assembly import Assembly, assemble
from modelscale.commands.experiment import Experiment
from modelscale.spec.loader import load_text
from modelscale.training.trainer import EpochReport, Trainer

SPEC = """
data: {source: digits, split: {test: 0.2, validation: 0.2, stratify: true, seed: 0}}
model: {kind: mlp, hidden: [16, 16]}
optimizer: {kind: adam, lr: 1e-3}
train: {epochs: 4, batch_size: 32, keep: last}
"""
BASE = 16
WIDTHS = (16, 64, 256, 1024)
RATES = tuple(1e-3 * 10 ** (k / 3) for k in range(8))
SEEDS = 3


def assembly_of(width: int, lr: float, mup: bool) -> Assembly:
    words = [f"model.hidden=[{width},{width}]", f"optimizer.lr={lr!r}"]
    if mup:
        words.append(f"train.mup={{hidden: [{BASE},{BASE}]}}")
    loaded = load_text(SPEC, "digits", Experiment, tuple(words))
    return assemble(loaded.spec, {}, torch.device("cpu"), Path("runs"))


def loss_of(width: int, lr: float, mup: bool) -> float:
    """Return the last epoch's training loss, mean over seeds; infinite if one diverged."""
    assembly, losses = assembly_of(width, lr, mup), []
    for seed in range(SEEDS):
        replica = assembly.replica(0, seed)
        trainer = Trainer([replica], (), assembly.goal.monitor, assembly.device)
        reports = [event for event in trainer.run() if isinstance(event, EpochReport)]
        whole = len(reports) == replica.plan.epochs
        losses.append(reports[-1].values[0]["train/loss"] if whole else math.inf)
    return fmean(losses)


def main() -> None:
    torch.set_num_threads(1)
    widths = WIDTHS[:2] if "--quick" in sys.argv else WIDTHS
    for mup in (False, True):
        print("maximal update parametrisation" if mup else "standard", flush=True)
        print(f"{'width':>6} {' '.join(f'{lr:8.3g}' for lr in RATES)}  {'best':>7}  cost")
        chosen = 0
        for width in widths:
            losses = [loss_of(width, lr, mup) for lr in RATES]
            best = min(range(len(RATES)), key=losses.__getitem__)
            chosen = best if width == widths[0] else chosen
            row = " ".join(f"{loss:8.4f}" for loss in losses)
            cost = losses[chosen] / losses[best]
            print(f"{width:6} {row}  {RATES[best]:7.3g}  {cost:.2f}", flush=True)


if __name__ == "__main__":
    main()
