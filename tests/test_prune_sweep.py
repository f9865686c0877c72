"""Sweeps over sizes and ways: every point is kept, and one is picked by rule."""

import json
import sys

import pytest
from command_line import cli
from pruning_commands import QUICK, model_at, timed_little, with_trained


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
