"""Rankings of chosen items: losses, drawn items, whole lists, splits, and the commands."""

import csv
import io
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from command_line import cli

from modelscale.data.loading import load, prepare
from modelscale.data.section import DataSection
from modelscale.losses.base import LossSpec
from modelscale.models.base import ModelSpec
from modelscale.optimizers.base import OptimizerSpec
from modelscale.optimizers.schedules.base import ScheduleSpec
from modelscale.tensors import Inputs
from modelscale.training.batches import Epoch
from modelscale.training.candidates import Candidates, scores_of
from modelscale.training.cohort import Cohort
from modelscale.training.plan import Regularization, TrainPlan
from modelscale.training.ranked import ranks
from modelscale.training.replica import Replica
from modelscale.training.step import Stepper

USERS, ITEMS = 40, 30


def write_clicks(path, seed=0):
    """Write which of two kinds of items a user likes, in time, some items more than others."""
    rng = np.random.default_rng(seed)
    lines = ["who,what,when"]
    for user in range(USERS):
        weight = np.exp(-np.arange(ITEMS) / 12) * np.where(
            np.arange(ITEMS) % 2 == user % 2, 1, 0.02
        )
        chosen = rng.choice(ITEMS, size=8, replace=False, p=weight / weight.sum())
        lines += [f"u{user},i{item},{time}" for time, item in enumerate(chosen)]
    path.write_text("\n".join(lines) + "\n")


def section_of(folder, **more):
    return DataSection.model_validate(
        {
            "source": {"kind": "csv", "path": folder / "clicks.csv", "time": "when"},
            "interactions": {"user": "who", "item": "what"},
            "split": "last",
            **more,
        }
    )


@pytest.fixture(scope="module")
def clicks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clicks")
    write_clicks(folder / "clicks.csv")
    return folder


@pytest.fixture(scope="module")
def data(clicks):
    section = section_of(clicks)
    return prepare(load(section), 0, "codes", section)


def replica(data, **loss):
    return Replica(
        model=ModelSpec.model_validate("matrix_factorisation"),
        loss=LossSpec.model_validate({"kind": "sampled_softmax", **loss}),
        optimizer=OptimizerSpec.model_validate("adam"),
        scheduler=ScheduleSpec.model_validate("constant"),
        regularization=Regularization(),
        plan=TrainPlan(),
        seed=3,
        data=data,
    )


# Losses


def test_bpr_is_the_mean_of_minus_log_sigmoid_of_differences():
    scores = torch.tensor([[2.0, 1.0, -1.0]])
    expected = -(math.log(1 / (1 + math.exp(-1))) + math.log(1 / (1 + math.exp(-3)))) / 2
    found = LossSpec.model_validate("bpr").per_example(scores, torch.zeros(1, 1))
    assert found.item() == pytest.approx(expected, rel=1e-6)


def test_softmax_takes_log_q_from_the_scores():
    loss = LossSpec.model_validate("sampled_softmax")
    scores, log_q = torch.tensor([[1.0], [0.5], [0.2]]), torch.tensor([[0.5, 0.3, 0.2]]).log()
    found = loss.per_example(scores_of(loss, scores, log_q), torch.zeros(1, 1))
    weight = [math.exp(s) / q for s, q in ((1.0, 0.5), (0.5, 0.3), (0.2, 0.2))]
    assert found.item() == pytest.approx(-math.log(weight[0] / sum(weight)), rel=1e-5)
    plain = loss.model_copy(update={"log_q": False})
    assert torch.equal(scores_of(plain, scores, log_q), scores.T)


# Drawn items


@pytest.mark.parametrize("draw", ["uniform", "popular"])
def test_drawn_items_are_new_to_the_user_and_follow_from_the_step(data, draw):
    one = replica(data, negatives=20, draw=draw)
    rows, table = one.rows[:64], data.items
    x, log_q = Candidates(one, 2).beside(data.x.take(rows), rows, 5, 0)
    again, _ = Candidates(one, 2).beside(data.x.take(rows), rows, 5, 0)
    other, _ = Candidates(one, 2).beside(data.x.take(rows), rows, 6, 0)
    assert torch.equal(x, again)
    assert not torch.equal(x, other)
    x_BCD = x.view(64, 21, 2)
    assert torch.equal(x_BCD[:, 0], data.x.take(rows))
    assert (x_BCD[..., 0] == x_BCD[:, :1, 0]).all()  # the user stays
    had = {tuple(pair) for pair in data.x.take(data.rows["train"]).tolist()}
    drawn = [tuple(pair) for pair in x_BCD[:, 1:].flatten(0, 1).tolist()]
    assert not had & set(drawn)
    share_I = table.count_I / table.count_I.sum()
    if draw == "popular":
        torch.testing.assert_close(log_q[:, 0], share_I.log()[table.item_N[rows]].float())


