"""Bad YAML: each kind of it has its message, its place and its exit code."""

import os
from pathlib import Path

import pytest

from modelscale.commands.experiment import Experiment
from modelscale.errors import InputMissing, ModelscaleError, SpecError
from modelscale.spec.base import Spec
from modelscale.spec.loader import load, load_text
from modelscale.tuning.section import SearchRange

HEAD = "data: {source: digits}\nmodel: mlp\n"


class Ranges(Spec):
    """A spec of the tests alone."""

    a: int
    b: SearchRange


def faults(text: str | bytes, *overrides: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        load_text(text, "f", Experiment, overrides)
    assert caught.value.exit_code == 78
    return str(caught.value).splitlines()


def good(text: str) -> Experiment:
    return load_text(HEAD + text, "f", Experiment).spec


class TestScalars:
    def test_exponent_without_point_is_a_number(self):
        assert good("optimizer: {kind: adam, lr: 1e-3}").optimizer.lr == 1e-3

    def test_whole_number_with_exponent(self):
        assert good("train: {epochs: 1e2}").train.epochs == 100

    def test_underscores_make_a_whole_number(self):
        assert good("seed: 1_000").seed == 1000

    def test_underscores_are_text_for_a_fraction(self):
        assert faults(HEAD + "regularization: {l2: 1_000}") == [
            "f:3:22: regularization.l2: expected a number, got the text '1_000'"
        ]

    @pytest.mark.parametrize("word", ["no", "off", "yes", "on"])
    def test_only_true_and_false_are_booleans(self, word):
        meant = "true" if word in {"yes", "on"} else "false"
        assert faults(HEAD + f"train: {{compile: {word}}}") == [
            f"f:3:18: train.compile: expected true or false, got the text '{word}';"
            f" write {meant}"
        ]

    def test_words_stay_words_as_keys(self):
        assert faults(HEAD + "on: 1")[0].startswith("f:3:1: on: unknown field")

    def test_leading_zero_is_never_octal(self):
        assert faults(HEAD + "seed: 010") == [
            "f:3:7: seed: 010 begins with 0; write 10, or '010' for a text"
        ]

    def test_octal_and_hexadecimal_of_yaml_1_2(self):
        assert good("seed: 0x10").seed == 16
        assert good("seed: 0o10").seed == 8

    @pytest.mark.parametrize("text", ["1:30", "2026-01-01", "2026-13-45"])
    def test_times_and_dates_are_texts(self, text):
        assert good(f"train: {{monitor: {text}}}").train.monitor == text

    def test_number_where_a_text_is_wanted_is_shown_as_written(self):
        assert faults(HEAD + "name: 1.10") == [
            "f:3:7: name: expected a text, got 1.10; quote it: '1.10'"
        ]

    @pytest.mark.parametrize("text", [".nan", ".inf", "-.inf", ".NaN"])
    def test_not_finite(self, text):
        assert faults(HEAD + f"regularization: {{l2: {text}}}") == [
            f"f:3:22: regularization.l2: {text} is not a finite number;"
            " quote it if it is meant as text"
        ]

    def test_number_beyond_floats(self):
        assert "1e400 is too large for a number" in faults(HEAD + "seed: 1e400")[0]

    def test_six_thousand_digits(self):
        assert "has 6000 digits" in faults(HEAD + f"seed: {'9' * 6000}")[0]

    def test_beyond_64_bits(self):
        assert "whole numbers stay below 2**63" in faults(HEAD + f"seed: {2**63}")[0]


class TestStructure:
    def test_duplicate_key_names_both_lines(self):
        assert faults(HEAD + "seed: 1\nseed: 2") == [
            "f:4:1: seed: given twice; the first is on line 3"
        ]

    def test_tab(self):
        assert faults("data: digits\nmodel:\n\tkind: mlp") == [
            "f:3:1: tab on line 3; indent with spaces"
        ]

    @pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n", "\n\n"])
    def test_empty(self, text):
        message = "f:1:1: the spec is empty; 'modelscale init' writes one to start from"
        assert faults(text) == [message]

    @pytest.mark.parametrize(
        ("text", "got"),
        [
            ("- a", "a list"),
            ("a", "'a'"),
            ("12", "12"),
            ("a:1", "'a:1'; missing space after ':'"),
        ],
    )
    def test_top_level(self, text, got):
        assert faults(text) == [f"f:1:1: expected a section of 'key: value' lines, got {got}"]

    def test_two_documents(self):
        assert faults(HEAD + "---\nseed: 1") == [
            "f:3:1: a second document begins here ('---'); one file is one spec"
        ]

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("model: {kind: mlp\nseed: 1\n", "f:1:8: '{' is never closed"),
            ("metrics: [accuracy\nseed: 1\n", "f:1:10: '[' is never closed"),
            ("name: 'abc\nseed: 1\n", "f:1:7: this quote is never closed"),
            ('name: "abc\n', "f:1:7: this quote is never closed"),
        ],
    )
    def test_unclosed_names_the_opening(self, text, message):
        assert faults(text) == [message]

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("name: b: c", "f:1:8: a value that holds ': ' must be in quotes"),
            ("seed:1\nname: x", "f:1:5: missing space after ':'"),
            ("model:\n  kind:mlp\n  hidden: [3]", "f:2:7: missing space after ':'"),
            ("a: x\n  b: 3", "f:2:3: indented deeper than line 1, which already has a value"),
            ("seed\nname: x", "f:1:1: expected 'key: value'; there is no ':' on this line"),
            ("name: @x", "f:1:7: a value cannot begin with '@'; put it in quotes"),
            ("name: - x", "f:1:7: a list with '- ' begins on a line of its own; or write it"
             " as [a, b]"),
        ],
    )  # fmt: skip
    def test_syntax(self, text, message):
        assert faults(text) == [message]

    def test_missing_space_inside_a_value(self):
        assert faults(HEAD + "train: epochs:3") == [
            "f:3:8: train: expected a section of 'key: value' lines, got the text 'epochs:3';"
            " missing space after ':'"
        ]

    @pytest.mark.parametrize(
        "tag",
        ["!!python/object/apply:os.system", "!mine", "!!set", "!!omap", "!!binary", "!!str"],
    )
    def test_tags(self, tag):
        assert faults(HEAD + f"name: {tag} x") == [
            f"f:3:7: name: tags such as {tag!r} are not allowed; remove it"
        ]

    def test_undefined_alias(self):
        assert faults(HEAD + "name: *x") == [
            "f:3:7: name: no anchor '&x' stands before this alias"
        ]

    def test_recursive_alias(self):
        assert "stands within its own anchor" in faults(HEAD + "metrics: &a [*a]")[0]

    def test_alias_repeats_a_value(self):
        spec = good("seed: &s 7\nevaluate: {seed: *s}")
        assert (spec.seed, spec.evaluate.seed) == (7, 7)

    def test_merge_keys(self):
        assert "merge keys ('<<') are not allowed" in faults(HEAD + "<<: {seed: 1}")[0]

    def test_billion_laughs(self):
        lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
        lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 10)]
        assert "more than 50000 values" in faults("\n".join(lines))[0]

    def test_deep_nesting(self):
        assert "nested deeper than 64 levels" in faults("[" * 100_000)[0]

    def test_deep_nesting_by_aliases(self):
        lines = ["a0: &a0 [x]"] + [f"a{i}: &a{i} [*a{i - 1}]" for i in range(1, 90)]
        assert "nested deeper than 64 levels" in faults("\n".join(lines))[0]

    def test_many_aliases(self):
        assert "more than 100 aliases" in faults("a: &a 1\nb: [" + "*a, " * 101 + "]")[0]

    def test_many_keys(self):
        text = "\n".join(f"k{i}: 1" for i in range(50_000))
        assert "more than 50000 values" in faults(text)[0]

    def test_long_file(self, tmp_path):
        path = tmp_path / "long.yaml"
        path.write_text("#" * ((1 << 20) + 1))
        with pytest.raises(SpecError, match="longer than 1 MiB"):
            load(path, Experiment)

    @pytest.mark.parametrize(
        ("key", "got"),
        [
            ("1", "1; quote it: '1'"),
            ("true", "true; quote it: 'true'"),
            ("? [a]\n", "a list"),
            ("? {a: b}\n", "a section"),
            ("~", "an empty one"),
        ],
    )
    def test_keys_are_texts(self, key, got):
        assert f"keys are texts, got {got}" in faults(HEAD + f"{key}: x")[0]


