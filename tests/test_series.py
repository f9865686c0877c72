"""Readings by unit and time: windows, targets, parts, and what is wrong told in one line."""

from datetime import datetime, timedelta

import numpy as np
import pytest
import torch
from command_line import cli

from modelscale.data.augmentations.base import AugmentationSpec
from modelscale.data.loading import load, prepare
from modelscale.data.section import DataSection
from modelscale.errors import DataError, SpecError
from modelscale.evaluation.events import events_found, threshold_at
from modelscale.evaluation.metrics.base import MetricSpec
from modelscale.losses.base import LossSpec
from modelscale.models.modules.series import Gates

BY_UNIT = {"kind": "group", "test": 0.3, "validation": 0.3}
ROWS = [(u, t, 10 * u + t, (t * 7) % 5) for u in (1, 2, 3, 4) for t in range(1, 6 + u)]


def write(path, rows, head="unit;time;a;b"):
    lines = [";".join(map(str, row)) for row in rows]
    path.write_text("\n".join([head, *lines]) + "\n")
    return path


def section(path, split=BY_UNIT, columns=None, **source):
    source = {"kind": "series", "path": path, "delimiter": ";", "unit": "unit", **source}
    source.setdefault("time", "time")
    document = {"source": source, "split": split, "columns": columns or {}}
    return DataSection.model_validate(document)


def prepared(found, how):
    return prepare(found, 0, "onehot", how)


@pytest.fixture
def table(tmp_path):
    return write(tmp_path / "readings.csv", ROWS)


class TestWindows:
    def test_windows_hold_the_rows_of_one_unit_in_order_of_time(self, tmp_path):
        shuffled = [ROWS[i] for i in np.random.default_rng(0).permutation(len(ROWS))]
        path = write(tmp_path / "x.csv", shuffled)
        how = section(path, length=3, stride=2, remaining_life={"cap": 4})
        found = load(how)
        x = prepared(found, how.model_copy(update={"standardize": False})).x
        values = x.take(torch.arange(len(x)))
        assert values.shape[1:] == (3, 3)
        for k in range(len(x)):
            a = values[k, 0]
            unit = int(found.raw.series.units[found.raw.series.unit_N[k]])
            times = a - 10 * unit
            assert torch.equal(times.diff(), torch.ones(2))
            assert found.raw.target[k] == min(4, 5 + unit - times[-1])
        last = {u: 5 + u for u in (1, 2, 3, 4)}
        ends = {10 * u + n for u, n in last.items()}
        assert ends <= set(values[:, 0, -1].tolist())  # the newest readings are seen

    def test_a_step_is_kept_once_however_many_windows_see_it(self, table):
        how = section(table, length=5, remaining_life={})
        x = prepared(load(how), how).x
        assert len(x.x_LC) == len(ROWS)

    def test_disk_gives_the_same_numbers_as_memory(self, table, tmp_path, monkeypatch):
        monkeypatch.setenv("MODELSCALE_CACHE", str(tmp_path / "cache"))
        how = section(table, length=4, remaining_life={})
        disk = how.model_copy(update={"storage": "disk"})
        rows = torch.tensor([3, 0, 7])
        one, two = (prepared(load(h), h).x.take(rows) for h in (how, disk))
        assert torch.equal(one, two)

    def test_gap_cuts_and_short_pieces_are_padded_or_left_out(self, tmp_path):
        times = [*range(4), *range(9, 11)]
        path = write(tmp_path / "x.csv", [(1, t, t, 0) for t in times])
        how = section(path, split={"kind": "time"}, length=3, gap=2)
        windows = how.source.read().series
        assert windows.start_N.tolist() == [0, 1, 4]
        assert windows.length_N.tolist() == [3, 3, 2]
        how = section(path, length=3, gap=2, short="skip")
        assert how.source.read().series.start_N.tolist() == [0, 1]

    def test_missing_cells_are_flagged_or_filled_from_before(self, tmp_path):
        rows = [(1, 0, 1, 1), (1, 1, "", 2), (1, 2, 3, 3), (2, 0, "", 1), (2, 1, 5, 1)]
        path = write(tmp_path / "x.csv", rows)
        filled = section(path, fill="previous").source.read().series
        np.testing.assert_array_equal(filled.columns["a"], [1, 1, 3, np.nan, 5])
        how = section(path, split={"kind": "group", "test": 0, "validation": 0}, target="b")
        x = prepared(load(how), how).x.take(torch.arange(2))
        assert x.shape == (2, 3, 3)  # the value, whether it was missing, whether it is a step
        assert x[0, 1].tolist() == [0, 1, 0]
        assert x[1, 2].tolist() == [1, 1, 0]

    def test_next_values_are_those_behind_the_window(self, table):
        raw = section(table, length=2, next=["a"], horizon=2).source.read()
        windows = raw.series
        a = windows.columns["a"]
        last = windows.ends()
        assert raw.target_names == ("a+1", "a+2")
        np.testing.assert_array_equal(raw.target, np.stack([a[last + 1], a[last + 2]], 1))
        unit = np.repeat([0, 1, 2, 3], [6, 7, 8, 9])
        assert (unit[last + 2] == windows.unit_N).all()

    def test_a_fault_anywhere_in_the_window_can_count(self, tmp_path):
        path = write(tmp_path / "x.csv", [(1, t, t, int(t == 2)) for t in range(6)])
        any_ = section(path, length=3, target="b", target_of="any").source.read()
        last = section(path, length=3, target="b").source.read()
        assert any_.target.tolist() == [1, 1, 1, 0]
        assert last.target.tolist() == [1, 0, 0, 0]


