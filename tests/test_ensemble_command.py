"""`modelscale ensemble` as a user runs it: every method, both ways in, and what it says."""

import csv
import json

import numpy as np
import pytest
import torch
from command_line import cli
from ensemble_story import made, prepared
from sklearn.metrics import accuracy_score, log_loss

from modelscale.data.sources.base import SourceSpec
from modelscale.ensembling.methods.base import EnsembleSpec
from modelscale.runs.checkpoints import read_checkpoint
from modelscale.training.ensemble_artifact import load_members

FEW = {
    "snapshot": "members: 2",
    "stacking": "members: 3, folds: 2",
    "greedy": "members: 3, folds: 2",
}
METHODS = [
    *[f"{{kind: {kind}, {FEW.get(kind, 'members: 3')}}}" for kind in EnsembleSpec.kinds()],
    "{kind: boosting, members: 3, method: gradient, chains: 2}",
    "{kind: average, members: 2, folds: 3}",
    "{kind: stacking, members: 2, folds: 2, meta: network, hidden: 4}",
    "{kind: soup, members: 3, choose: uniform}",
    "{kind: greedy, members: 3, folds: null, metric: accuracy}",
]


def in_tiers(sections, fast):
    """Return sections as parameters of which only some are in the fast tier."""
    slow = pytest.mark.slow
    return [
        section if place in fast else pytest.param(section, marks=slow)
        for place, section in enumerate(sections)
    ]


@pytest.fixture(scope="module")
def workshop(tmp_path_factory):
    return prepared(tmp_path_factory.mktemp("ensembles"))