class TestCharacters:
    def test_nul(self):
        assert faults(b"data: digits\nname: a\0b") == [
            "f:2:8: control character U+0000 (NUL) is not allowed"
        ]

    def test_latin_1(self):
        assert faults("data: digits\nname: é".encode("latin-1")) == [
            "f:2:7: byte 0xe9 is not UTF-8; save the file as UTF-8"
        ]

    def test_utf_16(self):
        assert faults("data: digits".encode("utf-16")) == [
            "f:1:1: UTF-16 text; save the file as UTF-8"
        ]

    def test_byte_order_mark_is_fine(self):
        assert load_text(b"\xef\xbb\xbf" + HEAD.encode(), "f", Experiment)

    def test_lone_surrogate(self):
        message = faults(HEAD + 'name: "\\ud800"')[0]
        assert "no character has this code" in message or "holds U+D800" in message

    def test_nul_by_escape(self):
        assert faults(HEAD + 'name: "a\\0"') == [
            "f:3:7: name: holds U+0000 (NUL), which is not allowed"
        ]


class TestFields:
    def test_list_of_two_is_shown_with_two(self):
        text = "model: linear\ndata: {source: {kind: image_folder, path: x, size: 32}}"
        assert faults(text) == [
            "f:2:52: data.source.size: expected a list, got 32; write [32, 32]"
        ]

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (
                "seed: '7'",
                "f:3:7: seed: expected a whole number, got the text '7'; remove the quotes",
            ),
            ("seed: 1.5", "f:3:7: seed: expected a whole number, got 1.5"),
            ("seed: -1", "f:3:7: seed: must be at least 0, got -1"),
            ("seed:", "f:3:6: seed: is empty; expected a whole number"),
            ("seed: [1]", "f:3:7: seed: expected a whole number, got a list"),
            ("train: {epoch: 3}", "f:3:9: train.epoch: unknown field; did you mean 'epochs'?"),
            (
                "train: {precision: fp31}",
                "f:3:20: train.precision: unknown value 'fp31'; did you mean 'fp32'?"
                " (one of: bf16, fp16, fp32, tf32)",
            ),
            ("train: {ema: 1}", "f:3:14: train.ema: must be below 1, got 1"),
            (
                "train: {cohort: fast}",
                "f:3:17: train.cohort: expected 'auto' or a whole number, got the text 'fast'",
            ),
            (
                "metrics: accuracy",
                "f:3:10: metrics: expected a list, got the text 'accuracy'; write [accuracy]",
            ),
            ("version: 2", "f:3:10: version: expected 1, got 2"),
            (
                "train: {compile: }\ndevice: 3",
                "f:3:18: train.compile: is empty; expected true or false\n"
                "f:4:9: device: expected a text, got 3; quote it: '3'",
            ),
            (
                "budget: {time_s: soon}",
                "f:3:18: budget.time_s: expected a time such as 90, 45s, 30m, 2h or 1h30m,"
                " got the text 'soon'",
            ),
            (
                "budget: {time_s: 0s}",
                "f:3:18: budget.time_s: must be above 0, got the text '0s'",
            ),
        ],
    )  # fmt: skip
    def test_message(self, text, message):
        assert faults(HEAD + text) == message.split("\n")

    def test_path_is_a_text(self):
        text = "data: {source: {kind: csv, path: 3}}\nmodel: mlp\n"
        assert faults(text) == ["f:1:34: data.source.path: expected a path, got 3"]

    def test_kind_is_pointed_at_where_it_stands(self):
        told = faults("data: {source: digits}\nmodel:\n  hidden: [3]\n  kind: mpl\n")
        assert told[0].startswith(
            "f:4:9: model: unknown kind 'mpl'; did you mean 'mlp'? (one of: autoencoder"
        )

    def test_option_of_another_kind(self):
        told = faults(HEAD + "optimizer: {kind: adam, momentum: 0.9}")
        assert told[0].startswith("f:3:25: optimizer.momentum: unknown field (one of: beta1")

    def test_missing_field_names_its_section(self):
        told = faults("seed: 1\n")
        assert told[0].startswith("f:1:1: data: is required")
        assert told[1].startswith("f:1:1: model: is required; for example 'model: ")

    def test_all_faults_at_once_in_the_order_of_lines(self):
        text = "seed: -1\nnmae: x\nmodel: mpl\nname: !x y\nregularization: {l2: .inf}\n"
        lines = faults(text)
        assert [int(line.split(":")[1]) for line in lines] == [1, 1, 2, 3, 4, 5]

    @pytest.mark.parametrize(
        "name",
        ["../../x", "/abs", "~", "~/x", "a/b", "CON", "con.txt", "a.", "a" * 65, "-x", "é"],
    )
    def test_names_that_leave_the_folder(self, name):
        assert faults(HEAD + f"name: '{name}'")[0].startswith("f:3:7: name: ")

    def test_fields_that_exclude_each_other_name_both_places(self):
        with pytest.raises(SpecError) as caught:
            load_text("a: 1\nb: {low: 2,\n high: 1}", "f", Ranges)
        assert str(caught.value) == "f:2:5: b.low: low 2 is above high 1 ('high' is at f:3:2)"


