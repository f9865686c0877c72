"""Ensembles of finished runs, and what keeps rows that decide apart from rows learnt from."""

import json

import numpy as np
import pytest
import torch
from command_line import cli, run_of
from ensemble_story import WINE, made, prepared

from modelscale.runs.checkpoints import read_checkpoint
from modelscale.training.ensemble_artifact import load_members, load_predictor


@pytest.fixture(scope="module")
def workshop(tmp_path_factory):
    return prepared(tmp_path_factory.mktemp("ensembles"))


class TestFinishedRuns:
    def test_seeds_of_a_run_are_combined_without_training(self, workshop):
        done = cli(workshop, "ensemble", "seeds", "--set", "ensemble=average", "--json", "-q")
        assert done.code == 0, done.err
        run = workshop / done.document["run"]
        assert run.parent.name == "seeds-ensemble"
        assert (run / "metrics.jsonl").read_text() == ""
        files = dict(read_checkpoint(run / "checkpoints" / "best").files)
        members = load_members(files)
        for seed, member in enumerate(members):
            path = (
                run_of(workshop, "seeds") / "members" / f"seed-{seed}" / "checkpoints" / "best"
            )
            alone = load_predictor(dict(read_checkpoint(path).files))
            x = torch.randn(4, *member.inputs.shape)
            assert torch.equal(alone.predictions(x), member.predictions(x))

    @pytest.mark.slow
    def test_trials_of_a_search_are_selected_on_validation_rows(self, workshop):
        (workshop / "search.yaml").write_text(
            WINE
            + "tune: {n_trials: 4, space: {optimizer.lr: {low: 1e-3, high: 1e-1, log: true}}}\n"
        )
        assert cli(workshop, "tune", "search.yaml", "-q").code == 0
        done = cli(workshop, "ensemble", "runs/search", "--json", "-q")
        assert done.code == 0, done.err
        document = done.document
        assert document["method"]["kind"] == "greedy"
        assert document["selection"]["origin"] == "validation"
        assert len(document["members"]) == 4
        assert all(m["params"]["optimizer.lr"] for m in document["members"])

    def test_model_that_learnt_from_the_test_part_is_refused(self, workshop):
        done = cli(workshop, "ensemble", "seeds", "moved", "-q")
        assert done.code == 65
        assert "for the test part: learnt from" in done.err

    @pytest.mark.parametrize(
        ("words", "code", "told"),
        [
            (("seeds", "--set", "ensemble=bagging"), 2, "bagging trains its members"),
            (("seeds", "--set", "optimizer.lr=1"), 2, "members are of finished runs"),
            (("moved",), 2, "1 finished models"),
            (("nothing",), 66, "no run found"),
            (("wine.yaml",), 78, "ensemble: missing"),
            (
                ("wine.yaml", "--set", "ensemble={kind: stakcing}"),
                78,
                "did you mean 'stacking'",
            ),
            (
                ("wine.yaml", "--set", "ensemble={vary: {optimizer.l: {low: 1, high: 2}}}"),
                78,
                "lr",
            ),
            (
                ("wine.yaml", "--set", "ensemble={kind: snapshot, members: 3}"),
                78,
                "whole number",
            ),
            (
                ("wine.yaml", "--set", "ensemble={kind: greedy, metric: rmse}"),
                78,
                "ensemble.metric: metric 'rmse' is for regression",
            ),
            (
                ("diabetes.yaml", "--set", "ensemble={kind: stacking, meta: logistic}"),
                78,
                "meta",
            ),
            (
                ("diabetes.yaml", "--set", "ensemble={kind: boosting, method: samme}"),
                78,
                "samme",
            ),
            (
                (
                    *("wine.yaml", "--set", "ensemble={kind: greedy, folds: null}"),
                    *("--set", "data.split.validation=0"),
                ),
                78,
                "something must decide",
            ),
        ],
    )
    def test_what_does_not_fit_is_told_with_its_exit_code(self, workshop, words, code, told):
        done = cli(workshop, "ensemble", *words, "-q")
        assert done.code == code, done.err
        assert told in done.err
        assert "Traceback" not in done.err


