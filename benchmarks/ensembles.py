"""Ensembles beside scikit-learn's usual models, on the same 2 × 5 folds.

    python benchmarks/ensembles.py [--quick] [--ours] [--data NAME,…] [--methods NAME,…]

Folds are those of `RepeatedStratifiedKFold(5, 2, random_state=0)` (`RepeatedKFold` for values).
Every method sees the training rows of a fold alone, for whatever it chooses. Accuracy and
log-loss, or RMSE: mean over the folds ± their standard deviation, and the CPU seconds of a
fold. `one model` is the spec of a data set from one seed. `folds` members are one model for
each of five inner folds; `vary` members are drawn from one space of models and rates, the same
for all tables. How many there are is in `METHODS`; images get half as many or fewer.
`--quick`: the first two folds of the three smallest data sets; `--ours`: no scikit-learn.
"""

import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn import ensemble, linear_model, model_selection
from sklearn.base import BaseEstimator, is_classifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.metrics import log_loss
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR
from timing import machine

from modelscale.commands.assembly import assemble
from modelscale.commands.ensembling import rounds, soups, together, trajectory
from modelscale.commands.ensembling.finishing import data_of, files_of
from modelscale.commands.ensembling.judging import targets_for
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
model: {kind: mlp, hidden: [64], dropout: 0.2}
optimizer: {kind: adamw, lr: 3e-3, weight_decay: 0.1}
scheduler: cosine
regularization: {l2: 3e-3}
train: {epochs: 60, batch_size: 32, keep: last}
"""
SPECS = {
    "iris": TABLE,
    "wine": TABLE,
    "breast_cancer": TABLE,
    "diabetes": TABLE,
    "digits": """