MODELS = (
    {"kind": "matrix_factorisation", "factors": 4},
    {"kind": "factorisation_machine", "factors": 4},
    {"kind": "two_towers", "factors": 4, "hidden": (8,), "dropout": 0.2},
    {"kind": "neural_factorisation", "factors": 4, "hidden": (8,), "dropout": 0.2},
    {"kind": "dlrm", "factors": 4, "top": (8,)},
)


def losses(replicas):
    """Return the losses of a few steps, by step and replica."""
    cohort, cpu, K = (
        Cohort.start(replicas, torch.device("cpu")),
        torch.device("cpu"),
        len(replicas),
    )
    cohort.network.train()
    stepper, epoch = Stepper(cohort), Epoch(replicas, [0] * K, cpu)
    return [stepper.take(epoch.batches(s), [s + 1] * K).losses for s in range(4)]


@pytest.mark.parametrize("model", MODELS, ids=lambda m: m["kind"])
def test_replicas_compare_the_same_items_alone_and_among_others(data, model):
    spec = ModelSpec.model_validate(model)
    some = [replace(replica(data, negatives=5), model=spec, seed=seed) for seed in (1, 2, 3)]
    together = torch.tensor(losses(some)).T
    alone = torch.stack([torch.tensor(losses([one])).squeeze(1) for one in some])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(alone[0], alone[1])


# Whole lists


def test_places_equal_a_count_by_hand(data):
    table, rows = data.items, data.rows["test"]
    by_item = torch.rand(
        USERS + 1, ITEMS + 1, generator=torch.Generator().manual_seed(0)
    ).round(decimals=1)
    found = ranks(data, lambda x: by_item[x[:, 0].long(), x[:, 1].long()], "test")
    assert found.rows.tolist() == sorted(rows.tolist())
    before = torch.cat([data.rows["train"], data.rows["validation"]])
    for row, model, popular in zip(
        found.rows.tolist(), found.model, found.popular, strict=True
    ):
        user, own = table.user_N[row], table.item_N[row]
        had = set(table.item_N[before][table.user_N[before] == user].tolist())
        user_code = int(data.x.take(torch.tensor([row]))[0, 0])
        score = {
            i: by_item[user_code, int(table.x_ID[i, 1])] for i in range(len(table.count_I))
        }
        rivals = [i for i in score if i not in had and i != int(own)]
        assert model.item() == 1 + sum(bool(score[i] >= score[int(own)]) for i in rivals)
        count = table.count_I
        assert popular.item() == 1 + sum(bool(count[i] >= count[own]) for i in rivals)


def test_measures_of_places_equal_hand_formulas():
    from modelscale.evaluation.metrics.base import MetricSpec

    places = torch.tensor([[1.0], [3.0], [10.0], [11.0]])
    expected = {
        "hit_rate": 3 / 4,
        "ndcg": (1 + 1 / 2 + 1 / math.log2(11)) / 4,
        "mrr": (1 + 1 / 3 + 1 / 10 + 1 / 11) / 4,
    }
    for kind, value in expected.items():
        metric = MetricSpec.model_validate(kind)
        assert metric.compute(places, places).item() == pytest.approx(value)
    assert MetricSpec.model_validate({"kind": "hit_rate", "k": 2}).label() == "hit_rate_2"


# Data


def test_last_split_takes_each_users_latest_rows(clicks, data):
    rows = list(csv.DictReader((clicks / "clicks.csv").read_text().splitlines()))
    for part, time in (("test", "7"), ("validation", "6")):
        assert [rows[i]["when"] for i in data.rows[part].tolist()] == [time] * USERS


