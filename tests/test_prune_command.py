"""`modelscale prune` as a user types it, and what other commands make of its result."""

import json
import shutil
import sys

import pytest
import torch
from command_line import cli, run_of

from modelscale.commands.pruning import latency_target, timing
from modelscale.evaluation.macs import count_macs
from modelscale.models.edits.sparse import Sparse
from modelscale.runs.checkpoints import read_checkpoint
from modelscale.runs.find import find_checkpoint
from modelscale.training.artifact import load_model

QUICK = ("--set", "prune.retrain.epochs=2", "--threads", "1")


@pytest.fixture(scope="module", autouse=True)
def hasty():
    """Time little; what the times are is of no interest here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timing, "TURNS", 3)
        patch.setattr(timing, "SECONDS", 0.005)
        patch.setitem(sys.modules, "onnxruntime", None)
        yield


@pytest.fixture(scope="module")
def folder(workshop, tmp_path_factory):
    """Return a folder with a trained model whose original can be taken away."""
    made = tmp_path_factory.mktemp("prune")
    shutil.copytree(workshop / "runs" / "digits", made / "runs" / "digits", symlinks=True)
    return made


@pytest.fixture(scope="module")
def pruned(folder):
    """Return the document of a structured pruning to a quarter of the MACs."""
    words = ("--set", "prune.align=1", "--set", "prune.least=0")
    result = cli(folder, "prune", "digits", "--target", "macs=0.25", *QUICK, *words, "--json")
    assert result.code == 0, result.err
    return result.document


def model_at(path):
    return load_model(dict(read_checkpoint(find_checkpoint(path)).files))


class TestDocument:
    def test_has_both_sides_with_every_key(self, pruned):
        assert (pruned["command"], pruned["status"]) == ("prune", "done")
        for side in ("before", "after"):
            found = pruned[side]
            assert {"parameters", "macs", "bytes", "latency_ms", "metrics"} <= set(found)
            assert set(found["latency_ms"]) == {"1", "128"}
            assert {"value", "low", "high"} <= set(found["metrics"]["test"]["accuracy"])

    def test_target_is_met_and_not_by_far(self, pruned):
        share = pruned["after"]["macs"] / pruned["before"]["macs"]
        assert 0.15 < share <= 0.2525

    def test_file_is_smaller_and_says_what_it_is(self, folder, pruned):
        sizes = [
            sum(len(f) for f in read_checkpoint(find_checkpoint(path)).files.values())
            for path in (folder / pruned["run"], run_of(folder, "digits"))
        ]
        assert sizes[0] < sizes[1]
        facts = json.loads(
            read_checkpoint(find_checkpoint(folder / pruned["run"])).files["model.json"]
        )
        assert facts["edits"][0]["kind"] == "cut"
        assert facts["edits"][0]["kept"]

    def test_speed_is_only_claimed_where_every_turn_says_so(self, pruned):
        for batches in pruned["speedup"].values():
            for found in batches.values():
                assert found["low"] <= found["value"] <= found["high"]
                if found["verdict"] == "faster":
                    assert found["low"] > 1

    def test_same_command_again_reports_the_finished_run(self, folder, pruned):
        words = ("--set", "prune.align=1", "--set", "prune.least=0")
        again = cli(
            folder, "prune", "digits", "--target", "macs=0.25", *QUICK, *words, "--json"
        )
        assert again.document == pruned
        assert "finished earlier" in again.err


class TestOtherCommands:
    @pytest.mark.parametrize(
        "words",
        [
            ("evaluate", "digits-pruned"),
            ("predict", "digits-pruned", "--data", "digits", "-o", "answers.csv"),
            ("profile", "digits-pruned", "--seconds", "0.01"),
            ("export", "digits-pruned", "--to", "torch-export", "--seconds", "0.01"),
            ("runs", "show", "digits-pruned"),
            ("report", "digits-pruned", "-o", "report.html"),
            (
                "prune",
                "digits-pruned",
                "--target",
                "macs=0.8",
                *QUICK,
                "--set",
                "prune.align=1",
            ),
        ],
        ids=lambda words: words[0],
    )
    def test_take_the_result_without_the_original(self, folder, pruned, words, tmp_path):
        alone = tmp_path / "alone"
        run = folder / pruned["run"]
        target = alone / "runs" / "digits-pruned" / run.name
        shutil.copytree(run, target, symlinks=True)
        result = cli(alone, *words)
        assert result.code == 0, result.err

    def test_report_shows_both_sides_and_the_widths(self, folder, pruned):
        pytest.importorskip("matplotlib")
        assert cli(folder, "report", "digits-pruned", "-o", "pruned.html").code == 0
        page = (folder / "pruned.html").read_text()
        for words in ("Before and after", "bytes on disk", "What each layer keeps"):
            assert words in page
        assert f"{pruned['after']['parameters']:,}" in page
        units = pruned["steps"][0]["units"]
        assert all(f"{name}: {n} of {whole}" in page for name, (n, whole) in units.items())

    def test_ensemble_takes_it_beside_the_original(self, folder, pruned):
        result = cli(folder, "ensemble", "runs/digits", "runs/digits-pruned", "-q")
        assert result.code == 0, result.err


class TestKinds:
    def test_sparse_weights_are_zero_and_stored_small(self, folder):
        words = ("--kind", "sparse", "--target", "sparsity=0.9", "--name", "sparse")
        result = cli(folder, "prune", "digits", *words, *QUICK, "--json")
        assert result.code == 0, result.err
        model = model_at(folder / result.document["run"])
        (edit,) = (e for e in model.edits if isinstance(e, Sparse))
        named = dict(model.network.named_parameters())
        zeros = torch.cat([named[name].detach().flatten() == 0 for name in edit.tensors])
        assert float(zeros.float().mean()) == pytest.approx(0.9, abs=0.002)
        sides = [result.document[side]["file_bytes"] for side in ("before", "after")]
        assert sides[1] < 0.4 * sides[0]
        faster = [
            found["verdict"] == "faster"
            for batches in result.document["speedup"].values()
            for found in batches.values()
        ]
        assert not all(faster)

    def test_pattern_holds_after_training(self, folder):
        words = ("--kind", "sparse", "--target", "pattern=2:4", "--name", "pattern")
        result = cli(folder, "prune", "digits", *words, *QUICK, "--json")
        assert result.code == 0, result.err
        kernels = result.document["steps"][0]["kernels"]
        assert kernels["used"] or kernels["why"].startswith("no CUDA device")
        model = model_at(folder / result.document["run"])
        for layer in model.network.modules():
            if isinstance(layer, torch.nn.Linear) and layer.in_features % 4 == 0:
                left = layer.weight.detach().ne(0).reshape(-1, 4).sum(1)
                assert (left <= 2).all()

    def test_sequence_does_one_after_the_other(self, folder):
        section = "prune=[{kind: low_rank, energy: 0.8, align: 1, retrain: {epochs: 1}}, "
        section += "{kind: structured, target: {parameters: 0.5}, retrain: {epochs: 1}}]"
        result = cli(folder, "prune", "digits", "--set", section, "--name", "both", "--json")
        assert result.code == 0, result.err
        assert [step["kind"] for step in result.document["steps"]] == ["low_rank", "structured"]
        edits = [e.own_kind() for e in model_at(folder / result.document["run"]).edits]
        assert edits == ["low_rank", "cut"]

    def test_sweep_keeps_every_point_and_picks_by_rule(self, folder):
        words = ("--sweep", "0.6,0.3", "--criteria", "magnitude,random", "--name", "sweep")
        more = ("--set", "prune.allocation=uniform", "--set", "prune.sweep.within=0.1")
        result = cli(folder, "prune", "digits", *words, *more, *QUICK, "--json")
        assert result.code == 0, result.err
        (step,) = result.document["steps"]
        points, run = step["points"], folder / result.document["run"]
        assert len(points) == 4
        (picked,) = (point for point in points if point["picked"])
        within = [point for point in points if point["drop"] <= 0.1]
        assert picked["macs"] == min(point["macs"] for point in within or points)
        assert result.document["after"]["macs"] == picked["macs"]
        assert any(point["pareto"] for point in points)
        assert (run / "points.csv").read_text().count("\n") == 5
        for point in points:
            found = cli(folder, "evaluate", run / "points" / point["point"], "--json")
            value = found.document["metrics"]["test"]["accuracy"]["value"]
            assert value == pytest.approx(point["test_accuracy"])
        page = folder / "sweep.html"
        assert cli(folder, "report", "sweep", "-o", page).code == 0
        assert page.read_text().count("accuracy against") >= 4  # MACs, bytes, two latencies
        cohorts = json.loads((run / "cohorts-00-structured.json").read_bytes())["cohorts"]
        assert sorted(k for c in cohorts for k in c) == [0, 1, 2, 3]
        assert all(set(c) <= {0, 1} or set(c) <= {2, 3} for c in cohorts)  # of one shape each

    def test_sweep_over_methods_has_a_point_of_each_that_can_be_reached(self, folder):
        words = ("--sweep", "0.6,0.01", "--methods", "low_rank", "--name", "ways")
        result = cli(folder, "prune", "digits", *words, *QUICK, "--json")
        assert result.code == 0, result.err
        assert "0.01-low_rank is left out" in result.err
        (point,) = result.document["steps"][0]["points"]
        assert (point["point"], point["runtime"], point["picked"]) == (
            "0.6-low_rank",
            "eager",
            True,
        )
        assert point["macs"] <= 0.606 * result.document["before"]["macs"]
        model = model_at(folder / result.document["run"] / "points" / "0.6-low_rank")
        assert [edit.own_kind() for edit in model.edits] == ["low_rank"]

    @pytest.mark.slow
    def test_sweep_over_all_methods_of_a_convolutional_network(
        self, workshop, tmp_path, monkeypatch
    ):
        """Points of cut, thin and separable layers, and each of them and the first in int8."""
        monkeypatch.delitem(sys.modules, "onnxruntime")
        pytest.importorskip("onnxruntime")
        net = "model={kind: cnn, channels: [8, 16], norm: batch}"
        words = ("--set", net, "--set", "train.epochs=2", "--name", "cnn", "-q")
        assert cli(tmp_path, "train", workshop / "digits.yaml", *words).code == 0
        methods = "structured,low_rank,depthwise_separable,int8"
        words = ("--sweep", "0.5", "--methods", methods, "--set", "prune.allocation=uniform")
        result = cli(tmp_path, "prune", "cnn", *words, *QUICK, "--json")
        assert result.code == 0, result.err
        points = {p["point"]: p for p in result.document["steps"][0]["points"]}
        plain = ["0.5-activation-uniform", "0.5-low_rank", "depthwise_separable"]
        assert list(points) == [*plain, "1-int8", *(f"{name}-int8" for name in plain)]
        for name in plain:
            small = points[f"{name}-int8"]
            assert small["runtime"] == "onnxruntime"
            assert small["macs"] == points[name]["macs"]
            gap = small["validation_accuracy"] - points[name]["validation_accuracy"]
            assert abs(gap) < 0.1
        assert points["1-int8"]["macs"] == result.document["before"]["macs"]
        assert abs(points["1-int8"]["drop"]) < 0.1
        assert next(p for p in points.values() if p["picked"])["runtime"] == "eager"
        page = tmp_path / "sweep.html"
        assert cli(tmp_path, "report", "cnn-pruned", "-o", page).code == 0
        assert "depthwise_separable-int8" in page.read_text()

    @pytest.mark.slow
    def test_budget_finds_a_smaller_model_within_it(self, folder):
        words = ("--max-drop", "0.1", "--name", "budget", *QUICK, "--set", "prune.align=1")
        result = cli(folder, "prune", "digits", *words, "--json")
        assert result.code == 0, result.err
        (step,) = result.document["steps"]
        best = [point for point in step["points"] if point["within"]]
        assert best
        assert all(point["drop"] < point["bound"] <= 0.1 for point in best)
        assert step["promise"]["bound"] == next(p["bound"] for p in best if p["picked"])
        assert step["promise"]["text"] in result.err
        assert result.document["after"]["macs"] < result.document["before"]["macs"]

    @pytest.mark.slow
    def test_sparse_budget_that_nothing_meets_removes_nothing(self, folder):
        words = ("--kind", "sparse", "--max-drop", "0", "--name", "strict")
        untrained = ("--set", "prune.retrain.epochs=0", "--threads", "1")
        result = cli(folder, "prune", "digits", *words, *untrained, "--json")
        assert result.code == 0, result.err
        assert "nothing was removed" in result.document["steps"][0]["promise"]["text"]
        assert result.document["after"]["metrics"] == result.document["before"]["metrics"]

    @pytest.mark.parametrize("schedule", ["iterative", "gradual"])
    def test_rounds_end_at_the_target_with_as_many_epochs_in_all(self, folder, schedule):
        words = ("--target", "parameters=0.3", "--set", f"prune.schedule={schedule}")
        more = ("--set", "prune.align=1", "--set", "prune.allocation=uniform")
        result = cli(
            folder, "prune", "digits", *words, *more, *QUICK, "--name", schedule, "--json"
        )
        assert result.code == 0, result.err
        (step,) = result.document["steps"]
        assert sum(r["retrain"]["epochs"] for r in step["rounds"]) == 2
        sizes = [result.document[side]["parameters"] for side in ("before", "after")]
        assert 0.2 < sizes[1] / sizes[0] <= 0.303
        left = step["rounds"][0]["left"]
        assert left == pytest.approx(0.3**0.5 if schedule == "iterative" else 1 - 0.7 * 7 / 8)
        assert len(model_at(folder / result.document["run"]).edits) == 2

    @pytest.mark.slow
    def test_int8_follows_and_is_proved(self, folder, monkeypatch):
        monkeypatch.delitem(sys.modules, "onnxruntime")
        pytest.importorskip("onnxruntime")
        words = ("--kind", "structured,int8", "--name", "int8", "--threads", "1")
        result = cli(folder, "prune", "digits", *words, "--json")
        assert result.code == 0, result.err
        assert (folder / result.document["int8"]["file"]).is_file()
        assert set(result.document["int8"]["latency"]) == {"1", "128"}

    @pytest.mark.slow
    def test_regression_is_pruned_too(self, workshop, tmp_path):
        shutil.copytree(
            workshop / "runs" / "diabetes", tmp_path / "runs" / "diabetes", symlinks=True
        )
        words = ("--target", "macs=0.5", "--set", "prune.retrain.distill=0.5", *QUICK)
        result = cli(tmp_path, "prune", "diabetes", *words, "--json")
        assert result.code == 0, result.err


@pytest.fixture(scope="module")
def answered(folder):
    """Return the document of the pruning of an ensemble of two."""
    section = "ensemble={kind: average, members: 2}"
    words = ("--set", section, "--name", "both", "--set", "train.epochs=2", "-q")
    made = cli(folder, "ensemble", "runs/digits/latest/spec.resolved.yaml", *words)
    assert made.code == 0, made.err
    words = ("--target", "parameters=0.5", "--set", "prune.allocation=uniform")
    result = cli(folder, "prune", "both", *words, *QUICK, "--json")
    assert result.code == 0, result.err
    return result.document


class TestEnsembles:
    def test_every_member_is_cut_and_they_answer_together_as_before(self, folder, answered):
        from modelscale.training.ensemble_artifact import load_members, load_predictor

        files = read_checkpoint(find_checkpoint(folder / answered["run"])).files
        members = load_members(files)
        assert len(members) == 2
        assert [step["member"] for step in answered["steps"]] == ["member-00", "member-01"]
        assert all(model.edits for model in members)
        whole = load_predictor(files)
        x = torch.rand(3, *whole.inputs.shape)
        mean = sum(model.predictions(x) for model in members) / 2
        assert torch.allclose(whole.predictions(x), mean, atol=0.2)  # but for the temperature
        assert torch.equal(whole.predictions(x).argmax(1), mean.argmax(1))
        assert answered["after"]["parameters"] <= 0.51 * answered["before"]["parameters"]
        assert answered["after"]["file_bytes"] < answered["before"]["file_bytes"]

    def test_other_commands_take_it(self, folder, answered):
        evaluated = cli(folder, "evaluate", "both-pruned", "--json")
        found = evaluated.document["metrics"]["test"]["accuracy"]["value"]
        assert found == answered["metrics"]["test"]["accuracy"]["value"]
        assert cli(folder, "profile", "both-pruned", "--seconds", "0.01").code == 0

    def test_a_sweep_and_initial_weights_are_for_one_model(self, folder, answered):
        result = cli(folder, "prune", "both", "--sweep", "0.5", "-q")
        assert (result.code, "this is an ensemble" in result.err) == (78, True)
        words = ("--set", "prune={kind: structured, retrain: {rewind: weights}}")
        assert cli(folder, "prune", "both", *words, "-q").code == 78


def by_work_and_overhead(overhead):
    """Return what stands for a clock: a call takes its work and something on top."""

    def timed(calls, example, batches, **_):
        work = {name: float(count_macs(network, example)) for name, network in calls.items()}
        whole = max(work.values())
        ms = {name: overhead + (1 - overhead) * own / whole for name, own in work.items()}
        return {name: {batch: [own] * 5 for batch in batches} for name, own in ms.items()}

    return timed


class TestLatency:
    SIZES = ("--set", "prune.align=1", "--set", "prune.retrain.epochs=1", "--threads", "1")

    def test_latency_within_reach_is_met(self, folder, monkeypatch):
        monkeypatch.setattr(latency_target, "timed", by_work_and_overhead(0.5))
        words = ("--target", "latency=0.7", "--name", "reached", *self.SIZES)
        result = cli(folder, "prune", "digits", *words, "--json")
        assert result.code == 0, result.err
        found = result.document["steps"][0]["latency"]
        assert found["met"]
        assert 0.6 < found["reached"] <= 0.7 * 1.03
        assert "out of reach" not in result.err

    def test_latency_out_of_reach_is_told_first_and_ends_with_3_and_what_comes_nearest(
        self, folder, monkeypatch
    ):
        """Nine tenths of a call are overhead, so that no cut can halve it."""
        monkeypatch.setattr(latency_target, "timed", by_work_and_overhead(0.9))
        words = ("--target", "latency=0.5", "--name", "missed", *self.SIZES)
        result = cli(folder, "prune", "digits", *words, "--json")
        assert (result.code, result.document["status"]) == (3, "error")
        (step,) = result.document["steps"]
        assert not step["latency"]["met"]
        assert 0.9 < step["latency"]["reached"] < 0.94
        (message,) = result.document["messages"]
        assert "latency=0.5 is not met in eager at batch 1" in message
        early = result.err.index("may be out of reach")
        assert early < result.err.index("is not met")
        # No more was cut than what is as fast as the smallest widths.
        share = result.document["after"]["macs"] / result.document["before"]["macs"]
        assert 0.1 < share < 0.5
        assert cli(folder, "evaluate", "missed").code == 0
        again = cli(folder, "prune", "digits", *words, "--json")
        assert (again.code, again.document) == (3, result.document)
        shown = cli(folder, "prune", "digits", *words)
        assert shown.code == 3
        assert message in shown.err


class TestFaults:
    def test_what_is_impossible_begins_no_run(self, folder):
        for words in (
            ("--target", "macs=0.00001"),
            ("--sweep", "0.5,0.00001"),
            ("--criterion", "batch_norm_scale"),
        ):
            assert cli(folder, "prune", "digits", *words, "--name", "no", "-q").code == 78
        assert not (folder / "runs" / "no").exists()

    @pytest.mark.parametrize(
        ("words", "code", "message"),
        [
            (("--target", "foo=1"), 2, "--target foo=1: expected one of: macs=…"),
            (("--target", "macs"), 2, "expected one of"),
            (("--target", "macs=-1"), 78, "must be above 0"),
            (("--target", "latency=2"), 78, "must be at most 1"),
            (("--target", "macs=0.00001"), 78, "cannot be met: at least"),
            (("--kind", "spars"), 78, "did you mean 'sparse'?"),
            (("--kind", "int8,structured"), 78, "int8 can only be the last step"),
            (("--kind", "depthwise_separable"), 78, "no dense convolution"),
            (("--criterion", "batch_norm_scale"), 78, "needs a network with batch norm"),
            (("--kind", "sparse", "--criterion", "geometric_median"), 78, "scores whole units"),
            (("--set", "prune.target={macs: 0.5, bytes: 1}"), 78, "just one of"),
            (("--set", "model.hidden=[3]"), 2, "the model is trained"),
            (("--set", "data.split.seed=5"), 65, "is divided or prepared otherwise"),
            (("--set", "data.source=iris"), 65, "is not the data that the model"),
            (("--sweep", "0.5", "--max-drop", "0.1"), 2, "--sweep goes without"),
            (("--sweep", "0.5,2"), 78, "shares are above 0"),
            (("--methods", "depthwise_separable"), 78, "prune.sweep.methods: the network has"),
            (("--methods", "low"), 78, "prune.sweep.methods"),
            (("--methods", "low_rank,int8"), 69, "pip install"),
            (("--methods", "int8"), 78, "goes with at least one that makes points"),
            (("--methods", "low_rank", "--criteria", "random"), 78, "goes with the method"),
            (("--kind", "structured,int8"), 69, "pip install"),
            (("--set", "prune.retrain={lr: 0.1}"), 78, "goes with rewind: none"),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
    )
    def test_are_one_line_with_an_exit_code(self, folder, words, code, message):
        result = cli(folder, "prune", "digits", *words, "-q")
        assert result.code == code, result.err
        assert message in result.err
        assert "Traceback" not in result.err
        assert len(result.err.strip().splitlines()) == 1

    def test_missing_and_damaged_checkpoints(self, folder, tmp_path):
        assert cli(folder, "prune", "nowhere", "-q").code == 66
        copy = tmp_path / "runs" / "digits"
        shutil.copytree(folder / "runs" / "digits", copy, symlinks=True)
        for weights in copy.rglob("model.safetensors"):
            weights.write_bytes(weights.read_bytes()[:-4] + b"\\0\\0\\0\\1")
        result = cli(tmp_path, "prune", "digits", "-q")
        assert result.code == 65
        assert len(result.err.strip().splitlines()) == 1