class TestSearchSpaces:
    def test_a_key_must_exist(self):
        told = faults(HEAD + "tune:\n  space:\n    optimizer.lrr: {low: 1, high: 2}\n")
        assert told == [
            "f:5:20: tune.space.optimizer.lrr: no such key in this spec;"
            " did you mean 'optimizer.lr'?"
        ]

    def test_each_value_must_be_allowed(self):
        told = faults(
            HEAD + "tune:\n  space:\n    optimizer.lr: {low: -1, high: 2}\n"
            "    model.hidden: {choices: [[64], [0]]}\n"
        )
        assert told == [
            "f:5:25: tune.space.optimizer.lr.low: must be above 0, got -1",
            "f:6:36: tune.space.model.hidden.choices.1: must be at least 1, got 0",
        ]

    def test_a_good_space_passes(self):
        space = (
            "tune:\n  space:\n    optimizer.lr: {low: 1e-4, high: 1e-1, log: true}\n"
            "    model: {choices: [linear, {kind: mlp, hidden: [3]}]}\n"
            "    optimizer.kind: {choices: [adam, sgd]}\n"
        )
        assert len(good(space).tune.space) == 3


class TestFiles:
    def test_missing_file_names_a_near_one(self, tmp_path):
        (tmp_path / "digits.yaml").write_text(HEAD)
        with pytest.raises(InputMissing) as caught:
            load(tmp_path / "digit.yaml", Experiment)
        assert str(caught.value) == (
            f"{tmp_path}/digit.yaml: no such file; did you mean 'digits.yaml'?"
        )
        assert caught.value.exit_code == 66

    def test_folder(self, tmp_path):
        with pytest.raises(InputMissing, match="is a folder; name a YAML file in it"):
            load(tmp_path, Experiment)

    def test_fifo_does_not_hang(self, tmp_path):
        os.mkfifo(tmp_path / "fifo")
        with pytest.raises(InputMissing, match="not a regular file; use '-'"):
            load(tmp_path / "fifo", Experiment)

    @pytest.mark.parametrize("name", ["a\0b", "x" * 300])
    def test_impossible_names(self, name):
        with pytest.raises(InputMissing):
            load(Path(name), Experiment)

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
    def test_unreadable(self, tmp_path):
        path = tmp_path / "secret.yaml"
        path.write_text(HEAD)
        path.chmod(0)
        with pytest.raises(InputMissing, match="cannot be read"):
            load(path, Experiment)

    def test_errors_are_of_one_family(self):
        assert issubclass(SpecError, ModelscaleError)