class TestParts:
    def test_windows_of_one_unit_may_not_be_in_two_parts(self, table):
        with pytest.raises(SpecError, match=r"random would put windows of one unit.*group"):
            load(section(table, split={"kind": "random"}, length=3, remaining_life={}))
        found = load(section(table, length=3, remaining_life={}))
        unit, fold = found.raw.series.unit_N, found.folds[0]
        parts = [set(unit[rows]) for rows in (fold.train, fold.validation, fold.test)]
        assert sum(map(len, parts)) == len(set.union(*parts)) == 4

    def test_parts_by_time_share_no_step(self, tmp_path):
        path = write(tmp_path / "x.csv", [(1, t, t % 3, t % 5) for t in range(100)])
        split = {"kind": "time", "test": 0.2, "validation": 0.2}
        found = load(section(path, split=split, length=7, next=["a"], horizon=2), "regression")
        windows, fold = found.raw.series, found.folds[0]
        reach = windows.ends() + 2
        assert reach[fold.train].max() < windows.start_N[fold.validation].min()
        assert reach[fold.validation].max() < windows.start_N[fold.test].min()

    def test_a_second_table_is_the_test_part(self, table, tmp_path):
        rows = [(9, t, t, 1) for t in range(4)] + [(8, t, t, 2) for t in range(5)]
        write(tmp_path / "test.csv", rows)
        (tmp_path / "lives.txt").write_text("7 \n2 \n")
        test = {
            "path": tmp_path / "test.csv",
            "windows": "last",
            "remaining": tmp_path / "lives.txt",
        }
        split = {"kind": "column", "validation": 0.3}
        found = load(section(table, split=split, length=3, remaining_life={}, test=test))
        fold = found.folds[0]
        assert found.raw.target[fold.test].tolist() == [7, 2]
        assert not set(found.raw.groups[fold.train]) & set(found.raw.groups[fold.validation])


class TestFaults:
    @pytest.mark.parametrize(
        ("rows", "message"),
        [
            ([(1, 1, 2, 3), (1, 1, 2, 3)], r"row 3, column 'time': unit '1' has this time in"),
            ([(1, 1, 2, 3), (1, 2, "x", 3), (1, 3, 4, 5)], r"row 3, column 'a': 'x' is not a"),
            ([(1, 1, "x", 3), (1, 2, "y", 3)], r"row 2, column 'a': 'x' is not a number; ser"),
            ([(1, "", 2, 3)], r"row 2, column 'time': is missing"),
            ([(1, 1, 1e39, 3)], r"row 2, column 'a': 1e\+39 is beyond single precision"),
        ],
    )
    def test_file_row_and_column_are_named(self, tmp_path, rows, message):
        path = write(tmp_path / "x.csv", rows)
        with pytest.raises(DataError, match=message):
            section(path).source.read()

    def test_text_file_rows_must_be_of_one_width(self, tmp_path):
        path = tmp_path / "x.txt"
        path.write_text("1 1 2\n1 2\n")
        how = section(path, unit="column_1", time="column_2")
        with pytest.raises(DataError, match="row 2: has 2 cells, row 1 has 3"):
            how.source.read()

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("@classLabel true a b\n@data\n1,2:c\n", "row 3: 'c' is not a class"),
            ("@classLabel true a b\n@data\n1,x:a\n", "row 3, channel 1: 'x' is not a number"),
            ("@classLabel true a b\n@data\n1,2:3:a\n", "channel 2: has 1 steps, channel 1 has"),
            ("@classLabel true a b\n1,2:a\n", "row 2: '1,2:a' stands before @data"),
        ],
    )
    def test_ts_files(self, tmp_path, text, message):
        path = tmp_path / "x.ts"
        path.write_text(text)
        how = DataSection.model_validate({"source": {"kind": "ts_file", "path": path}})
        with pytest.raises(DataError, match=message):
            how.source.read()


