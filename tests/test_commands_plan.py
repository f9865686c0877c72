"""`plan`: what would run and cost, checked against what does."""

import json

import pytest
from command_line import cli, run_of


def planned(folder, *arguments):
    result = cli(folder, "plan", *arguments, "--json")
    assert result.code == 0, result.err
    return result.document


def test_steps_are_those_that_train_takes(workshop):
    found = planned(workshop, "digits.yaml")["train"]
    record = json.loads((run_of(workshop, "digits") / "run.json").read_text())
    last = (run_of(workshop, "digits") / "metrics.jsonl").read_text().splitlines()[-1]
    assert found["steps"] == json.loads(last)["step"] == 3 * found["steps_per_epoch"]
    assert found["model"]["kind"] == "mlp"
    facts = record["result"]["model"]
    assert {key: found["model"][key] for key in facts} == facts


def test_operations_by_hand(workshop):
    found = planned(workshop, "digits.yaml", "--no-measure")
    macs, rows = 64 * 16 + 16 * 10, found["data"]["folds"][0]
    flops = found["train"]["flops"]
    assert flops["step"] == 3 * 2 * macs * 64
    assert flops["total"] == 3 * 2 * macs * (3 * rows["train"] + rows["validation"])


def test_memory_and_disk_by_hand(workshop):
    found = planned(workshop, "digits.yaml", "--no-measure")["train"]
    weights = 4 * found["model"]["parameters"]
    memory = found["memory"]
    assert memory["weights"] == memory["gradients"] == memory["best_copy"] == weights
    assert memory["optimizer"] == 2 * weights  # Adam's two means
    assert memory["average"] == 0
    assert memory["data"] == 4 * 1797 * 65
    assert memory["total"] == sum(v for k, v in memory.items() if k != "total")
    assert found["disk"]["checkpoint"] == 5 * weights  # weights, two slots, best, model
    last = run_of(workshop, "digits") / "checkpoints" / "last"
    tensors = sum(file.stat().st_size for file in last.glob("*.safetensors"))
    assert tensors == pytest.approx(found["disk"]["checkpoint"], rel=0.3)


def test_no_run_is_made(workshop, tmp_path):
    result = cli(workshop, "plan", "search.yaml", "--runs", tmp_path / "runs")
    assert result.code == 0
    assert list(tmp_path.iterdir()) == []


def test_a_finished_run_is_found(workshop):
    run = run_of(workshop, "digits")
    earlier = planned(workshop, "digits.yaml")["train"]["run"]
    assert earlier == {"path": f"runs/digits/{run.name}", "status": "done"}
    assert planned(workshop, "digits.yaml", "--set", "seed=1")["train"]["run"] is None
    assert "reports runs/digits/" in cli(workshop, "plan", "digits.yaml").out


def test_members_train_together(workshop):
    found = planned(workshop, "digits.yaml", "--set", "train.seeds=3")["train"]
    assert found["members"] == ["seed-0", "seed-1", "seed-2"]
    assert [len(group["members"]) for group in found["groups"]] == [3]
    assert found["cohorts"]["measured"][0]["speedup"] == 1
    assert found["seconds"] > 0


def test_what_is_not_measured_is_unknown(workshop):
    line = ("digits.yaml", "--set", "train.seeds=3", "--no-measure")
    found = planned(workshop, *line)["train"]
    assert (found["seconds"], found["cohorts"]["size"]) == (None, None)
    assert "unknown; --measure finds out" in cli(workshop, "plan", *line).out
    wanted = planned(workshop, *line, "--set", "train.cohort=2")["train"]
    assert wanted["cohorts"]["size"] == 2


def test_folds_of_other_lengths_train_apart(workshop):
    split = "data.split={kind: kfold, folds: 4, validation: 0.2, stratify: false}"
    line = ("wine.yaml", "--set", split, "--explain-plan", "--no-measure")
    found = planned(workshop, *line)
    assert len(found["data"]["folds"]) == 4
    groups = found["train"]["groups"]
    labels = [label for group in groups for label in group["members"]]
    assert sorted(labels) == [f"fold-{k}" for k in range(4)]
    for group in groups[1:]:
        assert group["differs_in"] == ["number of training rows"]
    assert "differs from group 0 in" in cli(workshop, "plan", *line).out


def test_search(workshop):
    found = planned(workshop, "search.yaml")["tune"]
    assert (found["trials"], found["sampler"], found["early_stop"]) == (6, "tpe", None)
    assert found["steps"] == 6 * 51
    assert found["space"]["optimizer.lr"] == {
        "values": None, "together": True, "differs_in": [],
    }  # fmt: skip
    assert found["space"]["model.hidden"] == {
        "values": 2, "together": False, "differs_in": ["architecture"],
    }  # fmt: skip
    told = cli(workshop, "plan", "search.yaml", "--explain-plan").out
    assert "model.hidden                 apart     architecture" in told


def test_without_a_search_there_is_none(workshop):
    assert planned(workshop, "digits.yaml", "--no-measure")["tune"] is None


def test_bad_spec(workshop):
    result = cli(workshop, "plan", "digits.yaml", "--set", "train.epochs=0")
    assert (result.code, result.out) == (78, "")
