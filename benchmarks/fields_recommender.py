"""Recommenders: ratings beside a truncated SVD, rankings beside popularity, on the same rows.

    python benchmarks/fields_recommender.py [--quick] [ratings] [rankings]

Ratings: `configs/movielens_mf.yaml` on its five folds; the plain methods are those of
`fields_tables.py` and get the validation part too. Rankings: `configs/movielens_rank.yaml`, the
last film of each user to be found among all that are new to him, with other losses and models
at the same setting (`--quick`: ours alone); plain are the most popular films and a truncated
SVD of the table of who has seen what, whose size the validation part chooses. Intervals are
over folds by Student's t; over users for rankings, where the lead is paired by user.
"""

import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import fields_tables
import numpy as np
import torch
from field_rows import FieldRow, show
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scores import CONFIGS, Silent
from sklearn.decomposition import TruncatedSVD
from timing import machine

from modelscale.commands.experiment import Experiment
from modelscale.commands.launching import Request
from modelscale.commands.train import train
from modelscale.data.item_table import ItemTable
from modelscale.data.loading import load, prepare
from modelscale.errors import InputMissing
from modelscale.evaluation.student import mean_over_seeds
from modelscale.spec.loader import load as load_spec

WHERE = "MovieLens-100k, last film"
TOWERS = "{kind: two_towers, factors: 64}"
SOFTMAX = ("loss=sampled_softmax", "optimizer.lr=2e-3")
VARIANTS: dict[str, tuple[str, ...]] = {
    "matrix factorisation, BPR": (),
    "NeuMF, BPR": (
        "model={kind: neural_factorisation, factors: 32, dropout: 0.2}",
        "optimizer.lr=2e-3",
    ),
    "matrix factorisation, softmax": SOFTMAX,
    "… without correction by log q": (*SOFTMAX, "loss.log_q=false"),
    "two towers, features, softmax": (
        *SOFTMAX,
        f"model={TOWERS}",
        "data.source=movielens_100k_features",
    ),
}
Places = NDArray[np.float64]


def gains(places: Places) -> Places:
    """Return each row's discounted gain among the first ten."""
    return np.where(places <= 10, 1 / np.log2(places + 1), 0.0)


def hits(places: Places) -> Places:
    """Return whether each row is among the first ten."""
    return (places <= 10).astype(float)


MEASURES = {"ndcg@10": gains, "hit@10": hits}


def ours(changes: tuple[str, ...]) -> tuple[Places, Places, int, float]:
    """Return the test rows' places, by model and by popularity, parameters and CPU seconds."""
    start = time.process_time()
    loaded = load_spec(CONFIGS / "movielens_rank.yaml", Experiment, changes)
    with tempfile.TemporaryDirectory() as folder:
        request = Request("train", loaded, "rank", Path(folder), ("rank",), threads=1)
        result = train(request, Silent())
        text = (result.run / "predictions-test.csv").read_text().splitlines()[1:]
    _, popular, model = np.array([line.split(",") for line in text], dtype=float).T
    seconds = time.process_time() - start
    return model, popular, result.document["model"]["parameters"], seconds


def places_of(score_UI: Places, table: ItemTable, part: str) -> Places:
    """Return the places of a part's rows by scores of users and items."""
    known = table.known(part).numpy()
    items = len(table.count_I)
    free_UI = score_UI.copy()
    free_UI[known // items, known % items] = -np.inf
    rows = table.rows[part]
    user_N, item_N = table.user_N[rows].numpy(), table.item_N[rows].numpy()
    own_N = score_UI[user_N, item_N]
    ahead = (free_UI[user_N] >= own_N[:, None]).sum(1) - (free_UI[user_N, item_N] >= own_N)
    return 1.0 + ahead


def plain_svd() -> Places:
    """Return the test rows' places by a truncated SVD of who has seen what."""
    spec = load_spec(CONFIGS / "movielens_rank.yaml", Experiment).spec
    loaded = load(spec.data, spec.task)
    table = prepare(loaded, 0, "codes", spec.data).items
    assert table is not None

    def scores(size: int, parts: tuple[str, ...]) -> Places:
        rows = torch.cat([table.rows[part] for part in parts])
        shape = (int(table.user_N.max()) + 1, len(table.count_I))
        pairs = (table.user_N[rows].numpy(), table.item_N[rows].numpy())
        seen_UI = csr_matrix((np.ones(len(rows)), pairs), shape=shape)
        svd = TruncatedSVD(size, random_state=0)
        return svd.fit_transform(seen_UI) @ svd.components_

    tried = {
        size: gains(places_of(scores(size, ("train",)), table, "validation")).mean()
        for size in (8, 16, 32, 64)
    }
    best = max(tried, key=lambda size: tried[size])
    return places_of(scores(best, ("train", "validation")), table, "test")


def mean_of(values: Places) -> tuple[float, float, float]:
    """Return a mean over users with its interval."""
    found = mean_over_seeds(values.tolist())
    return found.mean, found.low, found.high


def rankings(quick: bool) -> Iterator[FieldRow]:
    """Yield the rows of rankings: NDCG and hit rate at 10, ours and the plain ones first."""
    (name, changes), *others = VARIANTS.items()
    model, popular, parameters, seconds = ours(changes)
    for metric, score in MEASURES.items():
        head = ("recommender", WHERE, metric)
        yield FieldRow(*head, name, *mean_of(score(model)), parameters, seconds)
        for plain, places in (("most popular", popular), ("truncated SVD", plain_svd())):
            mean, low, high = mean_of(score(model) - score(places))
            lead = f"{mean:+.4f} [{low:+.4f}, {high:+.4f}]"
            yield FieldRow(*head, plain, *mean_of(score(places)), lead=lead)
    for name, changes in [] if quick else others:
        places, _, parameters, seconds = ours(changes)
        for metric, score in MEASURES.items():
            head = ("recommender", WHERE, metric, name)
            yield FieldRow(*head, *mean_of(score(places)), parameters, seconds)


def rows(quick: bool) -> Iterator[FieldRow]:
    """Yield the rows of all recommenders; data that is not there is left out."""
    wanted = [word for word in sys.argv[1:] if word in ("ratings", "rankings")]
    try:
        if not wanted or "ratings" in wanted:
            yield from fields_tables.compare(fields_tables.RATINGS, quick)
        if not wanted or "rankings" in wanted:
            yield from rankings(quick)
    except InputMissing as error:
        print(f"left out: {error}")


def main() -> None:
    torch.set_num_threads(1)
    print(machine())
    show(rows("--quick" in sys.argv))


if __name__ == "__main__":
    main()
