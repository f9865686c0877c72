"""`modelscale report`: what it says of finished and broken runs, and its computations."""

import gc
import itertools
import json
import math
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge

from modelscale.cli.app import main
from modelscale.commands.line_fit import Line, fit_of, in_data_units, least_squares
from modelscale.commands.report import report as write
from modelscale.commands.reporting.importance import importance, rank_association
from modelscale.commands.reporting.reading import given_settings
from modelscale.commands.reporting.search import random_search
from modelscale.commands.ridge import solve
from modelscale.data.preprocessing import NumericColumn, Preprocessing, TargetScale
from modelscale.errors import CannotCreate
from modelscale.runs.folder import RunFolder
from modelscale.runs.record import RunFacts
from modelscale.runs.report_files import write_report
from modelscale.runs.trials import TrialRecord, begin_trial, finish_trial

DIGITS = """\
name: digits
data: {source: digits}
model: {kind: mlp, hidden: [8]}
optimizer: {kind: adam, lr: 1e-2}
train: {epochs: 2}
"""
LINE = """\
name: line
data:
  source: {kind: linear, samples: 120, slope: 3, intercept: 20, noise: 2, low: 5, high: 15}
model: linear
optimizer: {kind: adam, lr: 0.05}
train: {epochs: 40, batch_size: 16}
"""
DIABETES = """\
name: sugar
data: {source: diabetes}
model: linear
optimizer: {kind: adam, lr: 0.02}
regularization: {l2: 1e-2}
train: {epochs: 30}
"""
SEARCH = """\
name: search                              # s.yaml:1
model:
  kind: mlp                               # s.yaml:2
  hidden: [8, 8]                          # --set model.hidden=[8, 8]
metrics:
  - kind: accuracy                        # s.yaml:3
tune:
  metric: validation/loss                 # default
  direction: auto                         # default
  sampler:
    kind: tpe                             # default
    startup_trials: 2                     # default
  space:
    optimizer.lr:
      low: 0.001                          # s.yaml:5
      high: 1.0                           # s.yaml:5
      log: true                           # s.yaml:5
"""


def command(*arguments):
    """Run the command line in this process; return its exit code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["modelscale", *arguments])
        with pytest.raises(SystemExit) as leaving:
            main()
    gc.enable()
    return leaving.value.code


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Return a runs folder with trained runs."""
    folder = tmp_path_factory.mktemp("trained")
    for text, name, extra in (
        (DIGITS, "digits", ()),
        (LINE, "line", ()),
        (LINE, "seeds", ("--set", "name=seeds", "--set", "train.seeds=3")),
        (DIABETES, "sugar", ()),
    ):
        spec = folder / f"{name}.yaml"
        spec.write_text(text)
        runs = str(folder / "runs")
        assert command("train", str(spec), "--runs", runs, "-q", *extra) == 0
    return folder / "runs"


@pytest.fixture
def report(capsys):
    """Return a function that reports and gives exit code, JSON document, page and stderr."""

    def run(*arguments):
        capsys.readouterr()
        code = command("report", *map(str, arguments), "--json")
        out, err = capsys.readouterr()
        document = json.loads(out)
        page = Path(document["report"]).read_text() if code == 0 else ""
        return code, document, page, err

    return run


