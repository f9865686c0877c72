"""Pruned networks beside their controls: accuracy, cost and measured latency.

    python benchmarks/prune.py [--quick] [--nets resnet,mobilenet,transformer] [--seeds 3]

Each network is trained on `digits`, cut to about 2×, 4× and 8× fewer MACs in several ways, and
trained again for as many epochs. Ways:

    ours              magnitude, the better allocation on validation, learning rate rewound
    ours, distilled   the same with half of the unpruned model's answers in the targets
    random units      the control of any criterion
    fine-tuned        as ours, at a tenth of the rate, as pruning is mostly done
    from scratch      the small network from its first weights, for the epochs of both trainings
    dense             nothing cut, the same extra epochs
    Torch-Pruning     its magnitude pruner (group norm, global, widths rounded to 4), then plain
                      fine-tuning; only where the package is installed
    masks             `torch.nn.utils.prune`, 90 % unstructured, fine-tuned: for its latency
    sparse            our unstructured 90 %
    separable         our depthwise-separable rewrite with distillation

Accuracies are those of the test part, mean over seeds; `±` is the standard error over seeds.
MACs and latencies are of the last seed: speed-ups over the dense network, measured in turns.
"""

import argparse
import copy
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch
from timing import machine
from torch import nn
from torch.nn import functional as F

from modelscale.commands.experiment import Experiment
from modelscale.commands.launching import Request
from modelscale.commands.prune import prune
from modelscale.commands.pruning.timing import compared, speedup
from modelscale.commands.train import train
from modelscale.commands.trained_model import TrainedModel, open_model
from modelscale.data.loading import load, prepare
from modelscale.evaluation.macs import count_macs, parameter_count
from modelscale.spec.loader import load_text

SPEC = """
version: 1
name: {name}
seed: {seed}
data: {{source: digits, split: {{test: 0.2, validation: 0.2, stratify: true, seed: 0}}}}
model: {model}
optimizer: {{kind: adamw, lr: 5e-3, weight_decay: 0.05}}
scheduler: one_cycle
train: {{epochs: {epochs}, batch_size: 64, keep: last}}
metrics: [accuracy]
"""
NETS = {
    "resnet": "{kind: resnet, width: 24, blocks: 1, stages: 3}",
    "mobilenet": "{kind: mobilenet, width: 1.0, expansion: 4}",
    "transformer": "{kind: ft_transformer, width: 32, heads: 4, blocks: 2}",
}
AIMS = (0.5, 0.25, 0.125)


@dataclass(frozen=True)
class Cell:
    """One way at one size, from one seed.

    Attributes:
        accuracy: On the test part.
        macs: Of an example.
        parameters: Of the network.
        speed: Speed-up over the dense network by "runtime batch".
    """

    accuracy: float
    macs: int
    parameters: int
    speed: dict[str, float]


class Silent:
    """Hears nothing but warnings."""

    def note(self, text: str) -> None:
        pass

    def detail(self, text: str) -> None:
        pass

    def warn(self, text: str) -> None:
        pass

    @contextmanager
    def progress(self, *_: object) -> Iterator["Silent"]:
        yield self

    def update(self, *_: object) -> None:
        pass

    trials = progress


def request(verb: str, text: str, root: Path) -> Request:
    loaded = load_text(text, "spec", Experiment)
    return Request(verb, loaded, "spec", root, ("modelscale", verb), threads=1)


def pruned(source: TrainedModel, text: str, section: str, root: Path) -> dict[str, Any]:
    asked = request("prune", f"{text}prune: {section}\n", root)
    return prune(asked, source, Silent()).document


def cell_of(document: dict[str, Any]) -> Cell:
    after = document["after"]
    speed = {
        f"{runtime} {batch}": found["value"]
        for runtime, batches in document["speedup"].items()
        for batch, found in batches.items()
    }
    accuracy = after["metrics"]["test"]["accuracy"]["value"]
    return Cell(accuracy, after["macs"], after["parameters"], speed)


