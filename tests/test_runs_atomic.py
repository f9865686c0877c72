"""Files that exist whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from fault_harness import in_child
from hypothesis import given, settings
from hypothesis import strategies as st

from modelscale.commands import runs as commands
from modelscale.errors import CannotCreate, StorageError
from modelscale.runs import atomic
from modelscale.runs.folder import RunFolder


def test_write_file_replaces_the_whole_content(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    atomic.write_file(path, b"long content")
    atomic.write_file(path, b"short")
    assert path.read_bytes() == b"short"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_failed_write_keeps_the_old_file_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.txt"
    atomic.write_file(path, b"old")

    def full(fd: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(StorageError, match=r"^disk full: need 5 B, free .* at .*a\.txt$"):
            atomic.write_file(path, b"newer")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_leftover_of_a_killed_write_is_replaced_and_a_planted_link_not_followed(
    tmp_path: Path,
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / ".a.txt.part").symlink_to(victim)
    atomic.write_file(tmp_path / "a.txt", b"x")
    assert victim.read_text() == "precious"
    assert (tmp_path / "a.txt").read_bytes() == b"x"


@pytest.mark.parametrize("place", ["missing/a.txt", "file/a.txt"])
def test_write_into_what_is_no_folder_cannot_create(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotCreate, match="cannot create"):
        atomic.write_file(tmp_path / place, b"x")


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (errno.ENOSPC, StorageError),
        (errno.EDQUOT, StorageError),
        (errno.EIO, StorageError),
        (errno.EROFS, CannotCreate),
        (errno.EACCES, CannotCreate),
        (errno.ENOTDIR, CannotCreate),
    ],
)
def test_system_errors_have_the_documented_exit_code(
    tmp_path: Path, code: int, kind: type[Exception]
) -> None:
    error = atomic.storage_error(OSError(code, os.strerror(code)), tmp_path / "x", 10)
    assert type(error) is kind
    assert str(tmp_path / "x") in str(error)


def test_file_size_limit_reads_as_a_full_disk(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()

    def body() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        atomic.commit_folder(folder, "step-000001", {"state.safetensors": bytes(10_000)})

    code, output = in_child(body, tmp_path)
    assert code == 74
    assert "disk full" in output
    assert list(folder.iterdir()) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 kB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("mounting a small disk needs root")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_really_full_disk_keeps_what_was_there_and_leaves_nothing(small_disk: Path) -> None:
    atomic.commit_folder(small_disk, "first", {"a": b"x" * 1000})
    with pytest.raises(StorageError, match=r"disk full: need 100\.\d kB, free \d+\.\d kB"):
        atomic.commit_folder(small_disk, "second", {"a": b"x" * 100_000})
    assert [p.name for p in small_disk.iterdir()] == ["first"]
    atomic.commit_folder(small_disk, "third", {"a": b"x" * 1000})


def test_runs_can_be_removed_from_a_full_disk(small_disk: Path) -> None:
    with RunFolder.open_or_create(small_disk, "x", "abcdef01", b"", "", []) as run:
        with pytest.raises(StorageError, match="disk full"):
            run.checkpoints().save(1, {"state.safetensors": bytes(100_000)})
        with (small_disk / "fill").open("wb") as fill, suppress(OSError):
            fill.write(bytes(100_000))
        assert os.statvfs(small_disk).f_bavail == 0
    commands.rm([run.path], small_disk)
    assert [path.name for path in small_disk.iterdir()] == ["fill"]


def test_replace_link_is_relative_and_refuses_to_replace_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    atomic.replace_link(tmp_path / "latest", "a")
    atomic.replace_link(tmp_path / "latest", "b")
    assert str((tmp_path / "latest").readlink()) == "b"
    with pytest.raises(CannotCreate, match="not a link"):
        atomic.replace_link(tmp_path / "a", "b")


def test_remove_tree_never_follows_links(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("x")
    inside = tmp_path / "inside"
    (inside / "deep").mkdir(parents=True)
    (inside / "deep" / "link").symlink_to(outside)
    atomic.remove_tree(inside)
    assert not inside.exists()
    assert (outside / "precious").exists()


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@settings(deadline=None)
@given(_VALUES)
def test_json_is_strict_whatever_is_written(value: object) -> None:
    def refuse(word: str) -> None:
        raise AssertionError(word)

    read = json.loads(atomic.json_bytes(value), parse_constant=refuse)
    assert read == json.loads(json.dumps(atomic.without_nonfinite(value)))
