"""`predict`: the answers of training again, formats, constant memory, files that are whole."""

import csv
import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from command_line import cli, run_of, write_digits

from modelscale.commands.prediction_files import Columns, TextTable, _Guarded, as_csv
from modelscale.errors import StorageError

FULL = Path("/dev/full")


def predicted(folder, name, data, output):
    result = cli(folder, "predict", name, "--data", data, "-o", output)
    assert result.code == 0, result.err
    return result


def table(text):
    return list(csv.DictReader(text.splitlines()))


class TestAnswers:
    @pytest.mark.parametrize(("name", "data"), [("wine", "new.csv"), ("diabetes", "diabetes")])
    def test_they_are_those_of_the_training_run(self, workshop, name, data):
        result = cli(workshop, "predict", name, "--data", data)
        assert result.code == 0
        rows = table(result.out)
        assert [int(row["row"]) for row in rows] == list(range(len(rows)))
        then = table((run_of(workshop, name) / "predictions-test.csv").read_text())
        assert then
        for old in then:
            new = rows[int(old["row"])]
            if name == "wine":
                assert new["prediction"] == old["prediction"]
            for column in (c for c in new if "(" in c):
                assert float(new[column]) == pytest.approx(float(old[column]), rel=1e-4)

    def test_arrays_need_no_target(self, workshop, tmp_path):
        write_digits(tmp_path, "x.npz", with_target=False)
        result = cli(workshop, "predict", "digits", "--data", tmp_path / "x.npz")
        rows = table(result.out)
        assert (result.code, len(rows), result.err) == (0, 1797, "")
        assert sum(float(v) for k, v in rows[0].items() if k[0] == "p" and "(" in k) == (
            pytest.approx(1)
        )

    def test_the_targets_of_the_file_do_not_matter(self, workshop, tmp_path):
        text = (workshop / "wine.csv").read_text().replace("barbera", "a class of its own")
        (tmp_path / "other.csv").write_text(text)
        with_target = cli(workshop, "predict", "wine", "--data", tmp_path / "other.csv").out
        assert with_target == cli(workshop, "predict", "wine", "--data", "new.csv").out

    def test_pieces_make_no_difference(self, workshop, monkeypatch):
        from modelscale.commands import measuring

        whole = table(cli(workshop, "predict", "wine", "--data", "new.csv").out)
        monkeypatch.setattr(measuring, "EXAMPLES_AT_ONCE", 7)
        pieces = table(cli(workshop, "predict", "wine", "--data", "new.csv").out)
        assert len(whole) == len(pieces) == 178
        for one, other in zip(whole, pieces, strict=True):
            for column in one:
                if "(" in column:
                    assert float(one[column]) == pytest.approx(float(other[column]), rel=1e-5)
                else:
                    assert one[column] == other[column]


