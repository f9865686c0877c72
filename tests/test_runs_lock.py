"""One process at a time in a run folder, and no lock that outlives its process."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import signal
import socket
import time
from pathlib import Path

import pytest

from modelscale.errors import InputMissing, TryAgain, Unavailable
from modelscale.runs.folder import RunFolder
from modelscale.runs.lock import LOCK_FILE, RunLock, lock_holder


def _holding_child(folder: Path, *, with_grandchild: bool = False) -> tuple[int, int]:
    """Return a child that holds the lock of `folder`, and its own child or 0."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        lock = RunLock(folder)
        grandchild = os.fork() if with_grandchild else 0
        if grandchild or not with_grandchild:
            os.write(writer, str(grandchild).encode())
        time.sleep(60)
        lock.release()
        os._exit(0)
    grandchild = int(os.read(reader, 20))
    os.close(reader)
    os.close(writer)
    return pid, grandchild


def _kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def test_second_process_is_told_who_works_there_within_a_second(tmp_path: Path) -> None:
    pid, _ = _holding_child(tmp_path)
    began_s = time.monotonic()
    with pytest.raises(TryAgain, match=f"busy: process {pid} on {socket.gethostname()}") as got:
        RunLock(tmp_path)
    assert time.monotonic() - began_s < 1
    assert got.value.exit_code == 75
    holder = lock_holder(tmp_path)
    assert holder is not None
    assert holder.pid == pid
    _kill(pid)


@pytest.mark.parametrize("relative", [False, True])
def test_lock_of_a_killed_process_is_free_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, relative: bool
) -> None:
    (tmp_path / "runs" / "x").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    folder = Path("runs/x") if relative else tmp_path / "runs" / "x"
    pid, _ = _holding_child(folder)
    _kill(pid)
    began_s = time.monotonic()
    RunLock(folder).release()
    assert time.monotonic() - began_s < 0.2
    assert lock_holder(folder) is None


def test_worker_of_a_killed_process_does_not_keep_its_lock(tmp_path: Path) -> None:
    pid, grandchild = _holding_child(tmp_path, with_grandchild=True)
    _kill(pid)
    RunLock(tmp_path).release()
    os.kill(grandchild, signal.SIGKILL)


def test_looking_at_a_lock_does_not_disturb_who_wants_it(tmp_path: Path) -> None:
    with (tmp_path / LOCK_FILE).open("w") as looked_at:
        fcntl.flock(looked_at, fcntl.LOCK_SH)
        pid = os.fork()
        if pid == 0:
            time.sleep(0.1)
            os._exit(0)
    RunLock(tmp_path).release()
    os.waitpid(pid, 0)


def test_file_system_without_locks_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(fd: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(Unavailable, match=r"cannot lock files .* --runs") as error:
        RunLock(tmp_path)
    assert error.value.exit_code == 69


def test_lock_of_a_folder_that_is_gone_is_input_missing(tmp_path: Path) -> None:
    with pytest.raises(InputMissing, match="no such folder"):
        RunLock(tmp_path / "gone")


@pytest.mark.parametrize("text", ["", "garbage", "[]", '{"pid": "x"}'])
def test_unreadable_text_in_the_lock_still_means_busy(tmp_path: Path, text: str) -> None:
    with (tmp_path / LOCK_FILE).open("w") as held:
        held.write(text)
        held.flush()
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(TryAgain, match="busy: another process works on it"):
            RunLock(tmp_path, wait_s=0)


def _start(root: Path, hold: int) -> int:
    """Return the exit code of a process that starts the same run as nineteen others."""
    try:
        with RunFolder.open_or_create(root, "x", "abcdef01", b"", "", ["train"]):
            os.read(hold, 1)
            return 0
    except TryAgain as error:
        return error.exit_code if re.search(r"process \d+ on ", str(error)) else 1


def test_twenty_simultaneous_starts_have_one_winner(tmp_path: Path) -> None:
    hold, release = os.pipe()
    began_s = time.monotonic()
    children = set()
    for _ in range(20):
        pid = os.fork()
        if pid == 0:
            os.close(release)
            os._exit(_start(tmp_path / "runs", hold))
        children.add(pid)
    codes = []
    while len(children) > 1:
        pid, status = os.wait()
        children.discard(pid)
        codes.append(os.waitstatus_to_exitcode(status))
    took_s = time.monotonic() - began_s
    os.close(release)
    _, status = os.waitpid(children.pop(), 0)
    os.close(hold)
    assert codes == [75] * 19
    assert os.waitstatus_to_exitcode(status) == 0
    assert took_s < 5
    assert len(list((tmp_path / "runs" / "x").glob("2*"))) == 1
