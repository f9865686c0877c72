"""Folders of images as people have them: what systems leave there, two parts, no labels."""

from pathlib import Path

import numpy as np
import pytest
from command_line import cli
from PIL import Image

from modelscale.data.loading import load
from modelscale.data.section import DataSection
from modelscale.data.sources.base import SourceSpec
from modelscale.errors import DataError

SHADES = {"bright": 220, "dark": 30}


def draw(folder: Path, labels: dict[str, int], count: int) -> None:
    rng = np.random.default_rng(0)
    for label, shade in labels.items():
        (folder / label).mkdir(parents=True)
        for number in range(count):
            size = (6 + number % 3, 8)
            pixels = (shade + rng.integers(-20, 20, size)).astype(np.uint8)
            name = f"{number}.JPG" if number % 2 else f"{number}.png"
            Image.fromarray(pixels).save(folder / label / name)


def test_files_that_systems_leave_are_no_images(tmp_path: Path) -> None:
    draw(tmp_path / "all", SHADES, 4)
    read = SourceSpec.model_validate(
        {"kind": "image_folder", "path": tmp_path / "all", "size": [6, 8]}
    ).read
    before = read()
    for name in ("Thumbs.db", "desktop.ini", ".DS_Store"):
        (tmp_path / "all" / name).write_bytes(b"\0")
        (tmp_path / "all" / "dark" / name).write_bytes(b"\0")
    assert len(before) == 8
    assert read().fingerprint == before.fingerprint


def test_a_second_folder_is_the_test_part(tmp_path: Path) -> None:
    draw(tmp_path / "train", SHADES, 10)
    draw(tmp_path / "test", {"dark": 30}, 3)
    source = {"kind": "image_folder", "path": tmp_path / "train", "size": [6, 8]}
    source["test_path"] = tmp_path / "test"
    split = {"kind": "column", "validation": 0.2}
    loaded = load(DataSection.model_validate({"source": source, "split": split}))
    fold = loaded.folds[0]
    assert [len(part) for part in (fold.train, fold.validation, fold.test)] == [16, 4, 3]
    labels = loaded.raw.target
    assert labels is not None
    np.testing.assert_array_equal(labels.codes_N[fold.test], [1, 1, 1])
    (tmp_path / "test" / "grey").mkdir()
    Image.new("L", (8, 6)).save(tmp_path / "test" / "grey" / "0.png")
    with pytest.raises(DataError, match=r"grey: .* has no such class folder"):
        SourceSpec.model_validate(source).read()


def test_a_folder_of_parts_is_told_from_a_folder_of_classes(tmp_path: Path) -> None:
    draw(tmp_path / "train", SHADES, 1)
    with pytest.raises(DataError) as caught:
        SourceSpec.model_validate({"kind": "image_folder", "path": tmp_path}).read()
    assert str(caught.value) == (
        f"{tmp_path}/train/bright: is a folder within the class folder 'train'; if that is a "
        f"part such as train or test, the path is {tmp_path}/train"
    )


def test_loose_images_are_answered_by_their_names(tmp_path: Path) -> None:
    draw(tmp_path / "all", SHADES, 15)
    (tmp_path / "spec.yaml").write_text(
        "data:\n  source: {kind: image_folder, path: all, size: [6, 8], grayscale: true}\n"
        "model: linear\ntrain: {epochs: 30}\n"
    )
    assert cli(tmp_path, "train", "spec.yaml", "-q").code == 0
    (tmp_path / "new" / "deeper").mkdir(parents=True)
    Image.new("L", (8, 6), 215).save(tmp_path / "new" / "a.png")
    Image.new("L", (20, 9), 35).save(tmp_path / "new" / "deeper" / "b.jpg")
    result = cli(tmp_path, "predict", "spec", "--data", "new")
    assert result.code == 0, result.err
    head, *rows = [line.split(",") for line in result.out.splitlines()]
    assert head == ["row", "file", "prediction", "p(bright)", "p(dark)"]
    assert [row[:3] for row in rows] == [
        ["0", "new/a.png", "bright"],
        ["1", "new/deeper/b.jpg", "dark"],
    ]
    alone = cli(tmp_path, "predict", "spec", "--data", "new/deeper/b.jpg")
    assert alone.out.splitlines()[1].split(",")[1:] == rows[1][1:]
    jsonl = cli(tmp_path, "predict", "spec", "--data", "new", "-o", tmp_path / "o.jsonl")
    assert jsonl.code == 0
    assert (
        '"row": 1, "file": "new/deeper/b.jpg", "prediction": "dark"'
        in (tmp_path / "o.jsonl").read_text()
    )
