"""The commands that run nothing: validate, schema, init, doctor."""

import gc
import json
import sys
import tomllib
from pathlib import Path

import jsonschema
import pytest
import yaml

from modelscale.cli.app import main
from modelscale.commands.init import TEMPLATES

GOOD = "data: {source: digits}\nmodel: mlp\n"


@pytest.fixture
def cli(capsys, monkeypatch, tmp_path):
    """Return a function that runs the command line: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["modelscale", *arguments])
        with pytest.raises(SystemExit) as leaving:
            main()
        gc.enable()
        out, err = capsys.readouterr()
        return leaving.value.code, out, err

    return run


class TestValidate:
    def test_good_specs(self, cli, tmp_path):
        (tmp_path / "a.yaml").write_text(GOOD)
        (tmp_path / "b.yaml").write_text(GOOD)
        assert cli("validate", "a.yaml", "b.yaml") == (0, "ok a.yaml\nok b.yaml\n", "")

    def test_all_faults_of_all_files(self, cli, tmp_path):
        (tmp_path / "a.yaml").write_text(GOOD + "seed: -1\nnmae: x\n")
        (tmp_path / "b.yaml").write_text(GOOD)
        assert cli("validate", "a.yaml", "b.yaml", "none.yaml") == (
            78,
            "ok b.yaml\n",
            "a.yaml:3:7: seed: must be at least 0, got -1\n"
            "a.yaml:4:1: nmae: unknown field; did you mean 'name'?\n"
            "none.yaml: no such file\n",
        )

    def test_missing_file(self, cli):
        assert cli("validate", "none.yaml") == (66, "", "none.yaml: no such file\n")

    def test_options_are_checked_like_the_file(self, cli, tmp_path):
        (tmp_path / "a.yaml").write_text(GOOD)
        code, _, err = cli("validate", "a.yaml", "--set", "seed=x", "--device", "tpu")
        assert code == 78
        assert "--set seed=x: seed: expected a whole number, got the text 'x'\n" in err
        assert "--set device=tpu: device: expected a text of the form" in err

    def test_json(self, cli, tmp_path):
        (tmp_path / "a.yaml").write_text(GOOD)
        code, out, _ = cli("validate", "a.yaml", "--json")
        document = json.loads(out)
        assert code == 0
        assert document["status"] == "done"
        assert document["files"][0]["path"] == "a.yaml"
        assert len(document["files"][0]["digest"]) == 64

    def test_json_of_a_bad_spec(self, cli, tmp_path):
        (tmp_path / "a.yaml").write_text("seed: -1\n" + GOOD)
        code, out, _ = cli("validate", "a.yaml", "--json")
        document = json.loads(out)
        assert (code, document["status"], document["exit_code"]) == (78, "error", 78)
        assert document["messages"] == ["a.yaml:1:7: seed: must be at least 0, got -1"]

    def test_unknown_plugin(self, cli, tmp_path):
        (tmp_path / "a.yaml").write_text(GOOD)
        assert cli("validate", "a.yaml", "--plugin", "mine") == (
            69,
            "",
            "--plugin mine: no installed package offers it\n",
        )


class TestInit:
    @pytest.mark.parametrize("template", list(TEMPLATES))
    def test_starters_are_valid(self, cli, tmp_path, template):
        code, out, err = cli("init", "my.yaml", "--template", template)
        assert (code, out) == (0, "my.yaml\n")
        assert err.startswith("next: modelscale ")
        assert cli("validate", "my.yaml") == (0, "ok my.yaml\n", "")
        schema = json.loads((tmp_path / "modelscale.schema.json").read_text())
        text = (tmp_path / "my.yaml").read_text()
        assert text.startswith("# yaml-language-server: $schema=modelscale.schema.json\n")
        jsonschema.validate(read_1_2(text), schema)

    def test_nothing_is_overwritten(self, cli, tmp_path):
        (tmp_path / "my.yaml").write_text("mine")
        assert cli("init", "my") == (
            73,
            "",
            "my.yaml: exists already; give another name\n",
        )
        assert (tmp_path / "my.yaml").read_text() == "mine"

    def test_no_folder(self, cli):
        assert cli("init", "a/b.yaml") == (73, "", "a/b.yaml: there is no folder a\n")

    def test_no_template(self, cli):
        code, _, err = cli("init", "a.yaml", "--template", "tabel")
        assert (code, err) == (
            2,
            "no template 'tabel'; did you mean 'table'?"
            " (one of: digits, regression, table, tune)\n",
        )


class TestSchema:
    def test_it_is_a_draft_7_schema(self, cli):
        code, out, _ = cli("schema")
        assert code == 0
        jsonschema.Draft7Validator.check_schema(json.loads(out))

    def test_json_document_holds_it(self, cli):
        document = json.loads(cli("schema", "--json")[1])
        assert document["schema"]["$schema"] == "http://json-schema.org/draft-07/schema#"


@pytest.mark.slow  # imports torch
class TestDoctor:
    def test_it_tells_what_is_there(self, cli, tmp_path):
        code, out, _ = cli("doctor", "--json")
        findings = {f["what"]: f for f in json.loads(out)["findings"]}
        assert code == 0
        assert findings["torch"]["verdict"] == "ok"
        assert findings["file locking"]["verdict"] == "ok"
        assert findings["disk space"]["detail"].endswith("GiB free at runs")
        assert list(tmp_path.iterdir()) == []

    def test_table(self, cli):
        assert "modelscale" in cli("doctor")[1]

    def test_every_extra_of_the_package_is_looked_for(self, cli):
        text = (Path(__file__).parents[1] / "pyproject.toml").read_text()
        extras = tomllib.loads(text)["project"]["optional-dependencies"]
        found = {f["what"] for f in json.loads(cli("doctor", "--json")[1])["findings"]}
        assert found >= {f"extra {name}" for name in extras if name not in {"dev", "bench"}}


def read_1_2(text):
    """Return what an editor sees: YAML 1.2, where 1e-4 is a number."""
    from modelscale.spec.yaml_events import parse

    return json.loads(json.dumps(parse(text, "f").data))


def test_reading_agrees_with_pyyaml_where_they_should():
    text = "a: [1, 2.5, true, null, x]\nb: {c: 'd'}\n"
    assert read_1_2(text) == yaml.safe_load(text)
