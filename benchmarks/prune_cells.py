"""Cells of the pruning benchmark: one way, size and seed; kept in files, and as tables.

What was measured of a network is one file of JSON Lines, a line for each cell, in the order of
their names. A cell is written when its accuracy is known and again when it was timed.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, median

PLACES = ("eager 1", "eager 128", "onnxruntime 1", "onnxruntime 128")


@dataclass(frozen=True)
class Timing:
    """How fast a network is beside the dense one, both measured in turns.

    Attributes:
        dense_ms: Milliseconds of the dense network by "runtime batch".
        speed: Speed-up over the dense network in the same runtime, likewise; of 8 bits over
            the dense network in PyTorch, by "int8 batch".
    """

    dense_ms: dict[str, float]
    speed: dict[str, float]


@dataclass(frozen=True)
class Cell:
    """One way at one size, from one seed.

    Attributes:
        way: Its name.
        share: Of the MACs that was aimed at.
        seed: Of everything random.
        accuracy: On the test part; None where the way failed.
        validation: Accuracy on the validation part, where it is known.
        macs: Of an example.
        parameters: Of the network.
        allocation: Of units to layers, where whole units were cut.
        note: Why it failed, and what else there is to say.
        timing: How fast it is; None until it was timed.
    """

    way: str
    share: float
    seed: int
    accuracy: float | None
    macs: int
    parameters: int
    validation: float | None = None
    allocation: str | None = None
    note: str = ""
    timing: Timing | None = None

    @property
    def key(self) -> tuple[str, float, int]:
        """What no other cell of the network has."""
        return self.way, self.share, self.seed


class Cells:
    """The cells of a network in their file."""

    def __init__(self, folder: Path, data: str, net: str) -> None:
        self.path = folder / f"{data}-{net}.jsonl"

    def read(self) -> dict[tuple[str, float, int], Cell]:
        """Return all cells by their keys."""
        if not self.path.is_file():
            return {}
        found = (_cell(json.loads(line)) for line in self.path.read_text().splitlines())
        return {cell.key: cell for cell in found}

    def put(self, cell: Cell) -> None:
        """Add a cell, or replace the one of its key; the file is whole at any time."""
        cells = self.read() | {cell.key: cell}
        lines = [json.dumps(asdict(cells[key])) for key in sorted(cells)]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.path.with_suffix(".new")
        fresh.write_text("".join(f"{line}\n" for line in lines))
        fresh.replace(self.path)


def _cell(values: dict[str, object]) -> Cell:
    timing = values.pop("timing")
    return Cell(**values, timing=None if timing is None else Timing(**timing))  # type: ignore[arg-type]


def markdown(title: str, model: str, cells: list[Cell]) -> str:
    """Return a network's table: mean over seeds ± half their range, speed-ups' medians."""
    dense = [cell for cell in cells if cell.way == "dense"]
    if not dense:
        return ""
    found: dict[tuple[str, float], list[Cell]] = {}
    for cell in cells:
        found.setdefault((cell.way, cell.share), []).append(cell)
    own = {cell.seed: cell.accuracy for cell in dense}
    order = sorted(found, key=lambda key: (-key[1], key[0] != "dense", key[0]))
    lines = [
        f"**{title}**, `{model}`, {dense[0].macs / 1e6:.2f} M MACs{_milliseconds(cells)}",
        "",
        "| MACs | way | accuracy, % | lost, points | parameters | eager 1, 128 | ORT 1, 128 "
        "| seeds |",
        "|---|---|---|---|---|---|---|---|",
        *(_row(key, found[key], dense[0].macs, own) for key in order),
    ]
    return "\n".join(lines)


def _milliseconds(cells: list[Cell]) -> str:
    """Return the latencies of the dense network, medians over all that were timed with it."""
    times: dict[str, list[float]] = {}
    for cell in cells:
        for place, ms in (cell.timing.dense_ms if cell.timing else {}).items():
            times.setdefault(place, []).append(ms)
    told = (f"{place}: {median(times[place]):.3g} ms" for place in PLACES if place in times)
    return "".join(f", {text}" for text in told)


def _row(key: tuple[str, float], cells: list[Cell], whole: int, dense: dict[int, float]) -> str:
    way, share = key
    right = [cell for cell in cells if cell.accuracy is not None]
    if not right:
        return f"| {share:g} | {way} | fails: {cells[0].note} | | | | | {_seeds(cells)} |"
    fewer = whole / mean(cell.macs for cell in right)
    size = f"{mean(cell.parameters for cell in right) / 1e3:.1f} k"
    accuracy = _spread([100 * cell.accuracy for cell in right])
    pairs = [(dense[c.seed], c.accuracy) for c in right if c.seed in dense]
    lost = "" if way == "dense" else _spread([100 * (old - new) for old, new in pairs])
    eager, ort = _speeds(right)
    seeds = _seeds(right) if len(right) == len(cells) else f"{len(right)} of {len(cells)}"
    return (
        f"| {fewer:.1f}× fewer | {way} | {accuracy} | {lost} | {size} | {eager} | {ort} "
        f"| {seeds} |"
    )


def _seeds(cells: list[Cell]) -> str:
    return ", ".join(str(seed) for seed in sorted(cell.seed for cell in cells))


def _spread(values: list[float]) -> str:
    if not values:
        return ""
    half = (max(values) - min(values)) / 2
    return f"{mean(values):.1f}" + (f" ± {half:.1f}" if len(values) > 1 else "")


def _speeds(cells: list[Cell]) -> tuple[str, str]:
    timed = [cell.timing.speed for cell in cells if cell.timing]
    if not timed:
        return "", ""
    if "int8 1" in timed[0]:
        over = [f"{median(t[f'int8 {batch}'] for t in timed):.1f}×" for batch in (1, 128)]
        return "", ", ".join(over) + " over eager"
    told = [f"{median(t[place] for t in timed):.2f}×" for place in PLACES]
    return ", ".join(told[:2]), ", ".join(told[2:])
