"""Sweeps over sizes and ways: every point is kept, and one is picked by rule."""

import json
import sys

import pytest
import torch
from command_line import cli
from pruning_commands import QUICK, model_at, timed_little, with_trained

from modelscale.models.edits.sparse import Sparse


@pytest.fixture(scope="module", autouse=True)
def hasty():
    with timed_little():
        yield


@pytest.fixture(scope="module")
def folder(workshop, tmp_path_factory):
    return with_trained(workshop, tmp_path_factory.mktemp("prune"))


def test_sweep_keeps_every_point_and_picks_by_rule(folder):
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
        assert found.code == 0, found.err
        value = found.document["metrics"]["test"]["accuracy"]["value"]
        assert value == pytest.approx(point["test_accuracy"])
    page = folder / "sweep.html"
    assert cli(folder, "report", "sweep", "-o", page).code == 0
    assert page.read_text().count("accuracy against") >= 4  # MACs, bytes, two latencies
    cohorts = json.loads((run / "cohorts-00-structured.json").read_bytes())["cohorts"]
    assert sorted(k for c in cohorts for k in c) == [0, 1, 2, 3]
    assert all(set(c) <= {0, 1} or set(c) <= {2, 3} for c in cohorts)  # of one shape each


def test_sweep_over_methods_has_a_point_of_each_that_can_be_reached(folder):
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


def test_sweep_over_sparsities_keeps_zeros_in_small_files(folder):
    section = ("--methods", "sparse", "--set", "prune.sweep.sparsities=[0.5, 0.9]")
    more = (
        "--set",
        "prune.sweep.patterns=[2:4]",
        "--set",
        "prune.sweep.within=1",
        "--name",
        "zeros",
    )
    result = cli(folder, "prune", "digits", *section, *more, *QUICK, "--json")
    assert result.code == 0, result.err
    (step,) = result.document["steps"]
    points = {point["point"]: point for point in step["points"]}
    assert list(points) == ["sparse-0.5", "sparse-0.9", "sparse-2-of-4"]
    assert {point["macs"] for point in points.values()} == {result.document["before"]["macs"]}
    assert points["sparse-0.9"]["picked"]  # of equal MACs, the fewest bytes
    assert points["sparse-0.9"]["bytes"] < points["sparse-0.5"]["bytes"]
    run = folder / result.document["run"]
    for name, share in (("sparse-0.5", 0.5), ("sparse-0.9", 0.9), ("sparse-2-of-4", 0.5)):
        model = model_at(run / "points" / name)
        (edit,) = (e for e in model.edits if isinstance(e, Sparse))
        named = dict(model.network.named_parameters())
        zeros = torch.cat([named[n].detach().flatten() == 0 for n in edit.tensors])
        assert float(zeros.float().mean()) == pytest.approx(share, abs=0.002)
    assert step["sparsity"] == pytest.approx(0.9, abs=0.002)
    assert cli(folder, "prune", "digits", *section, *more, *QUICK, "--json").document == (
        result.document
    )


@pytest.mark.slow
@pytest.mark.parametrize("epochs", [0, 2])
def test_eight_bits_that_are_picked_are_a_file_beside_the_float_model(
    folder, monkeypatch, epochs
):
    """Untrained cuts lose everything, so that the whole model with eight bits is picked."""
    monkeypatch.delitem(sys.modules, "onnxruntime")
    pytest.importorskip("onnxruntime")
    words = ("--sweep", "0.3", "--methods", "structured,int8", "--name", f"bits-{epochs}")
    within = 0.05 if epochs == 0 else 1
    more = ("--set", f"prune.sweep.within={within}", "--set", "prune.allocation=uniform")
    how = (
        "--set",
        f"prune.retrain.epochs={epochs}",
        "--threads",
        "1",
        "--set",
        "prune.align=1",
    )
    result = cli(folder, "prune", "digits", *words, *more, *how, "--json")
    assert result.code == 0, result.err
    (step,) = result.document["steps"]
    (picked,) = (point for point in step["points"] if point["picked"])
    assert picked["point"] == step["picked"]
    if epochs == 0:
        assert picked["point"] == "1-int8"
        assert result.document["after"]["metrics"] == result.document["before"]["metrics"]
    small = picked["point"].endswith("int8")
    assert ("int8" in result.document) == small  # of equal MACs the fewer bytes
    assert not small or (folder / result.document["int8"]["file"]).is_file()


@pytest.mark.slow
def test_sweep_over_all_methods_of_a_convolutional_network(workshop, tmp_path, monkeypatch):
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
