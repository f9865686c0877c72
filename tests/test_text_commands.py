"""Texts through the command line, as a user would bring them."""

import csv
import json
import random
import sys

import pytest
from command_line import cli

from modelscale.commands.pruning import timing

TOPICS = {"farm": "cow hay barn milk field", "sea": "ship wave salt sail harbour"}
NEWS = """
version: 1
data:
  source: {kind: csv, path: news.csv, target: topic}
  columns: {body: text, id: ignore}
  split: {test: 0.25, validation: 0.25}
  text: {tokenizer: {min_count: 1}, length: 12}
  augment: [{kind: token_dropout, rate: 0.1}]
model: {kind: text_average, width: 8}
optimizer: {kind: adam, lr: 0.05}
train: {epochs: 8, batch_size: 16}
metrics: [accuracy]
"""
BOOK = """
version: 1
data:
  source: {kind: text_file, path: book.txt, length: 8}
  split: {kind: time, validation: 0.2, test: 0.1}
model: {kind: text_decoder, width: 16, blocks: 1, heads: 2, dropout: 0.1}
optimizer: {kind: adam, lr: 0.01}
train: {epochs: 4, batch_size: 16, seeds: 2}
"""


@pytest.fixture(scope="module")
def workshop(tmp_path_factory):
    """Return a folder with a table of texts and a book, and a run of each."""
    folder = tmp_path_factory.mktemp("texts")
    draw = random.Random(0)
    rows = [
        (i, " ".join(draw.choices(TOPICS[topic].split(), k=6)) + f", no. {i}", topic)
        for i in range(80)
        for topic in (("farm", "sea")[i % 2],)
    ]
    with (folder / "news.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("id", "body", "topic"), *rows])
    with (folder / "new.jsonl").open("w") as file:
        file.writelines(json.dumps({"body": body}) + "\n" for _, body, _ in rows[:4])
    (folder / "book.txt").write_text("the quick brown fox jumps over the lazy dog\n" * 60)
    for name, spec in (("news", NEWS), ("book", BOOK)):
        (folder / f"{name}.yaml").write_text(spec)
        result = cli(folder, "train", f"{name}.yaml", "--json", "-q", "--threads", "1")
        assert result.code == 0, result.err
    return folder


def document(folder, *words):
    result = cli(folder, *words, "--json")
    assert result.code == 0, result.err
    return result.document


def test_texts_of_a_table_are_learnt(workshop):
    found = document(workshop, "evaluate", "news")
    assert found["metrics"]["test"]["accuracy"]["value"] >= 0.9
    again = document(workshop, "evaluate", "news", "--data", "news.csv")
    assert again["metrics"]["new"]["accuracy"]["value"] >= 0.9


def test_new_texts_are_predicted_from_another_format(workshop):
    result = cli(workshop, "predict", "news", "--data", "new.jsonl")
    assert result.code == 0, result.err
    answers = [line.split(",")[1] for line in result.out.splitlines()[1:]]
    assert answers == ["farm", "sea", "farm", "sea"]


def test_book_is_less_surprising_than_its_counts(workshop):
    (run,) = (workshop / "runs" / "book").glob("2*")
    found = json.loads((run / "run.json").read_text())["result"]
    metrics, baseline = found["metrics"], found["baseline"]
    for part in ("validation", "test"):
        for metric in ("perplexity", "bits_per_token"):
            assert metrics[part][metric]["value"] < baseline[part][metric]
    # 8 positions: four products of a block's attention, two of its layer, scores and mixture,
    # and 26 letters, blank, line break, padding and the unknown.
    assert found["model"]["macs"] == 8 * 16 * (4 * 16 + 8 * 16 + 2 * 8 + 30)


def test_windows_of_another_text_get_their_nats(workshop):
    result = cli(workshop, "predict", "book", "--data", "book.txt")
    assert result.code == 0, result.err
    head, *rows = result.out.splitlines()
    assert head == "row,prediction(nats)"
    assert len(rows) == (44 * 60 - 9) // 8 + 1
    assert all(float(row.split(",")[1]) > 0 for row in rows)


def test_book_can_be_profiled_and_reported(workshop):
    assert document(workshop, "profile", "book")["model"]["kind"] == "text_decoder"
    assert cli(workshop, "report", "book").code == 0


@pytest.mark.parametrize("to", ["torch-export", pytest.param("onnx", marks=pytest.mark.slow)])
def test_book_is_exported_with_its_logits_proved(workshop, to):
    if to == "onnx":
        pytest.importorskip("onnxruntime")
    words = ("--to", to, "--seconds", "0.01", "--threads", "1")
    found = document(workshop, "export", "book", *words)
    measured = document(workshop, "evaluate", "book", "--part", "validation")
    perplexity = measured["metrics"]["validation"]["perplexity"]["value"]
    parity = found["parity"]
    assert parity["metric"] == "perplexity"
    assert parity["metrics"]["perplexity"]["model"] == pytest.approx(perplexity, rel=1e-6)
    assert abs(parity["metric_diff"]) < 1e-4
    assert parity["max_abs_diff"] < 1e-4
    assert (found["output"]["name"], found["output"]["shape"]) == ("logits", [8, 30])
    assert found["inputs"][0]["shorter"]


@pytest.mark.slow
def test_pruned_book_is_exported_although_its_graph_runs_in_its_place(workshop, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)  # nobody looks at the times
    monkeypatch.setattr(timing, "SECONDS", 0.005)
    words = ("--target", "parameters=0.7", "--set", "prune.align=1", "--threads", "1")
    quick = ("--set", "prune.retrain.epochs=1", "--set", "prune.allocation=uniform")
    pruned = document(workshop, "prune", "book", *words, *quick, "--name", "smaller")
    assert pruned["steps"][0]["rewritten"]
    found = document(workshop, "export", "smaller", "--to", "torch-export", "--seconds", "0.01")
    assert abs(found["parity"]["metric_diff"]) < 1e-4
    assert found["parity"]["max_abs_diff"] < 1e-4
    assert not found["inputs"][0]["shorter"]


def test_models_of_texts_say_what_they_cannot_learn(workshop):
    result = cli(workshop, "train", "book.yaml", "--set", "model={kind: text_cnn}")
    assert result.code == 78
    assert "text_cnn is for classification and regression" in result.err
    result = cli(workshop, "train", "news.yaml", "--set", "model={kind: mlp}")
    assert result.code == 78
    assert "text_average" in result.err
