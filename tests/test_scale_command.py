"""`modelscale scale` as a user runs it: the ladder, its law and test, kills, what is next."""

import csv
import json
import re
import signal

import numpy as np
import pytest
from command_line import cli, ended, started, wait_until

from modelscale.runs.checkpoints import read_checkpoint
from modelscale.training.artifact import load_model

WINE = """\
data: {source: wine, split: {test: 0.25, validation: 0.25, seed: 0}}
model: {kind: mlp, hidden: [2]}
optimizer: {kind: adam, lr: 1e-2}
train: {epochs: 4, batch_size: 16}
metrics: [accuracy]
evaluate: {resamples: 100}
scale:
  sizes: {model.hidden: {choices: [[2], [8], [32]]}}
  data: {fractions: [0.2, 0.5, 1.0]}
  seeds: 2
  law: chinchilla
"""
DIABETES = """\
task: regression
data: {source: diabetes, split: {test: 0.2, validation: 0.2, seed: 0}}
model: {kind: mlp, hidden: [4]}
optimizer: {kind: adam, lr: 1e-2}
train: {epochs: 4, batch_size: 32}
evaluate: {resamples: 100}
scale:
  family: {steps: 3, ratio: 3}
  data: {fractions: [0.3, 1.0]}
  seeds: 2
  metric: test/rmse
  law: kaplan
  lr: {sweep: [1e-3, 1e-2, 1e-1], sizes: 2}
"""


