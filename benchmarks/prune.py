"""Pruned networks beside their controls: accuracy, cost and measured latency.

    python benchmarks/prune.py --keep FOLDER [--data digits] [--net resnet] [--seeds 0,1,2]
    python benchmarks/prune.py --keep FOLDER --table
    python benchmarks/prune.py --quick

Each network is trained, cut to a half, a quarter and an eighth of its MACs in several ways, and
trained again for as many epochs. A cell (one way, size and seed) takes half a minute to some
minutes and is kept in FOLDER, so that the same command goes on where it stopped; `--minutes`
begins no cell after so long, and several commands may fill one folder. Ways:

    ours              the verb with its defaults
    random units      the same, but chance decides which units go
    from scratch      the small network from its first weights, for the epochs of both trainings
    Torch-Pruning     its magnitude pruner (group norm, global, widths rounded to 4), then plain
                      fine-tuning at a tenth of the rate for as many epochs
    dense             nothing cut, the same extra epochs
    masks             `torch.nn.utils.prune`, 90 % of single weights, fine-tuned in the same way
    int8              static 8 bits in ONNX Runtime, alone and after a cut to a quarter

Accuracies are those of the test part, mean over seeds ± half the range between the least and
the best; speed-ups over the dense network in the same runtime, measured in turns, are medians
over seeds.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import mean, median
from typing import Any

import torch
from prune_others import fine_tuned, masks, torch_pruning
from timing import machine

from modelscale.commands.experiment import Experiment
from modelscale.commands.launching import Request
from modelscale.commands.prune import prune
from modelscale.commands.pruning import timing
from modelscale.commands.train import train
from modelscale.commands.trained_model import TrainedModel, open_model
from modelscale.spec.loader import load_text

SPEC = """
version: 1
name: {data}-{net}-{seed}
seed: {seed}
data: {{source: {data}, split: {{test: 0.2, validation: 0.2, stratify: true, seed: 0}}}}
model: {model}
optimizer: {{kind: adamw, lr: 5e-3, weight_decay: 0.05}}
scheduler: one_cycle
train: {{epochs: {epochs}, batch_size: 64, keep: last}}
metrics: [accuracy]
"""
NETS = {
    ("digits", "resnet"): "{kind: resnet, width: 32, blocks: 1, stages: 3}",
    ("digits", "mobilenet"): "{kind: mobilenet, width: 2.0, expansion: 4}",
    ("digits", "transformer"): "{kind: ft_transformer, width: 32, heads: 4, blocks: 2}",
    ("mnist_5k", "resnet"): "{kind: resnet, width: 24, blocks: 1, stages: 3}",
    ("mnist_5k", "mobilenet"): "{kind: mobilenet, width: 1.0, expansion: 4}",
}
EPOCHS = {"digits": 20, "mnist_5k": 6}
SHARES = (0.25, 0.125, 0.5)
PLACES = ("eager 1", "eager 128", "onnxruntime 1", "onnxruntime 128")


@dataclass(frozen=True)
class Cell:
    """One way at one size, from one seed.

    Attributes:
        way: Its name.
        share: Of the MACs that was aimed at.
        accuracy: On the test part; NaN where the way failed.
        macs: Of an example.
        parameters: Of the network.
        speed: Speed-up by "runtime batch": over the dense network in the same runtime.
        over_eager: Speed-up over the dense network in PyTorch by batch, for 8 bits.
        note: Why it failed, and what else there is to say.
    """

    way: str
    share: float
    accuracy: float
    macs: int
    parameters: int
    speed: dict[str, float] = field(default_factory=dict)
    over_eager: dict[str, float] = field(default_factory=dict)
    note: str = ""


class Silent:
    """Hears nothing."""

    def note(self, text: str) -> None:
        pass

    detail = warn = note

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


def cell_of(way: str, share: float, document: dict[str, Any]) -> Cell:
    after = document["after"]
    speed = {
        f"{runtime} {batch}": found["value"]
        for runtime, batches in document["speedup"].items()
        for batch, found in batches.items()
    }
    accuracy = after["metrics"]["test"]["accuracy"]["value"]
    times = json.dumps(document["before"]["latency_by_runtime_ms"]) if share == 1 else ""
    return Cell(way, share, accuracy, after["macs"], after["parameters"], speed, note=times)


def int8_cell(way: str, share: float, document: dict[str, Any]) -> Cell:
    """Return a cell of 8 bits, its accuracy that of the file on the validation part's rows."""
    plain, found = cell_of(way, share, document), document["int8"]
    if "latency" not in found:
        return Cell(way, share, float("nan"), plain.macs, plain.parameters, note=found["fault"])
    lost = found["metrics"]["accuracy"]["float"] - found["metrics"]["accuracy"]["value"]
    over = {b: entry["over_before_eager"]["value"] for b, entry in found["latency"].items()}
    note = f"8 bits lose {100 * lost:.2f} points on the {found['part']} part"
    accuracy = plain.accuracy - lost
    return Cell(way, share, accuracy, plain.macs, plain.parameters, {}, over, note)


