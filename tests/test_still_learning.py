"""A run that ended while it still got better says so; one that had learnt all does not."""

import json

import pytest
from command_line import cli

from modelscale.commands.still_learning import curves, still_learning


def falling(epochs: int, rate: float) -> list[float]:
    return [1 - rate * epoch for epoch in range(epochs)]


@pytest.mark.parametrize(
    ("losses", "told"),
    [
        ([falling(20, 0.02)], True),
        ([falling(20, 0.0005)], True),  # little, but as fast as ever
        ([falling(20, 0.0002)], False),  # too little to be told from noise
        ([[0.5 + 0.7**epoch for epoch in range(20)]], False),  # next to its end
        ([[1 / (1 + epoch**2) + 0.5 for epoch in range(20)]], False),
        ([[*falling(15, 0.02), *[0.9] * 5]], False),  # the best epoch was long before
        ([falling(19, 0.02)], False),  # stopped early
        ([falling(20, 0.02), [1.0] * 20, [1.0] * 20], False),  # one of three
        ([falling(20, 0.02), falling(20, 0.02), [1.0] * 20], True),
        ([], False),
    ],
)
def test_warning_is_of_losses_that_still_fall(losses: list[list[float]], told: bool) -> None:
    assert (still_learning(losses, 20) is not None) == told


def test_short_trials_are_left_alone() -> None:
    assert still_learning([falling(5, 0.1)], 5) is None


def test_gain_is_that_of_the_last_quarter() -> None:
    message = still_learning([falling(20, 0.04)], 20)  # 0.44 after 15 epochs, 0.24 at the end
    assert message is not None
    assert "by 45.5%; more of them (train.epochs, now 20)" in message


def test_curves_are_those_of_the_log() -> None:
    entries = [
        {"step": 1, "member": "a", "validation/loss": 2.0},
        {"step": 1, "member": "b", "validation/loss": None},
        {"step": 2, "member": "a", "validation/loss": 1.0},
        {"step": 2, "member": "b", "validation/loss": 3.0},
        {"step": 3, "member": "b", "train/loss": 3.0},
    ]
    assert curves(json.dumps(entry).encode() for entry in entries) == [[2.0, 1.0], [3.0]]


def test_a_slow_run_is_told_and_a_patient_one_is_not(tmp_path) -> None:
    rows = "\n".join(f"{i % 10},{int(i % 10 > 4) ^ int(i % 7 == 0)}" for i in range(200))
    (tmp_path / "t.csv").write_text(f"x,y\n{rows}\n")
    (tmp_path / "s.yaml").write_text(
        "data: {source: {kind: csv, path: t.csv, target: y}}\nmodel: linear\n"
        "optimizer: {kind: adam, lr: 0.003}\n"
    )
    slow = cli(tmp_path, "train", "s.yaml", "--set", "train.epochs=30", "--json", "-q")
    assert slow.code == 0, slow.err
    assert any("still fell in the last quarter" in line for line in slow.document["warnings"])
    assert "still fell in the last quarter" in slow.err
    words = ("--set", "train.epochs=300", "--set", "optimizer.lr=0.1", "--set")
    patient = cli(tmp_path, "train", "s.yaml", *words, "train.batch_size=32", "--json", "-q")
    assert not any("still fell" in line for line in patient.document["warnings"])
