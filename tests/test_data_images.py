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


def named(folder: Path, count: int = 12) -> Path:
    """Write images and a table that names them, two of each patient."""
    draw(folder / "all", SHADES, count)
    rows = [
        f"all/{label}/{number}.{'JPG' if number % 2 else 'png'},{label},p{number // 2},{shade}"
        for label, shade in SHADES.items()
        for number in range(count)
    ]
    (folder / "labels.csv").write_text("\n".join(["image,shade,patient,light", *rows]) + "\n")
    return folder / "labels.csv"


def test_a_table_of_images_is_learnt_and_new_ones_are_answered(tmp_path: Path) -> None:
    table = named(tmp_path)
    (tmp_path / "a.yaml").write_text(
        "data:\n"
        f"  source: {{kind: image_table, path: {table}, file: image, target: shade,"
        " size: [8, 8], group: patient}\n"
        "  split: {kind: group, test: 0.2, validation: 0.2}\n"
        "model: linear\ntrain: {epochs: 10}\n"
    )
    assert cli(tmp_path, "train", "a.yaml", "-q").code == 0
    new = tmp_path / "new.csv"
    new.write_text("image,case\nall/dark/3.JPG,first\nall/bright/2.png,second\n")
    told = cli(tmp_path, "predict", "a", "--data", new)
    assert told.code == 0, told.err
    lines = [line.split(",")[:3] for line in told.out.splitlines()]
    assert lines[1:] == [["0", "all/dark/3.JPG", "dark"], ["1", "all/bright/2.png", "bright"]]
    folder = cli(tmp_path, "predict", "a", "--data", tmp_path / "all" / "dark")
    assert folder.code == 0, folder.err
    measured = cli(tmp_path, "evaluate", "a", "--data", table, "--json")
    assert measured.document["metrics"]["new"]["accuracy"]["value"] > 0.9


def test_numbers_can_be_learnt_of_images(tmp_path: Path) -> None:
    raw = SourceSpec.model_validate(
        {"kind": "image_table", "path": named(tmp_path), "file": "image", "target": "light"}
        | {"size": [6, 8], "grayscale": True}
    ).read()
    assert raw.array is not None
    assert raw.array.shape == (24, 1, 6, 8)
    assert raw.names["file"][0] == "all/bright/0.png"


@pytest.mark.parametrize(
    ("old", "new", "code", "said"),
    [
        ("all/dark/3.JPG", "all/dark/33.JPG", 66, "labels.csv: row 17: "),
        ("all/dark/3.JPG", "", 65, "labels.csv: row 17, column 'image': is missing"),
        ("image,shade", "picture,shade", 65, "no column 'image' of files; name it"),
    ],
)
def test_a_table_that_names_no_image_is_told_with_its_row(
    tmp_path: Path, old: str, new: str, code: int, said: str
) -> None:
    table = named(tmp_path)
    table.write_text(table.read_text().replace(old, new, 1))
    (tmp_path / "a.yaml").write_text(
        f"data: {{source: {{kind: image_table, path: {table}, file: image, target: shade,"
        " size: [8, 8]}}\nmodel: linear\n"
    )
    result = cli(tmp_path, "train", "a.yaml", "-q")
    assert result.code == code
    assert said in result.err
