"""Translation through the command line, as a user would bring pairs of texts."""

import csv
import importlib.util
import json
import random
import sys

import numpy as np
import pytest
from command_line import cli

WORDS = {"cow": "vache", "red": "rouge", "big": "grande", "milk": "lait", "sea": "mer"}
SPEC = """
version: 1
task: translation
data:
  source: {kind: csv, path: pairs.csv, target: french}
  columns: {english: text}
  split: {test: 0.2, validation: 0.2}
  text: {tokenizer: {kind: words, min_count: 1}, length: 6}
  translation: {tokenizer: {kind: words, min_count: 1}, length: 7}
model: {kind: encoder_decoder, width: 16, blocks: 1, heads: 2}
optimizer: {kind: adam, lr: 0.01}
train: {epochs: 20, batch_size: 16, seeds: 2}
"""


@pytest.fixture(scope="module")
def workshop(tmp_path_factory):
    """Return a folder with pairs, each word for word, and a run of them."""
    folder = tmp_path_factory.mktemp("pairs")
    draw = random.Random(0)
    rows = [draw.choices(list(WORDS), k=draw.randint(1, 5)) for _ in range(400)]
    table = [(" ".join(row), " ".join(WORDS[word] for word in row)) for row in rows]
    with (folder / "pairs.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("english", "french"), *table])
    (folder / "new.csv").write_text("english\nbig cow\nred sea\n")
    (folder / "spec.yaml").write_text(SPEC)
    result = cli(folder, "train", "spec.yaml", "--json", "-q", "--threads", "1")
    assert result.code == 0, result.err
    return folder, result.document


def test_pairs_are_learnt_by_a_cohort_and_measured_beside_counts(workshop):
    folder, trained = workshop
    for metric in ("token_accuracy", "token_perplexity"):
        better, plain = (trained[key]["test"][metric] for key in ("metrics", "baseline"))
        value = better["value"]
        assert value > plain if metric == "token_accuracy" else value < plain
    result = cli(folder, "evaluate", "spec", "--json", "--metrics", "chrf,token_accuracy")
    found = result.document["metrics"]["test"]
    assert found["chrf"]["value"] > 70
    assert result.document["baseline"]["test"]["chrf"] == 0
    new = cli(folder, "evaluate", "spec", "--json", "--data", "pairs.csv").document
    assert new["metrics"]["new"]["chrf"]["value"] > 70


def test_new_texts_are_translated_greedily_and_by_beam(workshop):
    folder, _ = workshop
    for more in ((), ("--beam", "3")):
        result = cli(folder, "predict", "spec", "--data", "new.csv", *more)
        assert result.code == 0, result.err
        assert result.out.splitlines() == [
            "row,prediction",
            "0,grande vache",
            "1,rouge mer",
        ]


def test_metrics_of_texts_come_after_training(workshop):
    folder, _ = workshop
    change = ("--set", "train.monitor=chrf")
    result = cli(folder, "train", "spec.yaml", *change)
    assert result.code == 78
    assert "train.monitor: chrf is measured when training has ended alone" in result.err


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ("model=text_transformer", "text_transformer is for classification and regression"),
        ("data.columns={english: ignore}", "text"),
        ("data.augment=[token_dropout]", "data.augment: would change what is to be written"),
        (
            "data.translation.tokenizer.pairs=true",
            "data.translation.tokenizer.pairs: pairs of words cannot be written; leave it out",
        ),
        ("task=classification", "data.translation: is for task: translation alone"),
    ],
)
def test_what_does_not_fit_is_one_line(workshop, change, fault):
    folder, _ = workshop
    result = cli(folder, "train", "spec.yaml", "--set", change)
    assert result.code != 0
    assert fault in result.err
    assert len(result.err.strip().splitlines()) == 1


def test_bleu_without_its_extra_names_what_to_install(workshop, monkeypatch):
    from modelscale.evaluation.metrics import bleu

    folder, _ = workshop
    monkeypatch.setitem(sys.modules, "sacrebleu.metrics.bleu", None)
    bleu._counter.cache_clear()
    result = cli(folder, "evaluate", "spec", "--metrics", "bleu")
    assert result.code == 69
    assert "pip install 'modelscale[translation]'" in result.err


@pytest.mark.skipif(importlib.util.find_spec("sacrebleu") is None, reason="no sacrebleu")
def test_bleu_is_reported(workshop):
    folder, _ = workshop
    result = cli(folder, "evaluate", "spec", "--json", "--metrics", "bleu")
    assert result.document["metrics"]["test"]["bleu"]["value"] > 70


def test_beam_is_for_models_that_write(workshop):
    folder, _ = workshop
    spec = SPEC.replace("task: translation\n", "").replace("encoder_decoder", "text_average")
    spec = spec.replace(", blocks: 1, heads: 2", "").replace(
        "target: french", "target: english"
    )
    spec = spec.replace("english: text", "french: text")
    lines = [line for line in spec.splitlines() if "  translation:" not in line]
    (folder / "plain.yaml").write_text("\n".join(lines))
    assert cli(folder, "train", "plain.yaml", "-q", "--set", "train.epochs=1").code == 0
    result = cli(folder, "predict", "plain", "--data", "pairs.csv", "--beam", "2")
    assert (result.code, result.err.strip()) == (
        2,
        "--beam: the model writes no texts (its task is classification)",
    )


@pytest.mark.slow
@pytest.mark.parametrize("options", [(), ("--quantize", "int8-dynamic")])
def test_exported_file_writes_what_predict_does(workshop, tmp_path, options):
    runtime = pytest.importorskip("onnxruntime")
    folder, _ = workshop
    path = tmp_path / "pairs.onnx"
    result = cli(folder, "export", "spec", "-o", str(path), "--json", *options)
    assert result.code == 0, result.err
    parity = result.document["parity"]
    assert parity["metric"] == "token_accuracy"
    assert parity["metrics"].keys() == {"token_accuracy", "token_perplexity"}
    if options:
        return
    session = runtime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    facts = json.loads(session.get_modelmeta().custom_metadata_map["modelscale"])
    words, french = (facts[key]["symbols"] for key in ("symbols", "written"))
    texts = ["big cow", "red sea"]
    symbols = np.zeros((len(texts), 6), dtype=np.int64)
    for row, text in zip(symbols, texts, strict=True):
        row[: len(text.split())] = [words.index(word) + 2 for word in text.split()]
    written = np.zeros((len(texts), 7), dtype=np.int64)
    for place in range(7):
        (logits,) = session.run(None, {"source": symbols, "written": written})
        written[:, place] = 2 + logits[:, place, 2:].argmax(1)
    end = len(french) + 2
    ours = [" ".join(french[n - 2] for n in row[: list(row).index(end)]) for row in written]
    told = cli(folder, "predict", "spec", "--data", "new.csv").out
    assert [line.split(",")[1] for line in told.splitlines()[1:]] == ours


def test_metric_of_written_texts_does_not_prove_a_file(workshop):
    folder, _ = workshop
    result = cli(folder, "export", "spec", "-o", "x.onnx", "--metric", "chrf")
    assert result.code == 2
    assert "gives logits and writes nothing itself" in result.err


def test_report_shows_texts_beside_the_true_ones(workshop):
    folder, trained = workshop
    assert cli(folder, "report", trained["run"], "-q").code == 0
    page = (folder / trained["run"] / "report.html").read_text()
    assert "What it writes" in page
    assert "damaged" not in page
