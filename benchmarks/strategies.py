"""Strategies for little data: each with and without it, on the same rows, from several seeds.

    python benchmarks/strategies.py STRATEGY [--seeds N] [--first SEED] [--folder DIR]

STRATEGY is one of

- `text`, `transformer`: BBC News, 30 labels a class. `text_average` or `text_transformer`,
  pre-trained by masked symbols on all training texts, then all layers; without it, the same
  network from random weights, for as many epochs and for three times as many;
- `minilm`: the same rows, a linear probe of published weights over the first 64 symbols beside
  `text_average` from random weights;
- `vectors`: the same rows, published vectors of pieces of words, all of them trained, beside
  the same;
- `turned`, `contrast`: mnist_5k, five labels a class. Pre-training by rotation or by views on
  all training images;
- `classes`: mnist_5k, ten labels each of the digits 5 to 9. A network that was trained on the
  digits 0 to 4 begins, whole, as a linear probe and unfrozen layer by layer;
- `augmentation`: mnist_5k, a fifth as the test part: shifted and turned images, and mixed ones.

A seed draws which rows are labelled as well as the weights. Both sides of a pair see the same
rows, and the test rows are the same for all. The difference has Student's interval over seeds.
"""

import argparse
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from scores import Silent
from timing import machine

from modelscale.commands.experiment import Experiment
from modelscale.commands.launching import Request
from modelscale.commands.train import train
from modelscale.data.arrays import read_npz
from modelscale.data.loading import prepare_new
from modelscale.data.section import DataSection
from modelscale.data.targets import class_codes, class_labels
from modelscale.evaluation.student import mean_over_seeds
from modelscale.runs.checkpoints import read_checkpoint
from modelscale.runs.find import find_checkpoint
from modelscale.spec.loader import load_text
from modelscale.training.artifact import load_model


class Score(NamedTuple):
    """What one arm of a comparison came to."""

    arm: str
    seed: int
    accuracy: float
    seconds: float


def run(name: str, spec: dict[str, Any], folder: Path) -> tuple[float, float]:
    """Train, or go on; return the test accuracy (nan in pre-training) and the seconds."""
    loaded = load_text(json.dumps(spec), name, Experiment)
    request = Request("train", loaded, name, folder / "runs", ("train",), threads=1)
    done = train(request, Silent())
    document = done.document
    (folder / "newest").write_text(str(done.run))
    accuracy = document["metrics"].get("test", {}).get("accuracy", {"value": float("nan")})
    return accuracy["value"], document["seconds"]


def deal(codes: np.ndarray, test: float, labelled: int, seed: int) -> np.ndarray:
    """Return the part of each row: `test`, `train` (that many a class) or ``."""
    part = np.full(len(codes), "", dtype=object)
    for code in np.unique(codes):
        rows = np.random.default_rng(0).permutation(np.flatnonzero(codes == code))
        count = round(test * len(rows))
        part[rows[:count]] = "test"
        rest = np.random.default_rng(1 + seed).permutation(rows[count:])
        part[rest[:labelled]] = "train"
    return part


class Reader(NamedTuple):
    """A network for texts, and how it is trained.

    Attributes:
        model: Its section of the spec.
        length: Symbols of a text.
        rates: Learning rates of pre-training and of what follows.
        epochs: Likewise.
    """

    model: dict[str, Any]
    length: int
    rates: tuple[float, float]
    epochs: tuple[int, int]


AVERAGE = Reader(
    {"kind": "text_average", "width": 64, "dropout": 0.3}, 300, (1e-2, 3e-3), (30, 40)
)
TRANSFORMER = Reader(
    {"kind": "text_transformer", "width": 64, "blocks": 2}, 128, (2e-3, 1e-3), (20, 20)
)


