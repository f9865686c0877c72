"""`evaluate`: the numbers of training again, other data, gates, changed data."""

import csv
import json
import shutil

import pytest
from command_line import cli, run_of, write_digits, write_wine
from sklearn import metrics as oracle


def evaluated(folder, *arguments):
    result = cli(folder, "evaluate", *arguments, "--json")
    assert result.code == 0, result.err
    return result.document


def predictions_of(folder, name, part="test"):
    with (run_of(folder, name) / f"predictions-{part}.csv").open() as stream:
        return list(csv.DictReader(stream))


@pytest.fixture
def copied(workshop, tmp_path):
    """Return a copy of the workshop that a test may change."""
    shutil.copytree(workshop, tmp_path / "copy", symlinks=True)
    return tmp_path / "copy"


class TestOwnData:
    @pytest.mark.parametrize("name", ["wine", "diabetes"])
    def test_numbers_are_those_of_the_training_run(self, workshop, name):
        told = json.loads((run_of(workshop, name) / "run.json").read_text())["result"]
        for part in ("test", "validation"):
            found = evaluated(workshop, name, "--part", part)
            for label, entry in told["metrics"][part].items():
                assert found["metrics"][part][label] == entry
                assert found["baseline"][part][label] == told["baseline"][part][label]

    def test_every_usual_metric_of_a_classification_agrees_with_scikit_learn(self, workshop):
        found = evaluated(workshop, "wine")
        rows = predictions_of(workshop, "wine")
        truth = [row["target"] for row in rows]
        answers = [row["prediction"] for row in rows]
        shares = [[float(row[f"p({label})"]) for label in found["labels"]] for row in rows]
        # Six digits in the file do not add up to one exactly enough for scikit-learn.
        shares = [[share / sum(row) for share in row] for row in shares]
        values = {label: entry["value"] for label, entry in found["metrics"]["test"].items()}
        assert set(values) == {
            "accuracy", "precision", "recall", "f1", "roc_auc", "average_precision",
            "log_loss", "calibration_error", "f1_weighted",
        }  # fmt: skip
        report = oracle.classification_report(truth, answers, output_dict=True)
        assert values["accuracy"] == pytest.approx(report["accuracy"])
        assert values["f1"] == pytest.approx(report["macro avg"]["f1-score"])
        assert values["log_loss"] == pytest.approx(oracle.log_loss(truth, shares), rel=1e-4)
        auc = oracle.roc_auc_score(truth, shares, multi_class="ovr")
        assert values["roc_auc"] == pytest.approx(auc)
        for entry in found["classes"]:
            assert entry["recall"] == pytest.approx(report[entry["label"]]["recall"])
        confusion = oracle.confusion_matrix(truth, answers).tolist()
        assert found["confusion"] == confusion
        assert sum(entry["count"] for entry in found["calibration"]) == len(rows)

    def test_regression_has_residuals_in_the_data_s_units(self, workshop):
        found = evaluated(workshop, "diabetes")
        rows = predictions_of(workshop, "diabetes")
        truth = [float(row["target(progression)"]) for row in rows]
        answers = [float(row["prediction(progression)"]) for row in rows]
        rmse = oracle.root_mean_squared_error(truth, answers)
        assert found["metrics"]["test"]["rmse"]["value"] == pytest.approx(rmse, rel=1e-5)
        bias = sum(a - t for a, t in zip(answers, truth, strict=True)) / len(rows)
        assert found["residuals"][0]["mean"] == pytest.approx(bias, rel=1e-4)

    def test_only_the_metrics_that_are_asked_for(self, workshop):
        found = evaluated(workshop, "digits", "--metrics", "f1_micro, mcc")
        assert list(found["metrics"]["test"]) == ["f1_micro", "mcc"]

    def test_table(self, workshop):
        result = cli(workshop, "evaluate", "wine")
        assert result.code == 0
        assert result.out.splitlines()[0].split() == [
            "part", "metric", "value", "95", "%", "interval", "constant", "answer",
        ]  # fmt: skip
        assert "as barolo" in result.out


class TestOtherData:
    def test_new_file_is_measured_with_the_preprocessing_of_training(self, workshop):
        """On the file it was trained on, the test rows must come out as they did then."""
        found = evaluated(workshop, "wine", "--data", "wine.csv", "--metrics", "accuracy")
        assert found["data"]["rows"] == 178
        assert found["baseline"] == {"new": {}}
        own = [
            evaluated(workshop, "wine", "--part", part, "--metrics", "accuracy")
            for part in ("train", "validation", "test")
        ]
        right = [
            round(next(iter(o["metrics"].values()))["accuracy"]["value"] * o["data"]["rows"])
            for o in own
        ]
        value = found["metrics"]["new"]["accuracy"]["value"]
        assert value == pytest.approx(sum(right) / 178)

    def test_arrays_and_names_of_the_catalogue(self, workshop, tmp_path):
        write_digits(tmp_path, "all.npz", with_target=True)
        line = ("digits", "--metrics", "accuracy", "--data")
        by_file = evaluated(workshop, *line, tmp_path / "all.npz")
        by_name = evaluated(workshop, *line, "digits")
        assert by_file["metrics"] == by_name["metrics"]

    def test_a_file_without_the_target(self, workshop, tmp_path):
        result = cli(workshop, "evaluate", "wine", "--data", "new.csv")
        assert result.code == 65
        assert result.err.startswith("new.csv: no column 'grower'")
        write_digits(tmp_path, "x.npz", with_target=False)
        result = cli(workshop, "evaluate", "digits", "--data", tmp_path / "x.npz")
        assert result.code == 65
        assert result.err.endswith("x.npz: has no target to measure against\n")

    def test_a_class_that_training_never_saw(self, workshop):
        result = cli(workshop, "evaluate", "wine", "--data", "wine")
        assert result.code == 65
        assert "'class_0' is not a class of the training data" in result.err

    def test_data_of_another_sort(self, workshop, tmp_path):
        write_digits(tmp_path, "all.npz", with_target=True)
        result = cli(workshop, "evaluate", "wine", "--data", tmp_path / "all.npz")
        assert result.code == 65
        assert result.err.endswith("all.npz: is not what the model takes, a table\n")
        result = cli(workshop, "evaluate", "wine", "--data", tmp_path)
        assert result.code == 65
        assert result.err.endswith(
            "is a folder, and the model takes no images, texts or recordings\n"
        )

    def test_part_is_of_own_data(self, workshop):
        result = cli(workshop, "evaluate", "wine", "--data", "wine.csv", "--part", "test")
        assert result.code == 2