def text_of(page):
    """Return what a reader sees of a page, in one line."""
    seen = re.sub(r"<(style|svg).*?</\1>", " ", page, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", seen).split())


def begun(root, name, resolved=SEARCH, command=("modelscale", "train", "s.yaml")):
    """Return an open run in which a process works."""
    run = RunFolder.open_or_create(root, name, "0a1b2c", b"", resolved, command)
    run.begin_attempt(RunFacts(device="cpu"))
    return run


class TestTrainedRun:
    def test_classification(self, root, report):
        code, document, page, err = report("digits", "--runs", root)
        run = (root / "digits" / "latest").resolve()
        assert (code, err, document["status"]) == (0, "", "done")
        assert Path(document["report"]).resolve() == run / "report.html"
        names = {Path(plot).name for plot in document["plots"]}
        assert names == {path.name for path in (run / "plots").glob("*.svg")}
        assert {"loss-by-epoch.svg", "confusion-matrix.svg", "calibration.svg"} <= names
        seen = text_of(page)
        assert "kept: epoch 2" in page
        for words in (
            "constant answer",
            "test rows 359",
            "1,078",
            "digits.yaml:5",
            "Wilson",
            "exact resume yes",
            "digits (scikit-learn",
        ):
            assert words in seen

    def test_again_gives_the_same_bytes_and_leaves_the_run_alone(self, root, report):
        run = root / "digits" / "latest"
        before = (run / "run.json").read_bytes()
        _, _, first, _ = report(run)
        (run / "plots" / "of-an-earlier-report.svg").write_text("<svg/>")
        _, document, second, _ = report(run)
        assert first == second
        assert (run / "run.json").read_bytes() == before
        assert len(list((run / "plots").glob("*.svg"))) == len(document["plots"])

    def test_output_elsewhere_is_one_file(self, root, report, tmp_path):
        _, document, page, _ = report("digits", "--runs", root, "--output", tmp_path / "d.html")
        assert document["plots"] == []
        assert [path.name for path in tmp_path.iterdir()] == ["d.html"]
        assert "<svg" in page

    @pytest.mark.slow
    def test_output_where_there_is_no_folder(self, root, report, tmp_path):
        code, document, _, _ = report(root / "digits", "--output", tmp_path / "no" / "d.html")
        assert (code, document["status"]) == (73, "error")

    def test_path_is_printed(self, root, capsys):
        capsys.readouterr()
        assert command("report", "digits", "--runs", str(root)) == 0
        assert capsys.readouterr().out.strip().endswith("report.html")

    def test_regression_beside_ridge(self, root, report):
        _, document, page, _ = report("sugar", "--runs", root)
        assert "fit" not in document  # more than one feature
        seen = text_of(page)
        assert "Ridge is solved in closed form on the same 265 training rows" in seen
        assert "alpha = n·T·l2 = 2.65" in seen
        assert {"residuals.svg", "predicted-against-actual.svg"} <= {
            Path(plot).name for plot in document["plots"]
        }

    def test_comparison(self, root, report, tmp_path):
        code, document, page, _ = report(
            "line", "seeds", "--runs", root, "--output", tmp_path / "c.html"
        )
        seen = text_of(page)
        assert (code, document["run"]) == (0, None)
        assert "2 runs compared" in seen
        assert "train.seeds 1 3" in seen
        assert "Each run minus line on the same 24 examples" in seen

    @pytest.mark.slow
    def test_comparison_by_default_goes_into_the_runs_folder(self, root, report):
        _, document, page, _ = report("digits", "line", "--runs", root)
        assert Path(document["report"]).resolve() == (root / "comparison.html").resolve()
        assert "The runs have different data" in text_of(page)


@pytest.fixture(scope="module")
def fits(root):
    """Return the `fit` of the JSON document of each run on a line."""
    return {name: write([Path(name)], root).to_json()["fit"] for name in ("line", "seeds")}


class TestLineReport:
    def training_points(self, root, name):
        from modelscale.commands.experiment import Experiment
        from modelscale.data.loading import load as load_data
        from modelscale.spec.loader import load

        path = root / name / "latest" / "spec.resolved.yaml"
        loaded = load_data(load(path, Experiment).spec.data, "regression")
        rows = loaded.folds[0].train.numpy()
        return loaded.raw.columns["x"][rows], loaded.raw.target[rows]

    def test_json_matches_scipy_on_the_training_rows(self, root, fits):
        x, y = self.training_points(root, "line")
        expected = scipy.stats.linregress(x, y)
        fit = fits["line"]
        best = fit["least_squares"]
        assert best["count"] == len(x) == 72
        assert best["weight"]["value"] == pytest.approx(expected.slope)
        assert best["bias"]["value"] == pytest.approx(expected.intercept)
        assert best["weight"]["standard_error"] == pytest.approx(expected.stderr)
        assert best["bias"]["standard_error"] == pytest.approx(expected.intercept_stderr)
        assert fit["interval"] == "least_squares_standard_errors"
        assert fit["noise_variance"] == 4.0
        assert best["mean_squared_error"] <= fit["mean_squared_error"] < 1.5 * 4
        assert fit["weight"]["low"] < fit["weight"]["value"] < fit["weight"]["high"]
        page = (root / "line" / "latest" / "report.html").read_text()
        assert "no line has less on these rows" in text_of(page)

    def test_trained_line_gives_the_run_s_own_predictions(self, root, fits):
        import csv

        fit = fits["line"]
        from modelscale.data.sources.linear import LinearSource

        source = LinearSource(samples=120, slope=3, intercept=20, noise=2, low=5, high=15)
        x = source.read().columns["x"]
        with (root / "line" / "latest" / "predictions-test.csv").open() as lines:
            for row in csv.DictReader(lines):
                line = fit["weight"]["value"] * x[int(row["row"])] + fit["bias"]["value"]
                assert line == pytest.approx(float(row["prediction(y)"]), abs=1e-4)

    def test_several_seeds_have_student_intervals(self, root, fits):
        fit = fits["seeds"]
        assert (fit["interval"], fit["members"]) == ("student_t_over_members", 3)
        seen = text_of((root / "seeds" / "latest" / "report.html").read_text())
        assert "Mean over 3 seeds with the 95 % Student t interval" in seen
        assert all(f"seed-{seed} complete" in seen for seed in range(3))


class TestBrokenRuns:
    def test_interrupted(self, tmp_path, report):
        with begun(tmp_path, "half") as run:
            log = run.metrics()
            for epoch in (1, 2):
                log.append({"step": epoch, "epoch": epoch, "train/loss": 1 / epoch, "lr": 0.1})
            log.append({"step": 3, "epoch": 3, "train/loss": math.nan, "lr": 0.1})
            log.close()
        code, document, page, err = report("half", "--runs", tmp_path)
        assert code == 0
        assert err.count("\n") == 1
        assert "Partial report: the run was interrupted, epoch 3" in err
        assert "Partial report: the run was interrupted" in text_of(page)
        assert len(document["notes"]) == 1
        assert "loss-by-epoch.svg" in document["plots"][0]

    def test_empty_and_never_begun(self, tmp_path, report):
        RunFolder.open_or_create(tmp_path, "new", "0a1b2c", b"", "", ("modelscale",)).close()
        code, _, page, err = report("new", "--runs", tmp_path)
        assert code == 0
        assert "the run has not begun" in err
        assert "Nothing has been measured yet." in text_of(page)

    def test_diverged(self, tmp_path, report):
        with begun(tmp_path, "wild") as run:
            run.finish("diverged", {"error": "seed-0: step 6: the loss is not finite"})
        code, _, page, err = report("wild", "--runs", tmp_path)
        assert code == 0
        assert "diverged" in err
        assert "seed-0: step 6: the loss is not finite" in text_of(page)

    def test_damaged_metrics_leave_the_rest_of_the_page(self, tmp_path, report):
        with begun(tmp_path, "torn") as run:
            (run.path / "metrics.jsonl").write_text('{"epoch": 1}\n][\n{"epoch": 2}\n')
        code, _, page, _ = report("torn", "--runs", tmp_path)
        assert code == 0
        assert "metrics.jsonl:2: damaged" in text_of(page)

    def test_search_without_trials(self, tmp_path, report):
        begun(tmp_path, "none", command=("modelscale", "tune", "s.yaml")).close()
        code, _, page, err = report("none", "--runs", tmp_path)
        assert code == 0
        assert "0 trials begun" in err
        assert "No trial has begun yet." in text_of(page)

    def test_no_such_run(self, tmp_path, report):
        code, document, _, _ = report("none", "--runs", tmp_path)
        assert (code, document["exit_code"]) == (66, 66)

    def test_busy_run_is_reported_too(self, tmp_path, report):
        with begun(tmp_path, "busy"):
            code, _, _, err = report("busy", "--runs", tmp_path)
        assert code == 0
        assert "still going on" in err


class TestSearchReport:
    @pytest.fixture
    def search(self, tmp_path):
        """Return an unfinished search of five trials."""
        with begun(tmp_path, "search", command=("modelscale", "tune", "s.yaml")) as run:
            for number, (rate, value, state) in enumerate(
                [
                    (0.001, 0.9, "complete"),
                    (0.01, 0.5, "complete"),
                    (0.1, 0.2, "complete"),
                    (0.5, 0.8, "stopped"),
                    (1.0, None, "diverged"),
                ]
            ):
                params = {"optimizer.lr": rate}
                trial = begin_trial(run.part, number, params)
                log = trial.metrics()
                log.append({"step": 4, "epoch": 1, "validation/loss": value, "lr": rate})
                log.close()
                record = TrialRecord(
                    number=number, state=state, params=params, values=(value,), steps=4
                )
                finish_trial(trial, record)
        return tmp_path

    def test_page(self, search, report):
        code, document, page, _ = report("search", "--runs", search)
        seen = text_of(page)
        assert code == 0
        assert "3 complete, 1 stopped, 1 diverged" in seen
        assert "Trial 2 is the best so far. The test part has not been used" in seen
        assert "The first 2 trials were drawn at random" in seen
        names = {Path(plot).name for plot in document["plots"]}
        assert {"value-of-each-trial.svg", "optimizer-lr.svg"} <= names

    @pytest.mark.slow
    def test_one_trial_still_running(self, search, report):
        with begun(search, "search", command=("modelscale", "tune", "s.yaml")) as run:
            begin_trial(run.part, 5, {"optimizer.lr": 0.3})
        code, _, page, _ = report("search", "--runs", search)
        assert code == 0
        assert "1 running" in text_of(page)


@pytest.mark.slow
def test_real_search(tmp_path, report):
    (tmp_path / "s.yaml").write_text(
        DIGITS
        + "tune: {n_trials: 4, space: {optimizer.lr: {low: 1e-3, high: 1e-1, log: true}}}\n"
    )
    assert command("tune", str(tmp_path / "s.yaml"), "--runs", str(tmp_path), "-q") == 0
    code, _, page, err = report("digits", "--runs", tmp_path)
    assert (code, err) == (0, "")
    assert "The test part was used only after the search" in text_of(page)


coordinates = st.lists(
    st.tuples(st.integers(-1000, 1000), st.integers(-1000, 1000)), min_size=3, max_size=30
)


class TestLeastSquares:
    @given(coordinates)
    @settings(max_examples=40)
    def test_matches_scipy(self, points):
        x, y = np.array(points, dtype=float).T
        fit = least_squares(x, y)
        if len(set(x)) == 1:
            assert fit is None
            return
        assume(len(set(y)) > 1)  # SciPy has no standard error for equal values
        expected = scipy.stats.linregress(x, y)
        t = scipy.stats.t.ppf(0.975, len(x) - 2)
        close = {"rel": 1e-6, "abs": 1e-6}
        for ours, value, error in (
            (fit.weight, expected.slope, expected.stderr),
            (fit.bias, expected.intercept, expected.intercept_stderr),
        ):
            assert ours.value == pytest.approx(value, **close)
            assert ours.standard_error == pytest.approx(error, rel=1e-4, abs=1e-4)
            assert ours.low == pytest.approx(value - t * error, rel=1e-4, abs=1e-2)
            assert ours.high == pytest.approx(value + t * error, rel=1e-4, abs=1e-2)

    def test_band_matches_the_normal_equations(self):
        rng = np.random.default_rng(0)
        x = rng.uniform(5, 15, 40)
        y = 20 + 3 * x + rng.normal(size=40)
        fit = least_squares(x, y)
        design = np.column_stack([np.ones(40), x])
        inverse = np.linalg.inv(design.T @ design)
        residual = y - design @ (inverse @ design.T @ y)
        variance = residual @ residual / 38
        at = np.array([1.0, 12.5])
        expected = scipy.stats.t.ppf(0.975, 38) * np.sqrt(variance * at @ inverse @ at)
        assert fit.residual_variance == pytest.approx(variance)
        assert fit.mean_squared_error == pytest.approx(variance * 38 / 40)
        assert fit.half_width(12.5) == pytest.approx(expected)

    def test_two_points_have_a_line_but_no_interval(self):
        fit = least_squares(np.array([0.0, 2.0]), np.array([1.0, 5.0]))
        assert (fit.weight.value, fit.bias.value) == (2.0, 1.0)
        assert math.isnan(fit.weight.low)

    def test_several_trained_lines_have_student_intervals(self):
        x, y = np.arange(5.0), np.array([0.1, 0.9, 2.1, 2.9, 4.1])
        weights = [0.9, 1.0, 1.2]
        fit = fit_of([Line(w, 0.1) for w in weights], x, y)
        low, high = scipy.stats.t.interval(0.95, 2, np.mean(weights), scipy.stats.sem(weights))
        assert (fit.weight.low, fit.weight.high) == pytest.approx((low, high))
        errors = [np.mean((y - w * x - 0.1) ** 2) for w in weights]
        assert fit.mean_squared_error == pytest.approx(np.mean(errors))
        json.dumps(fit.to_json(), allow_nan=False)

    def test_standardisation_is_undone(self):
        column = NumericColumn(name="x", median=0, mean=10.0, scale=2.5, indicator=False)
        target = TargetScale(name="y", log=False, mean=50.0, scale=8.0)
        preprocessing = Preprocessing(
            form="table",
            task="regression",
            encoding="onehot",
            numeric=(column,),
            targets=(target,),
            target_names=("y",),
        )
        line = in_data_units(0.7, -0.2, preprocessing)
        for x in (-3.0, 0.0, 17.0):
            expected = (0.7 * (x - 10.0) / 2.5 - 0.2) * 8.0 + 50.0
            assert line.weight * x + line.bias == pytest.approx(expected)
        logarithmic = target.model_copy(update={"log": True})
        changed = preprocessing.model_copy(update={"targets": (logarithmic,)})
        assert in_data_units(0.7, -0.2, changed) is None


@pytest.mark.parametrize("targets", [1, 3])
@pytest.mark.parametrize("l2", [0.01, 1.0])
def test_ridge_matches_scikit_learn(targets, l2):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(50, 4)) + 3
    y = x @ rng.normal(size=(4, targets)) + rng.normal(size=(50, targets)) + 7
    ours = solve(x, y, l2)
    theirs = Ridge(alpha=50 * targets * l2).fit(x, y)
    assert ours.weight_DT == pytest.approx(theirs.coef_.reshape(targets, 4).T)
    assert ours.predict(x) == pytest.approx(theirs.predict(x).reshape(50, targets))


