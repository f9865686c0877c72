"""Factorisations and rankings: hand formulas, scikit-learn, and the command line."""

import csv
import json

import numpy as np
import pytest
import torch
from command_line import cli
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from modelscale.data.ratings import ratings
from modelscale.evaluation.ranking import ranks_of, scores_at
from modelscale.models.base import ModelSpec
from modelscale.tensors import Inputs

few = settings(max_examples=60, deadline=None)


def built(choice, inputs, outputs=1):
    torch.manual_seed(0)
    network = ModelSpec.model_validate(choice).build(inputs, outputs)
    for parameter in network.parameters():  # biases begin with 0
        torch.nn.init.normal_(parameter)
    return network.eval()


# Networks


def test_matrix_factorisation_is_mean_plus_biases_plus_product():
    network = built({"kind": "matrix_factorisation", "factors": 3}, Inputs((2,), (5, 7)))
    user, item = 4, 2  # the last known user, and the second known item
    b, q = network.biases.table.weight, network.factors.table.weight
    expected = network.mean + b[3] + b[4 + 1] + (q[3] * q[4 + 1]).sum()
    torch.testing.assert_close(network(torch.tensor([[user, item]]).float())[0], expected)


def test_factorisation_machine_sums_the_products_of_all_pairs():
    network = built(
        {"kind": "factorisation_machine", "factors": 3}, Inputs((4,), categories=(3, 4))
    )
    x = torch.tensor([0.7, -2.0, 2.0, 3.0])
    vectors = [
        x[0] * network.number_factors[0],
        x[1] * network.number_factors[1],
        network.factors.table.weight[1],
        network.factors.table.weight[2 + 2],
    ]
    linear = x[:2] @ network.slopes + network.biases.table.weight[[1, 4]].sum(0)
    pairs = sum((vectors[i] * vectors[j]).sum() for i in range(4) for j in range(i))
    torch.testing.assert_close(network(x[None])[0], network.mean + linear + pairs)


@pytest.mark.parametrize("kind", ["matrix_factorisation", "factorisation_machine"])
def test_unknown_user_and_item_get_the_mean(kind):
    network = built(kind, Inputs((2,), categories=(5, 7)))
    torch.testing.assert_close(network(torch.zeros(1, 2))[0], network.mean)
    known_item = network(torch.tensor([[0.0, 3.0]]))[0]
    torch.testing.assert_close(known_item, network.mean + network.biases.table.weight[4 + 2])


def test_matrix_factorisation_says_what_it_reads():
    spec = ModelSpec.model_validate("matrix_factorisation")
    with pytest.raises(ValueError, match=r"two columns of categories, .* not 2 with 4 numbers"):
        spec.check(Inputs((6,), categories=(3, 4)))


# Rankings


@given(st.integers(0, 2**32 - 1), st.integers(3, 30), st.integers(1, 8))
@few
def test_ndcg_and_recall_match_sklearn_and_a_count(seed, items, k):
    rng = np.random.default_rng(seed)
    score_I = rng.permutation(items) / items
    relevant_I = rng.random(items) < 0.3
    relevant_I[0] = True
    places = ranks_of(
        torch.from_numpy(score_I), torch.from_numpy(relevant_I), torch.zeros(items).bool()
    )
    found = scores_at([places], k)
    expected = ndcg_score(relevant_I[None].astype(float), score_I[None], k=k)
    assert found[f"ndcg@{k}"].item() == pytest.approx(expected, abs=1e-6)
    top = np.argsort(-score_I)[:k]
    assert found[f"hit_rate@{k}"].item() == float(relevant_I[top].any())
    recall = relevant_I[top].sum() / relevant_I.sum()
    assert found[f"recall@{k}"].item() == pytest.approx(recall, abs=1e-6)


def test_items_had_before_do_not_compete_and_ties_gain_nothing():
    score_I = torch.tensor([0.9, 0.5, 0.5, 0.1])
    relevant_I = torch.tensor([False, True, False, True])
    none = torch.zeros(4).bool()
    assert ranks_of(score_I, relevant_I, none) == (3, 4)
    first_gone = torch.tensor([True, False, False, False])
    assert ranks_of(score_I, relevant_I, first_gone) == (2, 3)
    assert ranks_of(torch.full((4,), torch.nan), relevant_I, none) == (3, 4)


def test_users_without_relevant_items_do_not_count():
    assert scores_at([(1,), ()], 5)["hit_rate@5"].tolist() == [1.0]


# Data


