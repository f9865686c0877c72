"""Loading, overriding, writing and changing specs."""

import io
import json
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from modelscale.commands.experiment import Experiment
from modelscale.errors import SpecError
from modelscale.spec.base import Spec
from modelscale.spec.emit import emit
from modelscale.spec.loader import digest, dump, load, load_text, validate
from modelscale.spec.paths import apply, has_path, paths_of, plain, unknown_path
from modelscale.spec.quantities import Bytes, Count, Seconds
from modelscale.spec.yaml_events import parse

TEXT = """\
name: digits
data: {source: digits}
model: {kind: mlp, hidden: [8, 1e1]}
loss: cross_entropy
train:
  epochs: 4
"""


@pytest.fixture
def loaded(tmp_path):
    path = tmp_path / "spec.yaml"
    path.write_text(TEXT)
    return load(path, Experiment, ("optimizer.lr=1e-2", "train.early_stopping.patience=3"))


class TestOverrides:
    def test_they_change_the_spec(self, loaded):
        assert loaded.spec.optimizer.own_kind() == "adam"
        assert loaded.spec.optimizer.lr == 0.01
        assert loaded.spec.train.early_stopping.patience == 3
        assert loaded.spec.train.epochs == 4

    @pytest.mark.parametrize(
        ("change", "check"),
        [
            ("model.hidden=[3]", lambda s: s.model.hidden == (3,)),
            ("model.hidden.1=5", lambda s: s.model.hidden == (8, 5)),
            ("model=linear", lambda s: s.model.own_kind() == "linear"),
            ("loss.label_smoothing=0.1", lambda s: s.loss.label_smoothing == 0.1),
            ("data.source.name=iris", lambda s: s.data.source.name == "iris"),
            ("optimizer={kind: sgd, lr: 1}", lambda s: s.optimizer.lr == 1.0),
            ("name='123'", lambda s: s.name == "123"),
            ("loss=", lambda s: s.loss is None),
            ("budget.time_s=1h30m", lambda s: s.budget.time_s == 5400.0),
        ],
    )
    def test_forms(self, change, check):
        assert check(load_text(TEXT, "f", Experiment, (change,)).spec)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ("lr", "--set lr: expected KEY.PATH=VALUE, such as optimizer.lr=0.01"),
            ("=3", "--set =3: expected KEY.PATH=VALUE, such as optimizer.lr=0.01"),
            (
                "train.epoch=3",
                "--set train.epoch=3: train.epoch: unknown field; did you mean 'epochs'?",
            ),
            (
                "optimizer.lr=fast",
                "--set optimizer.lr=fast: optimizer.lr: expected a number, got the text 'fast'",
            ),
            ("seed=-1", "--set seed=-1: seed: must be at least 0, got -1"),
            ("seed=[1", "--set seed=[1: '[' is never closed"),
            (
                "model.hidden.7=1",
                "--set model.hidden.7=1: '7' leads nowhere; there is no section or item to set"
                " it in",
            ),
            (
                "seed.x=1",
                "--set seed.x=1: 'x' leads nowhere; there is no section or item to set it in",
            ),
        ],
    )
    def test_messages(self, change, message):
        with pytest.raises(SpecError) as caught:
            load_text(TEXT, "f", Experiment, (change,))
        assert str(caught.value) == message

    def test_the_last_one_counts(self):
        assert load_text(TEXT, "f", Experiment, ("seed=1", "seed=2")).spec.seed == 2

    def test_the_file_is_not_changed_through_an_alias(self):
        text = "data: &d {source: digits}\nmodel: mlp\nloss: &l {kind: cross_entropy}\n"
        spec = load_text(text, "f", Experiment, ("loss.label_smoothing=0.5",)).spec
        assert spec.loss.label_smoothing == 0.5


class TestProvenance:
    def test_each_value_says_where_it_came_from(self, loaded, tmp_path):
        found = loaded.provenance
        assert found["name"] == f"{tmp_path}/spec.yaml:1"
        assert found["data.source.name"] == f"{tmp_path}/spec.yaml:2"
        assert found["model.hidden"] == f"{tmp_path}/spec.yaml:3"
        assert found["loss.kind"] == f"{tmp_path}/spec.yaml:4"
        assert found["train.epochs"] == f"{tmp_path}/spec.yaml:6"
        assert found["optimizer.lr"] == "--set optimizer.lr=1e-2"
        assert found["optimizer.kind"] == "default"
        assert found["loss.label_smoothing"] == "default"
        assert found["train.batch_size"] == "default"
        assert found["seed"] == "default"

    def test_it_covers_every_value_of_the_resolved_spec(self, loaded):
        lines = [line for line in dump(loaded.spec).splitlines() if not line.endswith(":")]
        assert len(loaded.provenance) == len(lines)

    def test_it_is_written_as_comments(self, loaded):
        text = dump(loaded.spec, loaded.provenance)
        line = next(line for line in text.splitlines() if line.startswith("  epochs: 4 "))
        assert line.endswith("spec.yaml:6")
        assert load_text(text, "f", Experiment).spec == loaded.spec

    def test_text_is_what_was_read(self, loaded):
        assert loaded.text == TEXT.encode()


