"""Ensembles beside scikit-learn's usual models, on the same 2 × 5 folds.

    python benchmarks/ensembles.py [--quick] [--data NAME,…] [--methods NAME,…] [--keep FOLDER
        [--seconds S]] [--table]

Folds are those of `RepeatedStratifiedKFold(5, 2, random_state=0)` (`RepeatedKFold` for values).
Every method sees the training rows of a fold alone, for whatever it chooses. Accuracy and
log-loss, or RMSE: mean over the folds ± their standard deviation, and the CPU seconds of a
fold. `one model` is the spec of a data set from one seed. `folds` members are one model for
each of five inner folds; `vary` members are drawn from one space of models and rates, the same
for all tables but breast_cancer. How many there are is in `METHODS`; images get half as many or
fewer. `digits` has small convolutional networks as members, `digits_mlp` none but MLPs.

The specs of `digits` and `digits_mlp` and the space of `breast_cancer` were chosen by accuracy
and log-loss on held-out quarters of the training parts of fold 0 and of a fold of the second
repeat (the convolutions of `digits` on one quarter of fold 0), and are the same for all folds.
The test part of fold 0 played no part in that; rows of the other folds' test parts did.

Fold by fold, so that an early end leaves all methods with equally many.
`--quick`: the first two folds. `--keep` writes every fold's score into a folder, where the next
run goes on; `--seconds` ends a run early, and `--table` prints what is known as Markdown. What
has been measured so far is in `measured/ensembles` beside this file: `--keep` with that folder
goes on with it; where a method's code has changed, its folds are to be removed first.
"""

import argparse
import math
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from fold_scores import FoldScores, Score, cells, markdown, side_by_side
from numpy.typing import NDArray
from sklearn.model_selection import RepeatedKFold, RepeatedStratifiedKFold
from sklearn_models import measured, their_score, theirs
from timing import machine

from modelscale.commands.assembly import Assembly, assemble
from modelscale.commands.ensembling import rounds, soups, together, trajectory
from modelscale.commands.ensembling.finishing import data_of, files_of
from modelscale.commands.ensembling.judging import (
    Built,
    network_of,
    out_of_fold,
    targets_for,
)
from modelscale.commands.ensembling.workshop import Workshop
from modelscale.commands.experiment import Experiment
from modelscale.commands.measuring import predict, targets_of
from modelscale.data.splits.base import Fold
from modelscale.ensembling.temperature import fit_temperature
from modelscale.runs.folder import RunFolder
from modelscale.runs.record import RunFacts
from modelscale.spec.loader import load_text
from modelscale.training.artifact import load_model
from modelscale.training.determinism import pin
from modelscale.training.ensemble_artifact import load_predictor
from modelscale.training.stopping import StopRequest

TABLE = """
model: {kind: mlp, hidden: [64], dropout: 0.2, activation: silu}
optimizer: {kind: adamw, lr: 7e-3}
scheduler: cosine
regularization: {l2: 2e-3}
train: {epochs: 100, batch_size: 32, keep: last}
"""
SPECS = {
    "iris": TABLE,
    "wine": TABLE,
    "breast_cancer": TABLE,
    "diabetes": TABLE.replace("epochs: 100", "epochs: 40"),
    "digits": """
model: {kind: cnn, channels: [32, 64, 64], dropout: 0.1}
optimizer: {kind: adamw, lr: 1e-2, weight_decay: 0.05}
scheduler: one_cycle
train: {epochs: 20, batch_size: 64, keep: last}
""",
    "digits_mlp": """
model: {kind: mlp, hidden: [256, 256], dropout: 0.4}
optimizer: {kind: adamw, lr: 3e-3, weight_decay: 0.05}
scheduler: one_cycle
train: {epochs: 80, batch_size: 64, keep: last}
""",
}
SOURCES = {"digits_mlp": "digits"}
"""Where the name is not that of the data."""
NOWHERE = Path("runs")
"""A runs folder that no spec here asks for."""
VALUES = {"diabetes"}
"""Those with values as targets."""
AUGMENT = {"digits": ", augment: [{kind: rotate, degrees: 10}]"}
"""By source."""
VARY = """vary: {
  model: {choices: [linear, {kind: mlp, hidden: [32], dropout: 0.2, activation: silu},
    {kind: mlp, hidden: [64, 64], dropout: 0.3, activation: silu}]},
  regularization.l2: {low: 1e-4, high: 1e-1, log: true},
  optimizer.lr: {low: 2e-3, high: 2e-2, log: true}}"""
