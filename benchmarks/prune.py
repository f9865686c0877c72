"""Pruned networks beside their controls: accuracy, cost and measured latency.

    python benchmarks/prune.py --runs FOLDER [--data digits] [--net resnet] [--seeds 0,1,2]
    python benchmarks/prune.py --runs FOLDER --latency
    python benchmarks/prune.py --table
    python benchmarks/prune.py --quick

Each network is trained, cut to a half, a quarter and an eighth of its MACs in several ways, and
trained again for as many epochs, so that all ways compare; what the verb's own default, which
is more epochs, makes of it stands beside them. A cell (one way, size and seed) takes a quarter
of a minute to some minutes and is kept in `measured/prune` beside this file, so that the same
command goes on where it stopped. Where the code of a way has changed, its cells are to be
removed first, and so is FOLDER, whose finished runs are reported again.
Accuracies need no quiet machine, latencies do: these are measured with `--latency`, of cells
that were not timed yet, in turns with the dense network. Networks of the same shapes are cut
anew for it and not trained.
`--minutes` begins no cell after so long. Ways:

    ours              the verb with its defaults, but for the epochs
    ours, by default  the verb with all of its defaults: up to three times the epochs
    random units      as ours, but chance decides which units go
    from scratch      the small network from its first weights, for the epochs of both trainings
    Torch-Pruning     its magnitude pruner (group norm, global, widths rounded to 4), then plain
                      fine-tuning at a tenth of the rate for as many epochs
    dense             nothing cut; the same with extra epochs, and with three times as many
    masks             `torch.nn.utils.prune`, 90 % of single weights, fine-tuned in the same way
    int8              8 bits in ONNX Runtime, alone and after a cut to a quarter

Accuracies are those of the test part, mean over seeds ± half the range between the least and
the best; points lost are against the dense network of the same seed, before any extra epochs.
Speed-ups over the dense network in the same runtime are medians over seeds. 8 bits are over the
dense network in PyTorch.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from prune_cells import Cell, Cells, Timing, markdown
from prune_others import accuracy_of, fine_tuned, masks, prepared, torch_pruning
from timing import machine
from torch import Tensor, nn

from modelscale.commands.experiment import Experiment
from modelscale.commands.launching import Request
from modelscale.commands.prune import Pruned, prune
from modelscale.commands.pruning import timing
from modelscale.commands.pruning.bench import MOST_EPOCHS
from modelscale.commands.pruning.timing import compared, speedup, timed
from modelscale.commands.train import train
from modelscale.commands.trained_model import TrainedModel, open_model
from modelscale.export.onnx_file import export_network
from modelscale.export.quantise import quantise_dynamic, quantise_static, scheme_for
from modelscale.export.runtime import onnx_call
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
MEASURED = Path(__file__).parent / "measured" / "prune"
_CALIBRATION_ROWS = 512
_CALIBRATION_BATCH = 32


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


@dataclass(frozen=True)
class Case:
    """A trained network that is made smaller.

    Attributes:
        source: The network.
        text: Its spec.
        root: Folder of runs.
        seed: Of everything random.
        epochs: Of its training, and of that after a cut.
    """

    source: TrainedModel
    text: str
    root: Path
    seed: int
    epochs: int

    def pruned(self, section: str) -> Pruned:
        """Return what the verb makes of it, or made when it was asked before."""
        asked = request("prune", f"{self.text}prune: {section}\n", self.root)
        return prune(asked, self.source, Silent())

    def network(self, section: str) -> nn.Module:
        """Return the network that the verb makes of it."""
        run = self.pruned(section).run
        return open_model(run, self.root, "cpu", 1, Silent()).model.network


@dataclass(frozen=True)
class Way:
    """How a network is made smaller, to one size.

    Attributes:
        name: Of the way.
        share: Of the MACs that is aimed at.
        work: Makes the smaller network and says what it is worth.
        network: Makes a network of the cell's shapes without training it, to be timed.
        bits: Of its arithmetic: 32 or 8.
    """

    name: str
    share: float
    work: Callable[[], Cell]
    network: Callable[[Cell], nn.Module]
    bits: int = 32


def request(verb: str, text: str, root: Path) -> Request:
    loaded = load_text(text, "spec", Experiment)
    return Request(verb, loaded, "spec", root, ("modelscale", verb), threads=1)


def by_verb(
    case: Case, name: str, share: float, aim: str, retrain: str, side: str = "after"
) -> Way:
    """Return a way of the verb; with `side` before, the dense network that it begins with."""

    def work() -> Cell:
        document = case.pruned(f"{{{aim}, retrain: {{{retrain}}}}}").document
        found = document[side]
        (step,) = document["steps"]
        values = {part: m["accuracy"]["value"] for part, m in found["metrics"].items()}
        return Cell(
            name,
            share,
            case.seed,
            values["test"],
            found["macs"],
            found["parameters"],
            values["validation"],
            step.get("allocation") if share < 1 else None,
        )

    if side == "before":
        return Way(name, share, work, lambda _: case.source.model.network)
    return Way(name, share, work, lambda cell: case.network(f"{{{untrained(aim, cell)}}}"))


def untrained(aim: str, cell: Cell) -> str:
    """Return what makes the shapes that a cell was measured at."""
    return f"{aim}, allocation: {cell.allocation or 'auto'}, retrain: {{epochs: 0}}"


def in_eight_bits(case: Case, name: str, share: float, aim: str, retrain: str) -> Way:
    """Return a way of the verb that ends with 8 bits; its accuracy is that of the test part."""
    section = f"[{{{aim}, retrain: {{{retrain}}}}}, int8]" if aim else "int8"

    def work() -> Cell:
        document = case.pruned(section).document
        network = case.network(section)
        data = prepared(case.text)
        rows = data.rows["train"][:_CALIBRATION_ROWS].split(_CALIBRATION_BATCH)
        call = eight_bits(network, case, [data.x.take(some) for some in rows])
        after, note = document["after"], document["int8"].get("fault", "")
        value = accuracy_of(call, data)
        how = next((step.get("allocation") for step in document["steps"]), None)
        size = after["macs"], after["parameters"]
        return Cell(name, share, case.seed, value, *size, allocation=how, note=note)

    def network(cell: Cell) -> nn.Module:
        if not aim:
            return case.source.model.network
        return case.network(f"{{{untrained(aim, cell)}}}")

    return Way(name, share, work, network, bits=8)


def eight_bits(
    network: nn.Module, case: Case, examples: list[Tensor]
) -> Callable[[Tensor], Tensor]:
    """Return a network with 8 bits in ONNX Runtime, its scales from batches of examples."""
    plain = export_network(network, case.source.model.inputs.shape)
    if scheme_for(plain) == "dynamic":
        return onnx_call(quantise_dynamic(plain))
    return onnx_call(quantise_static(plain, [{"x": x_B.numpy()} for x_B in examples]))


def by_others(
    case: Case, name: str, share: float, make: Callable[[TrainedModel], nn.Module]
) -> Way:
    """Return a way of another library, with plain fine-tuning."""

    def work() -> Cell:
        network = make(case.source)
        found = fine_tuned(case.source, network, case.text, case.seed, case.epochs)
        return Cell(name, share, case.seed, found.accuracy, found.macs, found.parameters)

    return Way(name, share, work, lambda _: make(case.source))


def ways(case: Case) -> Iterator[Way]:
    """Yield all ways, each size in turn."""
    same = f"epochs: {case.epochs}"
    longer = f"epochs: {round(MOST_EPOCHS * case.epochs)}"
    twice = f"rewind: weights, epochs: {2 * case.epochs}"
    nothing = "target: {macs: 1.0}"
    yield by_verb(case, "dense", 1.0, nothing, same, side="before")
    yield by_verb(case, "dense, extra epochs", 1.0, nothing, same)
    yield by_verb(case, "dense, three times as many", 1.0, nothing, longer)
    for share in SHARES:
        aim = f"target: {{macs: {share}}}"
        yield by_verb(case, "ours", share, aim, same)
        yield by_verb(case, "ours, by default", share, aim, "")
        yield by_verb(case, "random units", share, f"{aim}, criterion: random", same)
        yield by_others(case, "Torch-Pruning", share, partial(torch_pruning, share=share))
        yield by_verb(case, "from scratch", share, aim, twice)
    yield by_others(case, "masks (torch), 90 %", 1.0, masks)
    yield in_eight_bits(case, "int8 alone", 1.0, "", "")
    yield in_eight_bits(case, "cut + int8", 0.25, "target: {macs: 0.25}", same)


def case_of(folder: Path, data: str, net: str, seed: int, epochs: int) -> Case:
    """Return a trained network; it is trained where its run is not there."""
    values = {"data": data, "net": net, "seed": seed, "epochs": epochs}
    text = SPEC.format(model=NETS[data, net], **values)
    root = folder / "runs"
    run = train(request("train", text, root), Silent()).run
    return Case(open_model(run, root, "cpu", 1, Silent()), text, root, seed, epochs)


def wanted(way: Way, options: argparse.Namespace) -> bool:
    """Return whether a way is asked for."""
    named = not options.ways or way.name in options.ways.split(";")
    return named and (way.share == 1 or way.share in options.shares)


def fill(case: Case, cells: Cells, options: argparse.Namespace) -> bool:
    """Compute the cells of a seed that are not kept; return whether all are there now."""
    for way in ways(case):
        if not wanted(way, options) or (way.name, way.share, case.seed) in cells.read():
            continue
        if time.monotonic() > options.end:
            return False
        began = time.process_time()
        try:
            cell = way.work()
        except Exception as error:  # other libraries fail in any way
            if way.name != "Torch-Pruning":
                raise
            why = f"{type(error).__name__}: {error}".splitlines()[0]
            cell = Cell(way.name, way.share, case.seed, None, 0, 0, note=why)
        cells.put(cell)
        spent = time.process_time() - began
        told = f"{cells.path.stem} {cell.key}: {cell.accuracy} {cell.note}"
        print(f"{told} ({spent:.0f} s)", file=sys.stderr, flush=True)
    return True


def clock(case: Case, cells: Cells, options: argparse.Namespace) -> bool:
    """Time the cells of a seed that are not timed yet; return whether all are now."""
    for way in ways(case):
        cell = cells.read().get((way.name, way.share, case.seed))
        if cell is None or cell.timing or not cell.macs or not wanted(way, options):
            continue
        if time.monotonic() > options.end:
            return False
        cells.put(replace(cell, timing=timing_of(case, way, cell)))
        print(f"{cells.path.stem} {cell.key}: timed", file=sys.stderr, flush=True)
    return True


def timing_of(case: Case, way: Way, cell: Cell) -> Timing:
    """Time a way's network in turns with the dense one; 8 bits with the dense one in PyTorch.

    (Scales of 8 bits are from noise here: what they are takes no time.)
    """
    dense, shape = case.source.model.network, case.source.model.inputs.shape
    network = way.network(cell)
    if way.bits == 8:
        noise = [torch.rand(_CALIBRATION_BATCH, *shape)]
        both = {"before": dense, "after": eight_bits(network, case, noise)}
        turns: dict[str, Any] = {"int8": timed(both, shape)}
    else:
        turns = compared(dense, network, shape, torch.device("cpu"))
    before = {
        f"{runtime} {batch}": ms
        for runtime, found in turns.items()
        for batch, ms in found["before"].items()
    }
    speed = {
        place: speedup(ms, turns[place.split()[0]]["after"][int(place.split()[1])]).value
        for place, ms in before.items()
    }
    return Timing({place: median(ms) for place, ms in before.items()}, speed)


def table(folder: Path) -> None:
    for (data, net), model in NETS.items():
        found = list(Cells(folder, data, net).read().values())
        if found:
            print(f"\n{markdown(f'{net} on {data}', model, found)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one seed, few epochs, not kept")
    parser.add_argument("--runs", type=Path, help="folder of runs and their checkpoints")
    parser.add_argument("--cells", type=Path, default=MEASURED, help="folder of cells")
    parser.add_argument("--data", default="digits")
    parser.add_argument("--net", default="resnet,mobilenet,transformer")
    parser.add_argument("--seeds", default="0,1,2", help="their numbers")
    parser.add_argument("--ways", default="", help="only these, such as 'ours;dense'")
    parser.add_argument("--shares", default="0.25,0.125,0.5", help="of the MACs")
    parser.add_argument("--minutes", type=float, default=1e6, help="begin no cell after these")
    parser.add_argument("--latency", action="store_true", help="time what is not timed yet")
    parser.add_argument("--table", action="store_true", help="print what is kept")
    options = parser.parse_args()
    options.end = time.monotonic() + 60 * options.minutes
    options.shares = [float(share) for share in options.shares.split(",")]
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="modelscale-prune-") as scratch:
        runs, epochs = options.runs or Path(scratch), EPOCHS[options.data]
        if options.quick:
            options.net, options.seeds, options.shares, epochs = "resnet", "0", [0.25], 6
            options.cells = Path(scratch) / "cells"
        whole = options.table or measured(runs, epochs, options)
        print(machine())
        table(options.cells)
        if not whole:
            print("not all cells are there: run the same command again")


def measured(runs: Path, epochs: int, options: argparse.Namespace) -> bool:
    """Fill the cells that are asked for, or time them; return whether all are there now."""
    usual = timing.TURNS
    passes = [clock] if options.latency else [fill, clock] if options.quick else [fill]
    for seed in map(int, options.seeds.split(",")):
        for net in options.net.split(","):
            cells = Cells(options.cells, options.data, net)
            for work in passes:
                timing.TURNS = usual if work is clock else 1  # the verb times as well
                if not work(case_of(runs, options.data, net, seed, epochs), cells, options):
                    return False
    return True


if __name__ == "__main__":
    main()
