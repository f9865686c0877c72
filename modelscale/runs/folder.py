"""Run folders: found again by what they are a run of, so that every command can be repeated."""

from __future__ import annotations

import os
import platform
import re
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import modelscale
from modelscale.errors import CannotCreate, DataError, InputMissing, TryAgain, UsageError
from modelscale.runs import atomic
from modelscale.runs.checkpoints import CheckpointStore
from modelscale.runs.git_commit import git_commit
from modelscale.runs.lock import RunLock
from modelscale.runs.metric_log import MetricLog, TimingLog
from modelscale.runs.part import RunPart
from modelscale.runs.record import (
    FINISHED,
    RUN_FILE,
    Attempt,
    RunFacts,
    RunRecord,
    read_record,
    run_folders,
    utc_now,
    without_secrets,
    write_record,
)

LATEST = "latest"
SPEC_FILE = "spec.yaml"
RESOLVED_FILE = "spec.resolved.yaml"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?|latest")
_CREATE_WAIT_S = 5.0  # making a folder takes milliseconds, also twenty after each other
_FREE_TRIES = 4
_EXIT_CODES = {"done": 0, "failed": 1, "diverged": 10, "interrupted": 75}
Outcome = Literal["interrupted", "failed", "diverged", "done"]


class RunFolder:
    """One run, `runs/<name>/<stamp>-<hex>/`.

    While it is unfinished, the object holds the run's lock; use it in a `with` statement, or
    call `close`.
    """

    def __init__(self, path: Path, record: RunRecord, lock: RunLock | None) -> None:
        """Use `open_or_create` or `read`."""
        self.path = path
        self.record = record
        """What `run.json` says."""
        self._lock = lock
        self.part = RunPart(path, owner=lock is not None)
        """The run itself as a place with metrics, checkpoints and sub-parts."""

    @classmethod
    def open_or_create(
        cls,
        root: Path,
        name: str,
        digest: str,
        spec_text: bytes,
        resolved: str,
        command: Sequence[str],
        new: bool = False,
    ) -> Self:
        """Return the run of this digest: the unfinished or finished one, or a new one.

        Args:
            root: The runs folder; made if missing.
            name: The run's name, a plain word.
            digest: Hexadecimal digest of everything that makes this run what it is.
            spec_text: The spec as the user wrote it.
            resolved: The spec with every default, as YAML.
            command: The words of the command line.
            new: Whether to start another run even if there is one.

        Raises:
            UsageError: If the name is not safe as a folder's.
            CannotCreate: If the folder cannot be written to, or the name is taken by a link.
            TryAgain: If another process works on the run.
        """
        assert re.fullmatch(r"[0-9a-f]{6,}", digest), digest
        folder = name_folder(root, name)
        atomic.make_folder(folder)
        with RunLock(folder, wait_s=_CREATE_WAIT_S):
            atomic.remove_leftovers(folder)
            known = _known_runs(folder, None if new else digest)
            same = [found for found in known if found[1].digest == digest]
            if same and not new:
                path = same[-1][0]
            else:
                number = known[-1][1].number + 1 if known else 1
                record = _new_record(folder, name, digest, command, number)
                files = {SPEC_FILE: spec_text, RESOLVED_FILE: resolved.encode()}
                path = _create(folder, record, files)
            newest = path if not same or new else known[-1][0]
            atomic.replace_link(folder / LATEST, newest.name)
        return cls._take(path)

    @classmethod
    def open_free(
        cls,
        root: Path,
        name: str,
        digest: str,
        spec_text: bytes,
        resolved: str,
        command: Sequence[str],
    ) -> Self:
        """Return a run of this digest that no other process works on, or a new one.

        Arguments and errors are those of `open_or_create`.
        """
        what = (root, name, digest, spec_text, resolved, command)
        for _ in range(_FREE_TRIES):
            known = _known_runs(name_folder(root, name), None)
            for path in reversed([path for path, run in known if run.digest == digest]):
                with suppress(TryAgain, InputMissing):
                    return cls._take(path)
            # Another process may take the new run before this one does.
            with suppress(TryAgain):
                return cls.open_or_create(*what, new=True)
        return cls.open_or_create(*what, new=True)

    @classmethod
    def exists(cls, root: Path, name: str, digest: str) -> bool:
        """Return whether there is a run of this digest, finished or not."""
        known = _known_runs(name_folder(root, name), None)
        return any(record.digest == digest for _, record in known)

    @classmethod
    def _take(cls, path: Path) -> Self:
        """Open a run, with its lock if it is unfinished."""
        record = read_record(path)
        if record.status in FINISHED:
            return cls(path, record, None)
        lock = RunLock(path)
        try:
            atomic.remove_leftovers(path)
            record = read_record(path)  # another process may have ended it before the lock
            run = cls(path, record, lock)
        except BaseException:
            lock.release()
            raise
        if run.finished:
            run.close()
        return run

    @classmethod
    def read(cls, path: Path) -> Self:
        """Open a run to read from it, finished or not, without its lock.

        Raises:
            InputMissing: If it is not a run folder.
            DataError: If its `run.json` is damaged.
        """
        return cls(path, read_record(path), None)

    def reopen(self, spec_text: bytes, resolved: str) -> None:
        """Take up a finished run again, since its spec now asks for more.

        Args:
            spec_text: The spec as the user wrote it now.
            resolved: The spec with every default, as YAML.

        Raises:
            TryAgain: If another process works on the run.
        """
        assert self.finished
        self._lock = RunLock(self.path)
        self.part = RunPart(self.path, owner=True)
        atomic.write_file(self.path / SPEC_FILE, spec_text)
        atomic.write_file(self.path / RESOLVED_FILE, resolved.encode())
        self._update(status="interrupted", finished=None)

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to do."""
        return self.record.status in FINISHED

    @property
    def resumed(self) -> bool:
        """Whether an earlier process worked on it."""
        return bool(self.record.attempts)

    def begin_attempt(self, facts: RunFacts) -> tuple[str, ...]:
        """Note that this process now works on the run.

        Args:
            facts: Versions, device, threads and data of now; python's and modelscale's own
                version are added. The first attempt's stay in `record.facts`.

        Returns:
            In what this attempt differs from the first: then its numbers may differ too.
        """
        assert self._lock is not None, "a finished run, or one that is only read"
        own = {"python": platform.python_version(), "modelscale": modelscale.__version__}
        facts = facts.model_copy(update={"versions": own | facts.versions})
        first = self.record.facts if self.record.attempts else facts
        changes = first.changes(facts)
        attempt = Attempt(
            pid=os.getpid(), host=socket.gethostname(), started=utc_now(), changes=changes
        )
        self._update(
            status="running",
            facts=first,
            attempts=(*self.record.attempts, attempt),
            exact_resume=self.record.exact_resume and not changes,
        )
        return changes

    def note_threads(self, threads: int) -> None:
        """Note the CPU threads of the first attempt, where the user did not say them."""
        if self.record.facts.threads is None:
            facts = self.record.facts.model_copy(update={"threads": threads})
            self._update(facts=facts)

    def finish(
        self,
        status: Outcome,
        result: Mapping[str, Any] | None = None,
        exit_code: int | None = None,
    ) -> None:
        """Note how this attempt ended; `done` and `diverged` end the run for good.

        Args:
            status: How it ended.
            result: What came out, kept in `run.json`; None keeps what was there.
            exit_code: The process's; by default the status's own.
        """
        assert self._lock is not None, "a finished run, or one that is only read"
        code = _EXIT_CODES[status] if exit_code is None else exit_code
        attempts = self.record.attempts
        if attempts:
            ended = {"ended": utc_now(), "exit_code": code}
            attempts = (*attempts[:-1], attempts[-1].model_copy(update=ended))
        self._update(
            status=status,
            attempts=attempts,
            result=self.record.result if result is None else dict(result),
            finished=utc_now() if status in FINISHED else None,
        )

    def checkpoints(self) -> CheckpointStore:
        """Open the run's own checkpoints."""
        return self.part.checkpoints()

    def metrics(self) -> MetricLog:
        """Open the run's own `metrics.jsonl` to write; `rewind` it before the first line."""
        return self.part.metrics()

    def timings(self) -> TimingLog:
        """Open the run's own `timings.jsonl` to write."""
        return self.part.timings()

    def sub(self, name: str) -> RunPart:
        """Make or open a part with metrics and checkpoints of its own: `seeds/3`."""
        return self.part.sub(name)

    def write(self, name: str, data: bytes) -> Path:
        """Write a file of the run, such as `trials.csv` or `plots/loss.svg`, durably."""
        folder = self.path if "/" not in name else self.sub(name.rpartition("/")[0]).path
        path = folder / name.rpartition("/")[2]
        assert path.name not in {RUN_FILE, SPEC_FILE, RESOLVED_FILE}
        assert path.name[:1] not in {"", "."}
        atomic.write_file(path, data)
        return path

    def close(self) -> None:
        """Give the lock back; again is fine."""
        if self._lock is not None:
            self._lock.release()
        self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _update(self, **changes: Any) -> None:
        self.record = write_record(self.path, self.record.model_copy(update=changes))


