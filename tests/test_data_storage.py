"""Data on disk: the same bits as in memory, in constant memory, and nothing half-written."""

import os
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from modelscale.data.examples import DiskExamples, TensorExamples
from modelscale.data.loading import LoadedData, load, prepare
from modelscale.data.raw import Texts
from modelscale.data.reading import Reading
from modelscale.data.section import DataSection
from modelscale.data.storage import free_memory_bytes, write_array
from modelscale.errors import CannotCreate, StorageError


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MODELSCALE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def write_csv(path: Path, rows: int) -> Path:
    rng = np.random.default_rng(0)
    with path.open("w") as stream:
        stream.write("number,gap,word,day,label\n")
        for row in range(rows):
            gap = "" if rng.random() < 0.2 else f"{rng.normal():.4f}"
            word = rng.choice(["red", "green", "blue", "?"])
            stream.write(
                f"{rng.normal():.6f},{gap},{word},2026-01-{row % 28 + 1:02d},{row % 3}\n"
            )
    return path


def section_of(path: Path, storage: str) -> DataSection:
    source = {"kind": "csv", "path": path, "target": "label", "time": "day"}
    return DataSection.model_validate(
        {"source": source, "split": {"kind": "random"}, "storage": storage}
    )


@pytest.mark.parametrize("encoding", ["onehot", "codes"])
def test_disk_and_memory_give_identical_tensors(
    tmp_path: Path, cache: Path, encoding: str
) -> None:
    path = write_csv(tmp_path / "t.csv", 300)
    results = {}
    for storage in ("memory", "disk"):
        section = section_of(path, storage)
        loaded = load(section)
        prepared = prepare(loaded, 0, encoding, section)
        rows = torch.tensor([299, 0, 7, 7])
        results[storage] = (
            prepared.x.take(torch.arange(300)),
            prepared.x.take(rows),
            prepared.y,
            prepared.preprocessing,
            {part: rows.tolist() for part, rows in prepared.rows.items()},
            prepared.fingerprint,
            loaded.raw.times.tolist(),
        )
        kind = DiskExamples if storage == "disk" else TensorExamples
        assert isinstance(prepared.x, kind)
        assert len(prepared.x) == 300
    for memory, disk in zip(results["memory"], results["disk"], strict=True):
        if isinstance(memory, torch.Tensor):
            assert torch.equal(memory, disk)
        else:
            assert memory == disk
    left = [p.name for p in (cache / "converted").iterdir()]
    assert len(left) == 1
    assert left[0].startswith("x-")


@pytest.mark.parametrize("chunk_rows", [1, 7, 1000])
def test_chunks_do_not_change_what_is_read(tmp_path: Path, chunk_rows: int) -> None:
    source = section_of(write_csv(tmp_path / "t.csv", 60), "memory").source
    whole = source.read()
    spilled = source.read(Reading(chunk_rows=chunk_rows, spill=tmp_path))
    assert spilled.fingerprint == whole.fingerprint
    for name, cells in whole.columns.items():
        other = spilled.columns[name]
        if isinstance(cells, Texts):
            assert other.words == cells.words
            assert other.codes_N.tolist() == cells.codes_N.tolist()
        else:
            np.testing.assert_array_equal(other, cells)
            assert isinstance(other, np.memmap)
    assert [p.name for p in tmp_path.iterdir()] == ["t.csv"]


def test_changed_data_is_converted_anew(tmp_path: Path) -> None:
    def first(loaded: LoadedData, section: DataSection) -> float:
        return prepare(loaded, 0, "codes", section).x.take(torch.tensor([0]))[0, 0].item()

    path = write_csv(tmp_path / "t.csv", 50)
    section = section_of(path, "disk")
    before = first(load(section), section)
    lines = path.read_text().splitlines()
    lines[1] = lines[1].replace(lines[1].split(",")[0], "25.0")
    path.write_text("\n".join(lines) + "\n")
    assert first(load(section), section) != before