model: {kind: cnn, channels: [32, 64], dropout: 0.2}
optimizer: {kind: adamw, lr: 3e-3, weight_decay: 0.05}
scheduler: one_cycle
train: {epochs: 20, batch_size: 64, keep: last}
""",
}
AUGMENT = {"digits": ", augment: [{kind: rotate, degrees: 10}]"}
VARY = """vary: {
  model: {choices: [linear, {kind: mlp, hidden: [32], dropout: 0.2},
    {kind: mlp, hidden: [64, 64], dropout: 0.2}]},
  regularization.l2: {low: 1e-3, high: 3e-2, log: true},
  optimizer.lr: {low: 1e-3, high: 1e-2, log: true}}"""
VARY_IMAGES = """vary: {
  optimizer.lr: {low: 1e-3, high: 6e-3, log: true},
  model.dropout: {low: 0.1, high: 0.4}}"""
ONE_MODEL = "one model"
METHODS = {
    ONE_MODEL: "{kind: average, members: 2}",
    "average": "{kind: average, members: 16}",
    "average, folds": "{kind: average, members: 4, folds: 5}",
    "bagging": "{kind: bagging, members: 16}",
    "boosting, samme": "{kind: boosting, members: 8, method: samme, chains: 2}",
    "boosting, gradient": "{kind: boosting, members: 12, method: gradient, chains: 2}",
    "snapshot": "{kind: snapshot, members: 5}",
    "soup": "{kind: soup, members: 8}",
    "greedy, vary, folds": "{kind: greedy, members: 12, folds: 5, VARY}",
    "stacking, vary, folds": "{kind: stacking, members: 12, folds: 5, VARY}",
    "average, vary, folds": "{kind: average, members: 12, folds: 5, VARY}",
}
FLOWS = {
    "together": together.build,
    "rounds": rounds.build,
    "trajectory": trajectory.build,
    "soup": soups.build,
}


class Score(NamedTuple):
    """What a method reaches on one fold.

    Attributes:
        values: Accuracy and log-loss, or RMSE.
        seconds: CPU time of training.
    """

    values: tuple[float, ...]
    seconds: float


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
        self.name = name
        text = f"data: {{source: {name}, split: {{test: 0.2, validation: 0}}"
        self.text = text + AUGMENT.get(name, "") + "}" + SPECS[name]
        self.loaded = load_text(self.text, name, Experiment)
        assembly = assemble(self.loaded.spec, {}, torch.device("cpu"))
        self.task = assembly.loaded.task
        data = data_of(assembly)
        self.y = targets_of(data, torch.arange(len(data.y)))

    def section(self, method: str) -> str:
        """Return the `ensemble` section of a method; images get fewer and larger members."""
        text = METHODS[method]
        if self.name == "digits":
            text = text.replace("members: 16", "members: 8").replace(
                "members: 12", "members: 3"
            )
            text = text.replace("members: 4", "members: 2").replace("VARY", VARY_IMAGES)
        return text.replace("VARY", VARY).replace("\n", " ")

    def score(self, method: str, known: NDArray[np.int64], test: NDArray[np.int64]) -> Score:
        """Train a method on the known rows and measure it on the others."""
        section = self.section(method)
        words = (f"ensemble={section}",)
        spec = load_text(self.text, self.name, Experiment, words).spec
        assembly = assemble(spec, {}, torch.device("cpu"))
        train, validation = torch.from_numpy(known), torch.empty(0, dtype=torch.int64)
        if spec.ensemble.own_kind() == "soup":  # it needs rows to judge by
            seventh = torch.arange(len(train)) % 7 == 3
            train, validation = train[~seventh], train[seventh]
        fold = Fold(train, validation, torch.from_numpy(test))
        assembly.loaded = replace(assembly.loaded, folds=(fold,))
        assembly._prepared.clear()
        assembly.threads = 1
        start = time.process_time()
        with tempfile.TemporaryDirectory() as folder:
            run = RunFolder.open_or_create(
                Path(folder), "bench", "abcdef", b"", self.text, ("bench",)
            )
            with run:
                run.begin_attempt(RunFacts())
                shop = Workshop(run, assembly, StopRequest(), Silent())
                built = FLOWS[spec.ensemble.flow](shop)
                shop.close()
        data, warmth = data_of(assembly), None
        if self.task == "classification" and built.single is None and len(built.rows):
            warmth = fit_temperature(built.combined.held_out, targets_for(data, built.rows))
        if method == ONE_MODEL:
            model = load_model(built.members[0].files)
            start += (time.process_time() - start) / 2  # two were trained
        else:
            model = load_predictor(files_of(built, data, warmth))
        seconds = time.process_time() - start
        predictions = predict(model, data, fold.test)
        return Score(measured(predictions.numpy(), self.y[test].numpy()), seconds)


def measured(predictions: NDArray[np.floating], y: NDArray[np.generic]) -> tuple[float, ...]:
    """Return accuracy and log-loss of probabilities (N, C), or RMSE of values (N, 1)."""
    if y.ndim == 2:
        return (float(np.sqrt(np.mean((predictions - y) ** 2))),)
    predictions = predictions.astype(np.float64)
    predictions /= predictions.sum(1, keepdims=True)
    right = float((predictions.argmax(1) == y).mean())
    return right, float(log_loss(y, predictions, labels=range(predictions.shape[1])))


def theirs(name: str, task: str) -> dict[str, Callable[[], BaseEstimator]]:
    """Return scikit-learn's models by name."""

    def scaled(model: BaseEstimator) -> BaseEstimator:
        return make_pipeline("passthrough" if name == "digits" else StandardScaler(), model)

    if task == "regression":
        five = [
            ("ridge", scaled(linear_model.RidgeCV(np.logspace(-2, 3, 26)))),
            ("svm", scaled(SVR(C=30))),
            ("forest", ensemble.RandomForestRegressor(300, random_state=0)),
            ("trees", ensemble.ExtraTreesRegressor(300, random_state=0)),
            ("boosting", ensemble.HistGradientBoostingRegressor(random_state=0)),
        ]
        mlp = scaled(MLPRegressor((64,), alpha=1.0, max_iter=1000, random_state=0))
        ada = ensemble.AdaBoostRegressor(n_estimators=100, random_state=0)
        stack = ensemble.StackingRegressor(five)
    else:
        logistic = linear_model.LogisticRegressionCV(
            Cs=[0.01, 0.1, 1, 10],
            l1_ratios=(0,),
            cv=3,
            max_iter=1000,
            scoring="neg_log_loss",
            use_legacy_attributes=False,
        )
        five = [
            ("logistic", scaled(logistic)),
            ("svm", scaled(CalibratedClassifierCV(SVC(C=10), ensemble=False))),
            ("forest", ensemble.RandomForestClassifier(500, random_state=0)),
            ("trees", ensemble.ExtraTreesClassifier(500, random_state=0)),
            ("boosting", ensemble.HistGradientBoostingClassifier(random_state=0)),
        ]
        mlp = scaled(MLPClassifier((64,), max_iter=1000, random_state=0))
        ada = ensemble.AdaBoostClassifier(n_estimators=100, random_state=0)
        stack = ensemble.StackingClassifier(five)
    names = ["logistic / ridge", "SVM (RBF)", "random forest", "extra trees", "hist. boosting"]
    models = dict(zip(names, (model for _, model in five), strict=True))
    models |= {"MLP": mlp, "AdaBoost": ada, "stack of five": stack}
    return {key: lambda m=model: m for key, model in models.items()}