class TestNumbers:
    @pytest.mark.parametrize("cell", ["gru", "lstm"])
    def test_gates_equal_torch_and_padding_changes_nothing(self, cell):
        torch.manual_seed(0)
        ours = Gates(3, 5, cell, backwards=False)
        theirs = (torch.nn.GRU if cell == "gru" else torch.nn.LSTM)(3, 5, batch_first=True)
        with torch.no_grad():
            theirs.weight_ih_l0.copy_(ours.read.weight)
            theirs.bias_ih_l0.copy_(ours.read.bias)
            theirs.weight_hh_l0.copy_(ours.recall.weight)
            theirs.bias_hh_l0.zero_()
        x = torch.randn(2, 6, 3)
        states = ours(x, torch.ones(2, 6, 1))
        torch.testing.assert_close(states, theirs(x)[0])
        there = (torch.arange(6) < 4).float()[None, :, None].expand(2, 6, 1)
        torch.testing.assert_close(ours(x, there)[:, -1], states[:, 3])

    def test_cmapss_score_is_the_published_formula(self):
        score = MetricSpec.model_validate("cmapss_score")
        d = torch.tensor([[10.0], [-13.0], [0.0]])
        found = score.compute(d + 50, torch.full((3, 1), 50.0)) * 3
        assert found.item() == pytest.approx(2 * (np.e - 1))

    def test_quantile_loss_is_least_at_the_quantile(self):
        y = torch.randn(999, 1, generator=torch.Generator().manual_seed(0))
        loss = LossSpec.model_validate({"kind": "quantile", "level": 0.9})
        tried = torch.linspace(-2, 2, 401)
        losses = [loss.mean(torch.full_like(y, v), y).item() for v in tried.tolist()]
        assert tried[int(np.argmin(losses))] == pytest.approx(y.quantile(0.9).item(), abs=0.02)

    def test_what_is_made_again_worst_teaches_nothing(self):
        loss = LossSpec.model_validate({"kind": "reconstruction", "trim": 0.25})
        assert loss.over(torch.tensor([[1.0, 9.0, 2.0, 3.0]])).tolist() == [2.0]

    def test_events_are_runs_within_a_unit(self):
        label = torch.tensor([0, 1, 1, 0, 1, 1, 0, 0]).bool()
        alarm = torch.tensor([0, 0, 1, 0, 0, 0, 1, 1]).bool()
        unit = torch.tensor([0, 0, 0, 0, 0, 1, 1, 1])
        found = events_found(alarm, label, unit)
        assert found == (3, 1, 2, 1)
        assert found.f1 == pytest.approx(2 * (1 / 3) * 0.5 / (1 / 3 + 0.5))

    def test_threshold_lets_at_most_the_rate_pass(self):
        score = torch.rand(1000, generator=torch.Generator().manual_seed(0))
        for rate in (0.0, 0.01, 0.05):
            assert int((score > threshold_at(score, rate)).sum()) == round(1000 * rate)

    def test_warped_series_keep_their_ends_and_padding(self):
        warp = AugmentationSpec.model_validate({"kind": "time_warp", "strength": 0.2})
        x = torch.zeros(1, 2, 10)
        x[0, 0, :7], x[0, 1, :7] = torch.linspace(1, 2, 7), 1.0
        out = warp.apply(x, torch.tensor([[0.9, 0.2]]))
        assert out[0, 0, [0, 6]].tolist() == pytest.approx([1, 2])
        assert (out[0, 0, :7].diff() > 0).all()
        assert out[0, :, 7:].abs().max() == 0


ENGINES = """
version: 1
data:
  source:
    kind: series
    path: train.txt
    unit: column_1
    time: column_2
    remaining_life: {cap: 20}
    length: 8
    test: {path: test.txt, remaining: lives.txt, windows: last}
  split: {kind: column, validation: 0.2}
model: {kind: temporal_cnn, width: 8, blocks: 2, pooling: last}
optimizer: {kind: adam, lr: 0.01}
train: {epochs: 6, batch_size: 32}
metrics: [rmse, cmapss_score]
"""
VALVES = """
version: 1
task: anomaly
data:
  source:
    kind: series
    path: valves
    time: datetime
    delimiter: ";"
    target: anomaly
    length: 8
    gap: 5
  columns: {changepoint: ignore}
  split: {kind: group, test: 0.25, validation: 0.25}
model: {kind: series_autoencoder, channels: [8], code: 1}
train: {epochs: 4, batch_size: 32}
evaluate: {alarms: {false_positive_rate: 0.05}}
"""


