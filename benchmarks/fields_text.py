"""Texts: our configs beside the plain models of scikit-learn, on the same rows.

    python benchmarks/fields_text.py [--quick] [--language-model]

BBC News on five folds (`--quick`: the first), Reuters R8 on its published test part. The plain
models get the training and the validation part together, since they choose nothing: TF-IDF of
words (sublinear, known in at least two documents) with a linear SVM and with logistic
regression. The interval is Wilson's over all test rows of all folds together, the lead is
paired over these rows, with its standard error. `--language-model` adds tinyshakespeare beside
a plain loop over the same network and as many steps: loss and CPU time.
"""

import sys
import tempfile
import time
from math import sqrt
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scores import CONFIGS, Silent
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC
from timing import machine

from modelscale.commands.experiment import Experiment
from modelscale.commands.launching import Request
from modelscale.commands.train import Trained, train
from modelscale.data.loading import load, prepare
from modelscale.data.targets import class_codes, class_labels
from modelscale.errors import InputMissing
from modelscale.models.base import ModelSpec
from modelscale.spec.loader import load as load_spec

PLAIN = {
    "linear SVM": lambda: LinearSVC(),
    "logistic regression": lambda: LogisticRegression(C=30.0, max_iter=2000),
}


class Row(NamedTuple):
    """What one method came to on one data set."""

    method: str
    right: NDArray[np.bool_]
    parameters: int
    seconds: float


def ours(config: str, changes: tuple[str, ...] = ()) -> tuple[Trained, Path, float]:
    """Return a finished run of a config, its runs folder and its CPU seconds."""
    runs = Path(tempfile.mkdtemp(prefix="modelscale-text-"))
    start = time.process_time()
    loaded = load_spec(CONFIGS / f"{config}.yaml", Experiment, changes)
    request = Request("train", loaded, config, runs, ("train",), threads=1)
    done = train(request, Silent())
    return done, runs, time.process_time() - start


def right_of(run: Path, rows: list[NDArray[np.int64]]) -> NDArray[np.bool_]:
    """Return which test rows a run got right, fold after fold."""
    files = sorted(run.glob("members/*/predictions-test.csv"))
    found = []
    for file, wanted in zip(files or [run / "predictions-test.csv"], rows, strict=True):
        lines = [line.split(",")[:3] for line in file.read_text().splitlines()[1:]]
        assert [int(row) for row, _, _ in lines] == wanted.tolist()
        found.append(np.array([target == answer for _, target, answer in lines]))
    return np.concatenate(found)


def contest(config: str, changes: tuple[str, ...], folds: int) -> list[Row]:
    """Return all methods on a data set; ours first."""
    section = load_spec(CONFIGS / f"{config}.yaml", Experiment).spec.data
    loaded = load(section)
    cells = loaded.raw.columns["text"]
    texts = [cells.words[code] for code in cells.codes_N]
    classes_N = class_codes(loaded.raw, class_labels(loaded.raw))
    chosen = loaded.folds[:folds]
    tests = [fold.test.numpy() for fold in loaded.folds]
    done, _, seconds = ours(config, changes)
    right = right_of(done.run, tests)[: sum(len(fold.test) for fold in chosen)]
    rows = [Row("modelscale", right, done.document["model"]["parameters"], seconds)]
    for name, make in PLAIN.items():
        found, parameters = [], 0
        start = time.process_time()
        for fold in chosen:
            learn = torch.cat([fold.train, fold.validation]).numpy()
            vectors = TfidfVectorizer(sublinear_tf=True, min_df=2)
            model = make_pipeline(vectors, make()).fit(
                [texts[i] for i in learn], classes_N[learn]
            )
            test = fold.test.numpy()
            found.append(model.predict([texts[i] for i in test]) == classes_N[test])
            parameters = model[-1].coef_.size + model[-1].intercept_.size
        rows.append(Row(name, np.concatenate(found), parameters, time.process_time() - start))
    return rows


def interval(right: NDArray[np.bool_]) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a share."""
    n, p, z = len(right), right.mean(), 1.96
    middle, half = p + z * z / (2 * n), z * sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return (middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)


def show(title: str, rows: list[Row]) -> None:
    print(f"\n{title}: {len(rows[0].right)} test rows")
    print(f"{'':22}accuracy  95 % interval      our lead      parameters  CPU s")
    for row in rows:
        low, high = interval(row.right)
        lead = rows[0].right.astype(float) - row.right
        error = lead.std(ddof=1) / sqrt(len(lead))
        shown = "" if row is rows[0] else f"{lead.mean():+.4f} ± {error:.4f}"
        print(
            f"{row.method:22}{row.right.mean():.4f}    {low:.4f} – {high:.4f}  {shown:18}"
            f"{row.parameters:>9,}  {row.seconds:5.1f}"
        )


def plain_loop(changes: tuple[str, ...]) -> tuple[float, float]:
    """Return validation loss and CPU seconds of a hand-written loop over the same network."""
    spec = load_spec(CONFIGS / "shakespeare.yaml", Experiment, changes).spec
    start = time.process_time()
    data = prepare(load(spec.data), 0, "onehot", spec.data)
    torch.manual_seed(0)
    model: ModelSpec = spec.model
    network = model.build(data.inputs, data.targets)
    plan = spec.train
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=spec.optimizer.lr, betas=(0.9, 0.99), weight_decay=0.1
    )
    order = data.rows["train"][torch.randperm(len(data.rows["train"]))]
    batches = order.split(plan.batch_size)
    for step, rows in enumerate(batches, 1):
        factor = spec.scheduler.factor(step, len(batches), len(batches))
        optimizer.param_groups[0]["lr"] = spec.optimizer.lr * factor
        loss = network(data.x.take(rows)).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
    network.eval()
    with torch.no_grad():
        pieces = [network(data.x.take(r)) for r in data.rows["validation"].split(256)]
    return torch.cat(pieces).mean().item(), time.process_time() - start


def language_model(quick: bool) -> None:
    changes = ("data.source.stride=420",) if quick else ()
    done, _, seconds = ours("shakespeare", changes)
    bits = done.document["metrics"]["validation"]["bits_per_token"]["value"]
    loss, loop_seconds = plain_loop(changes)
    print("\ntinyshakespeare: nats a character on the validation part")
    print(f"modelscale  {bits * np.log(2):.4f}  {seconds:6.1f} CPU s, with all that a run does")
    print(f"plain loop  {loss:.4f}  {loop_seconds:6.1f} CPU s")


def main() -> None:
    quick = "--quick" in sys.argv
    torch.set_num_threads(1)
    print(machine())
    bbc = ("data.text.length=200", "train.epochs=5") if quick else ()
    for title, config, changes, folds in (
        ("BBC News", "bbc_news", bbc, 1 if quick else 5),
        ("Reuters R8", "reuters_r8", ("train.epochs=3",) if quick else (), 1),
    ):
        try:
            show(title, contest(config, changes, folds))
        except InputMissing as missing:
            print(f"\n{title}: left out: {missing}")
    if "--language-model" in sys.argv:
        language_model(quick)


if __name__ == "__main__":
    main()
