"""Simulates losing power at every step of a program, on a disk that keeps no more than it must.

What a disk keeps is what the program made durable, and any part of the rest:
- of a file, the bytes at its last fsync; after them nothing, half, all, or zeros of what was
  written since;
- of the names in a folder, those at the folder's last fsync, and of the changes since then a
  beginning, in the order in which they were made: over all folders together, or with one
  folder ahead of or behind the others.
See Pillai et al., "All file systems are not created equal", OSDI 2014.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from fault_harness import (
    Digest,
    Kept,
    Mutant,
    Report,
    Run,
    broken_promise,
    chosen,
    ends_as,
    fresh,
    record,
    workplace,
)
from fault_watch import Step


@dataclass(eq=False)
class Node:
    """A file, folder or link on the simulated disk."""

    kind: str
    """file, folder or link."""

    durable: bytes = b""
    """Bytes at the last fsync."""

    data: bytes = b""
    """Bytes as the program sees them."""

    target: str = ""
    """Where a link leads."""

    saved: dict[str, Node] = field(default_factory=dict)
    """A folder's names at its last fsync."""

    names: dict[str, Node] = field(default_factory=dict)
    """A folder's names as the program sees them."""


@dataclass(frozen=True)
class Change:
    """A change of names in a folder that is not durable yet."""

    folder: Node
    names: Mapping[str, Node | None]


Tree = dict[str, bytes | str | None]
"""Path to a file's bytes, a link's target, or None for a folder."""


class Disk:
    """What is on disk, and what of it is certain."""

    def __init__(self) -> None:
        self.root = Node("folder")
        self.pending: list[Change] = []

    def take(self, step: Step) -> None:
        """Do one step of the program."""
        kind, path = step.kind, step.path
        if kind == "fsync":
            self._fsync(self._node(path))
        elif kind == "write":
            self._node(path).data += step.data
        elif kind == "truncate":
            self._node(path).data = self._node(path).data[: step.size]
        elif kind == "create":
            self._change(path, Node("file"))
        elif kind == "mkdir":
            self._change(path, Node("folder"))
        elif kind == "symlink":
            self._change(path, Node("link", target=step.source))
        elif kind in {"unlink", "rmdir"}:
            self._change(path, None)
        else:
            self._rename(step)

    def left_by_crash(self) -> Iterator[Tree]:
        """Return what may be found after losing power now."""
        count = len(self.pending)
        kept = [self.pending[:i] for i in range(count + 1)]
        for folder in {id(change.folder): change.folder for change in self.pending}.values():
            kept.append([change for change in self.pending if change.folder is folder])
            kept.append([change for change in self.pending if change.folder is not folder])
        for changes in kept:
            for bytes_kept in ("none", "half", "all", "zeros"):
                tree: Tree = {}
                self._walk(self.root, "", changes, bytes_kept, tree)
                yield tree

    def _node(self, path: str) -> Node:
        node = self.root
        for name in PurePosixPath(path).parts:
            node = node.names[name]
        return node

    def _change(
        self, path: str, node: Node | None, more: Mapping[str, None] | None = None
    ) -> None:
        place = PurePosixPath(path)
        folder = self._node(str(place.parent) if place.parent.name else "")
        change = Change(folder, {place.name: node, **(more or {})})
        self.pending.append(change)
        _apply(folder.names, change)

    def _rename(self, step: Step) -> None:
        old, new = PurePosixPath(step.source), PurePosixPath(step.path)
        assert old.parent == new.parent, "a rename across folders is not modelled"
        self._change(step.path, self._node(step.source), {old.name: None})

    def _fsync(self, node: Node) -> None:
        node.durable = node.data
        node.saved = dict(node.names)
        self.pending = [change for change in self.pending if change.folder is not node]

    def _walk(
        self, node: Node, path: str, changes: list[Change], bytes_kept: str, tree: Tree
    ) -> None:
        names = dict(node.saved)
        for change in changes:
            if change.folder is node:
                _apply(names, change)
        for name, inner in names.items():
            place = f"{path}{name}"
            if inner.kind == "folder":
                tree[place] = None
                self._walk(inner, f"{place}/", changes, bytes_kept, tree)
            elif inner.kind == "link":
                tree[place] = inner.target
            else:
                tree[place] = _file_left(inner, bytes_kept)


def power_loss_everywhere(
    run: Run,
    digest: Digest,
    *,
    kept: Kept | None = None,
    at_most: int | None = None,
    mutant: Mutant | None = None,
    give_up_after: int | None = None,
) -> Report:
    """Lose power after every step, in every way, let the program go on, and compare.

    Args:
        run: The program.
        digest: What must be as in the undisturbed run, by name.
        kept: Raises AssertionError if something that `tell` said before the power loss is not
            on disk after it.
        at_most: Number of states of the disk, drawn with a fixed seed; all if None.
        mutant: Called in the recorded child before `run`, to break the program.
        give_up_after: Number of failures after which to stop; never if None.
    """
    with workplace() as work:
        folder = fresh(work / "undisturbed")
        told, steps = record(run, folder, work / "journal", work, mutant)
        expected = digest(folder)
        states = _states(steps, told)
        failures: list[str] = []
        experiments = 0
        for index in chosen(range(len(states)), at_most):
            place, tree, words = states[index]
            folder = fresh(work / "folder")
            _lay_out(tree, folder)
            (work / "told").write_text("".join(f"{word}\n" for word in words))
            fault = broken_promise(kept, folder, work / "told") if kept else None
            fault = fault or ends_as(run, digest, folder, work, expected, None)
            experiments += 1
            if fault:
                failures.append(f"{place}: {fault}")
            if give_up_after is not None and len(failures) >= give_up_after:
                break
        return Report(tuple(map(str, steps)), experiments, 0, tuple(failures))


def _states(
    steps: list[Step], told: list[tuple[int, str]]
) -> list[tuple[str, Tree, tuple[str, ...]]]:
    """Return all different (place, disk, what was told) that a power loss can leave."""
    disk = Disk()
    states: dict[int, tuple[str, Tree, tuple[str, ...]]] = {}
    for count, step in enumerate(steps, start=1):
        disk.take(step)
        words = tuple(text for before, text in told if before <= count)
        for tree in disk.left_by_crash():
            key = hash((frozenset(tree.items()), words))  # bytes remember their hash
            states.setdefault(key, (f"power lost after {count} ({step})", tree, words))
    return list(states.values())


def _apply(names: dict[str, Node], change: Change) -> None:
    for name, node in change.names.items():
        if node is None:
            names.pop(name, None)
        else:
            names[name] = node


def _file_left(node: Node, bytes_kept: str) -> bytes:
    if bytes_kept == "none":
        return node.durable
    if bytes_kept == "all" or not node.data.startswith(node.durable):
        return node.data
    rest = node.data[len(node.durable) :]
    half = rest[: len(rest) // 2] if bytes_kept == "half" else bytes(len(rest))
    return node.durable + half


def _lay_out(tree: Tree, folder: Path) -> None:
    for place, content in tree.items():
        path = folder / place
        if content is None:
            path.mkdir()
        elif isinstance(content, str):
            path.symlink_to(content)
        else:
            path.write_bytes(content)
