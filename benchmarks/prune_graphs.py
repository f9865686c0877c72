"""Networks that are hard to prune, cut by `modelscale` and by Torch-Pruning.

    python benchmarks/prune_graphs.py [--quick] [--only TEXT] [--large]

A third of the units of every group is removed, after their outgoing weights were set to zero,
so that the smaller network must compute what the larger one does. `exact` means that it does,
to 1e-6 in float64, `declined` that nothing was cut and why was said, `wrong` that it computes
something else, `fails` that it raised. Groups over which statistics are taken are left out in
both columns: outputs must change.

Torch-Pruning (`pip install torch-pruning`, optional) runs as its documentation shows, with
`MagnitudePruner`, without hints such as head counts, and a third of the channels of each group;
output layers and layers over which statistics are taken are ignored layers. What it removes is
set to zero beforehand in a twin, outgoing weights alone, and where an attention multiplies the
units, everything that makes them. It has 30 seconds for each network.
`--large` times networks of millions of parameters instead.
"""

import argparse
import copy
import signal
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils._pytree import tree_leaves

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from hard_graphs import HardGraph, zoo  # noqa: E402

from modelscale.models.base import ModelSpec  # noqa: E402
from modelscale.pruning.proof import PRODUCTS, without_effect  # noqa: E402
from modelscale.pruning.structure import find_units  # noqa: E402
from modelscale.pruning.surgery import cut  # noqa: E402
from modelscale.tensors import Inputs  # noqa: E402

TOLERANCE = 1e-6
LIMIT_S = 30


@torch.no_grad()
def outputs(network, graph, batch):
    return tree_leaves(network.eval()(*graph.examples(batch)))


def difference(network, other, graph):
    """Return the largest difference of outputs, at two batch sizes."""
    found = 0.0
    for batch in (3, 5):
        pairs = zip(outputs(network, graph, batch), outputs(other, graph, batch), strict=True)
        found = max(found, *(float((a - b).abs().max()) for a, b in pairs))
    return found