def ways(
    source: TrainedModel, text: str, root: Path, seed: int, epochs: int
) -> Iterator[tuple[str, float, Callable[[], Cell]]]:
    """Yield name, share and work of each cell."""

    def ours(way: str, share: float, section: str) -> tuple[str, float, Callable[[], Cell]]:
        return way, share, lambda: cell_of(way, share, pruned(source, text, section, root))

    def theirs(share: float) -> Cell:
        network = torch_pruning(source, share)
        found = fine_tuned(source, network, text, seed, epochs)
        return Cell("Torch-Pruning", share, *found)

    yield ours("dense, extra epochs", 1.0, "{target: {macs: 1.0}}")
    for share in SHARES:
        aim = f"target: {{macs: {share}}}"
        yield ours("ours", share, f"{{{aim}}}")
        yield ours("random units", share, f"{{{aim}, criterion: random}}")
        yield "Torch-Pruning", share, lambda share=share: theirs(share)
        scratch = f"{{{aim}, retrain: {{rewind: weights, epochs: {2 * epochs}}}}}"
        yield ours("from scratch", share, scratch)
    way = "masks (torch), 90 %"
    yield (
        way,
        1.0,
        lambda: Cell(way, 1.0, *fine_tuned(source, masks(source), text, seed, epochs)),
    )
    for way, share, section in (
        ("int8 alone", 1.0, "int8"),
        ("cut + int8", 0.25, "[{target: {macs: 0.25}}, int8]"),
    ):
        yield (
            way,
            share,
            lambda way=way, share=share, section=section: int8_cell(
                way, share, pruned(source, text, section, root)
            ),
        )


def fill(folder: Path, data: str, net: str, seed: int, options: argparse.Namespace) -> bool:
    """Compute the cells of a seed that are not kept; return whether all are there now."""
    epochs = options.epochs or EPOCHS[data]
    values = {"data": data, "net": net, "seed": seed, "epochs": epochs}
    text = SPEC.format(model=NETS[data, net], **values)
    root = folder / "runs"
    run = train(request("train", text, root), Silent()).run
    source = open_model(run, root, "cpu", 1, Silent())
    for way, share, work in ways(source, text, root, seed, epochs):
        if options.ways and not any(way.startswith(name) for name in options.ways.split(",")):
            continue
        if options.quick and share not in {1.0, 0.25}:
            continue
        path = folder / "cells" / f"{data}-{net}-{seed}-{way.replace(' ', '_')}-{share}.json"
        if path.is_file():
            continue
        if time.monotonic() > options.end:
            return False
        began = time.process_time()
        try:
            cell = work()
        except Exception as error:  # other libraries fail in any way
            if way != "Torch-Pruning":
                raise
            why = f"{type(error).__name__}: {error}".splitlines()[0]
            cell = Cell(way, share, float("nan"), 0, 0, note=why)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(cell)))
        spent = time.process_time() - began
        line = f"{path.stem}: {100 * cell.accuracy:.2f} {cell.note} ({spent:.0f} s)"
        print(line, file=sys.stderr, flush=True)
    return True


