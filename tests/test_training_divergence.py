"""A loss that is not finite: seen before it does harm, and no concern of other replicas."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest
import torch
from fault_harness import fresh, in_child, workplace
from fault_programs import program, the_run, write_table
from training_data import CPU, LOSS, classes, replica

from modelscale.data.examples import TensorExamples
from modelscale.data.prepared import Prepared
from modelscale.runs.checkpoints import CheckpointStore, read_checkpoint
from modelscale.runs.metric_log import MetricLog
from modelscale.training import state
from modelscale.training.replica import Replica
from modelscale.training.session import Goal, Session
from modelscale.training.stopping import StopRequest
from modelscale.training.trainer import Divergence, EpochReport, Event, Trainer

MODEL = {"kind": "mlp", "hidden": [8], "norm": "batch", "dropout": 0.2}
BAD_ROW = 17
HUGE = dict.fromkeys(range(0, 150, 7), "3e38")


def with_bad_row(row: int = BAD_ROW) -> Prepared:
    """Return data with a value that no mean survives, in one training row."""
    data = classes((6,), 96)
    x = data.x.take(torch.arange(96)).clone()
    x[row, 2] = float("inf")
    return dataclasses.replace(data, x=TensorExamples(x))


def three(data: Prepared, bad: Prepared) -> list[Replica]:
    """Return a cohort of three, of which the second has the bad row among its rows."""
    return [
        replica(one, MODEL, {"kind": "adamw", "lr": 0.01}, seed=seed, epochs=3, ema=0.9)
        for seed, one in enumerate((data, bad, data))
    ]


def events_of(trainer: Trainer) -> list[Event]:
    return list(trainer.run())


def test_bad_row_is_named_before_it_changes_anything() -> None:
    trainer = Trainer([replica(with_bad_row(), MODEL, "adamw", epochs=3)], (), LOSS, CPU)
    before = None
    weights = trainer.cohort.weights
    for event in trainer.run(lambda _step: True):
        if isinstance(event, Divergence):
            break
        before = weights.clone()
    else:
        pytest.fail("no divergence was seen")
    assert isinstance(event, Divergence)
    assert BAD_ROW in event.rows[0]
    assert event.step == trainer.step + 1
    end = trainer.outcomes[0]
    assert (end.ending, end.step) == ("diverged", trainer.step)
    started = Trainer(trainer.replicas, (), LOSS, CPU).cohort.weights
    expected = before if before is not None else started
    assert torch.equal(weights.theta_KP, expected.theta_KP)
    for name, buffer_K in expected.buffers_K.items():
        assert torch.equal(weights.buffers_K[name], buffer_K), name


def test_others_of_a_cohort_end_as_if_they_were_alone() -> None:
    replicas = three(classes((6,), 96), with_bad_row())
    together = Trainer(replicas, (), LOSS, CPU)
    reports = events_of(together)
    assert [together.outcomes[k].ending for k in range(3)] == [
        "complete",
        "diverged",
        "complete",
    ]
    for index in (0, 2):
        alone = Trainer([replicas[index]], (), LOSS, CPU)
        values = [e.values[0] for e in events_of(alone) if isinstance(e, EpochReport)]
        got = [e.values[index] for e in reports if isinstance(e, EpochReport)]
        assert [v.keys() for v in got] == [v.keys() for v in values]
        for one, other in zip(got, values, strict=True):
            assert one == pytest.approx(other, rel=1e-4, abs=1e-5)
        torch.testing.assert_close(
            together.outcomes[index].weights.theta_KP,
            alone.outcomes[0].weights.theta_KP,
            rtol=1e-3,
            atol=1e-4,
        )


def test_state_saved_when_a_replica_diverges_is_that_between_two_steps(tmp_path: Path) -> None:
    replicas = three(classes((6,), 96), with_bad_row())
    goal = Goal((), LOSS)

    def session(name: str) -> Session:
        store = CheckpointStore(tmp_path / name, owner=True)
        log = MetricLog(tmp_path / f"{name}.jsonl")
        return Session(replicas, goal, CPU, store, (log,), StopRequest())

    straight = session("straight")
    for _ in straight.run():
        pass
    stopped = session("stopped")
    for event in stopped.run():
        if isinstance(event, Divergence):
            stopped.save()
            break
    else:
        pytest.fail("no divergence was seen")
    again = session("stopped")
    assert again.resumed_at == stopped.trainer.step
    for _ in again.run():
        pass
    assert state.dump(again.trainer) == state.dump(straight.trainer)


def test_every_checkpoint_of_a_run_that_diverges_is_finite(tmp_path: Path) -> None:
    from safetensors.torch import load

    for row in (3, BAD_ROW):
        one = replica(with_bad_row(row), MODEL, "adamw", epochs=3, checkpoint_steps=1)
        store = CheckpointStore(tmp_path / str(row), owner=True)
        session = Session([one], Goal((), LOSS), CPU, store, (), StopRequest())
        assert any(isinstance(event, Divergence) for event in session.run())
        assert store.steps()
        for step in store.steps():
            files = read_checkpoint(store.path(step)).files
            for name in ("model.safetensors", "state.safetensors"):
                for key, tensor in load(files[name]).items():
                    assert tensor.isfinite().all(), (step, name, key)


def test_command_ends_with_10_and_names_step_and_rows() -> None:
    with workplace() as work:
        table = write_table(work / "table.csv", odd=HUGE)
        changes = ("data.standardize=false", "model.norm=none", "optimizer.lr=1e6")
        run = program("train", table, changes)
        folder = fresh(work / "folder")
        code, output = in_child(lambda: run(folder), work)
        assert code == 10, output
        record = json.loads((the_run(folder) / "run.json").read_bytes())
        assert record["status"] == "diverged"
        error = record["result"]["error"]
        found = re.search(r"step (\d+): the loss or its gradient is not finite", error)
        assert found, error
        assert int(found.group(1)) >= 1
        assert re.search(r"Rows of the batch: (\d+, ){8}…", error), error
        assert error in output
        code, output = in_child(lambda: run(folder), work)
        assert (code, error in output) == (10, True), "reported, not repeated"


def test_one_seed_of_three_that_diverges_leaves_the_others() -> None:
    overrides = ("train.seeds=3", "train.cohort=3")
    with workplace() as work:
        plain = write_table(work / "plain.csv")
        run = program("train", plain, overrides)

        def poisoned() -> None:
            _poison_seed(1)
            run(fresh(work / "poisoned"))

        for body in (lambda: run(fresh(work / "sound")), poisoned):
            code, output = in_child(body, work)
            assert code == 0, output
        sound, ill = the_run(work / "sound"), the_run(work / "poisoned")
        result = json.loads((ill / "run.json").read_bytes())["result"]
        assert [m["ending"] for m in result["members"]] == ["complete", "diverged", "complete"]
        assert "seed-1: step " in result["warnings"][-1]
        assert not (ill / "members" / "seed-1").exists()
        for label in ("seed-0", "seed-2"):
            name = f"members/{label}/predictions-test.csv"
            got, wanted = ((one / name).read_text() for one in (ill, sound))
            assert numbers(got) == pytest.approx(numbers(wanted), abs=1e-3)


def numbers(table: str) -> list[float]:
    """Return the probabilities in a table of predictions."""
    return [float(cell) for line in table.splitlines()[1:] for cell in line.split(",")[3:]]


def _poison_seed(seed: int) -> None:
    """Make the last weights that a seed draws too large for any loss, in this process."""
    from modelscale.training import cohort

    build = cohort.build_network

    def poisoned(one: Replica) -> torch.nn.Module:
        network = build(one)
        if one.seed == seed:
            with torch.no_grad():
                list(network.parameters())[-2].fill_(3e38)
        return network

    cohort.build_network = poisoned
