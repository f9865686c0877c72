"""Which commit the working directory is at, read from git's own files (no git needed)."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_REF = re.compile(r"refs/[A-Za-z0-9._/@+-]+")


def git_commit(folder: Path) -> str | None:
    """Return the checked-out commit of the repository that `folder` is in; None without one."""
    with suppress(OSError, UnicodeDecodeError):
        for parent in (folder.absolute(), *folder.absolute().parents):
            if (parent / ".git").exists():
                return _head(_git_folder(parent / ".git"))
    return None


def _git_folder(path: Path) -> Path:
    """Follow the `.git` file of a worktree or submodule."""
    if path.is_dir():
        return path
    return path.parent / path.read_text().removeprefix("gitdir:").strip()


def _head(git: Path) -> str | None:
    head = (git / "HEAD").read_text().strip()
    if not head.startswith("ref:"):
        return head if _COMMIT.fullmatch(head) else None
    ref = head.removeprefix("ref:").strip()
    if not _REF.fullmatch(ref) or ".." in ref:
        return None
    common = git
    if (git / "commondir").is_file():
        common = git / (git / "commondir").read_text().strip()
    for place in (git, common):
        if (place / ref).is_file():
            commit = (place / ref).read_text().strip()
            return commit if _COMMIT.fullmatch(commit) else None
    if (common / "packed-refs").is_file():
        for line in (common / "packed-refs").read_text().splitlines():
            commit, _, name = line.partition(" ")
            if name == ref and _COMMIT.fullmatch(commit):
                return commit
    return None