def ours(graph: HardGraph):
    """Return verdict, units, seconds and notes of our engine."""
    network, began = graph.network(), time.perf_counter()
    structure = find_units(network, graph.examples())
    seconds = time.perf_counter() - began
    units = sum(group.units for group in structure.groups)
    reasons = "; ".join(f"{d.reason[:32]}: {len(d.layers)} layers" for d in structure.declined)
    if units == 0:
        return "declined", 0, seconds, reasons
    keep = {}
    for group in structure.groups:
        kept = np.arange(max(1, group.units * 2 // 3))
        if without_effect(network, group, range(len(kept), group.units)):
            keep[group.name] = kept
    done = cut(network, structure, keep)
    verdict = "exact" if difference(network, done.network, graph) < TOLERANCE else "wrong"
    rewritten = "rewritten graph" if done.edit.rewritten else ""
    return verdict, units, seconds, "; ".join(filter(None, [rewritten, reasons]))


def theirs(graph: HardGraph, pruning):
    """Return the verdict on Torch-Pruning, its seconds and notes."""
    began = time.perf_counter()
    structure = find_units(graph.network(), graph.examples(), prove=False)
    network = graph.network()
    signal.signal(signal.SIGALRM, _too_long)
    signal.alarm(LIMIT_S)
    try:
        smaller, twin = _cut_by_torch_pruning(network, graph, structure, pruning)
        apart = difference(twin, smaller, graph)
    except Exception as error:  # noqa: BLE001
        return "fails", time.perf_counter() - began, type(error).__name__
    finally:
        signal.alarm(0)
    seconds = time.perf_counter() - began
    if len(list(smaller.parameters())) > len(list(graph.network().parameters())):
        return "wrong", seconds, "unties"
    left = sum(p.numel() for p in smaller.parameters())
    if left == sum(p.numel() for p in network.parameters()):
        return "nothing cut", seconds, ""
    return ("exact" if apart < TOLERANCE else "wrong"), seconds, ""


def _too_long(*_):
    raise TimeoutError


def _cut_by_torch_pruning(network, graph, structure, pruning):
    """Return what Torch-Pruning makes of a network, and the network with that set to zero."""
    smaller, twin = copy.deepcopy(network), network
    for parameter in smaller.parameters():
        parameter.requires_grad_(True)  # it passes over frozen layers without a word
    taken = {
        layer
        for group in structure.groups
        if set(group.mixed_by) - PRODUCTS
        for member in group.makers
        if (layer := member.tensor.rpartition(".")[0])
    }
    products = {
        member.tensor.rpartition(".")[0]
        for group in structure.groups
        if set(group.mixed_by) & PRODUCTS
        for member in group.makers
    }
    names = {module: name for name, module in smaller.named_modules()}
    last = [module for name, module in smaller.named_children() if name in OUTPUT_LAYERS]
    pruner = pruning.pruner.MagnitudePruner(
        smaller,
        graph.examples(),
        importance=pruning.importance.MagnitudeImportance(p=2),
        pruning_ratio=1 / 3,
        ignored_layers=[*last, *map(smaller.get_submodule, sorted(taken))],
    )
    left: dict[tuple[str, int], list[int]] = {}  # positions in the twin that are still there
    for group in pruner.step(interactive=True):
        for dependency, positions in group:
            name = names.get(dependency.target.module)
            weight = None if name is None else getattr(twin.get_submodule(name), "weight", None)
            if weight is None or weight.dim() < 2:
                continue
            reads = "in_channels" in dependency.handler.__name__
            swapped = isinstance(dependency.target.module, nn.modules.conv._ConvTransposeNd)
            dim = int(reads != swapped)
            if weight.shape[dim] == 1:
                continue  # depthwise: its only input channel is not the one that goes
            places = left.setdefault((name, dim), list(range(weight.shape[dim])))
            # Positions that are not there are its own to fail on.
            there = [places[p] for p in positions if p < len(places)]
            gone = torch.tensor(there, dtype=torch.int64)
            if reads or name in products:
                weight.detach().index_fill_(dim, gone, 0)
            if not reads and name in products and twin.get_submodule(name).bias is not None:
                twin.get_submodule(name).bias.detach()[gone] = 0
            cut_here = set(positions)
            left[name, dim] = [p for i, p in enumerate(places) if i not in cut_here]
        group.prune()
    return smaller, twin


OUTPUT_LAYERS = {"head", "out", "kind", "box"}  # as the zoo calls them

LARGE = [
    ({"kind": "resnet", "width": 128, "blocks": 4, "stages": 4}, Inputs((3, 32, 32))),
    ({"kind": "mobilenet", "width": 8.0}, Inputs((3, 32, 32))),
    ({"kind": "ft_transformer", "width": 512, "blocks": 12, "heads": 8}, Inputs((32,))),
    ({"kind": "mlp", "hidden": (4096, 4096, 4096)}, Inputs((3, 32, 32))),
]


def large():
    titles = ("find s", "with trial", "cut s", "units")
    print(f"{'network':18}{'parameters':>12}" + "".join(f"{title:>12}" for title in titles))
    for choice, inputs in LARGE:
        network = ModelSpec.model_validate(choice).build(inputs, 10).eval()
        examples = (torch.randn(2, *inputs.shape),)
        start = time.perf_counter()
        structure = find_units(network, examples, prove=False)
        found = time.perf_counter()
        find_units(network, examples)
        tried = time.perf_counter()
        cut(network, structure, {g.name: range(-(-g.units // 2)) for g in structure.groups})
        ended = time.perf_counter()
        print(
            f"{choice['kind']:18}{sum(p.numel() for p in network.parameters()):12,}"
            f"{found - start:12.1f}{tried - found:12.1f}{ended - tried:12.1f}"
            f"{sum(g.units for g in structure.groups):12}"
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="every sixth network")
    parser.add_argument("--only", default="", help="networks whose name has this text")
    parser.add_argument("--large", action="store_true", help="time large networks instead")
    given = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    if given.large:
        large()
        return
    try:
        import torch_pruning
    except ImportError:
        torch_pruning = None
        print("Torch-Pruning is not installed (pip install torch-pruning): our column only")
    graphs = [graph for graph in zoo() if given.only in graph.name]
    graphs = graphs[:: 6 if given.quick else 1]
    print(f"{'graph':46}{'ours':>9}{'units':>7}{'s':>6}   {'Torch-Pruning':28}{'s':>6}  notes")
    counts: dict[str, dict[str, int]] = {"ours": {}, "Torch-Pruning": {}}
    for graph in graphs:
        verdict, units, seconds, notes = ours(graph)
        other, other_s, why = ("-", 0.0, "")
        if torch_pruning is not None:
            other, other_s, why = theirs(graph, torch_pruning)
            counts["Torch-Pruning"][other] = counts["Torch-Pruning"].get(other, 0) + 1
        counts["ours"][verdict] = counts["ours"].get(verdict, 0) + 1
        print(
            f"{graph.name:46}{verdict:>9}{units:7}{seconds:6.1f}   "
            f"{other + ' ' + why:28.28}{other_s:6.1f}  {notes}"
        )
    for who, verdicts in counts.items():
        if verdicts:
            print(f"{who}: " + ", ".join(f"{n} {v}" for v, n in sorted(verdicts.items())))


if __name__ == "__main__":
    main()
