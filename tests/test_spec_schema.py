"""The JSON Schema says what the loader says."""

import json
from pathlib import Path

import jsonschema
import pytest

from modelscale.commands.experiment import Experiment
from modelscale.spec.docstrings import field_docs
from modelscale.spec.schema import schema_of
from modelscale.spec.yaml_events import parse
from modelscale.training.plan import TrainPlan

CONFIGS = sorted((Path(__file__).parent.parent / "configs").glob("*.yaml"))


@pytest.fixture(scope="module")
def schema():
    return jsonschema.Draft7Validator(schema_of(Experiment, "modelscale experiment"))


def plain(text):
    return json.loads(json.dumps(parse(text, "f").data))


BASE = "data: {source: digits}\n"


@pytest.mark.parametrize(
    "text",
    [
        "model: mlp",
        "model: {kind: mlp, hidden: [3], dropout: 0.1}",
        "model: mlp\noptimizer: {kind: sgd, lr: 1}\nbudget: {time_s: 1h30m}",
        "model: mlp\nmetrics: [accuracy, {kind: f1}]\nloss: null",
        "model: mlp\ndata: {source: {kind: csv, path: a.csv}, split: {test: 0.1}}",
        "model: mlp\ntrain: {cohort: 4, checkpoint_s: 5, epochs: 1e2}",
    ],
)
def test_good_specs_pass(schema, text):
    schema.validate(plain(text if "data:" in text else BASE + text))


@pytest.mark.parametrize(
    "text",
    [
        "model: mpl",
        "model: {kind: mlp, hiden: [3]}",
        "model: {hidden: [3]}",
        "model: mlp\noptimizer: {kind: adam, momentum: 0.9}",
        "model: mlp\nbudget: {time_s: soon}",
        "model: mlp\ntrain: {epochs: 0}",
        "model: mlp\nname: ../x",
        "model: mlp\ntrian: {}",
        "seed: 1",
    ],
)
def test_bad_specs_do_not(schema, text):
    assert not schema.is_valid(plain(BASE + text))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_configs_pass(schema, path):
    schema.validate(plain(path.read_text()))


def test_descriptions_are_the_docstrings(schema):
    train = schema.schema["definitions"]["TrainPlan"]
    assert (
        train["properties"]["epochs"]["description"]
        == "Passes over the training part, in total."
    )
    assert schema.schema["properties"]["seed"]["description"].startswith("Seed of weights")


def test_every_field_has_a_description(schema):
    def check(node, place):
        for name, field in node.get("properties", {}).items():
            assert "description" in field or name == "kind", (place, name)

    check(schema.schema, "top")
    for name, definition in schema.schema["definitions"].items():
        for node in (definition, *definition.get("anyOf", [])):
            check(node, name)


def test_docstrings_of_fields_include_inherited_ones():
    from modelscale.optimizers.adam import Adam

    assert field_docs(Adam)["lr"].startswith("Learning rate at its peak")
    assert field_docs(TrainPlan)["epochs"] == "Passes over the training part, in total."
