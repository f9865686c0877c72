"""Series and sensors beside scikit-learn's usual models, on the same rows.

    python benchmarks/fields_industry.py [--quick] [NAME …]

Each config is trained from several seeds (`--quick`: one). `one model` is the mean of the
seeds' scores with its interval by Student's t; `averaged` the score of their mean answer, with
a bootstrap interval over test rows. Baselines are fitted on the training and validation rows
of the same split, from as many seeds: extra trees on simple features of a series (mean,
deviation, quantiles, ends and slope of each channel), and for Shuttle an isolation forest,
which gets no labels either. `NAME+` trains the config with and without augmentation and gives
the mean difference, paired by seed.
"""

import csv
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scores import CONFIGS, Silent
from sklearn.ensemble import ExtraTreesClassifier, IsolationForest
from sklearn.metrics import accuracy_score, average_precision_score
from timing import machine

from modelscale.commands.experiment import Experiment
from modelscale.commands.launching import Request
from modelscale.commands.train import train
from modelscale.data.loading import LoadedData, load
from modelscale.data.targets import class_codes
from modelscale.data.windows import Windows
from modelscale.evaluation.student import mean_over_seeds
from modelscale.spec.loader import load as load_spec

Values = NDArray[np.float64]
NAMES = ("basic_motions", "japanese_vowels", "acsf1", "shuttle")
AUGMENTED = "data.augment=[{kind: jitter, std: 0.1}, {kind: scaling}]"
SEEDS = 5


class Trained(NamedTuple):
    """What training came to."""

    answers: list[Values]
    parameters: int
    seconds: float


def ours(name: str, seeds: int, *changes: str) -> Trained:
    """Train a config; return the answers of each seed for the test rows."""
    loaded = load_spec(CONFIGS / f"{name}.yaml", Experiment, (f"train.seeds={seeds}", *changes))
    start = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        request = Request(
            "train", loaded, name, Path(folder), ("fields_industry.py",), threads=1
        )
        result = train(request, Silent())
        found = sorted(result.run.rglob("predictions-test.csv"))
        answers = [probabilities(path) for path in found]
    seconds = time.process_time() - start
    return Trained(answers, result.document["model"]["parameters"], seconds)


def probabilities(path: Path) -> Values:
    """Return the class probabilities (N, C) of a table of predictions."""
    with path.open(newline="") as stream:
        head, *rows = csv.reader(stream)
    places = [i for i, name in enumerate(head) if name.startswith("p(")]
    return np.array([[float(row[i]) for i in places] for row in rows])


def features(windows: Windows) -> Values:
    """Return simple features of each window, (N, 9 · channels)."""
    found = []
    for start, length in zip(windows.start_N, windows.length_N, strict=True):
        x_DT = np.stack([c[start : start + length] for c in windows.columns.values()])
        slope_D = ((x_DT - x_DT.mean(1, keepdims=True)) * np.linspace(-1, 1, length)).mean(1)
        quantiles = np.quantile(x_DT, [0, 0.25, 0.5, 0.75, 1], axis=1)
        found.append(
            np.concatenate(
                [x_DT.mean(1), x_DT.std(1), *quantiles, x_DT[:, 0], x_DT[:, -1], slope_D]
            )
        )
    return np.array(found)


def baseline(loaded: LoadedData, seeds: int) -> list[float]:
    """Return the score of the usual model from each seed."""
    fold, raw = loaded.folds[0], loaded.raw
    known = np.concatenate([fold.train.numpy(), fold.validation.numpy()])
    y_N, test = class_codes(raw), fold.test.numpy()
    scores = []
    if raw.series is None:
        x_ND = np.stack([np.asarray(c) for c in raw.columns.values()], axis=1)
        for seed in range(seeds):
            forest = IsolationForest(random_state=seed).fit(x_ND[known])
            score_N = -forest.score_samples(x_ND[test])
            scores.append(float(average_precision_score(y_N[test], score_N)))
        return scores
    x_NF = features(raw.series)
    for seed in range(seeds):
        trees = ExtraTreesClassifier(500, random_state=seed).fit(x_NF[known], y_N[known])
        scores.append(float(trees.score(x_NF[test], y_N[test])))
    return scores


def score(name: str, y_N: Values, p_NC: Values) -> float:
    """Return average precision for Shuttle, accuracy for the others."""
    if name == "shuttle":
        return float(average_precision_score(y_N, p_NC[:, 1]))
    return float(accuracy_score(y_N, p_NC.argmax(1)))


def over_rows(name: str, y_N: Values, p_NC: Values) -> tuple[float, float]:
    """Return a 95 % bootstrap interval over test rows."""
    draw = np.random.default_rng(0)
    found = [
        score(name, y_N[rows], p_NC[rows])
        for rows in (draw.integers(len(y_N), size=len(y_N)) for _ in range(500))
    ]
    low, high = np.quantile(found, [0.025, 0.975])
    return float(low), float(high)


def told(values: list[float]) -> str:
    """Return a mean with its interval over seeds."""
    if len(values) < 2:
        return f"{values[0]:.4f}"
    found = mean_over_seeds(values, 0.95)
    return f"{found.value:.4f} ({found.low:.4f} – {found.high:.4f})"


def main() -> None:
    """Print a line for each contest."""
    words = sys.argv[1:]
    seeds = 1 if "--quick" in words else SEEDS
    names = [word for word in words if not word.startswith("--")] or list(NAMES)
    print(machine())
    for name in names:
        bare = name.removesuffix("+")
        spec = load_spec(CONFIGS / f"{bare}.yaml", Experiment).spec
        loaded = load(spec.data, spec.task)
        y_N = class_codes(loaded.raw)[loaded.folds[0].test.numpy()].astype(float)
        if name.endswith("+"):
            off = ours(bare, seeds, "data.augment=[]")
            on = ours(bare, seeds, AUGMENTED)
            gain = [
                score(bare, y_N, b) - score(bare, y_N, a)
                for a, b in zip(off.answers, on.answers, strict=True)
            ]
            print(f"{bare}: augmentation adds {told(gain)}, paired by seed", flush=True)
            continue
        found = ours(bare, seeds)
        mean_NC = np.mean(found.answers, axis=0)
        low, high = over_rows(bare, y_N, mean_NC)
        print(f"{bare}: {len(y_N)} test rows, {found.parameters:,} parameters")
        print(f"  one model  {told([score(bare, y_N, a) for a in found.answers])}")
        print(f"  averaged   {score(bare, y_N, mean_NC):.4f} ({low:.4f} – {high:.4f})")
        print(f"  baseline   {told(baseline(loaded, seeds))}")
        print(f"  {found.seconds / seeds:.1f} CPU seconds a model", flush=True)


if __name__ == "__main__":
    main()