SEARCH = WINE + (
    "tune: {n_trials: 5, folds: 3, sampler: random, space: {"
    "optimizer.lr: {low: 1e-4, high: 1e-1, log: true}, model.hidden: {choices: [[8], [12]]}}}\n"
)


@pytest.fixture(scope="module")
def folded(tmp_path_factory):
    """A folder with a finished search whose trials were folds, and so kept no models."""
    folder = tmp_path_factory.mktemp("folded")
    (folder / "folded.yaml").write_text(SEARCH)
    done = cli(folder, "tune", "folded.yaml", "-q")
    assert done.code == 0, done.err
    return folder


BINS = "{kind: mlp, hidden: [8], numeric: {kind: piecewise_linear, bins: 4}}"


class TestMembersThatCutNumbersIntoBins:
    """Each network has its bins; all are asked with the same numbers."""

    def test_vary_trains_them_beside_plain_ones(self, workshop):
        vary = f"{{model: {{choices: [linear, {BINS}]}}}}"
        section = f"{{kind: average, members: 2, temperature: false, vary: {vary}}}"
        document = made(workshop, "wine.yaml", section, "--name", "binned")
        files = dict(read_checkpoint(workshop / document["run"] / "checkpoints" / "best").files)
        members, whole = load_members(files), load_predictor(files)
        assert {member.spec.own_kind() for member in members} == {"linear", "mlp"}
        x = torch.randn(5, *whole.inputs.shape)
        mean = torch.stack([member.predictions(x) for member in members]).mean(dim=0)
        torch.testing.assert_close(whole.predictions(x), mean, rtol=1e-5, atol=1e-6)

    def test_finished_ones_are_combined_with_plain_ones(self, workshop):
        done = cli(
            workshop,
            *("train", "wine.yaml", "-q", "--name", "bins", "--set", f"model={BINS}"),
        )
        assert done.code == 0, done.err
        words = ("--set", "ensemble=average", "--json", "-q")
        done = cli(workshop, "ensemble", "seeds", "bins", *words)
        assert done.code == 0, done.err
        assert len(done.document["members"]) == 4


class TestCrossValidatedSearch:
    def test_its_best_settings_are_trained_and_judged_out_of_fold(self, folded):
        section = "ensemble={kind: greedy, members: 3, folds: 3}"
        done = cli(folded, "ensemble", "folded", "--set", section, "--json", "-q")
        assert done.code == 0, done.err
        document = done.document
        trials = [
            json.loads((path / "result.json").read_text())
            for path in sorted((run_of(folded, "folded") / "trials").iterdir())
        ]
        best = sorted(trials, key=lambda t: t["values"][0])[:3]
        assert [m["params"] for m in document["members"]] == [t["params"] for t in best]
        assert [m["label"] for m in document["members"]] == [
            f"folded-trial-{t['number']:04d}" for t in best
        ]
        assert document["models"] == 9
        assert document["selection"]["origin"] == "out-of-fold"
        assert (folded / document["run"]).parent.name == "folded-ensemble"

    def test_member_learns_with_the_setting_of_its_trial(self, folded):
        section = "ensemble={kind: average, members: 2}"
        done = cli(folded, "ensemble", "folded", "--set", section, "--json", "-q")
        assert done.code == 0, done.err
        files = dict(
            read_checkpoint(folded / done.document["run"] / "checkpoints" / "best").files
        )
        widths = [model.spec.hidden for model in load_members(files)]
        wanted = [tuple(m["params"]["model.hidden"]) for m in done.document["members"]]
        assert widths == wanted

    def test_same_command_again_reports_it_and_trains_nothing(self, folded):
        words = ("ensemble", "folded", "--set", "ensemble={kind: average, members: 4}")
        first = cli(folded, *words, "--json", "-q")
        again = cli(folded, *words, "--json", "-q")
        assert first.code == again.code == 0, again.err
        assert again.document["run"] == first.document["run"]
        other = cli(folded, *words[:3], "ensemble={kind: average, members: 3}", "--json", "-q")
        assert other.document["run"] != first.document["run"]

    @pytest.mark.parametrize(
        ("words", "code", "told"),
        [
            (("--set", "ensemble=snapshot"), 2, "snapshot trains one setting"),
            (("--set", "train.epochs=9"), 2, "members are of finished runs"),
            (
                ("--set", "ensemble={kind: average, vary: {optimizer.lr: {low: 1, high: 2}}}"),
                78,
                "ensemble.vary: members are the search's trials",
            ),
        ],
    )
    def test_what_does_not_fit_is_told_with_its_exit_code(self, folded, words, code, told):
        done = cli(folded, "ensemble", "folded", *words, "-q")
        assert done.code == code, done.err
        assert told in done.err
        assert "Traceback" not in done.err

    def test_beside_other_runs_it_is_refused_with_the_remedy(self, folded):
        assert cli(folded, "train", "folded.yaml", "-q", "--name", "plain").code == 0
        done = cli(folded, "ensemble", "plain", "folded", "-q")
        assert done.code == 66
        assert "name it alone" in done.err


