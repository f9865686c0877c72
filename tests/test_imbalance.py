"""Rare classes: balanced batches and thresholds of predictions."""

import csv
import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from command_line import cli

from modelscale.data.loading import load, prepare
from modelscale.data.section import DataSection
from modelscale.losses.base import LossSpec
from modelscale.models.base import ModelSpec
from modelscale.optimizers.base import OptimizerSpec
from modelscale.optimizers.schedules.base import ScheduleSpec
from modelscale.training.batches import Epoch
from modelscale.training.cohort import Cohort
from modelscale.training.plan import Regularization, TrainPlan
from modelscale.training.replica import Replica
from modelscale.training.step import Stepper

N = 600


@pytest.fixture(scope="module")
def frauds(tmp_path_factory):
    """A folder with payments of which 5 % are frauds, which are large."""
    folder = tmp_path_factory.mktemp("frauds")
    rng = np.random.default_rng(0)
    fraud = rng.random(N) < 0.05
    amount = rng.normal(size=N) + 2 * fraud
    rows = [f"{a:.5f},{'yes' if f else 'no'}" for a, f in zip(amount, fraud, strict=True)]
    (folder / "pay.csv").write_text("\n".join(["amount,fraud", *rows]) + "\n")
    return folder


@pytest.fixture(scope="module")
def replica(frauds):
    source = {"kind": "csv", "path": frauds / "pay.csv", "target": "fraud"}
    section = DataSection.model_validate({"source": source})
    return Replica(
        model=ModelSpec.model_validate({"kind": "mlp", "hidden": (4,)}),
        loss=LossSpec.model_validate("cross_entropy"),
        optimizer=OptimizerSpec.model_validate("adam"),
        scheduler=ScheduleSpec.model_validate("constant"),
        regularization=Regularization(),
        plan=TrainPlan(sampling="balanced", batch_size=50),
        seed=1,
        data=prepare(load(section), 0, "onehot", section),
    )


def test_an_epoch_holds_as_many_of_either_class_and_every_rare_row_equally_often(replica):
    order = Epoch([replica], [0], torch.device("cpu")).order_KN[0]
    rows, y = replica.rows, replica.data.y
    assert len(order) == len(rows)
    assert set(order.tolist()) <= set(rows.tolist())
    seen = y[order].bincount()
    assert abs(int(seen[0] - seen[1])) <= 1
    rare = rows[y[rows] == 1]
    times = torch.stack([(order == row).sum() for row in rare])
    assert times.max() - times.min() <= 1
    common = rows[y[rows] == 0]
    assert max((order == row).sum() for row in common) == 1
    again = Epoch([replica], [0], torch.device("cpu")).order_KN[0]
    assert torch.equal(order, again)
    assert not torch.equal(order, Epoch([replica], [1], torch.device("cpu")).order_KN[0])


def test_balanced_batches_are_the_same_alone_and_in_a_cohort(replica):
    def losses(replicas):
        cohort, K = Cohort.start(replicas, torch.device("cpu")), len(replicas)
        stepper, epoch = Stepper(cohort), Epoch(replicas, [0] * K, torch.device("cpu"))
        return [stepper.take(epoch.batches(s), [s + 1] * K).losses for s in range(4)]

    some = [replace(replica, seed=seed) for seed in (1, 2)]
    together = torch.tensor(losses(some)).T
    alone = torch.stack([torch.tensor(losses([one])).squeeze(1) for one in some])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


SPEC = """
version: 1
data:
  source: {{kind: csv, path: {path}, target: fraud}}
  split: {{test: 0.2, validation: 0.3, seed: 0}}
model: {{kind: mlp, hidden: [4]}}
train: {{epochs: 5, cohort: 1}}
evaluate: {{costs: [[0, 1], [19, 0]], resamples: 100}}
"""


def answers(folder, run, *options):
    result = cli(folder, "predict", run, "--data", "new.csv", *options)
    assert result.code == 0, result.err
    return list(csv.DictReader(io.StringIO(result.out)))


def test_predictions_decide_by_the_threshold_that_was_asked_for(frauds):
    (frauds / "s.yaml").write_text(SPEC.format(path=frauds / "pay.csv"))
    run = cli(frauds, "train", "s.yaml", "--json", "-q").document["run"]
    lines = (frauds / "pay.csv").read_text().splitlines()
    text = "\n".join(line.partition(",")[0] for line in lines)  # no target
    (frauds / "new.csv").write_text(text + "\n")
    measured = cli(frauds, "evaluate", run, "--json", "-q").document["decisions"]
    wanted = {
        "0.3": 0.3,
        "costs": measured["thresholds"]["by_costs"],
        "validation": measured["thresholds"]["by_validation"],
    }
    assert wanted["costs"] == pytest.approx(1 / 20)
    for option, limit in wanted.items():
        for row in answers(frauds, run, "--threshold", option):
            assert row["prediction"] == ("yes" if float(row["p(yes)"]) > limit else "no")
    refused = cli(frauds, "predict", run, "--data", "new.csv", "--threshold", "much")
    assert refused.code == 2
    assert "expected a number from 0 to 1, costs or validation" in refused.err


def test_balanced_batches_are_for_classes(frauds):
    text = SPEC.format(path=frauds / "pay.csv").partition("evaluate:")[0]
    (frauds / "r.yaml").write_text(
        text.replace("target: fraud", "target: amount").replace(
            "epochs: 5", "sampling: balanced"
        )
    )
    result = cli(frauds, "train", "r.yaml")
    assert result.code == 78
    assert "train.sampling: balanced is for classification" in result.err
