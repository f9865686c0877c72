"""Finance and health beside scikit-learn's usual models, on the same folds.

    python benchmarks/fields_tables.py [--quick] [CONFIG …]

Each config is trained on every fold of its own split from several seeds (`--quick`: one).
`one model` is a fold's mean over seeds, `mean answer` the score of the mean of the seeds'
answers.
scikit-learn's models get the training and the validation part together; logistic regression
chooses its penalty by cross-validation within these, and missing cells become the median
beside a column that says so. For ratings (`fields_recommender.py`), `biases` is a ridge
regression on users and items, and `SVD` a truncated SVD of what it leaves over. Intervals are
95 % by Student's t over folds. The lead is that of the mean answer, paired by fold; positive
means that modelscale is better, for errors too.
"""

import csv
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from field_rows import FieldRow, show
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scores import CONFIGS, Silent
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import TruncatedSVD
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegressionCV, Ridge
from sklearn.metrics import (
    accuracy_score,
    matthews_corrcoef,
    roc_auc_score,
    root_mean_squared_error,
)
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from timing import machine

from modelscale.commands.experiment import Experiment
from modelscale.commands.launching import Request
from modelscale.commands.train import train
from modelscale.data.loading import LoadedData, load
from modelscale.data.raw import Texts
from modelscale.data.targets import class_codes
from modelscale.errors import InputMissing
from modelscale.evaluation.student import mean_over_seeds
from modelscale.spec.loader import load as load_spec

Values = NDArray[np.float64]


class Contest(NamedTuple):
    """A config, how it is measured, and from how many seeds it is trained."""

    field: str
    config: str
    metric: str
    seeds: int


CONTESTS = (
    Contest("finance", "german_credit", "roc_auc", 5),
    Contest("health", "heart_failure", "mcc", 5),
    Contest("health", "heart_disease", "accuracy", 5),
    Contest("health", "breast_cancer", "accuracy", 5),
)
RATINGS = Contest("recommender", "movielens_mf", "rmse", 2)
METRICS: dict[str, Callable[[Values, Values], float]] = {
    "roc_auc": lambda y_N, p_NC: float(roc_auc_score(y_N, p_NC[:, 1])),
    "mcc": lambda y_N, p_NC: float(matthews_corrcoef(y_N, p_NC.argmax(1))),
    "accuracy": lambda y_N, p_NC: float(accuracy_score(y_N, p_NC.argmax(1))),
    "rmse": lambda y_N, p_NC: float(root_mean_squared_error(y_N, p_NC[:, 0])),
}


class Fold(NamedTuple):
    """Rows that a baseline learns from, and rows that it is tested on."""

    known: NDArray[np.int64]
    test: NDArray[np.int64]


class Ours(NamedTuple):
    """What training came to."""

    one: list[float]
    averaged: list[float]
    parameters: int
    seconds: float


def ours(contest: Contest, y_N: Values) -> Ours:
    """Return each fold's score, of one model and of the seeds' mean answer."""
    overrides = (f"train.seeds={contest.seeds}",)
    loaded = load_spec(CONFIGS / f"{contest.config}.yaml", Experiment, overrides)
    start = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        request = Request(
            "train", loaded, contest.config, Path(folder), ("fields_tables.py",), threads=1
        )
        result = train(request, Silent())
        answers: dict[int, list[Values]] = {}
        rows: dict[int, NDArray[np.int64]] = {}
        for member in result.document["members"]:
            path = result.run / "members" / member["label"] / "predictions-test.csv"
            fold = member["fold"]
            rows[fold], answer = read_answers(path)
            answers.setdefault(fold, []).append(answer)
    metric = METRICS[contest.metric]
    one, averaged = [], []
    for fold in sorted(rows):
        true = y_N[rows[fold]]
        one.append(float(np.mean([metric(true, a) for a in answers[fold]])))
        averaged.append(metric(true, np.mean(answers[fold], axis=0)))
    seconds = time.process_time() - start
    return Ours(one, averaged, result.document["model"]["parameters"], seconds)


def read_answers(path: Path) -> tuple[NDArray[np.int64], Values]:
    """Return rows and answers (N, C) or (N, 1) of a file of predictions."""
    with path.open(newline="") as stream:
        head, *lines = csv.reader(stream)
    wanted = [i for i, name in enumerate(head) if name.startswith(("p(", "prediction("))]
    rows = np.array([int(line[0]) for line in lines])
    return rows, np.array([[float(line[i]) for i in wanted] for line in lines])


def classifiers(numeric: list[int], category: list[int]) -> dict[str, Pipeline]:
    """Return scikit-learn's models by name, for columns at these places."""

    def columns() -> ColumnTransformer:
        numbers = make_pipeline(
            SimpleImputer(strategy="median", add_indicator=True), StandardScaler()
        )
        words = OneHotEncoder(handle_unknown="ignore")
        return ColumnTransformer([("n", numbers, numeric), ("c", words, category)])

    logistic = LogisticRegressionCV(
        Cs=[0.01, 0.1, 1, 10], l1_ratios=(0,), cv=3, max_iter=500, use_legacy_attributes=False
    )
    forest = RandomForestClassifier(500, random_state=0)
    return {
        "logistic regression": make_pipeline(columns(), logistic),
        "random forest": make_pipeline(columns(), forest),
    }


