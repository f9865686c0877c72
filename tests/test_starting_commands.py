"""Pre-training and training further, as a user runs them."""

import csv
import json
import random
import shutil

import pytest
from command_line import cli, run_of

from modelscale.runs.checkpoints import read_checkpoint
from modelscale.runs.find import find_checkpoint
from modelscale.training.artifact import load_model

TOPICS = {"farm": "cow hay barn milk field", "sea": "ship wave salt sail harbour"}
SPECS = {
    "all": """
data:
  source: {kind: csv, path: all.csv}
  split: {test: 0, validation: 0.1}
  columns: {body: text}
  text: {tokenizer: {min_count: 1}, length: 10}
loss: masked_symbols
model: {kind: text_transformer, width: 8, heads: 2, blocks: 1}
optimizer: {kind: adam, lr: 0.01}
train: {epochs: 2, batch_size: 16}
""",
    "few": """
data:
  source: {kind: csv, path: few.csv, target: topic}
  columns: {title: text}
  split: {kind: kfold, folds: 2, validation: 0}
model: {from: all, layer_decay: 0.8}
train: {epochs: 2, batch_size: 8, seeds: 2, keep: last}
metrics: [accuracy]
""",
    "digits": """
data: {source: digits}
model: {kind: mlp, hidden: [16, 12]}
optimizer: {kind: adam, lr: 1e-2}
train: {epochs: 3}
metrics: [accuracy]
""",
    "on": """
data: {source: digits}
model: {from: digits, freeze: 1}
train: {epochs: 2}
metrics: [accuracy]
tune:
  n_trials: 3
  metric: validation/accuracy
  space: {model.freeze: {choices: [none, body, 1]}, model.layer_decay: {low: 0.5, high: 1.0}}
""",
}