def table(folder: Path) -> None:
    for (data, net), model in NETS.items():
        found: dict[tuple[str, float], list[Cell]] = {}
        for path in sorted((folder / "cells").glob(f"{data}-{net}-*.json")):
            cell = Cell(**json.loads(path.read_text()))
            found.setdefault((cell.way, cell.share), []).append(cell)
        dense = found.get(("dense, extra epochs", 1.0))
        if dense is None:
            continue
        order = sorted(found, key=lambda key: (-key[1], not key[0].startswith("dense")))
        print(f"\n**{net} on {data}**, `{model}`, {dense[0].macs / 1e6:.2f} M MACs, dense: ")
        print(_milliseconds(dense), "\n")
        print("| MACs | way | accuracy, % | parameters | eager 1, 128 | ORT 1, 128 | seeds |")
        print("|---|---|---|---|---|---|---|")
        for key in order:
            print(_row(key, found[key], dense[0].macs))


def _milliseconds(dense: list[Cell]) -> str:
    """Return the latencies of the dense network, medians over seeds."""
    times = [json.loads(cell.note) for cell in dense]
    return ", ".join(
        f"{runtime} {batch}: {median(t[runtime][batch] for t in times):.3g} ms"
        for runtime in times[0]
        for batch in times[0][runtime]
    )


def _row(key: tuple[str, float], cells: list[Cell], whole: int) -> str:
    way, share = key
    right = [cell for cell in cells if cell.macs]
    if not right:
        return f"| {share:g} | {way} | fails: {cells[0].note} | | | | {len(cells)} |"
    values = [100 * cell.accuracy for cell in right]
    spread = f" ± {(max(values) - min(values)) / 2:.1f}" if len(values) > 1 else ""
    fewer = whole / mean(cell.macs for cell in right)
    size = f"{mean(cell.parameters for cell in right) / 1e3:.1f} k"
    eager, ort = _speeds(right)
    return (
        f"| {fewer:.1f}× fewer | {way} | {mean(values):.1f}{spread} | {size} | {eager} | {ort} "
        f"| {len(right)} of {len(cells)} |"
    )


def _speeds(cells: list[Cell]) -> tuple[str, str]:
    if cells[0].over_eager:
        over = [f"{median(c.over_eager[b] for c in cells):.1f}×" for b in ("1", "128")]
        return "", ", ".join(over) + " over eager"
    told = [
        f"{median(c.speed[place] for c in cells):.2f}×"
        if all(place in c.speed for c in cells)
        else "–"
        for place in PLACES
    ]
    return ", ".join(told[:2]), ", ".join(told[2:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--quick", action="store_true", help="one network, one seed, few epochs"
    )
    parser.add_argument("--keep", type=Path, help="folder of cells and runs")
    parser.add_argument("--data", default="digits")
    parser.add_argument("--net", default="resnet,mobilenet,transformer")
    parser.add_argument("--seeds", default="0,1,2", help="their numbers")
    parser.add_argument("--ways", default="", help="only those whose names begin so")
    parser.add_argument("--epochs", type=int, help="of either training")
    parser.add_argument("--minutes", type=float, default=1e6, help="begin no cell after these")
    parser.add_argument("--turns", type=int, default=5, help="of each timing")
    parser.add_argument("--table", action="store_true", help="print what is kept")
    options = parser.parse_args()
    options.end = time.monotonic() + 60 * options.minutes
    torch.set_num_threads(1)
    timing.TURNS = options.turns
    with tempfile.TemporaryDirectory(prefix="modelscale-prune-") as scratch:
        folder = options.keep or Path(scratch)
        if options.quick:
            options.net, options.seeds, options.epochs = "resnet", "0", 6
        whole = options.table or all(
            fill(folder, options.data, net, int(seed), options)
            for seed in options.seeds.split(",")
            for net in options.net.split(",")
        )
        print(machine())
        table(folder)
        if not whole:
            print("not all cells are there: run the same command again")


if __name__ == "__main__":
    main()