class TestFiles:
    @pytest.mark.parametrize("data", ["new.csv", "new.parquet", "new.jsonl"])
    def test_formats_in_and_out_say_the_same(self, workshop, tmp_path, data):
        import pandas

        frame = pandas.read_csv(workshop / "new.csv")
        frame.to_parquet(tmp_path / "new.parquet")
        frame.to_json(tmp_path / "new.jsonl", orient="records", lines=True, double_precision=15)
        shutil.copy(workshop / "new.csv", tmp_path)
        for name in ("p.csv", "p.jsonl", "p.parquet"):
            predicted(workshop, "wine", tmp_path / data, tmp_path / name)
        rows = table((tmp_path / "p.csv").read_text())
        objects = [json.loads(line) for line in (tmp_path / "p.jsonl").read_text().splitlines()]
        columns = pq.read_table(tmp_path / "p.parquet").to_pylist()
        assert len(rows) == len(objects) == len(columns) == 178
        for row, entry, cells in zip(rows, objects, columns, strict=True):
            assert int(row["row"]) == entry["row"] == cells["row"]
            assert row["prediction"] == entry["prediction"] == cells["prediction"]
            for label, share in entry["probabilities"].items():
                assert (
                    float(row[f"p({label})"])
                    == share
                    == (pytest.approx(cells[f"p({label})"], rel=1e-7))
                )

    def test_columns_of_the_file_stand_beside_the_answers(self, workshop, tmp_path):
        rows = table((workshop / "new.csv").read_text())
        names = list(rows[0])
        accounts = [f'{number:07}, the "first"' for number in range(len(rows))]
        with (tmp_path / "named.csv").open("w", newline="") as file:
            lines = csv.writer(file)
            lines.writerow(["account", *names])
            lines.writerows([a, *row.values()] for a, row in zip(accounts, rows, strict=True))
        told = ("predict", "wine", "--data", tmp_path / "named.csv", "--keep", "account")
        found = table(cli(workshop, *told, "--keep", names[0]).out)
        assert [row["account"] for row in found] == accounts
        assert [row[names[0]] for row in found] == [row[names[0]] for row in rows]
        plain = table(cli(workshop, "predict", "wine", "--data", "new.csv").out)
        assert [row["prediction"] for row in found] == [row["prediction"] for row in plain]
        output = tmp_path / "o.jsonl"
        assert cli(workshop, *told, "-o", output).code == 0
        entries = [json.loads(line) for line in output.read_text().splitlines()]
        assert [entry["account"] for entry in entries] == accounts

    @pytest.mark.parametrize(
        ("data", "keep", "code", "said"),
        [
            ("new.csv", "acount", 65, "no column 'acount'"),
            ("new.csv", "row", 65, "no column 'row'"),
            ("wine", "alcohol", 2, "--keep: wine is no table of columns"),
        ],
    )
    def test_columns_that_cannot_be_kept(self, workshop, data, keep, code, said):
        result = cli(workshop, "predict", "wine", "--data", data, "--keep", keep)
        assert result.code == code
        assert said in result.err

    def test_regression_to_json_lines(self, workshop, tmp_path):
        predicted(workshop, "diabetes", "diabetes", tmp_path / "p.jsonl")
        first = json.loads((tmp_path / "p.jsonl").read_text().splitlines()[0])
        assert set(first) == {"row", "prediction"}
        assert 20 < first["prediction"]["progression"] < 400

    def test_json_document(self, workshop, tmp_path):
        output = tmp_path / "p.csv"
        line = ("predict", "wine", "--data", "new.csv", "-o", output, "--json")
        document = cli(workshop, *line).document
        assert document["status"] == "done"
        assert document["output"] == str(output)
        assert document["data"]["rows"] == 178
        assert document["columns"] == list(table(output.read_text())[0])

    def test_json_and_predictions_cannot_share_stdout(self, workshop):
        result = cli(workshop, "predict", "wine", "--data", "new.csv", "--json")
        assert result.code == 2
        assert result.document["status"] == "error"

    def test_nothing_is_overwritten_unasked(self, workshop, tmp_path):
        output = tmp_path / "p.csv"
        output.write_text("mine")
        line = ("predict", "wine", "--data", "new.csv", "-o", output)
        result = cli(workshop, *line)
        assert result.code == 73
        assert result.err == f"{output}: exists already; --force overwrites it\n"
        assert output.read_text() == "mine"
        assert cli(workshop, *line, "--force").code == 0
        assert output.read_text().startswith("row,prediction")

    @pytest.mark.parametrize(
        ("output", "code"), [("no/p.csv", 73), (".", 2), ("p.txt", 2), ("d.csv", 73)]
    )
    def test_outputs_that_cannot_be(self, workshop, tmp_path, output, code):
        (tmp_path / "d.csv").mkdir()
        line = ("predict", "wine", "--data", "new.csv", "-o", tmp_path / output, "--force")
        result = cli(workshop, *line)
        assert (result.code, result.out) == (code, "")
        assert result.err.count("\n") == 1

    def test_a_failure_leaves_nothing_behind(self, workshop, tmp_path):
        text = (workshop / "new.csv").read_text() + "1,2,3\n"
        (tmp_path / "short.csv").write_text(text)
        line = ("predict", "wine", "--data", tmp_path / "short.csv", "-o", tmp_path / "p.csv")
        result = cli(workshop, *line)
        assert result.code == 65
        assert "short.csv: row 180: has 3 cells, the header has 13" in result.err
        assert [path.name for path in tmp_path.iterdir()] == ["short.csv"]

    def test_a_missing_column(self, workshop, tmp_path):
        lines = (workshop / "new.csv").read_text().splitlines()
        cut = "\n".join(line.partition(",")[2] for line in lines)
        (tmp_path / "cut.csv").write_text(cut)
        result = cli(workshop, "predict", "wine", "--data", tmp_path / "cut.csv")
        assert (result.code, result.out) == (65, "")
        assert "cut.csv: no column 'alcohol'" in result.err

    def test_a_missing_file(self, workshop):
        result = cli(workshop, "predict", "wine", "--data", "none.csv")
        assert (result.code, result.err) == (66, "none.csv: No such file or directory\n")

    def test_a_full_disk(self, tmp_path):
        """Writing to /dev/full fails as a full disk does."""
        if not FULL.exists():
            pytest.skip("no /dev/full")
        with FULL.open("wb", buffering=0) as stream:

            def put(lines):
                stream.write(lines.encode())

            columns = Columns("regression", (), ("y",))
            file = _Guarded(TextTable(columns, put, as_csv), tmp_path / "p.csv")
            with pytest.raises(StorageError, match="disk full"):
                file.add(0, torch.zeros(3, 1))