def test_another_reading_of_the_same_file_is_converted_anew(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("x,y\n" + "".join(f"{i % 7},{i % 2}\n" for i in range(70)))
    taken = []
    for missing in (("",), ("", "6")):
        source = {"kind": "csv", "path": path, "target": "y", "missing": missing}
        section = DataSection.model_validate(
            {"source": source, "storage": "disk", "standardize": False}
        )
        prepared = prepare(load(section), 0, "onehot", section)
        taken.append(prepared.x.take(torch.arange(7))[:, 0].tolist())
    assert taken[0] == [0, 1, 2, 3, 4, 5, 6]
    assert taken[1][6] != 6


def test_a_failed_conversion_leaves_nothing(tmp_path: Path) -> None:
    def pieces() -> object:
        yield np.zeros(3)
        raise OSError(28, "No space left on device")

    path = tmp_path / "x.npy"
    with pytest.raises(StorageError, match="No space left on device"):
        write_array(path, (6,), "<f8", pieces())
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(CannotCreate):
        write_array(tmp_path / "absent" / "x.npy", (0,), "<f8", [])


def test_auto_keeps_small_data_in_memory(tmp_path: Path) -> None:
    section = section_of(write_csv(tmp_path / "t.csv", 50), "auto")
    assert not load(section).on_disk
    assert free_memory_bytes() > 0


def test_images_on_disk_equal_images_in_memory(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(0)
    for label in ("cat", "dog"):
        (tmp_path / "images" / label).mkdir(parents=True)
        for number in range(6):
            pixels = rng.integers(0, 255, (9, 12, 3), dtype=np.uint8)
            image.fromarray(pixels).save(tmp_path / "images" / label / f"{number}.png")
    taken = []
    for storage in ("memory", "disk"):
        source = {"kind": "image_folder", "path": tmp_path / "images", "size": (8, 8)}
        section = DataSection.model_validate({"source": source, "storage": storage})
        loaded = load(section)
        prepared = prepare(loaded, 0, "onehot", section)
        assert prepared.inputs.shape == (3, 8, 8)
        assert prepared.preprocessing.labels == ("cat", "dog")
        taken.append((prepared.x.take(torch.arange(12)), prepared.fingerprint))
    assert torch.equal(taken[0][0], taken[1][0])
    assert taken[0][1] == taken[1][1]


def test_npy_pair_is_mapped_and_equals_npz(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 255, (40, 6, 5), dtype=np.uint8)
    y = np.array(["b", "a"] * 20)
    np.savez(tmp_path / "d.npz", x=x, y=y)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", y)
    results = []
    for more in (
        {"path": tmp_path / "d.npz"},
        {"path": tmp_path / "x.npy", "targets": tmp_path / "y.npy"},
    ):
        section = DataSection.model_validate({"source": {"kind": "npz", **more}})
        loaded = load(section)
        prepared = prepare(loaded, 0, "onehot", section)
        results.append((prepared.x.take(torch.arange(40)), prepared.y, loaded.raw))
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])
    assert results[0][0].shape == (40, 1, 6, 5)
    assert isinstance(results[1][2].array, np.memmap)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are Linux's")
def test_large_csv_is_converted_in_constant_memory(tmp_path: Path) -> None:
    """Of 200 MB of text and 270 MB of inputs, 160 MB may be in memory at a time."""
    path = tmp_path / "large.csv"
    rng = np.random.default_rng(0)
    block = "".join(
        ",".join(f"{v:.15f}" for v in rng.normal(size=10)) + f",word{i % 50},{i % 4}\n"
        for i in range(2000)
    )
    with path.open("w") as stream:
        stream.write(",".join(f"c{i}" for i in range(10)) + ",word,label\n")
        for _ in range(200_000_000 // len(block)):
            stream.write(block)
    rows = 2000 * (200_000_000 // len(block))
    small = tmp_path / "small.csv"
    small.write_text(",".join(f"c{i}" for i in range(10)) + ",word,label\n" + block)
    program = textwrap.dedent(f"""
        import resource
        import torch
        torch.set_num_threads(1)
        from modelscale.data.loading import load, prepare
        from modelscale.data.section import DataSection
        def prepared_from(path):  # the small file first: it imports all that is imported late
            source = {{"kind": "csv", "path": path, "target": "label"}}
            section = DataSection.model_validate({{"source": source, "storage": "disk"}})
            return prepare(load(section), 0, "onehot", section)
        prepared_from({str(small)!r})
        status = open("/proc/self/status").read()
        used = int(status.split("VmData:")[1].split()[0]) * 1024
        resource.setrlimit(resource.RLIMIT_DATA, (used + (160 << 20),) * 2)
        prepared = prepared_from({str(path)!r})
        for start in range(0, {rows}, 100_000):
            assert prepared.x.take(torch.arange(start, start + 64)).isfinite().all()
        print(len(prepared.x), prepared.inputs.shape)
    """)
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env=os.environ
        | {"MODELSCALE_CACHE": str(tmp_path / "cache"), "PYTHONPATH": str(Path.cwd())},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f"{rows} (61,)"


def test_examples_move_between_devices() -> None:
    examples = TensorExamples(torch.arange(6.0).reshape(3, 2))
    moved = examples.to(torch.device("cpu"))
    assert moved.take(torch.tensor([2, 0])).tolist() == [[4.0, 5.0], [0.0, 1.0]]
    assert replace(examples, x=examples.x[:1]).take(torch.tensor([0])).shape == (1, 2)
