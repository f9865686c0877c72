"""No metric line is lost or doubled, wherever a process died."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelscale.errors import DataError, StorageError
from modelscale.runs.metric_log import MetricLog, TimingLog, metric_line, read

RECORDS = [{"step": step, "validation/verlust ü": step / 3} for step in range(1, 6)]


def _write(path: Path, records: list[dict[str, float]]) -> None:
    log = MetricLog(path)
    for record in records:
        log.append(record)
    log.close()


def test_lines_read_back_in_order(tmp_path: Path) -> None:
    _write(tmp_path / "metrics.jsonl", RECORDS)
    assert read(tmp_path / "metrics.jsonl") == RECORDS
    assert read(tmp_path / "nothing.jsonl") == []


def test_log_cut_at_every_byte_is_repaired_and_grows_to_the_same_bytes(tmp_path: Path) -> None:
    path, torn = tmp_path / "metrics.jsonl", tmp_path / "metrics.jsonl.torn"
    records = [{"ü": step} for step in (1, 2, 3)]
    _write(path, records)
    whole = path.read_bytes()
    for size in range(len(whole) + 1):
        path.write_bytes(whole[:size])
        torn.unlink(missing_ok=True)
        complete = whole[:size].count(b"\n")
        assert read(path) == records[:complete]
        log = MetricLog(path)
        assert log.lines == complete
        tail = whole[:size].rpartition(b"\n")[2]
        assert (torn.read_bytes() if tail else b"") == (tail + b"\n" if tail else b"")
        log.rewind(min(1, complete))
        for record in records[min(1, complete) :]:
            log.append(record)
        log.close()
        assert path.read_bytes() == whole


@pytest.mark.parametrize("tail", [bytes(50), b'{"step": 6, "va', b'{"a": 1}}\n', b"\xff\n"])
def test_garbage_at_the_end_is_cut_off_and_kept(tmp_path: Path, tail: bytes) -> None:
    path = tmp_path / "metrics.jsonl"
    _write(path, RECORDS)
    whole = path.read_bytes()
    path.write_bytes(whole + tail)
    assert read(path) == RECORDS
    assert MetricLog(path).lines == 5
    assert path.read_bytes() == whole
    assert tail.rstrip(b"\n") in (tmp_path / "metrics.jsonl.torn").read_bytes()


@pytest.mark.parametrize("garbage", [b"\0" * 20, b"[1]", b"NaN", b'{"a": 1', b""])
def test_garbage_in_the_middle_is_told_with_its_line(tmp_path: Path, garbage: bytes) -> None:
    path = tmp_path / "metrics.jsonl"
    _write(path, RECORDS)
    lines = path.read_bytes().splitlines()
    lines[2] = garbage
    path.write_bytes(b"\n".join(lines) + b"\n")
    with pytest.raises(DataError, match=r"metrics\.jsonl:3: damaged"):
        read(path)
    log = MetricLog(path)
    with pytest.raises(DataError, match=r"metrics\.jsonl:3: damaged"):
        log.append({"step": 6})
    with pytest.raises(DataError, match=r"metrics\.jsonl:3: damaged"):
        log.rewind(4)
    log.close()


def test_garbage_after_the_checkpoint_is_repeated_not_fatal(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    _write(path, RECORDS)
    whole = path.read_bytes()
    damaged = whole.splitlines()
    damaged[3] = bytes(len(damaged[3]))
    path.write_bytes(b"\n".join(damaged) + b"\n")
    log = MetricLog(path)
    log.rewind(2)
    for record in RECORDS[2:]:
        log.append(record)
    log.close()
    assert path.read_bytes() == whole


def test_equal_lines_after_rewind_are_not_written_again(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    _write(path, RECORDS)
    before = path.stat().st_mtime_ns
    log = MetricLog(path)
    log.rewind(2)
    assert log.lines == 2
    for record in RECORDS[2:]:
        log.append(record)
    assert log.lines == 5
    assert path.stat().st_mtime_ns == before
    log.append({"step": 6})
    assert read(path) == [*RECORDS, {"step": 6}]


def test_different_line_replaces_the_rest_which_is_kept_aside(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    _write(path, RECORDS)
    log = MetricLog(path)
    log.rewind(2)
    log.append({"step": 3, "validation/verlust ü": 0.5})
    assert [record["step"] for record in read(path)] == [1, 2, 3]
    torn = (tmp_path / "metrics.jsonl.torn").read_bytes()
    assert [json.loads(line) for line in torn.splitlines() if line] == RECORDS[2:]


def test_shorter_inexact_resume_ends_the_log_where_it_ended(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    _write(path, RECORDS)
    log = MetricLog(path)
    log.rewind(3)
    log.drop_rest()
    assert read(path) == RECORDS[:3]


def test_fewer_lines_than_the_checkpoint_counted_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    _write(path, RECORDS[:2])
    with pytest.raises(DataError, match="2 lines, but the checkpoint was written after line 4"):
        MetricLog(path).rewind(4)


def test_nonfinite_numbers_are_null_and_named() -> None:
    record = {"a": math.nan, "b": math.inf, "c": [1.0, -math.inf], "d": {"e": math.nan}, "f": 1}
    assert json.loads(metric_line(record)) == {
        "a": None,
        "b": None,
        "c": [1.0, None],
        "d": {"e": None},
        "f": 1,
        "nonfinite": {"a": "nan", "b": "inf", "c.1": "-inf", "d.e": "nan"},
    }


@settings(deadline=None)
@given(st.dictionaries(st.text(), st.floats() | st.integers() | st.text() | st.none()))
def test_any_record_is_one_line_of_strict_json(record: dict[str, object]) -> None:
    def refuse(word: str) -> None:
        raise AssertionError(word)

    line = metric_line(record)
    assert b"\n" not in line
    read_back = json.loads(line, parse_constant=refuse)
    assert read_back.keys() - {"nonfinite"} == record.keys() - {"nonfinite"}


def test_full_disk_ends_the_log_with_a_whole_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "metrics.jsonl"
    log = MetricLog(path)
    log.append({"step": 1})
    real, calls = os.write, []

    def full(fd: int, data: bytes) -> int:
        calls.append(fd)
        if len(calls) > 1:
            raise OSError(28, "No space left on device")
        return real(fd, data[:3])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(StorageError, match="disk full"):
            log.append({"step": 2})
    assert path.read_bytes() == b'{"step": 1}\n'
    with pytest.raises(StorageError, match="closed"):
        log.append({"step": 3})


def test_timings_keep_the_lines_of_all_attempts(tmp_path: Path) -> None:
    for _ in range(2):
        log = TimingLog(tmp_path / "timings.jsonl")
        log.append({"step": 1, "seconds": 0.5})
        log.close()
    assert len(read(tmp_path / "timings.jsonl")) == 2


def test_line_on_disk_survives_without_close_or_sync(tmp_path: Path) -> None:
    log = MetricLog(tmp_path / "metrics.jsonl")
    log.append({"step": 1})
    assert read(tmp_path / "metrics.jsonl") == [{"step": 1}]
    log.close()