def ways(share: float, epochs: int) -> dict[str, str]:
    """Return the `prune` section of each way of ours for a share of the MACs."""
    aim = f"target: {{macs: {share}}}"
    return {
        "ours": f"{{{aim}}}",
        "ours, distilled": f"{{{aim}, retrain: {{distill: 0.5}}}}",
        "random units": f"{{{aim}, criterion: random}}",
        "fine-tuned": f"{{{aim}, retrain: {{rewind: none}}}}",
        "from scratch": f"{{{aim}, retrain: {{rewind: weights, epochs: {2 * epochs}}}}}",
    }


def fine_tuned(
    source: TrainedModel, network: nn.Module, text: str, seed: int, epochs: int
) -> Cell:
    """Return a network of another library after plain fine-tuning, measured as ours are."""
    experiment = load_text(text, "spec", Experiment).spec
    loaded = load(experiment.data, None)
    data = prepare(loaded, 0, "onehot", experiment.data, torch.device("cpu"))
    rows, draws = data.rows["train"], torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(network.parameters(), lr=5e-4, weight_decay=0.05)
    for _ in range(epochs):
        network.train()
        for some in rows[torch.randperm(len(rows), generator=draws)].split(64):
            loss = F.cross_entropy(network(data.x.take(some)), data.y[some])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    network.eval()
    test = data.rows["test"]
    with torch.no_grad():
        found = network(data.x.take(test)).argmax(1)
    shape = source.model.inputs.shape
    runs = compared(source.model.network, network, shape, torch.device("cpu"))
    speed = {
        f"{runtime} {batch}": speedup(ms, turns["after"][batch]).value
        for runtime, turns in runs.items()
        for batch, ms in turns["before"].items()
    }
    accuracy = float((found == data.y[test]).float().mean())
    return Cell(accuracy, count_macs(network, shape), parameter_count(network), speed)


def torch_pruning(source: TrainedModel, share: float) -> nn.Module | None:
    """Return the network cut by Torch-Pruning's magnitude pruner to a share of the MACs."""
    try:
        import torch_pruning as tp
    except ImportError:
        return None
    shape = source.model.inputs.shape
    whole = count_macs(source.model.network, shape)
    best = None
    for ratio in (k / 20 for k in range(1, 20)):
        network = copy.deepcopy(source.model.network)
        last = [m for m in network.modules() if isinstance(m, nn.Linear)][-1]
        pruner = tp.pruner.MagnitudePruner(
            network,
            torch.rand(1, *shape),
            importance=tp.importance.GroupMagnitudeImportance(p=2),
            pruning_ratio=ratio,
            global_pruning=True,
            ignored_layers=[last],
            round_to=4,
        )
        pruner.step()
        best = network
        if count_macs(network, shape) <= 1.01 * share * whole:
            return network
    return best


def masks(source: TrainedModel) -> nn.Module:
    """Return the network with 90 % of its weights masked by PyTorch's own tool."""
    from torch.nn.utils import prune as torch_prune

    network = copy.deepcopy(source.model.network)
    layers = [m for m in network.modules() if isinstance(m, (nn.Linear, nn.Conv2d))]
    torch_prune.global_unstructured(
        [(layer, "weight") for layer in layers], torch_prune.L1Unstructured, amount=0.9
    )
    return network