def name_folder(root: Path, name: str) -> Path:
    """Return the folder of all runs of a name, directly under `root`.

    Raises:
        UsageError: If the name is not a plain word.
        CannotCreate: If the folder is a link, which could lead anywhere.
    """
    if not _NAME.fullmatch(name) or _RESERVED.fullmatch(name) or name.endswith("."):
        raise UsageError(
            f"run name {name!r}: not usable as a folder; use 1 to 64 of the letters A-Z and "
            "a-z, digits, '.', '_' and '-', beginning with a letter or digit"
        )
    folder = root / name
    if folder.is_symlink():
        raise CannotCreate(f"{folder}: is a link; runs are only written into real folders")
    return folder


def _known_runs(folder: Path, digest: str | None) -> list[tuple[Path, RunRecord]]:
    """Return the readable runs of a name, oldest first.

    Raises:
        DataError: If a run that by its name could be the one of `digest` is damaged: starting
            another in its place would lose its work unasked.
    """
    known: list[tuple[Path, RunRecord]] = []
    for path in run_folders(folder):
        try:
            known.append((path, read_record(path)))
        except (DataError, InputMissing) as error:
            if digest is not None and path.name.endswith(f"-{digest[:6]}"):
                raise DataError(f"{error}; move the folder away, or use --new") from None
    return sorted(known, key=lambda found: found[1].number)


def _new_record(
    folder: Path, name: str, digest: str, command: Sequence[str], number: int
) -> RunRecord:
    moment = datetime.now(UTC)
    while True:  # two runs of one digest in one second: the later takes the next second
        run = f"{moment:%Y%m%d-%H%M%S}-{digest[:6]}"
        if not os.path.lexists(folder / run):
            break
        moment += timedelta(seconds=1)
    return RunRecord(
        name=name,
        run=run,
        number=number,
        digest=digest,
        command=without_secrets(command),
        git_commit=git_commit(Path.cwd()),
        created=utc_now(),
        updated=utc_now(),
    )


def _create(folder: Path, record: RunRecord, files: Mapping[str, bytes]) -> Path:
    """Make a run's folder with its first files, all at once."""
    content = {**files, RUN_FILE: atomic.json_bytes(record.model_dump(mode="python"))}
    return atomic.place_folder(folder, record.run, content)