@pytest.fixture(scope="module")
def workshop(tmp_path_factory):
    """Return a folder with engines and valves as they are published, and a run of each."""
    folder = tmp_path_factory.mktemp("series")
    draw = np.random.default_rng(0)
    left = []
    for name, units, cut in (("train", 12, False), ("test", 4, True)):
        lines = []
        for unit in range(1, units + 1):
            life = int(draw.integers(20, 40))
            stop = life - int(draw.integers(1, 10)) if cut else life
            left += [life - stop] if cut else []
            for t in range(1, stop + 1):
                wear = np.exp((t - life) / 8)
                sensors = wear * np.array([1, -1, 0.5]) + draw.normal(0, 0.05, 3)
                lines.append(f"{unit} {t} " + " ".join(f"{v:.4f}" for v in sensors) + "  ")
        (folder / f"{name}.txt").write_text("\n".join(lines) + "\n")
    (folder / "lives.txt").write_text("".join(f"{n} \n" for n in left))
    (folder / "valves").mkdir()
    for k in range(4):
        moment = datetime(2020, 3, 9, 10, k)
        lines = ["datetime;Current;Pressure;anomaly;changepoint"]
        for i in range(120):
            moment += timedelta(seconds=1)
            fault = float(80 <= i < 100)
            values = draw.normal(0, 0.1, 2) + np.sin([i / 3, i / 3 + 1]) + 2 * fault
            cells = ";".join(f"{v:.5f}" for v in values)
            lines.append(f"{moment:%Y-%m-%d %H:%M:%S};{cells};{fault};0.0")
        (folder / "valves" / f"{k}.csv").write_text("\n".join(lines) + "\n")
    for name, spec in (("engines", ENGINES), ("valves", VALVES)):
        (folder / f"{name}.yaml").write_text(spec)
        result = cli(folder, "train", f"{name}.yaml", "-q", "--threads", "1")
        assert result.code == 0, result.err
    return folder


def test_engines_are_learnt_and_new_ones_predicted(workshop):
    result = cli(workshop, "evaluate", "engines", "--json")
    assert result.code == 0, result.err
    found = result.document["metrics"]["test"]
    assert found["rmse"]["value"] < result.document["baseline"]["test"]["rmse"]
    assert found["cmapss_score"]["value"] > 0
    result = cli(workshop, "predict", "engines", "--data", "test.txt")
    assert result.code == 0, result.err
    assert result.out.startswith("row,unit,time,prediction(remaining_life)\n")


def test_faults_of_valves_are_found_without_labels(workshop):
    result = cli(workshop, "evaluate", "valves", "--json")
    assert result.code == 0, result.err
    found = result.document
    assert found["metrics"]["test"]["average_precision"]["value"] > 0.6
    assert found["alarms"]["events"]["events"] == 1
    assert found["alarms"]["events"]["found"] == 1
    assert "alarms" in cli(workshop, "evaluate", "valves").out


def test_detector_learns_from_readings_without_labels(workshop):
    changes = ("data.source.target=null", "evaluate.alarms=null", "metrics=[average_precision]")
    more = [word for change in changes for word in ("--set", change)]
    ignored = "data.columns={changepoint: ignore, anomaly: ignore}"
    words = ("valves.yaml", *more, "--set", ignored, "--name", "bare", "--json", "-q")
    result = cli(workshop, "train", *words, "--threads", "1")
    assert result.code == 0, result.err
    result = cli(workshop, "predict", "bare", "--data", "valves/0.csv")
    assert len(result.out.splitlines()) == 1 + 120 - 8 + 1


def test_anomaly_and_its_models_go_together(workshop):
    result = cli(workshop, "train", "valves.yaml", "--set", "model={kind: temporal_cnn}")
    assert result.code == 78
    assert "does not make its input again; these do: autoencoder, series_autoenc" in result.err
    result = cli(workshop, "train", "valves.yaml", "--set", "task=classification")
    assert result.code == 78


@pytest.mark.slow
def test_series_models_are_exported_and_reported(workshop):
    result = cli(
        workshop, "export", "valves", "--to", "torch-export", "--json", "--seconds", 0.1
    )
    assert result.code == 0, result.err
    assert result.document["parity"]["max_abs_diff"] < 1e-4
    assert cli(workshop, "report", "engines", "valves").code == 0
