"""What a user is told about data that is read without a fault but may not be what it seems."""

from pathlib import Path

import numpy as np
import pytest
import torch

from modelscale.data.loading import LoadedData, load, prepare
from modelscale.data.section import DataSection
from modelscale.errors import DataError, SpecError


def table(path: Path, header: str, rows: list[str], **more: object) -> LoadedData:
    path.write_text("\n".join([header, *rows]) + "\n")
    source = {"kind": "csv", "path": path, "target": "y", "delimiter": ";"}
    return load(DataSection.model_validate({"source": source, **more}))


def test_numbers_that_are_read_as_text_are_told(tmp_path: Path) -> None:
    rows = [f"{i},{i % 7};Ort {i % 3};{i % 2}" for i in range(60)]
    loaded = table(tmp_path / "t.csv", "Betrag;Ort;y", rows)
    (told,) = (line for line in loaded.warnings if "data.source.decimal" in line)
    assert told == (
        "column 'Betrag' is text, as '0,0' is no number here; say how numbers are written with "
        "data.source.decimal and thousands"
    )


def test_words_with_commas_are_not_taken_for_numbers(tmp_path: Path) -> None:
    rows = [f"{'1,5' if i < 2 else 'Ulm, Donau'};{i};{i % 2}" for i in range(60)]
    assert not any(
        "decimal" in line for line in table(tmp_path / "t.csv", "a;b;y", rows).warnings
    )


def test_copies_on_both_sides_of_the_split_are_told(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=100)
    once = [f"{value};{i % 2}" for i, value in enumerate(values)]
    assert table(tmp_path / "t.csv", "x;y", once).warnings == ()
    twice = table(tmp_path / "t.csv", "x;y", once * 2)
    fold = twice.folds[0]
    train = {once[row % 100] for row in fold.train.tolist()}
    copies = sum(once[row % 100] in train for row in fold.test.tolist())
    assert copies > 10
    assert twice.warnings[0].startswith(
        f"{copies} of 40 test rows equal a training row in all columns; "
    )


def test_equal_inputs_with_other_targets_or_missing_cells_are_no_copies(tmp_path: Path) -> None:
    rows = [f"{i // 2};;{i}.5" for i in range(100)]
    assert not any(
        "equal a training row" in line
        for line in table(tmp_path / "t.csv", "x;z;y", rows).warnings
    )


def test_the_positive_class_is_the_second_one(tmp_path: Path) -> None:
    rows = [f"{i};{'fraud' if i % 30 == 0 else 'ok'}" for i in range(300)]
    by_name = table(tmp_path / "t.csv", "x;y", rows)
    assert by_name.warnings[-1] == (
        "class 'fraud' is rare, and metrics of one class are about 'ok'; if it is to be found, "
        "say data.positive: fraud"
    )
    section = {"positive": "fraud"}
    loaded = table(tmp_path / "t.csv", "x;y", rows, **section)
    assert not any("rare" in line for line in loaded.warnings)
    source = {"kind": "csv", "path": tmp_path / "t.csv", "target": "y", "delimiter": ";"}
    whole = DataSection.model_validate({"source": source, **section})
    prepared = prepare(loaded, 0, "onehot", whole)
    assert prepared.preprocessing.labels == ("ok", "fraud")
    assert torch.bincount(prepared.y).tolist() == [290, 10]


@pytest.mark.parametrize(
    ("y", "positive", "error", "message"),
    [
        ("ab", "c", DataError, "needs two classes and names one of them, got 'c' of 'a', 'b'"),
        (
            "abc",
            "c",
            DataError,
            "needs two classes and names one of them, got 'c' of 'a', 'b', ",
        ),
        ("a1", "1", None, ""),
    ],
)
def test_a_positive_class_that_is_none_is_refused(
    tmp_path: Path, y: str, positive: str, error: type[Exception] | None, message: str
) -> None:
    rows = [f"{i};{y[i % len(y)]}" for i in range(60)]
    if error is None:
        assert table(tmp_path / "t.csv", "x;y", rows, positive=positive).raw.classes[1] == "1"
        return
    with pytest.raises(error, match=message):
        table(tmp_path / "t.csv", "x;y", rows, positive=positive)


def test_a_positive_class_goes_with_classification(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"data\.positive: goes with classification"):
        table(tmp_path / "t.csv", "x;y", [f"{i};{i}.5" for i in range(60)], positive="1")


def test_a_column_of_sentences_says_how_to_read_it(tmp_path: Path) -> None:
    rows = [f"K{i};the {i}th card was charged twice;{i};{i % 2}" for i in range(60)]
    told = table(tmp_path / "t.csv", "id;body;x;y", rows).warnings
    assert "column 'id' is ignored: its text is different in most rows" in told
    assert (
        "column 'body' is ignored: its text is different in most rows; to read it say "
        "data.columns: {body: text}"
    ) in told


@pytest.mark.parametrize(
    ("name", "keys", "told"),
    [
        ("patient_id", 40, True),
        ("cardId", 40, True),
        ("ID", 120, False),  # each row its own
        ("paid", 40, False),
        ("grid", 40, False),
        ("ward_id", 4, False),  # a category like any other
    ],
)
def test_a_key_that_rows_share_is_told(
    tmp_path: Path, name: str, keys: int, told: bool
) -> None:
    rows = [f"P{i % keys};{i}.5;{i % 2}" for i in range(120)]
    lines = table(tmp_path / "t.csv", f"{name};x;y", rows).warnings
    assert any(f"data.source.group: {name} and split: group" in line for line in lines) == told


def test_a_class_that_a_part_lacks_is_told(tmp_path: Path) -> None:
    rows = [f"{i}.5;{'odd' if i == 50 else 'even'}" for i in range(100)]
    warnings = table(tmp_path / "t.csv", "x;y", rows, split={"validation": 0.2}).warnings
    assert "class 'odd' has no test rows, so nothing is known of it there" in warnings
