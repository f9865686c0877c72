"""`fit` as a user gives it: tables, questions, files, and faults with their places."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command_line import cli

DATA = Path(__file__).parent.parent.parent / "shared" / "data" / "scaling"
QUICK = ("--resamples", "60")


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    size = np.repeat(np.geomspace(1e7, 1e10, 5), 4)
    tokens = size * np.tile([5, 20, 80, 320.0], 5)
    loss = 1.69 + 406.4 * size**-0.34 + 410.7 * tokens**-0.28
    loss *= np.exp(0.003 * rng.standard_normal(20))
    rows = zip(size, 6 * size * tokens, loss, strict=True)
    text = "".join(f"{n:.6g},{c:.6g},{v:.6f}\n" for n, c, v in rows)
    (tmp_path / "points.csv").write_text("Model Size,Training FLOP,val loss\n" + text)
    x = np.geomspace(1e3, 1e6, 20)
    y = 0.05 + 3 * x**-0.35
    text = "".join(f"{a:.0f},{b:.6f}\n" for a, b in zip(x, y, strict=True))
    (tmp_path / "line.csv").write_text("examples,error\n" + text)
    lines = ["domain,task,model,seen_examples,loss,training"]
    for name in ("a", "b"):
        lines += [
            f"IC,t,{name},{u:.0f},{v:.6f},{int(u < 4e5)}" for u, v in zip(x, y, strict=True)
        ]
    lines.append("IC,t,b,2000000,,0")
    (tmp_path / "curves.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def document(folder, *arguments):
    result = cli(folder, "fit", *arguments, "--json")
    assert result.code == 0, result.err
    return result.document


class TestFloors:
    def test_floor_that_is_zero_says_so_and_its_interval_is_one_of_floors(self, folder):
        x = np.geomspace(1e3, 1e6, 12)
        # Bent down at the end, as no floor at all would have it.
        y = 3 * x**-0.35 * np.where(x > 2e5, 0.97, 1.0)
        rows = "".join(f"{a:.0f},{b:.6f}\n" for a, b in zip(x, y, strict=True))
        (folder / "bare.csv").write_text("examples,error\n" + rows)
        words = (
            "bare.csv",
            "--columns",
            "loss=error",
            "--along",
            "examples",
            "--law",
            "power_floor",
        )
        floor = document(folder, *words, *QUICK)["law"]["params"]["E"]
        assert floor["value"] == floor["low"] == 0.0
        assert 0 <= floor["high"] < y.min()
        told = cli(folder, "fit", *words, *QUICK)
        assert "0 (at its bound)" in told.out
        assert "e-2" not in told.out.partition("12 points")[0]

    def test_floor_that_points_show_is_left_as_it_is(self, folder):
        words = (
            "line.csv",
            "--columns",
            "loss=error",
            "--along",
            "examples",
            "--law",
            "power_floor",
        )
        floor = document(folder, *words, *QUICK)["law"]["params"]["E"]
        assert floor["value"] == pytest.approx(0.05, rel=1e-3)
        assert "at its bound" not in cli(folder, "fit", *words, *QUICK).out


class TestAnswers:
    def test_document_holds_law_forms_predictions_and_advice(self, folder):
        found = document(
            folder,
            "points.csv",
            *QUICK,
            *("--at", "parameters=7e9,tokens=1.4e11"),
            *("--compute", "1e25"),
            *("--inference-tokens", "2e12", "--quality-of", "parameters=13e9"),
        )
        assert (found["command"], found["run"], found["status"]) == ("fit", None, "done")
        assert found["law"]["kind"] in {form["kind"] for form in found["forms"]}
        for param in found["law"]["params"].values():
            assert param["low"] <= param["value"] <= param["high"]
        (prediction,) = found["predictions"]
        true = 1.69 + 406.4 * 7e9**-0.34 + 410.7 * 1.4e11**-0.28
        assert prediction["value"] == pytest.approx(true, rel=0.01)
        assert prediction["low"] < true < prediction["high"]
        (budget,) = found["recommendation"]["compute"]
        assert budget["range"]["low"]["value"] < budget["parameters"]["value"]
        assert found["recommendation"]["inference"]["parameters"]["value"] < 13e9
        assert {gain["what"] for gain in found["recommendation"]["returns"]} == {
            "parameters",
            "tokens",
            "compute",
        }
        assert any("beyond the data" in warning for warning in found["warnings"])

    def test_far_questions_are_refused_unless_forced(self, folder):
        arguments = ("points.csv", "--law", "chinchilla", *QUICK, "--compute", "1e30")
        refused = cli(folder, "fit", *arguments)
        assert refused.code == 2
        assert "times beyond the data, more than 100" in refused.err
        forced = cli(folder, "fit", *arguments, "--force")
        assert forced.code == 0, forced.err
        assert "not to be relied on" in forced.err

    def test_same_command_gives_the_same_document(self, folder):
        arguments = ("points.csv", "--law", "chinchilla", *QUICK)
        assert document(folder, *arguments) == document(folder, *arguments)
        other = document(folder, *arguments, "--seed", "1")
        assert other["law"]["objective"] == document(folder, *arguments)["law"]["objective"]
        assert other["law"]["params"] != document(folder, *arguments)["law"]["params"]

    def test_columns_may_be_named(self, folder):
        text = (folder / "points.csv").read_text().replace("val loss", "quality")
        (folder / "named.csv").write_text(text.replace("Model Size", "how big"))
        found = document(
            folder,
            *("named.csv", "--columns", "loss=quality", "--columns", "parameters=how big"),
            *("--law", "chinchilla", *QUICK),
        )
        plain = document(folder, "points.csv", "--law", "chinchilla", *QUICK)
        assert found["law"] == plain["law"]

    def test_one_size_takes_the_laws_of_one_size(self, folder):
        found = document(
            folder, "line.csv", "--law", "power_floor", "--at", "examples=1e8", *QUICK
        )
        assert found["along"] == "tokens"
        assert found["predictions"][0]["value"] == pytest.approx(
            0.05 + 3 * 1e8**-0.35, rel=1e-4
        )
        assert found["law"]["params"]["alpha"]["value"] == pytest.approx(0.35, rel=1e-3)

    def test_parquet_says_the_same_as_csv(self, folder):
        import pandas

        frame = pandas.read_csv(folder / "line.csv")
        frame.to_parquet(folder / "line.parquet")
        arguments = ("--law", "power_floor", *QUICK)
        one = document(folder, "line.csv", *arguments)
        other = document(folder, "line.parquet", *arguments)
        assert one["law"] == other["law"]

    def test_people_get_tables(self, folder):
        result = cli(
            folder, "fit", "points.csv", "--law", "chinchilla", "--compute", "1e22", *QUICK
        )
        assert result.code == 0
        for part in ("law: chinchilla: loss = E + A N^-alpha", "outliers: ", "held-out error"):
            assert part in result.out
        assert "within 0.5% of the least loss" in result.out
        assert "\x1b" not in result.out

    def test_outliers_are_told_with_their_effect(self, folder):
        arguments = ("points.csv", "--law", "chinchilla", "--outliers", "highest:2", *QUICK)
        found = document(folder, *arguments)
        assert found["outliers"]["rows"] == [2, 3]
        assert found["outliers"]["params_with_them"].keys() == found["law"]["params"].keys()
        assert "with outliers" in cli(folder, "fit", *arguments).out


class TestCurves:
    def test_rows_without_training_are_predicted(self, folder):
        found = document(folder, "curves.csv", "--curves")
        rows = (folder / "curves.csv").read_text().splitlines()
        asked = [i for i, row in enumerate(rows, 1) if row.endswith(",0")]
        assert sorted(p["row"] for p in found["predictions"]) == asked
        for prediction in found["predictions"]:
            assert prediction["low"] < prediction["value"] < prediction["high"]
            true = 0.05 + 3 * prediction["seen_examples"] ** -0.35
            assert prediction["value"] == pytest.approx(true, rel=0.05)
        assert found["predictions"][-1]["measured"] is None
        assert found["held_out"]["rmsle"] < 0.01

    def test_losses_that_are_asked_for_are_not_looked_at(self, folder):
        text = (folder / "curves.csv").read_text().splitlines()
        for i, row in enumerate(text):
            if row.endswith(",0"):
                cells = row.split(",")
                text[i] = ",".join([*cells[:4], "9", cells[5]])
        (folder / "wrong.csv").write_text("\n".join(text) + "\n")
        one, other = (document(folder, f, "--curves") for f in ("curves.csv", "wrong.csv"))
        for a, b in zip(one["predictions"], other["predictions"], strict=True):
            assert (a["value"], a["low"], a["high"]) == (b["value"], b["low"], b["high"])

    def test_people_get_a_line_a_curve(self, folder):
        out = cli(folder, "fit", "curves.csv", "--curves").out
        assert "IC/t/a" in out
        assert "mean RMSLE" in out

    @pytest.mark.slow
    @pytest.mark.skipif(not DATA.is_dir(), reason="the data of the benchmarks is not there")
    def test_public_curves_are_foretold_better_than_by_any_single_law(self, folder):
        found = document(folder, DATA / "learning_curves.csv", "--curves")
        assert found["held_out"]["rmsle"] <= 0.0255
        images = [c["rmsle"] for c in found["curves"] if c["domain"] == "IC"]
        assert np.mean(images) <= 0.0294


class TestFiles:
    def test_law_page_and_plot_are_written(self, folder):
        found = document(
            folder,
            *("line.csv", "--law", "power_floor", *QUICK),
            *("-o", "law.json", "-o", "law.html", "-o", "law.svg"),
        )
        law = json.loads((folder / "law.json").read_text())
        assert law["law"] == found["law"]
        assert "<svg" in (folder / "law.svg").read_text()
        assert "power_floor" in (folder / "law.html").read_text()

    def test_existing_output_is_kept_without_force(self, folder):
        (folder / "law.json").write_text("mine")
        arguments = ("line.csv", "--law", "power", "-o", "law.json", *QUICK)
        result = cli(folder, "fit", *arguments)
        assert (result.code, result.err) == (
            73,
            "law.json: exists already; --force overwrites it\n",
        )
        assert (folder / "law.json").read_text() == "mine"
        assert cli(folder, "fit", *arguments, "--force").code == 0

    def test_page_of_curves(self, folder):
        document(folder, "curves.csv", "--curves", "-o", "curves.html")
        assert "IC/t/a" in (folder / "curves.html").read_text()


HEAD = "parameters,tokens,loss\n"
GOOD = "".join(f"{10**i},{20 * 10**i},{3 - 0.2 * i}\n" for i in range(5, 9))
FAULTS = {
    "text": (
        HEAD + GOOD + "1e9,2e10,high\n",
        "row 6, column 'loss': expected a number, got 'high'",
    ),
    "zero": (HEAD + GOOD + "1e9,0,2\n", "row 6, column 'tokens': must be above 0, got '0'"),
    "negative": (HEAD + "-1,5,2\n" + GOOD, "row 2, column 'parameters': must be above 0"),
    "missing": (HEAD + GOOD + "1e9,,2\n", "row 6, column 'tokens': is missing"),
    "infinite": (HEAD + GOOD + "1e9,1e400,2\n", "row 6, column 'tokens': expected a number"),
    "ragged": (HEAD + GOOD + "1,2\n", "row 6: has 2 cells, the header has 3"),
    "no loss": ("parameters,tokens\n1,2\n", "row 1: no column is the loss; name it:"),
    "no size": ("loss\n1\n", "row 1: no column is the parameters"),
    "no rows": (HEAD, "has column names and no rows"),
    "few": (HEAD + "1,2,3\n9,5,2\n8,3,2\n", "too few"),
    "one size": (HEAD + "1,5,2\n" * 4, "all points have the same size"),
    "two losses": ("n,val_loss,test_loss\n1,2,3\n", "'val_loss' and 'test_loss' could both be"),
}


class TestFaults:
    @pytest.mark.parametrize("name", FAULTS)
    def test_bad_tables_are_told_in_one_line_with_their_place(self, tmp_path, name):
        text, message = FAULTS[name]
        (tmp_path / "bad.csv").write_text(text)
        result = cli(tmp_path, "fit", "bad.csv")
        assert result.code == 65, result.err
        assert message in result.err
        assert len(result.err.splitlines()) == 1
        assert result.err.startswith("bad.csv: ")
        assert result.out == ""

    def test_missing_table(self, tmp_path):
        result = cli(tmp_path, "fit", "none.csv", "--json")
        assert result.code == 66
        assert result.document["status"] == "error"

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("--law", "chinchila"), "did you mean 'chinchilla'"),
            (("--columns", "los=error"), "did you mean 'loss'"),
            (("--columns", "loss=eror"), "did you mean 'error'"),
            (("--columns", "loss"), "expected ROLE=COLUMN"),
            (("--at", "examples"), "expected NAME=VALUE"),
            (("--at", "example=1", "--law", "power"), "unknown 'example'"),
            (("--at", "examples=-1"), "above 0"),
            (("--compute", "1e21", "--law", "power"), "need a law of parameters and tokens"),
            (("--compute", "-1"), "above 0"),
            (("--level", "1.5"), "--level 1.5"),
            (("--outliers", "some"), "--outliers some"),
            (("--delta", "0"), "--delta 0"),
            (("--along", "width"), "no such column"),
            (("-o", "law.txt"), "--output law.txt"),
            (("--quality-of", "parameters=1"), "--inference-tokens"),
            (("--curves", "--at", "examples=1"), "do not go together"),
        ],
    )
    def test_wrong_questions_are_usage_errors(self, folder, arguments, message):
        result = cli(folder, "fit", "line.csv", *QUICK, *arguments)
        assert result.code == 2, result.err
        assert message in result.err
        assert "Traceback" not in result.err

    @pytest.mark.parametrize(
        ("row", "message"),
        [
            ("IC,t,a,5,0,1", "row 2, column 'loss': must be above 0"),
            ("IC,t,a,5,1,2", "row 2, column 'training': expected 1"),
            ("IC,t,a,5,1,0", "row 2, column 'training': IC/t/a has no row to be fitted"),
            ("IC,t,a,5,,1", "row 2, column 'loss': is missing"),
        ],
    )
    def test_bad_curves(self, tmp_path, row, message):
        (tmp_path / "c.csv").write_text(
            f"domain,task,model,seen_examples,loss,training\n{row}\n"
        )
        result = cli(tmp_path, "fit", "c.csv", "--curves")
        assert result.code == 65
        assert message in result.err


def test_fit_needs_no_torch(folder):
    code = (
        "import sys; sys.argv = ['modelscale', 'fit', 'line.csv', '--law', 'power']\n"
        "from modelscale.cli.app import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print({'torch', 'scipy', 'pandas', 'optuna'} & set(sys.modules))"
    )
    root = str(Path(__file__).parent.parent)
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={"PYTHONPATH": root, "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "set()"