@pytest.fixture(scope="module")
def workshop(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ladders")
    (folder / "wine.yaml").write_text(WINE)
    (folder / "diabetes.yaml").write_text(DIABETES)
    return folder


@pytest.fixture(scope="module")
def wine(workshop):
    done = cli(workshop, "scale", "wine.yaml", "--json", "-q", "--threads", "1")
    assert done.code == 0, done.err
    return done.document


@pytest.fixture(scope="module")
def diabetes(workshop):
    done = cli(workshop, "scale", "diabetes.yaml", "--json", "-q", "--threads", "1")
    assert done.code == 0, done.err
    return done.document


@pytest.fixture(scope="module")
def mup(workshop):
    change = "scale.lr={rule: mup, sweep: [3e-3, 1e-2, 3e-2]}"
    words = ("scale", "wine.yaml", "--json", "-q", "--threads", "1", "--name", "mup")
    done = cli(workshop, *words, "--set", change)
    assert done.code == 0, done.err
    return done.document


def table_of(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


class TestPoints:
    def test_every_size_data_and_seed_is_there_once(self, workshop, wine):
        rows = table_of(workshop / wine["run"] / "points.csv")
        places = {(r["model.hidden"], r["fraction"], r["seed"]) for r in rows}
        assert len(rows) == len(places) == 3 * 3 * 2
        assert wine["rungs"] == {"total": 18, "complete": 18, "diverged": []}

    def test_parameters_and_flops_are_those_of_the_network(self, workshop, wine):
        for row in table_of(workshop / wine["run"] / "points.csv"):
            (h,) = json.loads(row["model.hidden"])
            macs = 13 * h + 3 * h
            assert int(row["parameters"]) == macs + h + 3
            assert int(row["macs"]) == macs
            assert int(row["examples"]) == 4 * int(row["rows"])
            assert int(row["compute"]) == 3 * 2 * macs * int(row["examples"])

    @pytest.mark.slow
    def test_seeds_of_a_rung_train_as_one_cohort_where_that_is_asked_for(self, workshop):
        done = cli(
            workshop,
            "scale",
            "wine.yaml",
            "--json",
            "-q",
            "--name",
            "together",
            "--set",
            "train.cohort=2",
        )
        plan = json.loads((workshop / done.document["run"] / "cohorts-rungs.json").read_text())
        assert [len(cohort) for cohort in plan["cohorts"]] == [2] * 9

    def test_a_rung_of_all_data_is_what_train_makes_of_it(self, workshop, wine):
        # Alone, not in a cohort, as train has it for one seed.
        alone = cli(
            workshop,
            "train",
            "wine.yaml",
            "--json",
            "-q",
            "--name",
            "alone",
            "--set",
            "model.hidden=[8]",
            "--threads",
            "1",
        ).document
        found = json.loads(
            (workshop / wine["run"] / "rungs/size-1-data-2-seed-0/result.json").read_text()
        )
        value = alone["metrics"]["test"]["accuracy"]["value"]
        assert found["values"]["test/accuracy"] == pytest.approx(value)

    def test_fit_reads_points(self, workshop, wine):
        done = cli(
            workshop,
            "fit",
            f"{wine['run']}/points.csv",
            "--law",
            "chinchilla",
            "--json",
            "--resamples",
            "50",
        )
        assert done.code == 0, done.err
        assert done.document["law"]["points"] + len(done.document["outliers"]["rows"]) == 18


class TestLaw:
    def test_the_tested_fit_has_not_seen_the_top(self, wine):
        held = wine["held_out"]
        computes = [point["compute"] for point in wine["points"]]
        assert held["compute"] == max(computes)
        assert held["top"]
        below = [c for c in computes if 4 * c <= max(computes)]
        assert wine["law"]["points"] <= len(below)
        assert {r["compute"] for r in held["rungs"]} == {c for c in computes if c not in below}
        assert held["times_fitted_compute"] >= 4
        assert wine["refit"]["points"] > wine["law"]["points"]

    def test_inside_means_inside_the_interval(self, wine):
        held = wine["held_out"]
        own = [p["loss"] for p in wine["points"] if p["compute"] == held["compute"]]
        assert held["measured"] == pytest.approx(np.mean(own))
        assert held["inside"] == (held["low"] <= held["measured"] <= held["high"])
        assert held["error"] == pytest.approx(held["value"] / held["measured"] - 1)

    def test_law_json_holds_what_the_document_says(self, workshop, wine):
        law = json.loads((workshop / wine["run"] / "law.json").read_text())
        assert law == {key: wine[key] for key in law}

    @pytest.mark.slow
    @pytest.mark.parametrize("metric", ["validation/accuracy", "test/log_loss"])
    def test_error_rate_and_log_loss(self, workshop, metric):
        done = cli(
            workshop, "scale", "wine.yaml", "--json", "-q", "--set", f"scale.metric={metric}"
        )
        assert done.code == 0, done.err
        rows = table_of(workshop / done.document["run"] / "points.csv")
        for row in rows:
            value = float(row[metric])
            wanted = 1 - value if metric.endswith("accuracy") else value
            assert float(row["loss"]) == pytest.approx(wanted, abs=1e-6)

    @pytest.mark.slow
    def test_one_amount_of_data_gives_a_law_of_parameters(self, workshop):
        done = cli(
            workshop,
            "scale",
            "wine.yaml",
            "--json",
            "-q",
            "--set",
            "scale.data={}",
            "--set",
            "scale.law=power",
            "--set",
            "scale.gap=1.5",
            "--set",
            "scale.sizes={model.hidden: {choices: [[2], [4], [8], [16], [32]]}}",
        )
        assert done.code == 0, done.err
        assert done.document["along"] == "parameters"
        assert done.document["law"]["kind"] == "power"
        assert done.document["recommendation"]["returns"][0]["what"] == "parameters"


class TestRegression:
    def test_family_grows_parameters_by_its_ratio(self, diabetes):
        counts = sorted({point["parameters"] for point in diabetes["points"]})
        assert counts[0] == 10 * 4 + 4 + 4 + 1
        for k, count in enumerate(counts):
            assert count == pytest.approx(counts[0] * 3**k, rel=0.1)

    def test_every_size_has_the_rate_of_the_rule(self, diabetes):
        rate = diabetes["learning_rate"]
        for point in diabetes["points"]:
            wanted = rate["c"] * point["parameters"] ** -rate["a"]
            assert point["lr"] == pytest.approx(wanted, rel=5e-3)
        assert len(rate["sizes"]) == 2
        assert all(len(size["tried"]) == 3 for size in rate["sizes"])

    def test_losses_are_rmse_in_the_units_of_the_data(self, diabetes):
        assert all(30 < point["loss"] < 250 for point in diabetes["points"])


class TestOneRateForAllWidths:
    def test_rates_are_tried_on_the_base_alone_and_hold_for_all(self, workshop, mup):
        tried = sorted(path.name for path in (workshop / mup["run"] / "rates").iterdir())
        assert tried == [f"size-0-lr-{k}-seed-{s}" for k in range(3) for s in range(2)]
        assert {point["lr"] for point in mup["points"]} == {float(f"{rate_of(mup):.3g}")}

    def test_coordinate_check_is_kept_and_told(self, workshop, mup):
        check = mup["coordinate_check"]
        rows = table_of(workshop / mup["run"] / "coordinate_check.csv")
        assert {row["layer"] for row in rows} == {"0", "2", "output"}
        assert {float(row["width"]) for row in rows} == {1.0, 4.0, 16.0}
        for layer in check["layers"]:
            own = [r for r in rows if r["layer"] == layer["layer"]]
            for way, key in (("mup", "slope"), ("standard", "standard_slope")):
                x, y = (
                    np.log([float(r[c]) for r in own if r["parametrisation"] == way])
                    for c in ("width", "change")
                )
                assert layer[key] == pytest.approx(np.polyfit(x, y, 1)[0])
        assert check["holds"] == all(abs(a["slope"]) <= check["bound"] for a in check["layers"])

    def test_train_makes_the_same_of_a_wide_rung(self, workshop, mup):
        changes = ("model.hidden=[32]", "train.mup={hidden: [2]}")
        rate = f"optimizer.lr={mup['points'][0]['lr']}"
        sets = [word for change in (*changes, rate) for word in ("--set", change)]
        words = ("train", "wine.yaml", "--json", "-q", "--name", "wide", "--threads", "1")
        alone = cli(workshop, *words, *sets).document["metrics"]
        rung = workshop / mup["run"] / "rungs/size-2-data-2-seed-0/result.json"
        values = json.loads(rung.read_text())["values"]
        assert values["test/accuracy"] == pytest.approx(alone["test"]["accuracy"]["value"])

    def test_recommended_spec_keeps_the_base_width(self, workshop, mup):
        spec = (workshop / mup["run"] / "recommended.yaml").read_text()
        assert re.search(r"mup:\n +hidden: \[2\]\n", spec)

    @pytest.mark.slow
    def test_report_shows_the_check(self, workshop, mup):
        pytest.importorskip("matplotlib")
        assert cli(workshop, "report", mup["run"]).code == 0
        html = (workshop / mup["run"] / "report.html").read_text()
        for head in ("Coordinate check", "Standard slope", "Tried on the base size"):
            assert head in html


def rate_of(document):
    """Return the best rate of the one size that was tried."""
    (size,) = document["learning_rate"]["sizes"]
    return size["best"]


class TestWhatIsNext:
    def test_recommended_spec_trains(self, workshop, wine):
        spec = workshop / wine["run"] / "recommended.yaml"
        done = cli(workshop, "train", spec, "--json", "-q", "--name", "next")
        assert done.code == 0, done.err
        chosen = wine["recommendation"]["chosen"]
        assert done.document["model"]["parameters"] == chosen["parameters"]
        assert len(done.document["members"]) == 2

    def test_chosen_is_the_smallest_that_is_nearly_the_best(self, wine):
        advice = wine["recommendation"]
        values = [option["expected"]["value"] for option in advice["sizes"]]
        top = max(point["compute"] for point in wine["points"])
        costs = [option["compute"] <= 4.04 * top for option in advice["sizes"]]
        best = min(v for v, cheap in zip(values, costs, strict=True) if cheap)
        near = [v <= best * (1 + advice["within"]) for v in values]
        assert advice["chosen"]["size"] == near.index(True)
        assert [option["trained"] for option in advice["sizes"]][:3] == [True] * 3

    def test_best_checkpoint_is_the_lowest_loss_rung(self, workshop, wine):
        run = workshop / wine["run"]
        best = min(wine["points"], key=lambda p: p["loss"])
        assert wine["best_member"] == best["label"]
        model = load_model(dict(read_checkpoint(run / "checkpoints" / "best").files))
        count = sum(p.numel() for p in model.network.parameters())
        assert count == best["parameters"]

    @pytest.mark.slow
    def test_report_shows_law_test_and_frontier(self, workshop, wine):
        pytest.importorskip("matplotlib")
        done = cli(workshop, "report", wine["run"])
        assert done.code == 0, done.err
        html = (workshop / wine["run"] / "report.html").read_text()
        for head in ("The test on held-out rungs", "What to train next", "The frontier"):
            assert head in html
        assert (workshop / wine["run"] / "plots" / "measured-rungs-and-the-law.svg").is_file()

    def test_plan_tells_runs_and_flops_and_writes_nothing(self, workshop, wine):
        before = sorted(workshop.rglob("*"))
        document = cli(workshop, "plan", "wine.yaml", "--json", "-q").document["scale"]
        assert document["runs"] == 18
        assert document["flops"]["total"] == sum(p["compute"] for p in wine["points"])
        assert document["run"]["status"] == "done"
        assert sorted(workshop.rglob("*")) == before


class TestAgain:
    def test_same_command_again_reports_and_leaves_alone(self, workshop, wine):
        run = workshop / wine["run"]
        before = {p: p.stat().st_mtime_ns for p in run.rglob("*") if p.is_file()}
        again = cli(workshop, "scale", "wine.yaml", "--json", "-q").document
        assert again == wine
        assert {p: p.stat().st_mtime_ns for p in run.rglob("*") if p.is_file()} == before

    def test_a_scale_section_does_not_change_what_train_is(self, workshop):
        first = cli(workshop, "train", "wine.yaml", "--json", "-q", "--name", "plain").document
        other = cli(
            workshop,
            "train",
            "wine.yaml",
            "--json",
            "-q",
            "--name",
            "plain",
            "--set",
            "scale.seeds=3",
        ).document
        assert other["run"] == first["run"]

    @pytest.mark.slow
    @pytest.mark.parametrize(("finished", "lr"), [(1, "fixed"), (4, "fixed"), (2, "mup")])
    def test_killed_ladder_ends_like_an_undisturbed_one(self, tmp_path, finished, lr):
        (tmp_path / "wine.yaml").write_text(WINE)
        changes = ("train.epochs=12", "train.cohort=2", f"scale.lr={lr}")
        more = [word for change in changes for word in ("--set", change)]
        words = ("scale", "wine.yaml", "-q", "--threads", "1", *more)
        whole = cli(tmp_path, *words, "--json", "--runs", "whole").document
        process = started(tmp_path, *words, "--runs", "killed")
        killed = tmp_path / "killed" / "wine"
        wait_until(
            lambda: len(list(killed.glob("*-*/rungs/*/result.json"))) >= finished, process
        )
        process.send_signal(signal.SIGKILL)
        ended(process)
        (run,) = [p for p in killed.iterdir() if p.is_dir() and not p.is_symlink()]
        again = ended(started(tmp_path, *words, "--json", "--runs", "killed"))
        assert again.code == 0, again.err
        for name in ("points.csv", "recommended.yaml"):
            assert (run / name).read_bytes() == (tmp_path / whole["run"] / name).read_bytes()
        laws = [(folder / "law.json").read_text() for folder in (run, tmp_path / whole["run"])]
        without_times = [re.sub(r'"seconds": [0-9.e-]+', "", law) for law in laws]
        assert without_times[0] == without_times[1]
        for log in (tmp_path / whole["run"]).glob("rungs/*/metrics.jsonl"):
            other = run / "rungs" / log.parent.name / log.name
            assert other.read_bytes() == log.read_bytes()

    @pytest.mark.slow
    def test_interrupted_ladder_says_75_and_goes_on(self, workshop):
        words = ("scale", "wine.yaml", "-q", "--name", "slow", "--set", "train.epochs=300")
        process = started(workshop, *words)
        folder = workshop / "runs" / "slow"
        wait_until(lambda: list(folder.glob("*-*/points.csv")), process)
        process.send_signal(signal.SIGTERM)
        assert ended(process).code == 75
        rows = table_of(next(folder.glob("*-*")) / "points.csv")
        assert 0 < len(rows) < 18


class TestBadSpecs:
    @pytest.mark.parametrize(
        ("change", "told"),
        [
            ("scale={}", "needs 'sizes', 'family' or several data.fractions"),
            ("scale={sizes: {model.hiden: {choices: [[1], [2]]}}}", "did you mean"),
            ("scale={sizes: {model.hidden: {choices: [[8], [2]]}}}", "smallest to the largest"),
            ("scale.law=chinchila", "did you mean 'chinchilla'"),
            ("scale.metric=validation/rmse", "is for regression"),
            ("scale.metric=loss", "validation/METRIC"),
            ("scale.lr={sweep: [1e-3]}", "at least 3"),
            ("train.early_stopping={}", "leave it out"),
            ("data.split={kind: kfold}", "folds"),
            ("scale.data={fractions: [0.5, 0.5]}", "twice"),
            ("scale={sizes: {model.dropout: {choices: [0.1, 2]}}}", "model.dropout"),
            ("scale.family={}", "exclude each other"),
            ("scale.lr={base: 1}", "'base' goes with rule 'mup'"),
            ("scale.lr={rule: mup, sizes: 2}", "rates are tried on one size, 'base'"),
            ("scale.lr={rule: mup, base: 3}", "there are 3 sizes, the first is 0"),
            ("scale={lr: mup, data: {fractions: [0.5, 1]}}", "sizes of several widths"),
            ("train.mup={hidden: [2, 2]}", "hidden has 2 layers, and the model 1"),
            ("train.mup={hidden: 2}", "train.mup.hidden"),
            ("train.mup={}", "names no width, such as hidden"),
            ("train.mup={width: 2}", "'width' is no width of mlp; it has: hidden"),
        ],
    )
    def test_is_told_with_its_place(self, workshop, change, told):
        done = cli(workshop, "scale", "wine.yaml", "-q", "--name", "bad", "--set", change)
        assert done.code == 78, done.err
        assert told in done.err
        assert not (workshop / "runs" / "bad").exists()

    @pytest.mark.parametrize(
        ("changes", "told"),
        [
            (("scale.lr=mup", "optimizer=sgd"), "for adam and adamw, not for sgd"),
            (("scale.lr=mup", "train.mup={hidden: [2]}"), "leave one out"),
            (("scale.lr=mup", "regularization.l2=0.1"), "follow no such rule; use adamw"),
            (("scale.lr=mup", "model.members=2"), "no rule says how"),
            (
                ("scale.lr=mup", "model=linear", "scale.sizes={train.epochs: {choices: [1]}}"),
                "is not defined for linear",
            ),
        ],
    )
    def test_what_has_no_rule_from_width_to_width_is_told(self, workshop, changes, told):
        sets = [word for change in changes for word in ("--set", change)]
        done = cli(workshop, "scale", "wine.yaml", "-q", "--name", "bad", *sets)
        assert done.code == 78, done.err
        assert told in done.err

    def test_missing_section(self, workshop):
        done = cli(workshop, "scale", "wine.yaml", "-q", "--set", "scale=null")
        assert done.code == 78
        assert "scale: missing" in done.err

    def test_some_diverged_is_4_and_all_is_10(self, workshop):
        wild = ("--set", "optimizer={kind: sgd, lr: 1e30}", "--name", "wild")
        assert cli(workshop, "scale", "wine.yaml", "-q", *wild).code == 10
        rates = "{choices: [1e-2, 1e-2, 1e30]}"
        sizes = f"{{model.hidden: {{choices: [[2], [8], [32]]}}, optimizer.lr: {rates}}}"
        some = ("--set", "optimizer=sgd", "--set", f"scale.sizes={sizes}", "--name", "some")
        done = cli(workshop, "scale", "wine.yaml", "-q", "--json", *some)
        assert done.code == 4
        assert len(done.document["rungs"]["diverged"]) == 6
        rows = table_of(workshop / done.document["run"] / "points.csv")
        assert [row["loss"] == "" for row in rows] == [False] * 12 + [True] * 6