def test_leak_planted_in_the_folds_is_caught(workshop, monkeypatch):
    """A fold whose model has learnt from the rows that it answers for must not count."""
    from modelscale.commands.ensembling import together
    from modelscale.ensembling.folds import InnerFold, inner_folds

    def leaky(rows, classes, folds, seed):
        honest = inner_folds(rows, classes, folds, seed)
        first = honest[0]
        stolen = torch.cat([first.learnt[1:], first.held[:1]]).sort().values
        return [InnerFold(stolen, first.held), *honest[1:]]

    monkeypatch.setattr(together, "inner_folds", leaky)
    done = cli(
        workshop,
        *("ensemble", "wine.yaml", "-q", "--name", "leaky"),
        *("--set", "ensemble={kind: stacking, members: 2, folds: 3}"),
    )
    assert done.code == 65
    assert "learnt from 1 of the" in done.err


def test_out_of_fold_score_of_noise_is_chance(tmp_path):
    """Labels that have nothing to do with the inputs: only leakage could predict them."""
    rows = np.random.default_rng(0)
    lines = ["a,b,c,d,e,f,y"]
    lines += [
        ",".join([*(f"{v:.4f}" for v in rows.normal(size=6)), "xy"[rows.integers(2)]])
        for _ in range(240)
    ]
    (tmp_path / "noise.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "noise.yaml").write_text(
        "data: {source: {kind: csv, path: noise.csv, target: y},"
        " split: {test: 0.2, validation: 0}}\n"
        "model: {kind: mlp, hidden: [64]}\noptimizer: {kind: adam, lr: 1e-2}\n"
        "train: {epochs: 40, batch_size: 32}\n"
    )
    document = made(tmp_path, "noise.yaml", "{kind: stacking, members: 2, folds: 4}")
    found = document["selection"]["metrics"]["accuracy"]["value"]
    assert 0.38 < found < 0.62
    assert document["selection"]["metrics"]["log_loss"]["value"] > 0.66
    logs = (tmp_path / document["run"] / "metrics.jsonl").read_text().splitlines()
    assert (
        json.loads(logs[-1])["train/loss"] < 0.4
    )  # although the members know their rows by heart


@pytest.mark.slow
def test_onnx_file_of_an_ensemble_answers_as_the_ensemble(workshop):
    """One graph for members of two shapes, their folds, the mean and the temperature."""
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    section = "{kind: greedy, members: 4, folds: 2, vary: {model: {choices: [linear, mlp]}}}"
    document = made(workshop, "wine.yaml", section, "--name", "graph")
    words = (document["run"], "--to", "onnx", "--seconds", "0.02", "--threads", "1", "--json")
    done = cli(workshop, "export", *words)
    assert done.code == 0, done.err
    assert done.document["parity"]["max_abs_diff"] < 1e-5
    files = dict(read_checkpoint(workshop / document["run"] / "checkpoints" / "best").files)
    model = load_predictor(files)
    (file,) = (workshop / document["run"] / "exports").glob("*.onnx")
    session = onnxruntime.InferenceSession(str(file))
    raw = {
        port.name: np.random.default_rng(0).normal(size=(7, *port.shape[1:])).astype("f4")
        for port in session.get_inputs()
    }
    answers = session.run(None, raw)
    assert any(a.shape == (7, model.targets) for a in map(np.asarray, answers))
