"""`export` as a user gives it: files that other programs read, proofs, refusals."""

import csv
import json
import shutil
import subprocess
import sys

import pytest
from command_line import cli, ended, run_of, started, wait_until, write_wine

# What a program does that knows nothing of this package: cells of a CSV file in, labels out.
READER = """
import csv, json, sys
import numpy as np, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1])
facts = json.loads(session.get_modelmeta().custom_metadata_map["modelscale"])
rows = list(csv.DictReader(open(sys.argv[2], encoding="utf-8", newline="")))
kinds = {"float32": lambda cell: float(cell) if cell else float("nan"), "string": str}
feeds = {}
for port in facts["inputs"]:
    read = kinds[port["dtype"]]
    cells = [[read(row[name]) for name in port["columns"]] for row in rows]
    feeds[port["name"]] = np.array(cells, object if port["dtype"] == "string" else "float32")
(answers,) = session.run(["%s"], feeds)
assert "modelscale" not in sys.modules and "torch" not in sys.modules
print(json.dumps([facts["labels"], answers.tolist()]))
"""
QUICK = ("--seconds", "0.02", "--threads", "1")


def exported(folder, *arguments):
    result = cli(folder, "export", *arguments, *QUICK, "--json")
    assert result.code == 0, result.err
    return result.document


def read_by_another_program(folder, file, data, output):
    done = subprocess.run(
        [sys.executable, "-c", READER % output, file, data],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


@pytest.fixture
def copied(workshop, tmp_path):
    """Return a copy of the workshop that a test may change."""
    shutil.copytree(workshop, tmp_path / "copy", symlinks=True)
    return tmp_path / "copy"


def write_pets(folder):
    """Write a table with missing numbers and words, and train on it."""
    with (folder / "pets.csv").open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["weight", "colour", "name", "price"])
        for i in range(200):
            weight = "" if i % 7 == 0 else f"{3 + (i * 37) % 50 / 10}"
            colour = ("", "schwarz", "röd", "a, b")[i % 4]
            name = ("Rex", "Mia", "")[i * 7 % 3]
            table.writerow([weight, colour, name, 100 + (i * 37) % 50 + 30 * (i % 4)])
    (folder / "pets.yaml").write_text("""\
task: regression
data: {source: {kind: csv, path: pets.csv, target: price}, target_transform: log}
model: {kind: ft_transformer, width: 8, blocks: 1, heads: 2}
train: {epochs: 3, batch_size: 32}
""")
    assert cli(folder, "train", "pets.yaml", "-q").code == 0


@pytest.mark.slow
class TestOnnx:
    def test_another_program_gets_predict_s_answers_from_the_cells(self, copied):
        found = exported(copied, "wine", "-o", "wine.onnx")
        labels, answers = read_by_another_program(
            copied, "wine.onnx", "new.csv", "probabilities"
        )
        assert labels == ["barbera", "barolo", "grignolino"]
        assert cli(copied, "predict", "wine", "--data", "new.csv", "-o", "p.csv").code == 0
        with (copied / "p.csv").open() as stream:
            rows = list(csv.DictReader(stream))
        assert len(rows) == len(answers) == 178
        for row, answer in zip(rows, answers, strict=True):
            shares = [float(row[f"p({label})"]) for label in labels]
            assert answer == pytest.approx(shares, abs=1e-5)
        assert found["files"] == ["wine.onnx", "wine.onnx.json"]

    def test_missing_cells_words_and_logarithms(self, copied):
        write_pets(copied)
        found = exported(copied, "pets", "-o", "pets.onnx")
        _, answers = read_by_another_program(copied, "pets.onnx", "pets.csv", "values")
        assert cli(copied, "predict", "pets", "--data", "pets.csv", "-o", "p.csv").code == 0
        with (copied / "p.csv").open() as stream:
            wanted = [float(row["prediction(price)"]) for row in csv.DictReader(stream)]
        assert [value for (value,) in answers] == pytest.approx(wanted, rel=1e-5)
        assert [port["name"] for port in found["inputs"]] == ["numbers", "categories"]
        assert found["parity"]["max_scaled_diff"] < 1e-4

    def test_document(self, copied):
        found = exported(copied, "digits")
        run = run_of(copied, "digits")
        told = json.loads((run / "run.json").read_text())["result"]
        parity = found["parity"]
        accuracy = told["metrics"]["validation"]["accuracy"]["value"]
        assert parity["metric"] == "accuracy"
        assert parity["metrics"]["accuracy"]["model"] == accuracy
        assert parity["metric_diff"] == 0
        assert parity["max_abs_diff"] <= 1e-4 == found["tolerance"]
        assert found["data"]["part"] == "validation"
        assert (found["opset"], found["quantize"], found["threads"]) == (20, None, 1)
        assert set(found["latency_ms"]) == {"eager", "onnxruntime"}
        assert all(set(ms) == {"1", "128"} for ms in found["latency_ms"].values())
        file = run / "exports" / "model.onnx"
        assert (copied / found["files"][0]).resolve() == file
        assert found["bytes"] == file.stat().st_size

    def test_tables(self, copied):
        result = cli(copied, "export", "digits", "--quantize", "int8", *QUICK)
        assert result.code == 0
        assert "batch 128, over eager" in result.out
        assert "onnxruntime float" in result.out
        assert "proved" in result.err