def table_of(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_methods_cover_every_kind():
    assert {m.split("kind: ")[1].split(",")[0] for m in METHODS} == set(EnsembleSpec.kinds())


class TestEveryMethod:
    @pytest.mark.parametrize("section", in_tiers(METHODS, fast=(0, 4)))
    def test_checkpoint_answers_what_the_document_says(self, workshop, section):
        document = made(workshop, "wine.yaml", section)
        run = workshop / document["run"]
        again = cli(
            workshop, "evaluate", run, "--metrics", "accuracy,log_loss", "--json", "-q"
        ).document
        for name in ("accuracy", "log_loss"):
            assert again["metrics"]["test"][name] == document["metrics"]["test"][name]
        table = table_of(run / "predictions-test.csv")
        columns = [c for c in table[0] if c.startswith("p(")]
        shares = np.array([[float(row[c]) for c in columns] for row in table])
        names = [c[2:-1] for c in columns]
        truth = [names.index(row["target"]) for row in table]
        value = {n: document["metrics"]["test"][n]["value"] for n in ("accuracy", "log_loss")}
        assert value["accuracy"] == pytest.approx(accuracy_score(truth, shares.argmax(1)))
        assert value["log_loss"] == pytest.approx(
            log_loss(truth, shares / shares.sum(1, keepdims=True), labels=range(len(names))),
            rel=1e-3,
        )
        entry = document["comparison"]["test"]["accuracy"]
        assert entry["over_best"]["value"] == pytest.approx(
            value["accuracy"] - entry["best_member"]
        )
        assert document["verdict"]
        assert document["worth_it"] in {True, False, None}

    @pytest.mark.slow
    @pytest.mark.parametrize(
        "section", [METHODS[0], METHODS[1], "boosting", "snapshot", METHODS[5]]
    )
    def test_values_work_too(self, workshop, section):
        if section == "snapshot":
            section = "{kind: snapshot, members: 2}"
        document = made(workshop, "diabetes.yaml", section)
        assert (
            document["metrics"]["test"]["rmse"]["value"]
            < document["baseline"]["test"]["rmse"] * 1.2
        )
        assert document["calibration"] is None

    def test_same_command_again_reports_and_leaves_alone(self, workshop):
        section = "{kind: average, members: 3}"
        first = made(workshop, "wine.yaml", section)
        run = workshop / first["run"]
        before = {p: p.stat().st_mtime_ns for p in run.rglob("*") if p.is_file()}
        assert made(workshop, "wine.yaml", section) == first
        assert {p: p.stat().st_mtime_ns for p in run.rglob("*") if p.is_file()} == before


class TestWhatIsSaid:
    def test_members_that_vary_are_drawn_within_their_space_and_differ(self, workshop):
        section = (
            "{kind: average, members: 4,"
            " vary: {optimizer.lr: {low: 1e-3, high: 1e-1, log: true},"
            " model.dropout: {low: 0.05, high: 0.3}}}"
        )
        document = made(workshop, "wine.yaml", section)
        rates = [member["params"]["optimizer.lr"] for member in document["members"]]
        assert len(set(rates)) == 4
        assert all(1e-3 <= rate <= 1e-1 for rate in rates)
        plan = json.loads((workshop / document["run"] / "cohorts-members.json").read_text())
        assert sum(map(len, plan["cohorts"])) == 4

    @pytest.mark.slow
    def test_settings_of_a_small_space_are_all_taken(self, workshop):
        section = "{kind: average, members: 4, vary: {model.hidden: {choices: [[4], [12]]}}}"
        document = made(workshop, "wine.yaml", section)
        sizes = [member["params"]["model.hidden"] for member in document["members"]]
        assert sizes == [[4], [12], [4], [12]]

    def test_best_member_is_chosen_on_validation_rows_alone(self, workshop):
        document = made(workshop, "wine.yaml", "{kind: average, members: 3}")
        scores = {m["label"]: m["score"] for m in document["members"]}
        losses = {
            m["label"]: m["metrics"]["validation"]["log_loss"] for m in document["members"]
        }
        assert (
            document["best_member"]
            == max(scores, key=scores.get)
            == min(losses, key=losses.get)
        )
        assert document["selection"]["origin"] == "validation"

    def test_mean_member_is_the_mean_of_the_members(self, workshop):
        document = made(workshop, "wine.yaml", "{kind: average, members: 3}")
        every = [m["metrics"]["test"]["log_loss"] for m in document["members"]]
        entry = document["comparison"]["test"]["log_loss"]
        assert entry["mean_member"] == pytest.approx(np.mean(every))
        curve = document["curve"]["test"]
        assert [point["members"] for point in curve] == [1, 2, 3]

    def test_folds_hold_every_training_row_out_once(self, workshop):
        document = made(workshop, "wine.yaml", "{kind: greedy, members: 3, folds: 2}")
        assert document["selection"]["origin"] == "out-of-fold"
        assert document["models"] == 6
        assert document["selection"]["rows"] >= 90

    @pytest.mark.slow
    @pytest.mark.parametrize("bags", [0, 5])
    def test_curve_of_a_selection_ends_at_the_ensemble(self, workshop, bags):
        section = f"{{kind: greedy, members: 5, folds: 2, bags: {bags}, temperature: false}}"
        document = made(workshop, "wine.yaml", section)
        last, found = document["curve"]["test"][-1], document["metrics"]["test"]
        for name in ("accuracy", "log_loss"):
            assert last[name] == pytest.approx(found[name]["value"], rel=1e-5)
        weights = [member["weight"] for member in document["members"]]
        assert sum(weights) == pytest.approx(1)

    @pytest.mark.slow
    def test_out_of_bag_estimate_holds_the_test_score_in_its_interval(self, tmp_path):
        (tmp_path / "d.yaml").write_text(
            "data: {source: digits, split: {test: 0.4, validation: 0.0, seed: 0}}\n"
            "model: {kind: mlp, hidden: [32]}\noptimizer: {kind: adam, lr: 1e-2}\n"
            "train: {epochs: 6, batch_size: 64, keep: last}\n"
        )
        document = made(tmp_path, "d.yaml", "{kind: bagging, members: 16}")
        bag = document["out_of_bag"]["metrics"]["accuracy"]
        test = document["metrics"]["test"]["accuracy"]
        assert document["out_of_bag"]["rows"] > 1000
        assert bag["low"] <= test["high"]
        assert test["low"] <= bag["high"]
        assert abs(bag["value"] - test["value"]) < 0.02
        assert document["selection"]["origin"] == "out-of-bag"

    @pytest.mark.slow
    def test_soup_is_one_plain_model_and_refused_where_it_hurts(self, workshop):
        document = made(
            workshop, "wine.yaml", "{kind: soup, members: 3, choose: uniform, shared: 0.25}"
        )
        files = dict(read_checkpoint(workshop / document["run"] / "checkpoints" / "best").files)
        assert len(load_members(files)) == 1
        method = document["method"]
        best = max(m["score"] for m in document["members"])
        if method["refused"]:
            assert method["score"] == best
            assert any("no soup" in warning for warning in document["warnings"])
        else:
            assert method["score"] >= best

    @pytest.mark.slow
    def test_snapshots_are_moments_of_one_training(self, workshop):
        document = made(workshop, "wine.yaml", "{kind: snapshot, members: 2}")
        steps = [
            json.loads(line)["lr"]
            for line in (workshop / document["run"] / "metrics.jsonl").read_text().splitlines()
        ]
        assert len(steps) == 4
        assert steps[1] < steps[0] > 0
        assert steps[3] < steps[2]  # the rate starts again

    def test_boosted_answer_is_the_class_with_most_weighted_votes(self, workshop):
        document = made(workshop, "wine.yaml", "{kind: boosting, members: 4, chains: 2}")
        run = workshop / document["run"]
        members = load_members(dict(read_checkpoint(run / "checkpoints" / "best").files))
        weights = [member["weight"] for member in document["members"]]
        assert sum(weights) == pytest.approx(1)
        table = table_of(run / "predictions-test.csv")
        source = SourceSpec.model_validate("wine").read()
        first = members[0].preprocessing
        x = first.module()(torch.from_numpy(first.encode(source)))
        rows = [int(row["row"]) for row in table]
        votes = sum(
            w * torch.eye(3)[m.predictions(x[rows]).argmax(1)]
            for w, m in zip(weights, members, strict=True)
        )
        labels = [first.labels[k] for k in votes.argmax(1)]
        assert [row["prediction"] for row in table] == labels

    @pytest.mark.slow
    def test_distilled_model_is_one_of_the_specs_own_kind(self, workshop):
        section = "{kind: average, members: 3}"
        before = made(workshop, "wine.yaml", section)
        after = made(workshop, "wine.yaml", section, "--distill")
        assert after["run"] == before["run"]  # the finished one goes on
        assert set(after["distilled"]["keeps"]) >= {"accuracy", "log_loss"}
        path = workshop / after["run"] / "members" / "distilled"
        again = cli(
            workshop, "evaluate", path, "--metrics", "accuracy", "--json", "-q"
        ).document
        found = after["distilled"]["metrics"]["test"]["accuracy"]
        assert again["metrics"]["test"]["accuracy"] == found

    @pytest.mark.slow
    def test_profile_and_predict_take_the_ensemble(self, workshop):
        document = made(workshop, "wine.yaml", "{kind: average, members: 3}")
        run = workshop / document["run"]
        found = cli(workshop, "profile", run, "--json", "-q", "--batch-sizes", "1").document
        assert found["model"]["kind"] == "ensemble of 3 mlp"
        assert found["model"]["parameters"] == document["model"]["parameters"]
        done = cli(workshop, "predict", run, "--data", "wine")
        assert done.code == 0, done.err
        assert len(done.out.splitlines()) == 179