def news() -> tuple[Any, np.ndarray]:
    """Return the texts of BBC News with their topics, as a frame, and their classes."""
    import pandas as pd

    raw = DataSection.model_validate({"source": "bbc_news"}).source.read()
    cells = raw.columns["text"]
    texts = [cells.words[code] for code in cells.codes_N]
    codes, labels = class_codes(raw), class_labels(raw)
    return pd.DataFrame({"text": texts, "topic": [labels[c] for c in codes]}), codes


def words(length: int) -> dict[str, Any]:
    """Return the part of a `data` section that says how texts become symbols."""
    tokenizer = {"kind": "words", "min_count": 3, "vocabulary": 8000}
    return {"text": {"tokenizer": tokenizer, "length": length}}


def labelled(folder: Path, frame: Any, codes: np.ndarray, seed: int) -> dict[str, Any]:
    """Write the rows that a seed labels and the test rows; return the section for them."""
    part = deal(codes, 0.25, 30, seed)
    path = folder / f"labelled-{seed}.csv"
    frame.assign(part=part)[part != ""].to_csv(path, index=False)
    source = {"kind": "csv", "path": str(path), "target": "topic", "part": "part"}
    return {"source": source, "split": "column", "columns": {"text": "text"}}


def text(seeds: range, folder: Path, reader: Reader = AVERAGE) -> Iterator[Score]:
    frame, codes = news()
    frame[deal(codes, 0.25, 0, 0) == ""][["text"]].to_csv(folder / "all.csv", index=False)
    symbols = words(reader.length)
    begun = {
        "data": {
            "source": {"kind": "csv", "path": str(folder / "all.csv")},
            "split": {"kind": "random", "test": 0, "validation": 0.05},
            "columns": {"text": "text"},
            **symbols,
        },
        "loss": "masked_symbols",
        "model": reader.model,
        "optimizer": {"kind": "adamw", "lr": reader.rates[0], "weight_decay": 0.01},
        "scheduler": {"kind": "cosine", "warmup": 0.05},
        "train": {"epochs": reader.epochs[0], "batch_size": 32, "keep": "last"},
    }
    _, spent = run("pre", begun, folder)
    print(f"{spent:.0f} s of pre-training", flush=True)
    for seed in seeds:
        data = labelled(folder, frame, codes, seed)
        for arm, model, epochs in (
            ("without", reader.model, reader.epochs[1]),
            ("without, three times as long", reader.model, 3 * reader.epochs[1]),
            ("with", {"from": "pre"}, reader.epochs[1]),
        ):
            spec = {
                "seed": seed,
                "data": data | ({} if "from" in model else symbols),
                "model": model,
                "optimizer": {"kind": "adamw", "lr": reader.rates[1], "weight_decay": 0.01},
                "scheduler": "cosine",
                "train": {"epochs": epochs, "batch_size": 16, "keep": "last"},
            }
            yield Score(arm, seed, *run("fine", spec, folder))


def minilm(seeds: range, folder: Path) -> Iterator[Score]:
    """Score a linear probe of published weights on the rows of `text`."""
    model = {"from": "minilm", "length": 64, "freeze": "body"}
    return published(seeds, folder, model, rate=1e-2, epochs=6)


def vectors(seeds: range, folder: Path) -> Iterator[Score]:
    """Score published vectors of pieces of words on the rows of `text`."""
    return published(seeds, folder, {"from": "wordllama"}, rate=3e-3, epochs=20)


def published(
    seeds: range, folder: Path, begun: dict[str, Any], *, rate: float, epochs: int
) -> Iterator[Score]:
    frame, codes = news()
    for seed in seeds:
        data = labelled(folder, frame, codes, seed)
        for arm, model, lr, passes in (
            ("without", AVERAGE.model, AVERAGE.rates[1], 40),
            ("with", begun, rate, epochs),
        ):
            symbols = {} if "from" in model else words(AVERAGE.length)
            spec = {
                "seed": seed,
                "data": data | symbols,
                "model": model,
                "optimizer": {"kind": "adamw", "lr": lr, "weight_decay": 0.01},
                "scheduler": "cosine",
                "train": {"epochs": passes, "batch_size": 16, "keep": "last"},
            }
            yield Score(arm, seed, *run("fine", spec, folder))


