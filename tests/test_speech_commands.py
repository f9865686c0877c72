"""Recordings through the command line, as a user would bring them."""

import csv

import pytest
from command_line import cli
from sounds import write_strings, write_words

WORDS = """
version: 1
data:
  source: {kind: audio_folder, path: words}
  split: {test: 0.25, validation: 0.25}
  audio: {bands: 16, step_ms: 20}
  augment: [{kind: spec_augment}, {kind: time_shift}]
model: {kind: ds_cnn, width: 8, blocks: 1, dropout: 0.0}
optimizer: {kind: adam, lr: 0.02}
train: {epochs: 12, batch_size: 8}
metrics: [accuracy]
tune:
  n_trials: 2
  metric: validation/accuracy
  space: {optimizer.lr: {low: 0.005, high: 0.05, log: true}}
"""
SAID = """
version: 1
task: transcription
data:
  source: {kind: audio_table, path: said.csv, target: said, part: part}
  split: column
  audio: {bands: 16, step_ms: 20}
  transcript: {unit: words}
model: {kind: ctc_conv, width: 24, blocks: 1, kernel: 3, dropout: 0.0}
loss: {kind: ctc, beam: 4}
optimizer: {kind: adam, lr: 0.02}
train: {epochs: 25, batch_size: 8, keep: last}
"""


@pytest.fixture(scope="module")
def workshop(tmp_path_factory):
    """Return a folder with recordings of words and of strings, and a run of each."""
    folder = tmp_path_factory.mktemp("speech")
    write_words(folder / "words", count=12)
    write_strings(folder)
    for name, spec in (("words", WORDS), ("said", SAID)):
        (folder / f"{name}.yaml").write_text(spec)
        result = cli(folder, "train", f"{name}.yaml", "--json", "-q", "--threads", "1")
        assert result.code == 0, result.err
    return folder


def document(folder, *words):
    result = cli(folder, *words, "--json")
    assert result.code == 0, result.err
    return result.document


def test_words_are_learnt_and_measured(workshop):
    found = document(workshop, "evaluate", "words")
    assert found["metrics"]["test"]["accuracy"]["value"] >= 0.9
    again = document(workshop, "evaluate", "words", "--data", "words/")
    assert again["metrics"]["new"]["accuracy"]["value"] >= 0.9


def test_one_recording_or_a_folder_is_predicted(workshop):
    for what in ("words/low/low_s0_0.wav", "words/low"):
        result = cli(workshop, "predict", "runs/words", "--data", what)
        assert result.code == 0, result.err
        rows = list(csv.DictReader(result.out.splitlines()))
        assert all(row["file"].endswith(".wav") for row in rows)
        answers = [row["prediction"] for row in rows]
        assert answers.count("low") >= 0.75 * len(answers) > 0


def test_strings_are_written_and_measured(workshop):
    found = document(workshop, "evaluate", "said")
    assert found["metrics"]["test"]["word_error_rate"]["value"] <= 0.2
    result = cli(workshop, "predict", "said", "--data", "said.csv", "--output", "read.csv")
    assert result.code == 0, result.err
    with (workshop / "read.csv").open() as read, (workshop / "said.csv").open() as said:
        pairs = zip(csv.DictReader(read), csv.DictReader(said), strict=True)
        right = [a["prediction"] == b["said"] for a, b in pairs]
    assert sum(right) / len(right) > 0.8


def test_runs_can_be_profiled_and_reported(workshop):
    for name in ("words", "said"):
        assert document(workshop, "profile", f"runs/{name}")["model"]["parameters"] > 0
        assert cli(workshop, "report", f"runs/{name}").code == 0


def test_what_does_not_fit_is_told(workshop):
    result = cli(workshop, "train", "said.yaml", "--set", "model=ds_cnn")
    assert result.code == 78
    assert "ds_cnn is for classification and regression" in result.err
    result = cli(workshop, "ensemble", "said.yaml", "--set", "ensemble={kind: average}")
    assert result.code == 78
    assert "what is written" in result.err


@pytest.mark.parametrize("to", ["torch-export", pytest.param("onnx", marks=pytest.mark.slow)])
def test_strings_are_exported_with_their_logits_proved(workshop, to):
    if to == "onnx":
        pytest.importorskip("onnxruntime")
    words = ("--to", to, "--seconds", "0.01", "--threads", "1")
    found = document(workshop, "export", "said", *words)
    measured = document(workshop, "evaluate", "said", "--part", "validation")
    rate = measured["metrics"]["validation"]["word_error_rate"]["value"]
    told = found["parity"]["metrics"]["word_error_rate"]
    assert told["model"] == told["artifact"] == rate
    assert found["parity"]["max_scaled_diff"] < 1e-4
    assert found["inputs"][0]["name"] == "recordings"
    assert found["output"]["name"] == "logits"


@pytest.mark.slow
def test_words_are_tuned_and_pruned_and_exported(workshop):
    pytest.importorskip("onnxruntime")
    assert document(workshop, "tune", "words.yaml", "-q", "--name", "search")["trials"]
    pruned = document(
        workshop, "prune", "runs/words", "--target", "parameters=0.7", "-q", "--threads", "1"
    )
    assert pruned["after"]["parameters"] < pruned["before"]["parameters"]
    exported = document(workshop, "export", "runs/words", "--to", "onnx")
    assert exported["parity"]["max_abs_diff"] < 1e-4
