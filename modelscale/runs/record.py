"""`run.json`: what a run is, how it stands, and what came out of it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from modelscale.errors import DataError, InputMissing
from modelscale.runs import atomic

RUN_FILE = "run.json"
SCHEMA_VERSION = 1
Status = Literal["created", "running", "interrupted", "failed", "diverged", "done"]
FINISHED: frozenset[Status] = frozenset({"done", "diverged"})
"""Statuses that the same command again would only reach again."""

_URL_PASSWORD = re.compile(r"(://[^:/@\s]*):[^@/\s]+@")
_NAMED_SECRET = re.compile(r"(?i)((?:password|passwd|token|secret|api_?key)[\w.-]*=)\S+")


R = TypeVar("R", bound="Record")


class Record(BaseModel):
    """Base of what is read from our JSON files; keys of later versions are passed over."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", use_attribute_docstrings=True, defer_build=True
    )


class RunFacts(Record):
    """What a run's exact numbers depend on beside its spec and data."""

    versions: dict[str, str] = Field(default_factory=dict)
    """Versions by name: python, modelscale, torch, …"""

    device: str | None = None
    """Device type and name."""

    threads: int | None = None
    """CPU threads of one operation."""

    data_fingerprint: str | None = None
    """Digest of the data."""

    def changes(self, now: RunFacts) -> tuple[str, ...]:
        """Return in words what is different in `now`."""
        before, after = self._flat(), now._flat()
        names = [name for name in before if name in after and before[name] != after[name]]
        return tuple(f"{name}: {before[name]} -> {after[name]}" for name in names)

    def _flat(self) -> dict[str, str]:
        own = {"device": self.device, "threads": self.threads, "data": self.data_fingerprint}
        return self.versions | {name: str(value) for name, value in own.items() if value}


class Attempt(Record):
    """One process that worked on a run."""

    pid: int
    """Its process id."""

    host: str
    """The machine it was on."""

    started: str
    """When it began, in UTC (ISO 8601)."""

    ended: str | None = None
    """When it ended; None while it runs, and for good if it was killed."""

    exit_code: int | None = None
    """The exit code it ended with; None if it was killed."""

    changes: tuple[str, ...] = ()
    """In what it differed from the first attempt, so that the resume may not be exact."""


class RunRecord(Record):
    """The content of `run.json`. The environment is never part of it."""

    schema_version: int = SCHEMA_VERSION
    """Version of this file's format."""

    name: str
    """The run's name: the folder above."""

    run: str
    """The run's own folder: time of creation and beginning of the digest."""

    number: int = Field(ge=1)
    """Counts the runs of a name, so that order does not hang on clocks."""

    digest: str
    """Digest of the resolved spec and the data: the run's identity."""

    status: Status = "created"
    """How it stands; `running` with nobody holding the lock means that it was killed."""

    command: tuple[str, ...] = ()
    """The words of the command line, without passwords."""

    git_commit: str | None = None
    """Commit of the repository in the working directory."""

    facts: RunFacts = RunFacts()
    """Versions, device and data of the first attempt."""

    created: str
    """In UTC, ISO 8601."""

    updated: str
    """Last change of this file, in UTC."""

    finished: str | None = None
    """When it was done or diverged, in UTC."""

    attempts: tuple[Attempt, ...] = ()
    """Every process that worked on it, in order."""

    exact_resume: bool = True
    """Whether all attempts had the same versions, device, threads and data."""

    result: dict[str, Any] = Field(default_factory=dict)
    """What came out; keys as in the command's JSON document."""


def read_record(folder: Path) -> RunRecord:
    """Return the content of a run folder's `run.json`.

    Raises:
        InputMissing: If `folder` is not a run folder.
        DataError: If the file is damaged or of a newer format.
    """
    return read_model(RunRecord, folder / RUN_FILE)


def write_record(folder: Path, record: RunRecord) -> RunRecord:
    """Write `run.json` with a new `updated` time; return what was written."""
    record = record.model_copy(update={"updated": utc_now()})
    atomic.write_json(folder / RUN_FILE, record.model_dump(mode="python"))
    return record


def read_model(model: type[R], path: Path) -> R:
    """Return a JSON file as `model`.

    Raises:
        InputMissing: If there is no such file.
        DataError: If it is damaged or of a newer format.
    """
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise InputMissing(f"{path}: no such file") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        record = model.model_validate_json(data)
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(map(str, fault["loc"])) or "file"
        raise DataError(f"{path}: damaged: {place}: {fault['msg']}") from None
    if getattr(record, "schema_version", 0) > SCHEMA_VERSION:
        raise DataError(f"{path}: written by a newer version of modelscale")
    return record


def run_folders(name_folder: Path) -> list[Path]:
    """Return the folders with a `run.json` in the folder of a name; links are not followed."""
    found: list[Path] = []
    with suppress(OSError):
        for path in sorted(name_folder.iterdir()):
            with suppress(OSError):
                hidden = path.name.startswith(".") or path.is_symlink()
                if not hidden and os.path.lexists(path / RUN_FILE):
                    found.append(path)
    return found


def without_secrets(words: Iterable[str]) -> tuple[str, ...]:
    """Return command-line words with passwords in URLs and `…token=…` values masked."""
    return tuple(
        _NAMED_SECRET.sub(r"\1***", _URL_PASSWORD.sub(r"\1:***@", word)) for word in words
    )


def utc_now() -> str:
    """Return the time in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