def transformer(seeds: range, folder: Path) -> Iterator[Score]:
    yield from text(seeds, folder, TRANSFORMER)


def digits() -> tuple[np.ndarray, np.ndarray]:
    """Return the images and the classes of mnist_5k."""
    raw = DataSection.model_validate({"source": "mnist_5k"}).source.read()
    return np.asarray(raw.array), class_codes(raw)


def images(path: Path, x: np.ndarray, codes: np.ndarray) -> dict[str, Any]:
    """Write images; return the `data` section that trains on all of them."""
    np.savez(path, x=x, y=codes)
    split = {"kind": "random", "test": 0, "validation": 0}
    return {"source": {"kind": "npz", "path": str(path)}, "split": split}


def score(folder: Path, x: np.ndarray, codes: np.ndarray) -> float:
    """Return the accuracy of the newest run's model on other images."""
    place = Path((folder / "newest").read_text())
    model = load_model(read_checkpoint(find_checkpoint(place)).files)
    np.savez(folder / "test.npz", x=x, y=codes)
    new = prepare_new(model.preprocessing, read_npz(folder / "test.npz"))
    pieces = torch.arange(len(codes)).split(256)
    answers = torch.cat([model.predictions(new.x.take(rows)).argmax(-1) for rows in pieces])
    return float((answers == new.y).double().mean())


RESNET = {"kind": "resnet", "width": 12, "blocks": 1, "stages": 3}
MOVED = [{"kind": "shift", "fraction": 0.08}, {"kind": "rotate", "degrees": 10}]


def turned(seeds: range, folder: Path) -> Iterator[Score]:
    return without_labels(seeds, folder, "rotation")


def contrast(seeds: range, folder: Path) -> Iterator[Score]:
    return without_labels(seeds, folder, "contrast")


def without_labels(seeds: range, folder: Path, loss: str) -> Iterator[Score]:
    x, codes = digits()
    held = deal(codes, 0.25, 0, 0) == "test"
    rest = np.flatnonzero(~held)
    begun = {
        "data": images(folder / "all.npz", x[rest], codes[rest]) | {"augment": MOVED},
        "loss": loss,
        "model": RESNET,
        "optimizer": {"kind": "adamw", "lr": 5e-3, "weight_decay": 0.05},
        "scheduler": "one_cycle",
        "train": {"epochs": 8, "batch_size": 64, "keep": "last"},
    }
    _, spent = run("pre", begun, folder)
    print(f"{spent:.0f} s of pre-training", flush=True)
    for seed in seeds:
        rows = deal(codes, 0.25, 5, seed) == "train"
        data = images(folder / f"few-{seed}.npz", x[rows], codes[rows]) | {"augment": MOVED}
        for arm, model, epochs in (
            ("without", RESNET, 60),
            ("without, three times as long", RESNET, 180),
            ("with", {"from": "pre"}, 60),
            ("with, layer_decay 0.5", {"from": "pre", "layer_decay": 0.5}, 60),
        ):
            _, seconds = run("fine", fine(seed, data, model, epochs), folder)
            yield Score(arm, seed, score(folder, x[held], codes[held]), seconds)