@pytest.mark.slow
class TestEightBits:
    def test_static_is_calibrated_and_the_loss_told_with_its_interval(self, copied):
        found = exported(copied, "digits", "--quantize", "int8-static")
        assert found["quantize"] == "int8-static"
        assert found["tolerance"] == 0.01
        difference = found["parity"]["metrics"]["accuracy"]["difference"]
        assert difference["low"] <= difference["value"] <= difference["high"]
        assert found["bytes"] > 0
        assert set(found["latency_ms"]) == {"eager", "onnxruntime float", "onnxruntime"}

    def test_other_data_cannot_calibrate(self, copied):
        line = ("export", "wine", "--quantize", "int8-static", "--data", "wine.csv")
        result = cli(copied, *line)
        assert result.code == 2
        assert "--quantize int8-dynamic" in result.err


@pytest.mark.slow
class TestAgain:
    def test_a_finished_export_is_reported_and_left_alone(self, copied):
        first = exported(copied, "digits", "--to", "torch-export")
        file = copied / first["files"][0]
        before = file.stat().st_mtime_ns
        assert exported(copied, "digits", "--to", "torch-export") == first
        assert file.stat().st_mtime_ns == before
        forced = exported(copied, "digits", "--to", "torch-export", "--force")
        assert forced["parity"] == first["parity"]
        assert file.stat().st_mtime_ns != before

    def test_another_file_is_not_overwritten_without_being_told(self, copied):
        (copied / "mine.pt2").write_bytes(b"mine")
        line = ("export", "digits", "--to", "torch-export", "-o", "mine.pt2", *QUICK)
        result = cli(copied, *line)
        assert result.code == 73
        assert "mine.pt2: exists already; --force overwrites it" in result.err
        assert (copied / "mine.pt2").read_bytes() == b"mine"
        assert cli(copied, *line, "--force").code == 0

    def test_a_killed_export_leaves_nothing_half_done(self, copied):
        process = started(copied, "export", "digits", *QUICK)
        folder = run_of(copied, "digits") / "exports"
        wait_until(folder.is_dir, process)
        process.kill()
        ended(process)
        assert not (folder / "model.onnx").exists()
        assert exported(copied, "digits")["files"]
        assert sorted(p.name for p in folder.iterdir()) == ["model.onnx", "model.onnx.json"]


class TestRefusals:
    def test_changed_data(self, copied):
        with (copied / "wine.csv").open("a") as stream:
            stream.write("13,1.5,2.3,15,100,2,2,0.3,1.5,4,1,3,700,barolo\n")
        line = ("export", "wine", "--to", "torch-export")
        result = cli(copied, *line)
        assert result.code == 65
        assert "is not the data that the model was trained on" in result.err
        write_wine(copied)
        assert cli(copied, *line, *QUICK).code == 0

    def test_a_missing_extra_is_told_before_any_work(self, workshop, monkeypatch):
        monkeypatch.setitem(sys.modules, "onnxruntime", None)
        result = cli(workshop, "export", "digits", "--to", "onnx")
        assert result.code == 69
        assert "pip install 'modelscale[export]'" in result.err

    def test_options_that_do_not_fit(self, workshop):
        result = cli(workshop, "export", "wine", "--to", "torch-export", "--quantize", "int8")
        assert result.code == 2
        assert "--quantize is for --to onnx" in result.err
        assert cli(workshop, "export", "wine", "--metric", "rmse").code == 2
        assert cli(workshop, "export", "wine", "--metric", "recall_binary").code == 2

    def test_a_checkpoint_without_its_run(self, copied):
        shutil.copytree(run_of(copied, "wine") / "checkpoints" / "best", copied / "alone")
        line = ("export", "alone", "--to", "torch-export")
        result = cli(copied, *line)
        assert result.code == 2
        assert "give --output FILE" in result.err
        result = cli(copied, *line, "-o", "w.pt2")
        assert result.code == 2
        assert "give --data FILE" in result.err
        result = cli(copied, *line, "-o", "w.pt2", "--data", "wine.csv", *QUICK)
        assert result.code == 0
        assert (copied / "w.pt2").is_file()

    @pytest.mark.slow
    def test_nothing_is_written_where_answers_differ(self, copied):
        """Two runtimes never add up thousands of probabilities to the same last bits."""
        result = cli(copied, "export", "digits", "--tolerance", "0", *QUICK, "--json")
        assert result.code == 3
        assert result.document["status"] == "error"
        assert result.document["files"] == []
        assert 0 < result.document["parity"]["max_abs_diff"] < 1e-4
        assert "more than the tolerance 0; nothing was written" in result.err
        assert not list((run_of(copied, "digits") / "exports").iterdir())