@pytest.fixture(scope="module")
def trained_once(tmp_path_factory):
    """Return a folder with a pre-trained text model and a classifier of digits."""
    folder = tmp_path_factory.mktemp("begun")
    draw = random.Random(0)
    rows = [
        (" ".join(draw.choices(TOPICS[topic].split(), k=6)), topic)
        for i in range(80)
        for topic in (("farm", "sea")[i % 2],)
    ]
    with (folder / "all.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("body", "source"), *((text, "x") for text, _ in rows)])
    with (folder / "few.csv").open("w", newline="") as file:
        few = [(f"{text} tractor", topic) for text, topic in rows[:24]]
        csv.writer(file).writerows([("title", "topic"), *few])
    for name, spec in SPECS.items():
        (folder / f"{name}.yaml").write_text(spec)
    for name in ("all", "digits"):
        result = cli(folder, "train", f"{name}.yaml", "--json", "-q", "--threads", "1")
        assert result.code == 0, result.err
    return folder


@pytest.fixture
def folder(trained_once, tmp_path):
    """Return a copy of it."""
    shutil.copytree(trained_once, tmp_path / "begun", symlinks=True)
    return tmp_path / "begun"


def model_of(path):
    return load_model(read_checkpoint(find_checkpoint(path)).files)


def test_pretraining_needs_no_target_and_says_its_loss(trained_once):
    document = json.loads((run_of(trained_once, "all") / "run.json").read_text())["result"]
    assert document["metrics"]["validation"]["pretext_loss"]["value"] > 0
    assert document["baseline"] == {"validation": {}}


def test_texts_go_on_with_the_checkpoints_own_symbols(folder):
    result = cli(folder, "train", "few.yaml", "--json", "--threads", "1")
    assert result.code == 0, result.err
    document = result.document
    assert len(document["members"]) == 4  # folds and seeds
    assert document["start"]["fresh"] == ["head.bias", "head.weight"]
    before, after = model_of(folder / "runs/all"), model_of(folder / "runs/few")
    assert after.preprocessing.symbols == before.preprocessing.symbols
    assert "tractor" not in after.preprocessing.symbols.symbols
    assert after.preprocessing.texts == ("title",)
    (folder / "new.csv").write_text("title\ncow hay barn\nship wave salt\n")
    answers = cli(folder, "predict", "few", "--data", "new.csv")
    assert answers.code == 0, answers.err
    assert len(answers.out.splitlines()) == 3


def test_another_content_of_the_checkpoint_is_another_run(folder):
    assert cli(folder, "train", "on.yaml", "-q").code == 0
    first = run_of(folder, "on")
    assert cli(folder, "train", "on.yaml", "-q").code == 0
    assert run_of(folder, "on") == first
    assert cli(folder, "train", "digits.yaml", "-q", "--set", "seed=7").code == 0
    assert cli(folder, "train", "on.yaml", "-q").code == 0
    assert run_of(folder, "on") != first


def test_search_varies_what_is_frozen(folder):
    result = cli(folder, "tune", "on.yaml", "--json", "-q")
    assert result.code == 0, result.err
    assert set(result.document["best"]["params"]) == {"model.freeze", "model.layer_decay"}
    plan = cli(folder, "plan", "on.yaml", "--json", "--no-measure").document
    assert plan["tune"]["space"]["model.layer_decay"]["together"]
    assert plan["tune"]["space"]["model.freeze"]["differs_in"] == ["starting point"]
    assert plan["train"]["start"]["layers"] == 2


@pytest.mark.slow
def test_pruned_model_is_trained_further(folder):
    result = cli(
        folder, "prune", "digits", "--target", "macs=0.5", "--name", "small", "--json", "-q"
    )
    assert result.code == 0, result.err
    small = model_of(folder / "runs/small")
    done = cli(folder, "train", "on.yaml", "--set", "model.from=small", "--json", "-q")
    assert done.code == 0, done.err
    after = model_of(folder / "runs/on")
    assert after.edits == small.edits
    assert done.document["model"]["macs"] == result.document["after"]["macs"]
    assert done.document["metrics"]["test"]["accuracy"]["value"] > 0.5
    name = next(n for n, _ in small.network.named_parameters())
    assert after.network.get_parameter(name).equal(small.network.get_parameter(name))


def test_model_that_went_on_is_pruned_and_joined_with_another(folder):
    halves = ("--set", "data.split={test: 0.2, validation: 0.3, stratify: true}")
    for name in ("one", "two"):
        seeds = ("--set", f"seed={len(name)}", "--set", "train.seeds=1")
        cli(folder, "train", "few.yaml", "-q", "--name", name, *halves, *seeds)
    result = cli(folder, "prune", "one", "--target", "macs=0.6", "-q", "--json")
    assert result.code == 0, result.err
    again = cli(folder, "prune", str(result.document["run"]), "--target", "macs=0.8", "-q")
    assert again.code == 0, again.err
    joined = cli(folder, "ensemble", "one", "two", "-q", "--json")
    assert joined.code == 0, joined.err


@pytest.mark.parametrize(
    ("changes", "code", "told"),
    [
        (("model.from=nowhere",), 66, "model.from: nowhere: no such file or folder"),
        (("data.source=wine",), 78, "model.from: digits: it reads an array, and the data is"),
        (("model.freeze=7",), 78, "model.freeze: 7 layers, and it has 2 below its output"),
        (("model.dropout=0.2",), 78, "mlp of digits has no dropout to change"),
        (("model.from=all",), 78, "it reads texts, and the data is an array"),
    ],
)
def test_what_does_not_fit_is_told_in_one_line(trained_once, changes, code, told):
    words = [word for change in changes for word in ("--set", change)]
    result = cli(trained_once, "plan", "on.yaml", *words, "--no-measure")
    assert result.code == code, result.err
    assert told in result.err
    assert len(result.err.strip().splitlines()) == 1


def test_run_does_not_begin_with_the_newest_of_its_own_name(folder):
    words = ("train", "on.yaml", "-q", "--name", "digits")
    result = cli(folder, *words)
    assert result.code == 78
    assert "model.from: digits: this run would have the same name" in result.err
    whole = run_of(folder, "digits")
    assert cli(folder, *words, "--set", f"model.from={whole}").code == 0


def test_a_text_section_beside_a_checkpoint_would_not_be_read(trained_once):
    result = cli(trained_once, "plan", "few.yaml", "--set", "data.text.length=5")
    assert result.code == 78
    assert "data.text: a checkpoint brings its own symbols and length" in result.err


def test_pretrained_model_is_not_pruned_or_exported(trained_once):
    pruned = cli(trained_once, "prune", "all", "--target", "macs=0.5")
    assert (pruned.code, "is pre-trained" in pruned.err) == (2, True)
    exported = cli(trained_once, "export", "all", "--to", "onnx")
    assert (exported.code, "models that answer" in exported.err) == (2, True)
