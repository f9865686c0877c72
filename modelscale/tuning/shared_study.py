"""A study in a PostgreSQL database that the searches of many machines share.

It is an ordinary Optuna study, so Optuna's own tools can watch it. What Optuna has no place for
is kept in user attributes of its trials: who trains a trial, and its whole record. The database
gives out numbers and says who lives: an owner holds an advisory lock as long as its connection
stands, so that the trials of a dead one can be taken over.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modelscale.errors import TryAgain, Unavailable, UsageError, missing_extra
from modelscale.runs.trials import TrialRecord
from modelscale.tuning.space import Params, Space, decoded
from modelscale.tuning.study_file import frozen

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial
    from sqlalchemy.engine import Connection

_KEEPALIVE = "-c tcp_keepalives_idle=60 -c tcp_keepalives_interval=10 -c tcp_keepalives_count=3"
"""So that the server notices within two minutes that a machine is gone."""

_OWNER, _BATCH, _RECORD, _LINES = "owner", "batch", "record", "lines"


@dataclass(frozen=True)
class SharedTrial:
    """A trial as all machines know it.

    Attributes:
        number: Its number.
        params: Values by spec key.
        owner: Who trains it, or did.
        batch: Number of the first trial that was proposed together with it.
        record: What came out; None while it is in training.
        lines: What was measured, a line an epoch, as its own log has it.
    """

    number: int
    params: Params
    owner: str
    batch: int
    record: TrialRecord | None
    lines: tuple[dict[str, Any], ...]


class SharedStudy:
    """One process's connection to a shared study."""

    def __init__(
        self,
        url: str,
        name: str,
        space: Space,
        names: Sequence[str],
        maximize: Sequence[bool],
        owner: str,
    ) -> None:
        """Connect, and create the study if nobody has yet.

        Args:
            url: `postgresql://user:password@host/database`.
            name: Of the study, equal for searches that are to share it.
            space: What is searched.
            names: Of the objectives.
            maximize: For each of them whether larger is better.
            owner: Who this process is, equal after a restart.

        Raises:
            UsageError: If the address is none of PostgreSQL.
            Unavailable: If the driver is missing or the server cannot be reached.
        """
        import optuna
        from sqlalchemy import create_engine
        from sqlalchemy.exc import SQLAlchemyError

        address = _address(url)
        self.space, self.names, self.owner, self._name = space, tuple(names), owner, name
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        try:
            engine = create_engine(
                address, isolation_level="AUTOCOMMIT", connect_args={"options": _KEEPALIVE}
            )
            self._line: Connection = engine.connect()
            with self._lock("studies"), warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                self._storage = optuna.storages.get_storage(address)
                study = optuna.create_study(
                    storage=self._storage,
                    study_name=name,
                    directions=["maximize" if up else "minimize" for up in maximize],
                    load_if_exists=True,
                )
                study.set_metric_names(list(names))
            self._id = self._storage.get_study_id_from_name(name)
            self._hold(self._key("owner", owner))
        except ModuleNotFoundError:
            raise missing_extra("psycopg", "postgres", "--storage") from None
        except SQLAlchemyError as error:
            raise Unavailable(f"--storage: {_first_line(error)}") from None

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Let nobody else look or write within the block.

        Raises:
            TryAgain: If the server is gone; everything that is finished is kept.
        """
        from sqlalchemy.exc import SQLAlchemyError

        try:
            with self._lock("study", self._name):
                yield
        except SQLAlchemyError as error:
            raise TryAgain(
                f"--storage: {_first_line(error)}; the state is saved: run the same command "
                "to go on"
            ) from None

    def trials(self) -> list[SharedTrial]:
        """Return all trials by number."""
        found = self._storage.get_all_trials(self._id, deepcopy=False)
        return [self._shared(trial) for trial in sorted(found, key=lambda t: t.number)]

    def begin(self, params: Params, batch: int) -> int:
        """Enter a trial that this process is going to train; return its number."""
        record = TrialRecord(number=0, params=params)
        trial = frozen(0, record, self.space, {})
        trial._user_attrs = {_OWNER: self.owner, _BATCH: batch}
        trial_id = self._storage.create_new_trial(self._id, template_trial=trial)
        return int(self._storage.get_trial_number_from_id(trial_id))

    def adopt(self, numbers: Sequence[int]) -> None:
        """Make this process the owner of trials."""
        for number in numbers:
            self._storage.set_trial_user_attr(self._trial_id(number), _OWNER, self.owner)

    def lives(self, owner: str) -> bool:
        """Return whether the process that trains a trial is there."""
        if owner == self.owner:
            return True
        key = self._key("owner", owner)
        if not self._query("SELECT pg_try_advisory_lock(:key)", key):
            return True
        self._query("SELECT pg_advisory_unlock(:key)", key)
        return False

    def finish(self, record: TrialRecord, lines: Sequence[Mapping[str, Any]]) -> None:
        """Enter what came out of a trial; again is fine, and the first result stands."""
        from modelscale.runs.atomic import without_nonfinite

        trial_id = self._trial_id(record.number)
        if self._storage.get_trial(trial_id).state.is_finished():
            return
        curve = {
            line["epoch"]: line[self.names[0]]
            for line in lines
            if line.get(self.names[0]) is not None
        }
        trial = frozen(record.number, record, self.space, curve)
        facts = without_nonfinite(record.model_dump(mode="json"))
        self._storage.set_trial_user_attr(trial_id, _RECORD, facts)
        self._storage.set_trial_user_attr(
            trial_id, _LINES, [without_nonfinite(dict(line)) for line in lines]
        )
        if len(self.names) == 1:
            for epoch, value in trial.intermediate_values.items():
                self._storage.set_trial_intermediate_value(trial_id, epoch, value)
        self._storage.set_trial_state_values(trial_id, trial.state, trial.values)

    def close(self) -> None:
        """Give up the connection, and with it what this process owns."""
        self._line.close()
        self._line.engine.dispose()
        self._storage.remove_session()

    def _shared(self, trial: FrozenTrial) -> SharedTrial:
        attributes, record = trial.user_attrs, None
        if trial.state.is_finished():
            record = TrialRecord.model_validate_json(json.dumps(attributes[_RECORD]))
        params = record.params if record else decoded(trial.params, self.space.ranges)
        return SharedTrial(
            trial.number,
            params,
            str(attributes.get(_OWNER, "")),
            int(attributes.get(_BATCH, trial.number)),
            record,
            tuple(attributes.get(_LINES, ())) if record else (),
        )

    def _trial_id(self, number: int) -> int:
        return int(self._storage.get_trial_id_from_study_id_trial_number(self._id, number))

    def _key(self, *words: str) -> int:
        """Return the number of an advisory lock: 63 bits of a digest."""
        text = "\n".join(("modelscale", self._name, *words))
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1

    @contextmanager
    def _lock(self, *words: str) -> Iterator[None]:
        key = self._key(*words)
        self._hold(key)
        try:
            yield
        finally:
            self._query("SELECT pg_advisory_unlock(:key)", key)

    def _hold(self, key: int) -> None:
        self._query("SELECT pg_advisory_lock(:key)", key)

    def _query(self, words: str, key: int) -> Any:
        from sqlalchemy import text

        return self._line.execute(text(words), {"key": key}).scalar()


def _address(url: str) -> str:
    """Return the address with the driver that we bring.

    Raises:
        UsageError: If it is none of PostgreSQL.
    """
    scheme, found, rest = url.partition("://")
    if not found or scheme not in {"postgresql", "postgres", "postgresql+psycopg"}:
        raise UsageError(
            "--storage: expected postgresql://user:password@host/database; a search of one "
            "machine needs no storage (see --workers)"
        )
    return f"postgresql+psycopg://{rest}"


def _first_line(error: Exception) -> str:
    """Return what went wrong, without the parts of the message that repeat the address."""
    cause = getattr(error, "orig", None) or error
    return str(cause).strip().splitlines()[0] if str(cause).strip() else type(cause).__name__