def their_score(
    model: BaseEstimator,
    x: NDArray[np.float64],
    y: NDArray[np.generic],
    known: NDArray[np.int64],
    test: NDArray[np.int64],
) -> Score:
    """Fit a model of scikit-learn and measure it."""
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a solver that did not quite converge
        model.fit(x[known], y[known].ravel())
    seconds = time.process_time() - start
    if is_classifier(model):
        return Score(measured(model.predict_proba(x[test]), y[test]), seconds)
    return Score(measured(model.predict(x[test]).reshape(-1, 1), y[test]), seconds)


def folds_of(ours: Ours, quick: bool) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Return (known, test) rows of every fold."""
    y = ours.y.numpy()
    if ours.task == "regression":
        cut = model_selection.RepeatedKFold(n_splits=5, n_repeats=2, random_state=0).split(y)
    else:
        cut = model_selection.RepeatedStratifiedKFold(
            n_splits=5, n_repeats=2, random_state=0
        ).split(y, y)
    return list(cut)[: 2 if quick else None]


def inputs_of(name: str) -> NDArray[np.float64]:
    """Return inputs (N, D), images flattened with pixels up to 1."""
    loaded = load_text(f"data: {{source: {name}}}\nmodel: linear", name, Experiment).spec
    raw = loaded.data.source.read()
    if raw.array is not None:
        return np.asarray(raw.array, dtype=np.float64).reshape(len(raw), -1) / 16
    return np.stack(list(raw.columns.values()), axis=1)


def compare(name: str, wanted: list[str] | None, *, quick: bool, ours_only: bool) -> None:
    """Measure one data set and print its rows."""
    ours = Ours(name)
    folds = folds_of(ours, quick)
    for method in METHODS:
        if wanted and method.partition(",")[0] not in wanted:
            continue
        if ours.task == "regression" and "samme" in method:
            continue
        show(name, f"{method} *", [ours.score(method, *fold) for fold in folds])
    if ours_only:
        return
    x, y = inputs_of(name), ours.y.numpy()
    for method, make in theirs(name, ours.task).items():
        if not wanted or method in wanted:
            show(name, method, [their_score(make(), x, y, *fold) for fold in folds])


def show(data: str, method: str, scores: list[Score]) -> None:
    """Print a method's mean and spread over folds."""
    cells = ""
    for place in range(len(scores[0].values)):
        values = [score.values[place] for score in scores]
        digits = 2 if values[0] > 10 else 4
        cells += f"{mean(values):9.{digits}f} ± {stdev(values):.{digits}f}"
    seconds = mean(score.seconds for score in scores)
    print(f"{data:15}{method:32}{cells}{seconds:9.1f} s", flush=True)


def main() -> None:
    quick, ours_only = "--quick" in sys.argv, "--ours" in sys.argv
    pin(1)
    chosen = _option("--data") or list(SPECS)
    print(machine(), "  * modelscale")
    print(f"{'data':15}{'method':32}{'accuracy or RMSE':>18}{'log-loss':>18}{'CPU':>9}")
    for name in chosen[:3] if quick else chosen:
        compare(name, _option("--methods"), quick=quick, ours_only=ours_only)


def _option(name: str) -> list[str] | None:
    place = sys.argv.index(name) if name in sys.argv else None
    return None if place is None else sys.argv[place + 1].split(",")


if __name__ == "__main__":
    main()
