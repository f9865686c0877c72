"""Every kind of pruning as a user types it: by size, by accuracy, in rounds, of ensembles."""

import shutil
import sys

import pytest
import torch
from command_line import cli
from pruning_commands import QUICK, model_at, timed_little, with_trained

from modelscale.models.edits.sparse import Sparse
from modelscale.runs.checkpoints import read_checkpoint
from modelscale.runs.find import find_checkpoint


@pytest.fixture(scope="module", autouse=True)
def hasty():
    with timed_little():
        yield


@pytest.fixture(scope="module")
def folder(workshop, tmp_path_factory):
    return with_trained(workshop, tmp_path_factory.mktemp("prune"))


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

    @pytest.mark.parametrize(
        ("words", "epochs"),
        [
            (("--target", "macs=1.0"), 3),
            (("--target", "macs=0.5"), 6),
            (("--target", "macs=0.2", "--set", "prune.least=0"), 9),
            (("--target", "macs=0.2", "--set", "prune.retrain.epochs=1"), 1),
        ],
        ids=["whole", "half", "a fifth", "told"],
    )
    def test_what_is_smaller_trains_longer_unless_told_otherwise(self, folder, words, epochs):
        """As much arithmetic as the first training of 3 epochs, up to three times as many."""
        more = ("--set", "prune.align=1", "--set", "prune.allocation=uniform", "--threads", "1")
        name = ("--name", f"epochs-{epochs}")
        result = cli(folder, "prune", "digits", *words, *more, *name, "--json")
        assert result.code == 0, result.err
        assert result.document["steps"][0]["retrain"]["epochs"] == epochs

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