def test_tables_of_users_and_items_are_joined_and_faults_are_named(clicks, tmp_path):
    items = tmp_path / "items.csv"
    items.write_text("what,sort,price\n" + "".join(f"i{i},s{i % 2},{i}\n" for i in range(25)))
    pair = {"user": "who", "item": "what", "items": items}
    section = section_of(clicks, interactions=pair)
    loaded = load(section)
    prepared = prepare(loaded, 0, "codes", section)
    assert set(prepared.preprocessing.item_columns) == {"what", "sort", "price"}
    # price, the mark of a missing price, who, sort, what
    assert len(prepared.inputs.of_item) == prepared.inputs.shape[0] - 1
    sort, price = loaded.raw.columns["sort"], loaded.raw.columns["price"]
    words = [loaded.raw.columns["what"].words[c] for c in loaded.raw.columns["what"].codes_N]
    for word, code, value in zip(words, sort.codes_N, price, strict=True):
        number = int(word[1:])
        assert (code < 0) == np.isnan(value) == (number >= 25)
        if number < 25:
            assert (sort.words[code], value) == (f"s{number % 2}", number)
    ignored = load(section_of(clicks, interactions=pair, columns={"sort": "ignore"}))
    assert "sort" not in ignored.raw.columns
    items.write_text("what,price\ni1,2\ni1,3\n")
    with pytest.raises(Exception, match="row 3: 'what' 'i1' has a row already"):
        load(section)


def test_two_towers_say_what_they_need():
    with pytest.raises(ValueError, match=r"data.interactions: \{user"):
        ModelSpec.model_validate("two_towers").check(Inputs((2,), categories=(3, 4)))


def test_two_towers_are_a_product_of_sums_plus_a_bias():
    inputs = Inputs((4,), categories=(3, 4, 5), of_item=(2, 3))  # number, user; item, sort
    network = ModelSpec.model_validate({"kind": "two_towers", "factors": 3}).build(inputs, 1)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter)
    x = torch.tensor([[0.7, 2.0, 3.0, 1.0]])
    user = network.of_user.table.table.weight[1] + 0.7 * network.of_user.slopes.weight[:, 0]
    of_item = network.of_item.table.table.weight
    item = of_item[2] + of_item[3 + 0]
    bias = network.biases.table.weight[[2, 3]].sum()
    torch.testing.assert_close(network(x)[0, 0], network.mean[0] + bias + user @ item)


# The command line

SPEC = """
version: 1
data:
  source: {{kind: csv, path: {path}, time: when}}
  interactions: {{user: who, item: what}}
  split: last
model: {{kind: matrix_factorisation, factors: 8}}
loss: {{kind: sampled_softmax, negatives: 8}}
optimizer: {{kind: adam, lr: 0.02}}
train: {{epochs: 30, batch_size: 64, monitor: ndcg, cohort: 1}}
evaluate: {{resamples: 100}}
"""


def trained(folder, clicks):
    (folder / "s.yaml").write_text(SPEC.format(path=clicks / "clicks.csv"))
    result = cli(folder, "train", "s.yaml", "--json", "-q", "--new")
    assert result.code == 0, result.err
    return result.document


def test_a_finished_run_is_measured_and_makes_lists(clicks, tmp_path):
    document = trained(tmp_path, clicks)
    ours, plain = document["metrics"]["test"], document["baseline"]["test"]
    assert ours["hit_rate"]["value"] > plain["hit_rate"] + 0.1
    measured = cli(tmp_path, "evaluate", document["run"], "--json", "-q").document
    again = measured["metrics"]["test"]["ndcg"]["value"]
    assert again == pytest.approx(ours["ndcg"]["value"])
    # One row a user: both ways to count agree.
    assert measured["ranking"]["model"]["ndcg@10"]["value"] == pytest.approx(
        measured["metrics"]["test"]["ndcg"]["value"]
    )
    (tmp_path / "users.csv").write_text("who\nu3\nu4\nu3\nnobody\n")
    made = cli(tmp_path, "predict", document["run"], "--data", "users.csv", "--top-k", "5")
    assert made.code == 0, made.err
    lists = list(csv.DictReader(io.StringIO(made.out)))
    assert [(row["who"], row["place"]) for row in lists] == [
        (user, str(place)) for user in ("u3", "u4", "nobody") for place in range(1, 6)
    ]
    rows = list(csv.DictReader((clicks / "clicks.csv").read_text().splitlines()))
    had = {(row["who"], row["what"]) for row in rows}
    assert not had & {(row["who"], row["what"]) for row in lists}
    liked = [row for row in lists if row["who"] == "u3" and int(row["what"][1:]) % 2 == 1]
    assert len(liked) >= 3
    (tmp_path / "pairs.csv").write_text("who,what\nu3,i1\nu3,i2\n")
    scored = cli(tmp_path, "predict", document["run"], "--data", "pairs.csv")
    assert scored.out.splitlines()[0] == "row,prediction(score)"


def test_lists_of_other_models_are_refused(workshop):
    result = cli(workshop, "predict", "wine", "--data", "new.csv", "--top-k", "3")
    assert result.code == 2
    assert "--top-k: needs a run whose spec has data.interactions" in result.err