class TestRoundTrip:
    def test_dump_reads_back_equal(self, loaded):
        again = load_text(dump(loaded.spec), "f", Experiment).spec
        assert again == loaded.spec
        assert digest(again) == digest(loaded.spec)

    def test_json_reads_back_equal(self, loaded):
        assert validate(json.loads(json.dumps(plain(loaded.spec))), Experiment) == loaded.spec

    def test_digest_sees_every_change(self, loaded):
        other = apply(loaded.spec, {"optimizer.lr": 0.02})
        assert digest(other) != digest(loaded.spec)
        assert len(digest(other)) == 64

    @given(
        st.recursive(
            st.one_of(
                st.none(),
                st.booleans(),
                st.integers(-(2**63), 2**63 - 1),
                st.floats(allow_nan=False, allow_infinity=False),
                st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=30),
            ),
            lambda inner: st.one_of(
                st.lists(inner, max_size=4),
                st.dictionaries(
                    st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=9),
                    inner,
                    max_size=4,
                ),
            ),
            max_leaves=20,
        ).filter(lambda data: isinstance(data, dict) and data)
    )
    def test_what_is_written_reads_back_as_it_was(self, data):
        tree = parse(emit(data, {}), "f")
        assert tree.faults == []
        assert json.dumps(tree.data) == json.dumps(data)

    def test_stdin(self, monkeypatch):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(TEXT.encode())))
        assert load(Path("-"), Experiment).spec.name == "digits"


class TestPaths:
    @pytest.mark.parametrize(
        ("path", "exists"),
        [
            ("optimizer.lr", True),
            ("optimizer.kind", True),
            ("optimizer", True),
            ("model.hidden", True),
            ("model.hidden.1", True),
            ("model.hidden.2", False),
            ("train.early_stopping.patience", True),
            ("train.early_stopping.patients", False),
            ("optimizer.momentum", False),
            ("budget.time_s", True),
            ("", False),
            ("a.b.c", False),
        ],
    )
    def test_has_path(self, path, exists):
        spec = load_text(TEXT, "f", Experiment).spec
        assert has_path(spec, path) is exists

    def test_every_listed_path_exists(self, loaded):
        paths = paths_of(loaded.spec)
        assert "optimizer.lr" in paths
        assert all(has_path(loaded.spec, path) for path in paths)

    def test_unknown_path_has_a_suggestion(self, loaded):
        message = "no such key in this spec; did you mean 'optimizer.lr'?"
        assert unknown_path(loaded.spec, "optimiser.lr") == message

    def test_apply_validates(self, loaded):
        changed = apply(loaded.spec, {"optimizer.lr": 0.5, "model.hidden": [3, 3]})
        assert (changed.optimizer.lr, changed.model.hidden) == (0.5, (3, 3))
        with pytest.raises(ValidationError):
            apply(loaded.spec, {"optimizer.lr": -1})

    def test_apply_replaces_whole_sections(self, loaded):
        changed = apply(loaded.spec, {"model": {"kind": "linear"}, "optimizer": "sgd"})
        assert (changed.model.own_kind(), changed.optimizer.own_kind()) == ("linear", "sgd")

    def test_apply_of_a_kind_begins_the_section_anew(self, loaded):
        changed = apply(loaded.spec, {"optimizer.lr": 0.5, "optimizer.kind": "sgd"})
        assert changed.optimizer.own_kind() == "sgd"
        assert changed.optimizer.lr == 0.5

    def test_apply_does_not_change_what_it_was_given(self, loaded):
        before = digest(loaded.spec)
        apply(loaded.spec, {"train.epochs": 9})
        assert digest(loaded.spec) == before


class Amounts(Spec):
    """A spec of the tests alone."""

    time_s: Seconds = 0.0
    count: Count = 0
    size: Bytes = 0


class TestQuantities:
    @pytest.mark.parametrize(
        ("field", "text", "value"),
        [
            ("time_s", "90", 90.0),
            ("time_s", "1.5", 1.5),
            ("time_s", "45s", 45.0),
            ("time_s", "30m", 1800.0),
            ("time_s", "1h30m", 5400.0),
            ("time_s", "1d", 86400.0),
            ("count", "10M", 10_000_000),
            ("count", "1.5k", 1500),
            ("count", "2B", 2_000_000_000),
            ("count", "7", 7),
            ("count", "1e3", 1000),
            ("size", "4GiB", 4 * 2**30),
            ("size", "512MB", 512_000_000),
        ],
    )
    def test_reading(self, field, text, value):
        spec = load_text(f"{field}: {text}", "f", Amounts).spec
        assert getattr(spec, field) == value
        assert type(getattr(spec, field)) is type(value)
        assert load_text(dump(spec), "f", Amounts).spec == spec

    @pytest.mark.parametrize(
        ("field", "text"),
        [
            ("time_s", "30x"),
            ("time_s", "''"),
            ("count", "1.5"),
            ("count", "0.1k3"),
            ("size", "4X"),
        ],
    )
    def test_refusals(self, field, text):
        with pytest.raises(SpecError, match=f"f:1:{len(field) + 3}: {field}: expected a"):
            load_text(f"{field}: {text}", "f", Amounts)


def told(text):
    """Return the lines that are told about a text; none for a good spec."""
    try:
        load_text(text, "f", Experiment)
    except SpecError as error:
        return str(error).split("\n")
    return []


@given(st.text(max_size=200))
def test_any_text_is_a_spec_or_a_named_fault(text):
    assert all(line.startswith("f:") for line in told(text))


@given(
    st.recursive(
        st.one_of(
            st.sampled_from(
                ["a", "1", "1e3", ".nan", "mlp", "*a", "&a", "!t", "null", "~", "'x'", "<<"]
            )
        ),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]"),
            st.lists(
                st.tuples(
                    st.sampled_from(["model", "data", "train", "kind", "lr", "seed"]), inner
                ),
                max_size=4,
            ).map(lambda pairs: "{" + ", ".join(f"{k}: {v}" for k, v in pairs) + "}"),
        ),
        max_leaves=12,
    )
)
def test_any_flow_yaml_is_a_spec_or_a_named_fault(text):
    lines = told(f"model: {text}\ndata: {{source: digits}}")
    assert all(line.startswith("f:") for line in lines)
