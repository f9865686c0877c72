"""Single weights to zero: ours beside `torch.nn.utils.prune`, at 80 to 98 % sparsity.

    python benchmarks/prune_sparse.py [--quick]

A perceptron 64-300-100-10 on `digits`, 25 epochs, then as many again: by our gradual schedule
with the learning rate rewound, at once with the same, and with masks of `torch.nn.utils.prune`
(global magnitude, at once, as in its tutorial) and plain fine-tuning, at a tenth of the rate
and at the whole. Accuracy on the test part, mean over seeds ± half the range; bytes of the
checkpoint. Zeros do not make dense kernels faster.
"""

import argparse
import tempfile
from pathlib import Path
from statistics import mean

import torch
from prune import Case, Silent, request
from prune_others import masks, train_on
from timing import machine

from modelscale.commands.pruning import finishing
from modelscale.commands.train import train
from modelscale.commands.trained_model import open_model

SPEC = """
version: 1
name: sparse-{seed}
seed: {seed}
data: {{source: digits, split: {{test: 0.2, validation: 0.2, stratify: true, seed: 0}}}}
model: {{kind: mlp, hidden: [300, 100]}}
optimizer: {{kind: adamw, lr: 5e-3, weight_decay: 0.05}}
scheduler: one_cycle
train: {{epochs: {epochs}, batch_size: 64, keep: last}}
metrics: [accuracy]
"""
SPARSITIES = (0.8, 0.9, 0.95, 0.98)
RATE = 5e-3


def untimed(*_: object) -> dict[str, dict[str, dict[int, list[float]]]]:
    """Stand in for the timing of both networks, which are equally fast."""
    once = {who: {1: [1.0], 128: [1.0]} for who in ("before", "after")}
    return {"eager": once}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one seed, two sparsities")
    options = parser.parse_args()
    torch.set_num_threads(1)
    finishing.compared = untimed
    seeds = range(1 if options.quick else 3)
    sparsities = (0.9, 0.98) if options.quick else SPARSITIES
    epochs = 25
    found: dict[tuple[str, float], list[float]] = {}
    sizes: dict[float, tuple[int, int]] = {}
    with tempfile.TemporaryDirectory(prefix="modelscale-sparse-") as folder:
        root = Path(folder)
        for seed in seeds:
            text = SPEC.format(seed=seed, epochs=epochs)
            run = train(request("train", text, root), Silent()).run
            source = open_model(run, root, "cpu", 1, Silent())
            case = Case(source, text, root, seed, epochs)
            for share in sparsities:
                for way, more in (("gradual", ""), ("one_shot", ", schedule: one_shot")):
                    section = f"{{kind: sparse, sparsity: {share}{more}}}"
                    made = case.pruned(section).document
                    accuracy = made["after"]["metrics"]["test"]["accuracy"]["value"]
                    found.setdefault((f"ours, {way}", share), []).append(accuracy)
                    sizes[share] = (made["before"]["file_bytes"], made["after"]["file_bytes"])
                for way, rate in (("torch, a tenth of the rate", RATE / 10), ("torch", RATE)):
                    network = masks(source, share)
                    accuracy = train_on(network, text, seed, epochs, rate)
                    found.setdefault((way, share), []).append(accuracy)
    print(machine())
    print("| way |" + "".join(f" {100 * share:g} % |" for share in sparsities))
    print("|---|" + "---|" * len(sparsities))
    for way in dict.fromkeys(way for way, _ in found):
        print(f"| {way} |" + "".join(_entry(found[way, share]) for share in sparsities))
    files = "".join(f" {after / 1e3:.0f} kB |" for _, after in sizes.values())
    print(f"| file, {next(iter(sizes.values()))[0] / 1e3:.0f} kB before |{files}")


def _entry(values: list[float]) -> str:
    half = 50 * (max(values) - min(values))
    return f" {100 * mean(values):.1f} ± {half:.1f} |"


if __name__ == "__main__":
    main()