VARY_CANCER = """vary: {
  model: {choices: [linear, {kind: mlp, hidden: [64], dropout: 0.2, activation: silu},
    {kind: mlp, hidden: [64], dropout: 0.5, activation: tanh},
    {kind: mlp, hidden: [64, 64], dropout: 0.3, activation: silu}]},
  regularization.l2: {low: 3e-4, high: 1e-2, log: true},
  optimizer.lr: {low: 2e-3, high: 2e-2, log: true}}"""
VARY_IMAGES = """vary: {
  optimizer.lr: {low: 3e-3, high: 1.5e-2, log: true},
  model.dropout: {low: 0.1, high: 0.4}}"""
ONE_MODEL = "one model"
SHARED = "one model of 16 that share weights"
METHODS = {
    ONE_MODEL: "{kind: average, members: 16}",
    SHARED: "{kind: average, members: 2}",
    "average": "{kind: average, members: 16}",
    "average folds": "{kind: average, members: 4, folds: 5}",
    "bagging": "{kind: bagging, members: 16}",
    "boosting samme": "{kind: boosting, members: 8, method: samme, chains: 2}",
    "boosting gradient": "{kind: boosting, members: 12, method: gradient, chains: 2}",
    "snapshot": "{kind: snapshot, members: 5}",
    "soup": "{kind: soup, members: 8}",
    "greedy vary folds": "{kind: greedy, members: 16, folds: 5, VARY}",
    "stacking vary folds": "{kind: stacking, members: 16, folds: 5, VARY}",
    "average vary folds": "{kind: average, members: 16, folds: 5, VARY}",
}
SAME_MEMBERS = {method for method in METHODS if "vary" in method}
"""They combine the same members, which are trained once."""
SAME_SEEDS = {ONE_MODEL, "average"}
"""The first of an average's members is the one model."""
FLOWS = {
    "together": together.build,
    "rounds": rounds.build,
    "trajectory": trajectory.build,
    "soup": soups.build,
}


class Silent:
    """Hears nothing."""

    def note(self, text: str) -> None:
        pass

    detail = warn = note

    @contextmanager
    def progress(self, *_: object) -> Iterator["Silent"]:
        yield self

    def update(self, done: float, text: str = "") -> None:
        pass


class Ours:
    """One data set, read once; any method of ours on any fold."""

    def __init__(self, name: str) -> None:
        self.name, source = name, SOURCES.get(name, name)
        text = f"data: {{source: {source}, split: {{test: 0.2, validation: 0}}"
        self.text = text + AUGMENT.get(source, "") + "}" + SPECS[name]
        self.loaded = load_text(self.text, name, Experiment)
        assembly = assemble(self.loaded.spec, {}, torch.device("cpu"), NOWHERE)
        self.task = assembly.loaded.task
        data = data_of(assembly)
        self.y = targets_of(data, torch.arange(len(data.y)))
        self._trained: dict[tuple[bytes, bool], tuple[Built, float]] = {}

    def forget(self) -> None:
        """Let go of members that were kept for other methods on the same fold."""
        self._trained.clear()

    def section(self, method: str) -> str:
        """Return the `ensemble` section of a method; images get fewer and larger members."""
        text, vary = METHODS[method], VARY
        if SOURCES.get(self.name, self.name) == "digits":
            text = text.replace("members: 4", "members: 2").replace("members: 16", "members: 4")
            vary = VARY_IMAGES
        elif self.name == "breast_cancer":
            vary = VARY_CANCER
        return text.replace("VARY", vary).replace("\n", " ")

    def score(self, method: str, known: NDArray[np.int64], test: NDArray[np.int64]) -> Score:
        """Train a method on the known rows and measure it on the others."""
        section = self.section(method)
        words = (f"ensemble={section}", *(["model.members=16"] if method == SHARED else []))
        spec = load_text(self.text, self.name, Experiment, words).spec
        assembly = assemble(spec, {}, torch.device("cpu"), NOWHERE)
        train, validation = torch.from_numpy(known), torch.empty(0, dtype=torch.int64)
        if spec.ensemble.own_kind() == "soup":  # it needs rows to judge by
            seventh = torch.arange(len(train)) % 7 == 3
            train, validation = train[~seventh], train[seventh]
        fold = Fold(train, validation, torch.from_numpy(test))
        assembly.loaded = replace(assembly.loaded, folds=(fold,))
        assembly._prepared.clear()
        assembly.threads = 1
        start, key = time.process_time(), (known.tobytes(), method in SAME_SEEDS)
        if method in SAME_MEMBERS | SAME_SEEDS and key in self._trained:
            built, seconds = self._trained[key]
            start -= seconds
            if method in SAME_MEMBERS:
                built = combined_again(built, assembly)
        else:
            built = trained(assembly, self.text)
            if method in SAME_MEMBERS | SAME_SEEDS:
                self._trained[key] = built, time.process_time() - start
        data, warmth = data_of(assembly), None
        if self.task == "classification" and built.single is None and len(built.rows):
            warmth = fit_temperature(built.combined.held_out, targets_for(data, built.rows))
        if method in {ONE_MODEL, SHARED}:
            model = load_model(built.members[0].files)
            others = 1 - 1 / len(built.members)
            start += others * (time.process_time() - start)
        else:
            model = load_predictor(files_of(built, data, warmth))
        seconds = time.process_time() - start
        predictions = predict(model, data, fold.test)
        return Score(measured(predictions.numpy(), self.y[test].numpy()), seconds)


