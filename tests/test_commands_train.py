"""`train` as a user runs it: again, interrupted, diverged, from several seeds and folds."""

import csv
import json
import signal

import pytest
from command_line import SPECS, cli, ended, lines_of, run_of, started, wait_until

LONG = ("--set", "train.epochs=250", "--set", "train.checkpoint_s=0.3", "--threads", "1")


@pytest.fixture
def folder(tmp_path):
    for name, text in SPECS.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    return tmp_path


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Return what comes out of a long training that nothing interrupts."""
    calm = tmp_path_factory.mktemp("calm")
    (calm / "digits.yaml").write_text(SPECS["digits"])
    result = cli(calm, "train", "digits.yaml", *LONG)
    assert result.code == 0, result.err
    return content_of(run_of(calm, "digits"))


def content_of(run):
    """Return what must not hang on interruptions: numbers and weights."""
    return {
        name: (run / name).read_bytes()
        for name in (
            "metrics.jsonl",
            "predictions-test.csv",
            "predictions-validation.csv",
            "checkpoints/best/model.safetensors",
            "checkpoints/best/model.json",
        )
    }


class TestAgain:
    def test_the_same_command_reports_and_leaves_alone(self, folder):
        first = cli(folder, "train", "digits.yaml", "--json")
        assert first.code == 0
        run = run_of(folder, "digits")
        before = {p: p.stat().st_mtime_ns for p in run.rglob("*")}
        second = cli(folder, "train", "digits.yaml", "--json")
        assert (second.code, second.document) == (0, first.document)
        assert {p: p.stat().st_mtime_ns for p in run.rglob("*")} == before
        assert "finished earlier; --new starts another run" in second.err

    def test_new_starts_another_of_the_same_numbers(self, folder):
        assert cli(folder, "train", "digits.yaml", "--threads", "1").code == 0
        first = run_of(folder, "digits")
        assert cli(folder, "train", "digits.yaml", "--threads", "1", "--new").code == 0
        second = run_of(folder, "digits")
        assert first != second
        assert content_of(first) == content_of(second)

    def test_another_spec_is_another_run(self, folder):
        assert cli(folder, "train", "digits.yaml").code == 0
        assert cli(folder, "train", "digits.yaml", "--set", "optimizer.lr=1e-3").code == 0
        runs = [p for p in (folder / "runs" / "digits").iterdir() if not p.is_symlink()]
        assert len([p for p in runs if p.is_dir() and p.name[0] != "."]) == 2

    def test_the_resolved_spec_is_the_same_run(self, folder):
        assert cli(folder, "train", "digits.yaml").code == 0
        resolved = run_of(folder, "digits") / "spec.resolved.yaml"
        again = cli(folder, "train", resolved, "--name", "digits")
        assert again.code == 0
        assert "finished earlier" in again.err


class TestSeveral:
    def test_seeds_have_a_mean_and_a_deviation(self, folder):
        result = cli(folder, "train", "diabetes.yaml", "--set", "train.seeds=5", "--json")
        assert result.code == 0
        document = result.document
        values = [m["metrics"]["test"]["rmse"]["value"] for m in document["members"]]
        entry = document["metrics"]["test"]["rmse"]
        mean = sum(values) / 5
        assert entry["members"] == 5
        assert entry["value"] == pytest.approx(mean)
        deviation = (sum((v - mean) ** 2 for v in values) / 4) ** 0.5
        assert entry["std"] == pytest.approx(deviation)
        assert entry["low"] < mean < entry["high"]
        assert len(set(values)) == 5

    def test_a_seed_among_others_is_what_it_is_alone(self, folder):
        line = ("train", "diabetes.yaml", "--json")
        together = cli(folder, *line, "--set", "train.seeds=3").document["members"][1]
        alone = cli(folder, *line, "--seed", "1").document
        for metric, entry in together["metrics"]["test"].items():
            assert entry["value"] == pytest.approx(
                alone["metrics"]["test"][metric]["value"], rel=1e-3
            )

    def test_the_best_member_is_the_run_s_model(self, folder):
        line = ("train", "diabetes.yaml", "--set", "train.seeds=3", "--json")
        document = cli(folder, *line).document
        best = next(m for m in document["members"] if m["label"] == document["best_member"])
        found = cli(folder, "evaluate", "diabetes", "--json").document
        assert found["metrics"]["test"]["rmse"] == best["metrics"]["test"]["rmse"]

    def test_every_row_is_tested_once_in_cross_validation(self, folder):
        line = ("train", "digits.yaml", "--set", "data.split={kind: kfold, folds: 3}")
        result = cli(folder, *line, "--json")
        assert result.code == 0, result.err
        tested = []
        for member in result.document["members"]:
            path = run_of(folder, "digits") / "members" / member["label"]
            with (path / "predictions-test.csv").open() as stream:
                tested += [int(row["row"]) for row in csv.DictReader(stream)]
            found = cli(folder, "evaluate", path, "--metrics=accuracy", "--json").document
            assert (
                found["metrics"]["test"]["accuracy"] == (member["metrics"]["test"]["accuracy"])
            )
        assert sorted(tested) == list(range(1797))


class TestDivergence:
    LINE = (
        "train", "diabetes.yaml", "--set", "optimizer={kind: sgd, lr: 1e6}", "--json",
    )  # fmt: skip

    def test_it_is_told_with_step_and_rows(self, folder):
        result = cli(folder, *self.LINE)
        assert result.code == 10
        message = result.document["messages"][0]
        assert "step " in message
        assert "Rows of the batch: " in message
        run = run_of(folder, "diabetes")
        record = json.loads((run / "run.json").read_text())
        assert record["status"] == "diverged"
        assert record["attempts"][-1]["exit_code"] == 10
        again = cli(folder, *self.LINE)
        assert again.code == 10
        assert message in again.document["messages"][0]

    @pytest.mark.slow
    def test_some_seeds_diverged(self, folder):
        """A learning rate at the edge: which seeds survive is found out, then fixed."""
        for exponent in range(24):
            lr = 0.05 * 1.5**exponent
            line = ("diabetes.yaml", "--set", f"optimizer={{kind: sgd, lr: {lr}}}")
            result = cli(folder, "train", *line, "--set", "train.seeds=4", "--json")
            if result.code == 4:
                break
        else:
            pytest.skip("no learning rate at which only some seeds diverge")
        endings = [member["ending"] for member in result.document["members"]]
        assert "diverged" in endings
        assert set(endings) != {"diverged"}
        assert result.document["metrics"]["test"]["rmse"]["members"] < 4


class TestWhatStandsInTheWay:
    def test_a_file_in_place_of_the_runs_folder(self, folder):
        (folder / "runs").write_text("mine")
        result = cli(folder, "train", "digits.yaml")
        assert (result.code, result.out) == (73, "")
        assert result.err.count("\n") == 1
        assert (folder / "runs").read_text() == "mine"

    def test_no_cuda(self, folder):
        import torch

        if torch.cuda.is_available():
            pytest.skip("there is a CUDA device")
        result = cli(folder, "train", "digits.yaml", "--device", "cuda", "--json")
        assert result.code == 69
        assert result.document["messages"] == [
            "--device cuda: 0 CUDA devices are present; use --device cpu"
        ]
        assert not (folder / "runs").exists()

    def test_missing_data(self, folder):
        result = cli(folder, "train", "wine.yaml")
        assert result.code == 66
        assert "wine.csv" in result.err
        assert not (folder / "runs").exists()

    def test_a_model_that_does_not_fit_the_data(self, folder):
        line = ("train", "diabetes.yaml", "--set", "model=cnn")
        result = cli(folder, *line)
        assert result.code == 78
        assert "model: cnn takes image inputs, not vector inputs" in result.err
        assert not (folder / "runs").exists()


@pytest.mark.slow
class TestInterrupted:
    @pytest.mark.parametrize(
        ("number", "code"),
        [(signal.SIGTERM, 75), (signal.SIGINT, 130), (signal.SIGHUP, 75)],
    )
    def test_the_same_command_goes_on_to_the_same_end(self, folder, undisturbed, number, code):
        line = ("train", "digits.yaml", "--json", *LONG)
        process = started(folder, *line)
        log = folder / "runs" / "digits" / "latest" / "metrics.jsonl"
        wait_until(lambda: len(lines_of(log)) > 20, process)
        process.send_signal(number)
        result = ended(process)
        assert result.code == code
        assert "the state is saved: run the same command to go on" in result.err
        assert result.document["exit_code"] == code
        record = json.loads((run_of(folder, "digits") / "run.json").read_text())
        assert record["status"] == "interrupted"
        assert record["attempts"][-1]["exit_code"] == code
        last = ended(started(folder, *line))
        assert last.code == 0, last.err
        assert "going on" in last.err
        assert content_of(run_of(folder, "digits")) == undisturbed
        record = json.loads((run_of(folder, "digits") / "run.json").read_text())
        assert record["exact_resume"]
        assert len(record["attempts"]) == 2

    def test_killed(self, folder, undisturbed):
        process = started(folder, "train", "digits.yaml", *LONG)
        log = folder / "runs" / "digits" / "latest" / "metrics.jsonl"
        wait_until(lambda: len(lines_of(log)) > 50, process)
        process.kill()
        ended(process)
        assert ended(started(folder, "train", "digits.yaml", *LONG)).code == 0
        assert content_of(run_of(folder, "digits")) == undisturbed

    def test_time_is_up(self, folder, undisturbed):
        line = ("train", "digits.yaml", *LONG)
        codes = []
        for _ in range(40):
            codes.append(cli(folder, *line, "--max-time", "1s").code)
            if codes[-1] == 0:
                break
        assert codes[-1] == 0
        assert set(codes[:-1]) == {75}
        assert content_of(run_of(folder, "digits")) == undisturbed

    def test_one_at_a_time(self, folder):
        line = ("train", "digits.yaml", *LONG, "--set", "train.epochs=100000")
        process = started(folder, *line)
        log = folder / "runs" / "digits" / "latest" / "metrics.jsonl"
        wait_until(lambda: len(lines_of(log)) > 5, process)
        other = ended(started(folder, *line))
        assert other.code == 75
        assert str(process.pid) in other.err
        process.terminate()
        assert ended(process).code == 75