def test_ratings_bring_what_is_known_of_user_and_item():
    read = ratings(
        [
            b"user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
            b"7\t1\t4\t100\n9\t2\t2\t50\n7\t2\t5\t200\n",
            b"user_id:token\tage:token\tgender:token\tzip_code:token\n7\t24\tM\t1\n9\t53\tF\t2\n",
            b"item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
            b"1\tA\t1995\tComedy Drama\n2\tB\t\tDrama\n",
        ]
    )
    assert list(read.columns) == [
        *("user_id", "item_id", "age", "gender", "release_year", "comedy", "drama")
    ]
    assert read.rating_N.tolist() == [4, 2, 5]
    assert read.time_N.tolist() == [100, 50, 200]
    assert read.columns["age"].tolist() == [24, 53, 24]
    assert read.columns["comedy"].tolist() == [1, 0, 0]
    np.testing.assert_array_equal(read.columns["release_year"], [1995, np.nan, np.nan])


# The command line


SPEC = """
version: 1
task: regression
data:
  source: {{kind: csv, path: {path}, target: stars}}
  split: {{test: 0.2, validation: 0.1, seed: 0}}
  columns: {{who: category, what: category}}
model: {{kind: {model}, factors: 4}}
optimizer: {{kind: adam, lr: 0.05}}
regularization: {{l2: 1e-4}}
train: {{epochs: 12, batch_size: 256, keep: last, cohort: 1}}
evaluate:
  resamples: 100
  ranking: {{user: who, item: what, k: [5, 20], relevant: 3}}
"""


def write_ratings(path, users=60, items=40, price=False):
    """Write ratings that follow two hidden factors, so that a factorisation can find them."""
    rng = np.random.default_rng(0)
    u, v = rng.normal(size=(users, 2)), rng.normal(size=(items, 2))
    rows = [
        [1000 + i, f"item {j}", *([j % 7] if price else []), round(2.5 + u[i] @ v[j], 3)]
        for i in range(users)
        for j in range(items)
        if rng.random() < 0.6
    ]
    with path.open("w", newline="") as stream:
        head = ["who", "what", *(["price"] if price else []), "stars"]
        csv.writer(stream).writerows([head, *rows])


@pytest.mark.parametrize("model", ["matrix_factorisation", "factorisation_machine"])
def test_ratings_of_a_file_are_learnt_and_ranked(tmp_path, model):
    write_ratings(tmp_path / "stars.csv", price=model == "factorisation_machine")
    (tmp_path / "s.yaml").write_text(SPEC.format(path=tmp_path / "stars.csv", model=model))
    trained = cli(tmp_path, "train", "s.yaml", "--json", "-q")
    assert trained.code == 0, trained.err
    test = trained.document["metrics"]["test"]["rmse"]["value"]
    assert test < 0.6 * trained.document["baseline"]["test"]["rmse"]
    measured = cli(tmp_path, "evaluate", trained.document["run"], "--json", "-q").document
    ranking = measured["ranking"]
    assert ranking["items"] == 40
    assert 40 <= ranking["users"] <= 60
    assert ranking["model"]["ndcg@5"]["value"] > ranking["popular"]["ndcg@5"]["value"] + 0.1
    assert set(ranking["model"]) == {
        f"{name}@{k}" for name in ("hit_rate", "ndcg", "recall") for k in (5, 20)
    }
    shown = cli(tmp_path, "evaluate", trained.document["run"], "-q")
    assert "most popular" in shown.out
    json.dumps(measured, allow_nan=False)


def test_column_that_does_not_exist_is_named(tmp_path):
    write_ratings(tmp_path / "stars.csv", users=20, items=10)
    text = SPEC.format(path=tmp_path / "stars.csv", model="matrix_factorisation")
    (tmp_path / "s.yaml").write_text(text.replace("item: what", "item: waht"))
    result = cli(tmp_path, "train", "s.yaml")
    assert result.code == 78
    assert "evaluate.ranking.item: no column 'waht'; did you mean 'what'?" in result.err


def test_declared_categories_may_be_many_and_go_to_models_that_can_hold_them(tmp_path):
    rows = [f"c{i % 11_000},{i % 5},{i % 3 + 0.5 * (i % 2)}" for i in range(22_000)]
    (tmp_path / "many.csv").write_text("\n".join(["who,what,y", *rows]) + "\n")
    spec = SPEC.format(path=tmp_path / "many.csv", model="matrix_factorisation")
    spec = spec.partition("evaluate:")[0].replace("stars", "y").replace("12", "1")
    (tmp_path / "s.yaml").write_text(spec)
    assert cli(tmp_path, "train", "s.yaml", "-q").code == 0
    result = cli(tmp_path, "train", "s.yaml", "-q", "--set", "model=linear")
    assert result.code == 78
    assert "as 0/1 inputs are too many" in result.err