class TestGates:
    @pytest.mark.parametrize(
        ("name", "gate", "code"),
        [
            ("diabetes", "rmse=1000", 0),
            ("diabetes", "rmse=10", 3),
            ("diabetes", "rmse<=10", 3),
            ("diabetes", "rmse>=10", 0),
            ("wine", "accuracy=0.1", 0),
            ("wine", "accuracy=1.01", 3),
            ("wine", "mcc=0.1", 0),
        ],
    )
    def test_a_missed_bound_is_exit_code_3(self, workshop, name, gate, code):
        result = cli(workshop, "evaluate", name, "--gate", gate, "--json")
        assert result.code == code
        assert result.document["gates"][0]["passed"] is (code == 0)
        assert result.document["metrics"]["test"]

    def test_message(self, workshop):
        result = cli(workshop, "evaluate", "wine", "--gate", "accuracy=2", "--json")
        assert result.document["status"] == "error"
        value = result.document["metrics"]["test"]["accuracy"]["value"]
        told = f"gate: test/accuracy is {value:.6g}, not >= 2"
        assert result.document["messages"] == [told]
        assert told in result.err.splitlines()

    @pytest.mark.parametrize(
        ("gate", "fault"),
        [
            ("accuracy", "expected METRIC=BOUND"),
            ("accuracy=high", "'high' is not a number"),
            ("accuracy=nan", "'nan' is not a number"),
            ("acuracy=1", "did you mean 'accuracy'?"),
            ("rmse=1", "is for regression, not for classification"),
            ("f1_binary=1", "needs two classes, and the model has 3"),
        ],
    )
    def test_bad_gates_are_usage_errors(self, workshop, gate, fault):
        result = cli(workshop, "evaluate", "wine", "--gate", gate)
        assert result.code == 2
        assert fault in result.err


class TestWhatIsNotAsItWas:
    def test_changed_data(self, copied):
        path = copied / "wine.csv"
        path.write_text(path.read_text().replace("14.23", "14.24", 1))
        result = cli(copied, "evaluate", "wine")
        assert result.code == 65
        assert "wine.csv: is not the data that the model was trained on" in result.err
        assert cli(copied, "evaluate", "wine", "--accept-data-change").code == 0

    def test_data_that_is_gone(self, copied):
        (copied / "wine.csv").unlink()
        assert cli(copied, "evaluate", "wine").code == 66

    @pytest.mark.parametrize("file", ["model.safetensors", "model.json", "MANIFEST.json"])
    def test_a_flipped_bit(self, copied, file):
        path = run_of(copied, "wine") / "checkpoints" / "best" / file
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
        result = cli(copied, "evaluate", "wine")
        assert result.code == 65
        assert "damaged" in result.err
        assert result.err.count("\n") == 1

    def test_no_such_run(self, workshop):
        result = cli(workshop, "evaluate", "nothing")
        assert (result.code, result.out) == (66, "")
        assert result.err == "nothing: no such file or folder\n"

    def test_a_folder_of_the_name_of_a_run(self, copied):
        (copied / "wine").mkdir()
        assert cli(copied, "evaluate", "wine", "--metrics", "accuracy").code == 0

    def test_a_run_without_a_test_part(self, copied):
        shares = ("--set", "data.split.test=0", "--set", "data.split.validation=0")
        assert cli(copied, "train", "wine.yaml", *shares).code == 0
        found = evaluated(copied, "wine", "--metrics", "accuracy")
        assert list(found["metrics"]) == ["train"]
        result = cli(copied, "evaluate", "wine", "--part", "test")
        assert result.code == 2
        assert result.err == "--part test: the run has no such rows (one of: train)\n"

    def test_a_checkpoint_outside_its_run_needs_data(self, workshop, tmp_path):
        best = run_of(workshop, "wine") / "checkpoints" / "best"
        shutil.copytree(best, tmp_path / "model")
        result = cli(tmp_path, "evaluate", "model")
        assert result.code == 2
        assert "give --data FILE" in result.err
        write_wine(tmp_path)
        found = evaluated(tmp_path, "model", "--data", "wine.csv", "--metrics", "accuracy")
        assert found["run"] is None
        assert found["metrics"]["new"]["accuracy"]["value"] > 0.8

    def test_no_cuda(self, workshop):
        import torch

        if torch.cuda.is_available():
            pytest.skip("there is a CUDA device")
        result = cli(workshop, "evaluate", "wine", "--device", "cuda")
        assert result.code == 69
        assert result.err == "--device cuda: 0 CUDA devices are present; use --device cpu\n"