def classes(seeds: range, folder: Path) -> Iterator[Score]:
    x, codes = digits()
    low = codes < 5
    begun = fine(0, images(folder / "low.npz", x[low], codes[low]), RESNET, 12)
    begun["train"]["batch_size"] = 64
    begun["data"]["augment"] = MOVED
    _, spent = run("pre", begun, folder)
    print(f"{spent:.0f} s of training on the digits 0 to 4", flush=True)
    x, codes = x[~low], codes[~low]
    held = deal(codes, 0.4, 0, 0) == "test"
    for seed in seeds:
        rows = deal(codes, 0.4, 10, seed) == "train"
        data = images(folder / f"few-{seed}.npz", x[rows], codes[rows]) | {"augment": MOVED}
        for arm, model, epochs in (
            ("without", RESNET, 60),
            ("without, three times as long", RESNET, 180),
            ("with", {"from": "pre"}, 60),
            ("with, a linear probe", {"from": "pre", "freeze": "body"}, 60),
            ("with, unfreeze 10", {"from": "pre", "unfreeze": 10}, 60),
        ):
            _, seconds = run("fine", fine(seed, data, model, epochs), folder)
            yield Score(arm, seed, score(folder, x[held], codes[held]), seconds)


def fine(seed: int, data: dict[str, Any], model: dict[str, Any], epochs: int) -> dict[str, Any]:
    """Return the spec of a training with few labels."""
    rate = 3e-2 if model.get("freeze") == "body" else 5e-3
    return {
        "seed": seed,
        "data": data,
        "model": model,
        "optimizer": {"kind": "adamw", "lr": rate, "weight_decay": 0.05},
        "scheduler": "one_cycle",
        "train": {"epochs": epochs, "batch_size": 16, "keep": "last"},
    }


def augmentation(seeds: range, folder: Path) -> Iterator[Score]:
    x, codes = digits()
    for seed in seeds:  # here a seed draws the test part too
        test = np.zeros(len(codes), dtype=bool)
        for code in np.unique(codes):
            rows = np.random.default_rng(seed).permutation(np.flatnonzero(codes == code))
            test[rows[: len(rows) // 5]] = True
        data = images(folder / f"train-{seed}.npz", x[~test], codes[~test])
        for arm, augment in (
            ("without", []),
            ("mixup", ["mixup"]),
            ("shift, rotate", MOVED),
        ):
            spec = fine(seed, data | {"augment": augment}, RESNET, 12)
            spec["train"]["batch_size"] = 64
            _, seconds = run("fine", spec, folder)
            yield Score(arm, seed, score(folder, x[test], codes[test]), seconds)


STRATEGIES = {
    "text": text,
    "transformer": transformer,
    "minilm": minilm,
    "vectors": vectors,
    "contrast": contrast,
    "turned": turned,
    "classes": classes,
    "augmentation": augmentation,
}


def table(scores: list[Score]) -> str:
    """Return each arm's mean and its paired difference from the plain one before it."""
    lines, plain = [], ""
    for arm in dict.fromkeys(score.arm for score in scores):
        found = {score.seed: score for score in scores if score.arm == arm}
        mean = mean_over_seeds([score.accuracy for score in found.values()])
        spent = np.mean([score.seconds for score in found.values()])
        line = f"{arm:<46} {mean.mean:.4f}  {spent:6.1f} s"
        if arm.endswith("without"):
            plain = arm
        else:
            others = {score.seed: score.accuracy for score in scores if score.arm == plain}
            lead = mean_over_seeds([found[seed].accuracy - others[seed] for seed in found])
            line += f"  {lead.mean:+.4f} ({lead.low:+.4f} – {lead.high:+.4f})"
        lines.append(line)
    return "\n".join(lines)


def main() -> None:
    """Run one strategy and print every score, then the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("strategy", choices=STRATEGIES)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="kept, to go on there another time")
    asked = parser.parse_args()
    print(machine())
    folder = asked.folder or Path(tempfile.mkdtemp(prefix="modelscale-strategies-"))
    folder.mkdir(exist_ok=True)
    scores = []
    try:
        seeds = range(asked.first, asked.first + asked.seeds)
        for found in STRATEGIES[asked.strategy](seeds, folder):
            scores.append(found)
            print(json.dumps(found._asdict()), flush=True)
    finally:
        if asked.folder is None:
            shutil.rmtree(folder)
    print(table(scores))


if __name__ == "__main__":
    main()