def trained(assembly: Assembly, text: str) -> Built:
    """Return the members of an ensemble, trained and combined."""
    with tempfile.TemporaryDirectory() as folder:
        run = RunFolder.open_or_create(Path(folder), "bench", "abcdef", b"", text, ("bench",))
        with run:
            run.begin_attempt(RunFacts())
            shop = Workshop(run, assembly, StopRequest(), Silent())
            built = FLOWS[assembly.experiment.ensemble.flow](shop)
            shop.close()
    return built


def combined_again(built: Built, assembly: Assembly) -> Built:
    """Return members that were trained for each inner fold, combined as another spec says."""
    folds, data = together.folds_of(assembly), data_of(assembly)
    choice = out_of_fold(
        network_of(built.members, data.task, built.group),
        data,
        [fold.held for fold in folds],
        [fold.learnt for fold in folds] * len(built.labels),
        assembly,
    )
    combined = assembly.experiment.ensemble.combine(choice.answers)
    return replace(built, combined=combined, scores=choice.scores())


def folds_of(ours: Ours) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Return (known, test) rows of every fold."""
    y = ours.y.numpy()
    if ours.task == "regression":
        return list(RepeatedKFold(n_splits=5, n_repeats=2, random_state=0).split(y))
    cut = RepeatedStratifiedKFold(n_splits=5, n_repeats=2, random_state=0)
    return list(cut.split(y, y))


def inputs_of(name: str) -> NDArray[np.float64]:
    """Return inputs (N, D), images flattened with pixels up to 1."""
    loaded = load_text(f"data: {{source: {name}}}\nmodel: linear", name, Experiment).spec
    raw = loaded.data.source.read()
    if raw.array is not None:
        pixels_ND = np.asarray(raw.array, dtype=np.float64).reshape(len(raw), -1)
        return pixels_ND / pixels_ND.max()
    return np.stack(list(raw.columns.values()), axis=1)


def compare(name: str, request: argparse.Namespace) -> None:
    """Measure what is not known yet of one data set."""
    ours = Ours(name)
    folds = list(enumerate(folds_of(ours)))[: 2 if request.quick else None]
    x, y = inputs_of(SOURCES.get(name, name)), ours.y.numpy()
    others = theirs(name, ours.task)
    for fold, rows in folds:
        for method in methods_of(name):
            wanted = not request.methods or method in request.methods
            if not wanted or fold in request.scores.of(name, method):
                continue
            if time.monotonic() > request.until:
                return
            if method in others:
                score = their_score(others[method](), x, y, *rows)
            else:
                score = ours.score(method, *rows)
            request.scores.add(name, method, fold, score)
            print(f"{name:15}{method:36}fold {fold}  {'  '.join(cells([score]))}", flush=True)
        ours.forget()


def methods_of(name: str) -> list[str]:
    """Return the names of all methods that suit a data set, ours first."""
    task = "regression" if name in VALUES else "classification"
    own = [m for m in METHODS if task == "classification" or "samme" not in m]
    own = [m for m in own if not name.startswith("digits") or m != SHARED]
    return own if name in SOURCES else own + list(theirs(name, task))


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--data", type=lambda text: text.split(","), default=list(SPECS))
    options.add_argument("--methods", type=lambda text: text.split(","))
    options.add_argument(
        "--keep", type=Path, help="folder of scores; what is in it is not redone"
    )
    options.add_argument("--seconds", type=float, default=math.inf, help="begin no fold after")
    options.add_argument("--table", action="store_true", help="print what is kept, as Markdown")
    options.add_argument("--quick", action="store_true", help="two folds")
    request = options.parse_args()
    request.scores = FoldScores(request.keep)
    request.until = time.monotonic() + request.seconds
    folds = 2 if request.quick else 10
    if request.table:
        every = dict.fromkeys(method for name in request.data for method in methods_of(name))
        print(side_by_side(request.data, every, request.scores, folds))
        return
    pin(1)
    print(machine())
    for name in request.data:
        compare(name, request)
    for name in request.data:
        print(markdown(name, methods_of(name), request.scores, folds) + "\n")


if __name__ == "__main__":
    main()
