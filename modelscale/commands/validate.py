"""Checking specs: every fault of every file, and nothing run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelscale.commands.experiment import Experiment
from modelscale.errors import InputMissing, SpecError
from modelscale.spec.loader import digest, load


@dataclass(frozen=True)
class Checked:
    """One spec file.

    Attributes:
        path: As it was given.
        messages: One line for each fault; empty for a good spec.
        spec: What it says; None for a bad one.
        exit_code: 0, or that of its faults.
    """

    path: str
    messages: tuple[str, ...] = ()
    spec: Experiment | None = None
    exit_code: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return what the JSON document says of the file."""
        return {
            "path": self.path,
            "status": "error" if self.messages else "ok",
            "messages": list(self.messages),
            "digest": digest(self.spec) if self.spec else None,
        }


@dataclass(frozen=True)
class Validated:
    """The specs that were checked, in the order given."""

    files: tuple[Checked, ...]

    @property
    def exit_code(self) -> int:
        """78 if a spec is bad, otherwise 66 if one is missing, otherwise 0."""
        return max(file.exit_code for file in self.files)

    def to_json(self) -> dict[str, Any]:
        """Return the keys of the command's JSON document."""
        content: dict[str, Any] = {"files": [file.to_json() for file in self.files]}
        if self.exit_code:
            messages = [message for file in self.files for message in file.messages]
            content |= {"status": "error", "exit_code": self.exit_code, "messages": messages}
        return content


def check(paths: Iterable[Path], overrides: tuple[str, ...] = ()) -> Validated:
    """Return what is wrong with each spec; nothing is raised for bad or missing ones."""
    return Validated(tuple(_checked(path, overrides) for path in paths))


def _checked(path: Path, overrides: tuple[str, ...]) -> Checked:
    try:
        loaded = load(path, Experiment, overrides)
    except (SpecError, InputMissing) as error:
        lines = tuple(str(error).splitlines())
        return Checked(str(path), messages=lines, exit_code=error.exit_code)
    return Checked(str(path), spec=loaded.spec)
