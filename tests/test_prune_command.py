"""`modelscale prune` as a user types it, and what other commands make of its result."""

import json
import shutil

import pytest
from command_line import cli, run_of
from pruning_commands import QUICK, timed_little, with_trained

from modelscale.runs.checkpoints import read_checkpoint
from modelscale.runs.find import find_checkpoint


@pytest.fixture(scope="module", autouse=True)
def hasty():
    with timed_little():
        yield


@pytest.fixture(scope="module")
def folder(workshop, tmp_path_factory):
    return with_trained(workshop, tmp_path_factory.mktemp("prune"))


@pytest.fixture(scope="module")
def pruned(folder):
    """Return the document of a structured pruning to a quarter of the MACs."""
    words = ("--set", "prune.align=1", "--set", "prune.least=0")
    result = cli(folder, "prune", "digits", "--target", "macs=0.25", *QUICK, *words, "--json")
    assert result.code == 0, result.err
    return result.document


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
            (
                ("--sweep", "0.5", "--set", "prune.sweep.sparsities=[0.5]"),
                78,
                "goes with the method",
            ),
            (("--methods", "sparse", "--set", "prune.sweep.sparsities=[2]"), 78, "sparsities"),
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