def one_seed(
    net: str, seed: int, epochs: int, root: Path, *, quick: bool
) -> dict[tuple[str, float], Cell]:
    text = SPEC.format(name=net, seed=seed, model=NETS[net], epochs=epochs)
    run = train(request("train", text, root), Silent()).run
    source = open_model(run, root, "cpu", 1, Silent())
    cells: dict[tuple[str, float], Cell] = {}

    def note(way: str, share: float, cell: Cell) -> None:
        cells[way, share] = cell
        print(
            f"{net} seed {seed} {way} {share}: {cell.accuracy:.4f}", file=sys.stderr, flush=True
        )

    dense = pruned(source, text, "{target: {macs: 1.0}}", root)
    before = dense["before"]
    accuracy = before["metrics"]["test"]["accuracy"]["value"]
    note("dense, as trained", 1.0, Cell(accuracy, before["macs"], before["parameters"], {}))
    note("dense, extra epochs", 1.0, cell_of(dense))
    for share in AIMS[1:] if quick else AIMS:
        for way, section in ways(share, epochs).items():
            note(way, share, cell_of(pruned(source, text, section, root)))
        try:
            theirs = torch_pruning(source, share)
        except Exception as error:  # noqa: BLE001  (it fails on some graphs, in any way)
            print(f"Torch-Pruning on {net}: {type(error).__name__}: {error}", file=sys.stderr)
            theirs = None
        if theirs is not None:
            note("Torch-Pruning", share, fine_tuned(source, theirs, text, seed, epochs))
    note("masks (torch), 90 %", 1.0, fine_tuned(source, masks(source), text, seed, epochs))
    note("sparse (ours), 90 %", 1.0, cell_of(pruned(source, text, "{kind: sparse}", root)))
    if net == "resnet":
        section = "{kind: depthwise_separable, retrain: {distill: 0.5}}"
        note("separable", 1.0, cell_of(pruned(source, text, section, root)))
    int8(source, text, root, net)
    return cells


def int8(source: TrainedModel, text: str, root: Path, net: str) -> None:
    """Print what int8 brings, alone and after a cut to a quarter of the MACs."""
    for name, section in (
        ("int8 alone", "int8"),
        ("cut + int8", "[{target: {macs: 0.25}}, int8]"),
    ):
        found = pruned(source, text, section, root).get("int8", {})
        if "latency" not in found:
            print(f"{net:12} {name:12} {found.get('fault', 'not there')}")
            continue
        accuracy = found["metrics"]["accuracy"]
        times = "  ".join(
            f"batch {batch}: {entry['over_before_eager']['value']:5.1f}× eager"
            for batch, entry in found["latency"].items()
        )
        lost = accuracy["float"] - accuracy["value"]
        print(f"{net:12} {name:12} {times}  accuracy lost by it: {100 * lost:+.2f} points")


def table(net: str, seeds: list[dict[tuple[str, float], Cell]]) -> None:
    whole = seeds[-1]["dense, as trained", 1.0].macs
    places = ("eager 1", "eager 128", "onnxruntime 1", "onnxruntime 128")
    print(f"\n{net}, {whole:,} MACs, {len(seeds)} seeds; speed-ups over the dense network")
    heads = " ".join(f"{place.replace('onnxruntime', 'ORT'):>9}" for place in places)
    print(f"{'way':22} {'test accuracy, %':>17} {'MACs':>7} {'params':>8} {heads}")
    for way, share in seeds[0]:
        cells = [cells[way, share] for cells in seeds if (way, share) in cells]
        values = [100 * cell.accuracy for cell in cells]
        error = f" ± {stdev(values) / len(values) ** 0.5:.2f}" if len(values) > 1 else ""
        last = cells[-1]
        fewer = f"{whole / last.macs:.1f}×"
        speeds = " ".join(f"{last.speed.get(place, float('nan')):9.2f}" for place in places)
        aimed = "" if share == 1 else f" {1 / share:.0f}×"
        print(
            f"{way + aimed:22} {f'{mean(values):.2f}{error}':>17} {fewer:>7} "
            f"{last.parameters:8,} {speeds}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--quick", action="store_true", help="one network, one seed, few epochs"
    )
    parser.add_argument("--nets", default=",".join(NETS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=25)
    options = parser.parse_args()
    usual = "resnet" if options.quick else ",".join(NETS)
    nets = (options.nets or usual).split(",")
    seeds, epochs = (1, 8) if options.quick else (options.seeds, options.epochs)
    torch.set_num_threads(1)
    print(machine())
    for net in nets:
        with tempfile.TemporaryDirectory(prefix="modelscale-prune-") as folder:
            found = [
                one_seed(net, seed, epochs, Path(folder), quick=options.quick)
                for seed in range(seeds)
            ]
        table(net, found)


if __name__ == "__main__":
    main()
