"""Test scores of the configs beside scikit-learn's usual models, on the same five folds.

    python benchmarks/scores.py [--quick]

Each config of `configs/` is trained on every fold from three seeds (mnist_5k: one; `--quick`:
one, and without mnist_5k), and a fold's score is the mean over seeds. scikit-learn's models get
the training and the validation part together, since they choose nothing with the latter;
logistic regression and ridge choose their penalty, and the SVM its C, by cross-validation
within these. `±` is the standard deviation over folds. The lead is paired by fold, with its
standard error: positive means that modelscale is better, for an accuracy as for an error.
"""

import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import mean, stdev
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegressionCV, RidgeCV
from sklearn.metrics import accuracy_score, root_mean_squared_error
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR
from timing import machine

from modelscale.commands.experiment import Experiment
from modelscale.commands.launching import Request
from modelscale.commands.train import train
from modelscale.data.loading import LoadedData, load
from modelscale.data.targets import class_codes
from modelscale.errors import InputMissing
from modelscale.spec.loader import load as load_spec

CONFIGS = Path(__file__).parent.parent / "configs"
FOLDS = "data.split={kind: kfold, folds: 5, validation: 0.1, seed: 0}"


class Contest(NamedTuple):
    """One data set, the configs that are measured on it, and from how many seeds."""

    data: str
    metric: str
    configs: tuple[str, ...]
    seeds: int


CONTESTS = (
    Contest("digits", "accuracy", ("digits_mlp", "digits_cnn"), 3),
    Contest("breast_cancer", "accuracy", ("breast_cancer",), 3),
    Contest("diabetes", "rmse", ("house_prices",), 3),
    Contest("mnist_5k", "accuracy", ("mnist_5k_resnet",), 1),
)


class Silent:
    """Hears nothing of a run but warnings."""

    def note(self, text: str) -> None:
        pass

    def detail(self, text: str) -> None:
        pass

    def warn(self, text: str) -> None:
        print(text, file=sys.stderr)

    @contextmanager
    def progress(self, *_: object) -> Iterator["Silent"]:
        yield self

    trials = progress

    def training(self, numbers: object, epoch: int, epochs: int) -> None:
        pass

    def ended(self, trial: object) -> None:
        pass

    def update(self, done: float, text: str = "") -> None:
        pass


def ours(config: str, contest: Contest) -> list[float]:
    """Return the mean test score over seeds, of each fold."""
    overrides = (FOLDS, f"train.seeds={contest.seeds}")
    loaded = load_spec(CONFIGS / f"{config}.yaml", Experiment, overrides)
    with tempfile.TemporaryDirectory() as folder:
        request = Request("train", loaded, config, Path(folder), ("scores.py",), threads=1)
        members = train(request, Silent()).document["members"]
    folds = sorted({member["fold"] for member in members})
    scores = {fold: [m for m in members if m["fold"] == fold] for fold in folds}
    return [
        mean(m["metrics"]["test"][contest.metric]["value"] for m in scores[f]) for f in folds
    ]


def baselines(loaded: LoadedData) -> dict[str, Pipeline | BaseEstimator]:
    """Return scikit-learn's models by name."""
    # Pixels have one scale already; a standardised pixel that is nearly always 0 is noise.
    scaler = "passthrough" if loaded.raw.array is not None else StandardScaler()
    grid = {"C": [1, 10, 100]}
    if loaded.task == "regression":
        return {
            "ridge": make_pipeline(scaler, RidgeCV(np.logspace(-2, 3, 26))),
            "SVM (RBF)": make_pipeline(scaler, GridSearchCV(SVR(), grid, cv=3)),
            "random forest": RandomForestRegressor(500, random_state=0),
        }
    logistic = LogisticRegressionCV(
        Cs=[0.01, 0.1, 1, 10], l1_ratios=(0,), cv=3, max_iter=500, use_legacy_attributes=False
    )
    return {
        "logistic regression": make_pipeline(scaler, logistic),
        "SVM (RBF)": make_pipeline(scaler, GridSearchCV(SVC(), grid, cv=3)),
        "random forest": RandomForestClassifier(500, random_state=0),
    }


def theirs(model: Pipeline | BaseEstimator, loaded: LoadedData, metric: str) -> list[float]:
    """Return the test score of each fold."""
    x_ND, y_N = arrays(loaded)
    measure = root_mean_squared_error if metric == "rmse" else accuracy_score
    scores = []
    for fold in loaded.folds:
        known = np.concatenate([fold.train.numpy(), fold.validation.numpy()])
        test = fold.test.numpy()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a solver that did not quite converge
            model.fit(x_ND[known], y_N[known])
        scores.append(float(measure(y_N[test], model.predict(x_ND[test]))))
    return scores


def arrays(loaded: LoadedData) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return inputs (N, D), images flattened with pixels up to 1, and targets (N,)."""
    raw = loaded.raw
    if raw.array is not None:
        x_ND = np.asarray(raw.array, dtype=np.float64).reshape(len(raw), -1)
        x_ND /= x_ND.max()
    else:
        x_ND = np.stack(list(raw.columns.values()), axis=1)
    return x_ND, class_codes(raw) if loaded.task == "classification" else raw.target


def compare(contest: Contest) -> None:
    """Measure one data set and print its rows."""
    spec = load_spec(CONFIGS / f"{contest.configs[0]}.yaml", Experiment, (FOLDS,)).spec
    loaded = load(spec.data, spec.task)
    mine = {config: ours(config, contest) for config in contest.configs}
    for config, scores in mine.items():
        show(contest, config, scores)
    sign = -1 if contest.metric == "rmse" else 1
    for name, model in baselines(loaded).items():
        scores = theirs(model, loaded, contest.metric)
        leads = {
            config: [sign * (a - b) for a, b in zip(own, scores, strict=True)]
            for config, own in mine.items()
        }
        show(contest, name, scores, leads)


def show(
    contest: Contest,
    name: str,
    scores: list[float],
    leads: dict[str, list[float]] | None = None,
) -> None:
    """Print a method's mean and spread over folds, and modelscale's leads over it."""
    told = "".join(
        f"  {config} {mean(lead):+.4f} ± {stdev(lead) / len(lead) ** 0.5:.4f}"
        for config, lead in (leads or {}).items()
    )
    head = f"{contest.data:15}{contest.metric:10}{name:21}"
    print(f"{head}{mean(scores):9.4f} ± {stdev(scores):.4f} {told}", flush=True)


def main() -> None:
    quick = "--quick" in sys.argv
    torch.set_num_threads(1)
    print(machine())
    print(f"{'data':15}{'metric':10}{'method':21}{'mean':>9}   spread   modelscale's lead")
    for contest in [c._replace(seeds=1) for c in CONTESTS[:3]] if quick else CONTESTS:
        try:
            compare(contest)
        except InputMissing as error:
            print(f"{contest.data:15}left out: {error}")


if __name__ == "__main__":
    main()