def of_table(loaded: LoadedData, folds: list[Fold]) -> dict[str, list[Values]]:
    """Return the answers of scikit-learn's classifiers, by fold."""
    raw, y_N = loaded.raw, class_codes(loaded.raw)
    table_ND = np.empty((len(raw), len(raw.columns)), dtype=object)
    category = []
    for place, cells in enumerate(raw.columns.values()):
        if isinstance(cells, Texts):
            category.append(place)
            table_ND[:, place] = [
                cells.words[c] if c >= 0 else "missing" for c in cells.codes_N
            ]
        else:
            table_ND[:, place] = cells
    numeric = [i for i in range(table_ND.shape[1]) if i not in category]
    found: dict[str, list[Values]] = {}
    for name, model in classifiers(numeric, category).items():
        for fold in folds:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a solver that did not quite converge
                model.fit(table_ND[fold.known], y_N[fold.known])
            found.setdefault(name, []).append(model.predict_proba(table_ND[fold.test]))
    return found


def of_ratings(loaded: LoadedData, folds: list[Fold]) -> dict[str, list[Values]]:
    """Return the answers of plain recommenders, by fold."""
    raw = loaded.raw
    user_N, item_N = (raw.columns[n].codes_N for n in ("user_id", "item_id"))
    users, items = int(user_N.max()) + 1, int(item_N.max()) + 1
    N = len(raw)
    place_2N = np.concatenate([user_N, users + item_N])
    onehot_NF = csr_matrix((np.ones(2 * N), (np.tile(np.arange(N), 2), place_2N)))
    y_N = np.asarray(raw.target)
    found: dict[str, list[Values]] = {"biases": [], "SVD": []}
    for known, test in folds:
        ridge = Ridge(alpha=5.0).fit(onehot_NF[known], y_N[known])
        rest = y_N[known] - ridge.predict(onehot_NF[known])
        left_UI = csr_matrix((rest, (user_N[known], item_N[known])), shape=(users, items))
        svd = TruncatedSVD(12, random_state=0)
        left_UF = svd.fit_transform(left_UI)
        biases = ridge.predict(onehot_NF[test])
        more = (left_UF[user_N[test]] * svd.components_.T[item_N[test]]).sum(1)
        found["biases"].append(biases[:, None])
        found["SVD"].append((biases + more)[:, None])
    return found


def compare(contest: Contest, quick: bool) -> Iterator[FieldRow]:
    """Measure one config and yield its rows."""
    contest = contest._replace(seeds=1) if quick else contest
    spec = load_spec(CONFIGS / f"{contest.config}.yaml", Experiment).spec
    loaded = load(spec.data, spec.task)
    ratings = contest.metric == "rmse"
    y_N = np.asarray(loaded.raw.target) if ratings else class_codes(loaded.raw)
    mine = ours(contest, y_N)

    def row(method: str, scores: list[float], **more: Any) -> FieldRow:
        mean = mean_over_seeds(scores)
        head = (contest.field, contest.config, contest.metric, method)
        return FieldRow(*head, mean.mean, mean.low, mean.high, **more)

    one = f"{spec.model.own_kind()}, one model"
    yield row(one, mine.one, parameters=mine.parameters, seconds=mine.seconds)
    yield row(f"mean answer of {contest.seeds} seeds", mine.averaged)
    folds = [
        Fold(np.concatenate([f.train.numpy(), f.validation.numpy()]), f.test.numpy())
        for f in loaded.folds
    ]
    sign = -1 if ratings else 1
    for name, answers in (of_ratings if ratings else of_table)(loaded, folds).items():
        scores = [
            METRICS[contest.metric](y_N[fold.test], answer)
            for fold, answer in zip(folds, answers, strict=True)
        ]
        lead = [sign * (a - b) for a, b in zip(mine.averaged, scores, strict=True)]
        by = mean_over_seeds(lead)
        yield row(name, scores, lead=f"{by.mean:+.4f} [{by.low:+.4f}, {by.high:+.4f}]")


def rows(quick: bool) -> Iterator[FieldRow]:
    """Yield the rows of all tables; data that is not there is left out."""
    names = [contest.config for contest in CONTESTS]
    wanted = [word for word in sys.argv[1:] if word in names]
    for contest in CONTESTS:
        if wanted and contest.config not in wanted:
            continue
        try:
            yield from compare(contest, quick)
        except InputMissing as error:
            print(f"{contest.config}: left out: {error}")


def main() -> None:
    torch.set_num_threads(1)
    print(machine())
    show(rows("--quick" in sys.argv))


if __name__ == "__main__":
    main()
