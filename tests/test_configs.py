"""Every spec of `configs/` is valid, says what it reaches, and reaches it."""

import operator
import os
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from command_line import cli

from modelscale.commands.experiment import Experiment
from modelscale.runs.checkpoints import read_checkpoint
from modelscale.spec.loader import load
from modelscale.training.artifact import load_model

ROOT = Path(__file__).parent.parent
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))
COMMAND = re.compile(r"^#     (modelscale (train|tune|ensemble|scale) configs/(\S+))$", re.M)
THEN = re.compile(r"^#     (modelscale prune \S+)$", re.M)
SCORE = re.compile(r"^# expects: (\w+)/(\w+) (>=|<=) ([0-9.]+)$", re.M)
LINE = re.compile(r"^# expects: least-squares within ([0-9.e-]+)$", re.M)
TIME = re.compile(r"^# takes: about (\d+) (seconds|minutes?) on two CPU cores", re.M)
EVERY = os.environ.get("MODELSCALE_EVERY_CONFIG") == "1"
AS_GOOD = {">=": operator.ge, "<=": operator.le}


def by_name(path):
    return path.stem


class TestHeaders:
    def test_all_are_valid(self):
        result = cli(ROOT, "validate", *[f"configs/{path.name}" for path in CONFIGS])
        assert (result.code, result.err) == (0, "")
        assert result.out.splitlines() == [f"ok configs/{path.name}" for path in CONFIGS]

    @pytest.mark.parametrize("path", CONFIGS, ids=by_name)
    def test_command_time_and_score_are_stated(self, path):
        text = path.read_text()
        assert COMMAND.search(text)[3] == path.name
        assert TIME.search(text)
        assert bool(SCORE.search(text)) != bool(LINE.search(text))
        assert text.count("# expects:") == 1


@pytest.mark.slow
class TestScores:
    @pytest.mark.parametrize("path", CONFIGS, ids=by_name)
    def test_what_the_header_expects_is_met(self, path, tmp_path):
        text = path.read_text()
        number, unit = TIME.search(text).groups()
        if unit != "seconds" and int(number) > 1 and not EVERY:
            pytest.skip(f"takes {number} minutes: set MODELSCALE_EVERY_CONFIG=1")
        words = shlex.split(COMMAND.search(text)[1])[1:]
        result = cli(ROOT, *words, "--json", "-q", "--runs", tmp_path)
        if result.code == 66:
            pytest.skip(result.err.strip())
        assert result.code == 0, result.err
        if then := THEN.search(text):
            words = shlex.split(then[1])[1:]
            result = cli(ROOT, *words, "--json", "-q", "--runs", tmp_path)
            assert result.code == 0, result.err
        document = result.document
        assert document["status"] == "done"
        if line := LINE.search(text):
            found, wanted = line_of(tmp_path / document["run"]), least_squares(path)
            assert found == pytest.approx(wanted, abs=float(line[1]))
            return
        part, metric, sign, bar = SCORE.search(text).groups()
        value = document["metrics"][part][metric]["value"]
        assert AS_GOOD[sign](value, float(bar)), f"{part}/{metric} is {value}"


def line_of(run):
    """Return intercept and slope of a trained line, in the units of its data."""
    model = load_model(dict(read_checkpoint(run / "checkpoints" / "best").files))
    (column,), (target,) = model.preprocessing.numeric, model.preprocessing.targets
    weight, bias = (p.item() for p in model.network.parameters())
    slope = weight / column.scale * target.scale
    return [bias * target.scale + target.mean - slope * column.mean, slope]


def least_squares(path):
    """Return intercept and slope that NumPy finds for the same points."""
    raw = load(path, Experiment).spec.data.source.read()
    x_N2 = np.stack([np.ones(len(raw)), raw.columns["x"]], axis=1)
    return np.linalg.lstsq(x_N2, raw.target, rcond=None)[0].tolist()