class TestSearchNumbers:
    @given(st.lists(st.integers(-50, 50), min_size=1, max_size=7), st.booleans())
    def test_random_search_is_the_mean_over_all_draws(self, values, maximize):
        best = max if maximize else min
        expected = [
            np.mean([best(draw) for draw in itertools.combinations(values, k)])
            for k in range(1, len(values) + 1)
        ]
        assert random_search(list(map(float, values)), maximize) == pytest.approx(expected)

    def test_random_search_counts_a_lost_trial_as_the_worst(self):
        assert random_search([1.0, math.nan, 3.0], False) == random_search(
            [1.0, 3.0, 3.0], False
        )

    @given(coordinates)
    def test_numbers_have_spearman_s_correlation(self, points):
        x, y = zip(*points, strict=True)
        ours = rank_association(x, y)
        if len(set(x)) == 1 or len(set(y)) == 1:
            assert ours == 0
        else:
            assert ours == pytest.approx(abs(scipy.stats.spearmanr(x, y)[0]))

    def test_choices_have_the_share_of_kruskal_and_wallis(self):
        groups = {"a": [1.0, 2, 4, 4], "b": [3.0, 7, 8], "c": [2.0, 9]}
        names = [name for name, values in groups.items() for _ in values]
        scores = [value for values in groups.values() for value in values]
        h = scipy.stats.kruskal(*groups.values()).statistic
        expected = math.sqrt(h / (len(scores) - 1))
        assert rank_association(names, scores) == pytest.approx(expected)

    def test_ped_anova_finds_what_matters(self):
        from modelscale.commands.experiment import Experiment
        from modelscale.spec.loader import load_text

        dropout, rate = "{low: 0, high: 0.5}", "{low: 0.001, high: 1}"
        space = f"{{model.dropout: {dropout}, optimizer.lr: {rate}}}"
        text = f"{DIGITS}tune: {{space: {space}}}"
        spec = load_text(text, "s.yaml", Experiment).spec
        rng = np.random.default_rng(0)
        trials = []
        for number in range(80):
            params = {
                "model.dropout": rng.uniform(0, 0.5),
                "optimizer.lr": rng.uniform(0.001, 1),
            }
            value = (params["optimizer.lr"] - 0.5) ** 2
            trials.append(
                TrialRecord(number=number, state="complete", params=params, values=(value,))
            )
        found = importance(trials, spec, maximize=False)
        assert "PED-ANOVA" in found.method
        assert list(found.values) == ["optimizer.lr", "model.dropout"]
        assert found.values["optimizer.lr"] > 0.8
        few = importance(trials[:20], spec, maximize=False)
        assert "Spearman" in few.method


def test_given_settings_are_those_with_an_origin():
    found = [(s.key, s.value, s.origin) for s in given_settings(SEARCH)]
    assert found[:4] == [
        ("name", "search", "s.yaml:1"),
        ("model.kind", "mlp", "s.yaml:2"),
        ("model.hidden", "[8, 8]", "--set model.hidden=[8, 8]"),
        ("metrics.0.kind", "accuracy", "s.yaml:3"),
    ]
    assert len(found) == 7
    assert not given_settings("a: 1\n")


def test_report_files_refuse_a_file_in_the_way(tmp_path):
    (tmp_path / "plots").write_text("mine")
    with pytest.raises(CannotCreate):
        write_report(tmp_path, b"<html>", {"a.svg": b"<svg/>"})
    assert (tmp_path / "plots").read_text() == "mine"
