"""A search as the database of an Optuna study, for Optuna's own tools such as its dashboard.

The database is an index of the ledger and can be made again at any time. It is made in memory,
so that only whole files ever reach a disk, and at once: Optuna itself commits each trial, which
takes half a minute for a thousand.
"""

from __future__ import annotations

import json
import math
import sqlite3
import warnings
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from modelscale.errors import DataError
from modelscale.runs.atomic import without_nonfinite
from modelscale.runs.trials import TrialRecord
from modelscale.tuning.space import Space, encoded

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial

STUDY_FILE = "study.db"
_KNOWN_SCHEMA = "v3.2.0.a"  # of Optuna 3.2 to 5.0, as its migrations name it
_UNKNOWN_TIME = datetime(1970, 1, 1, tzinfo=UTC)
_OWN_FACTS = ("state", "steps", "seconds", "attempts", "error", "result")

Curves = Mapping[int, Mapping[int, float]]


def study_bytes(
    trials: Sequence[TrialRecord],
    space: Space,
    names: Sequence[str],
    maximize: Sequence[bool],
    study_name: str,
    curves: Curves | None = None,
) -> bytes:
    """Return the SQLite file of a study; `sqlite:///study.db` is its storage.

    Equal trials make equal bytes with one version of Optuna. A number without a trial becomes
    a failed trial with the state `unknown`, since Optuna numbers trials without gaps.

    Args:
        trials: The ledger.
        space: What was searched.
        names: Of the objectives.
        maximize: For each of them whether larger is better.
        study_name: By which the study is loaded.
        curves: The first objective by epoch, by trial; kept with a single objective only, as
            Optuna does.

    Raises:
        DataError: If a trial has parameters that the space does not.
    """
    import optuna

    by_number = {trial.number: trial for trial in trials}
    told = curves if curves and len(names) == 1 else {}
    rows = [
        frozen(number, by_number.get(number), space, told.get(number, {}))
        for number in range(max(by_number, default=-1) + 1)
    ]
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with closing(sqlite3.connect(":memory:", check_same_thread=False)) as database:
            study = _empty_study(database, study_name, names, maximize)
            found = database.execute("SELECT version_num FROM alembic_version").fetchone()
            if found == (_KNOWN_SCHEMA,):
                _insert(database, rows)
            else:
                study.add_trials(rows)
            return bytes(database.serialize())
    finally:
        optuna.logging.set_verbosity(before)


def _empty_study(
    database: sqlite3.Connection, name: str, names: Sequence[str], maximize: Sequence[bool]
) -> Study:
    import optuna
    from sqlalchemy.pool import StaticPool

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        storage = optuna.storages.RDBStorage(
            "sqlite://", {"poolclass": StaticPool, "creator": lambda: database}
        )
        study = optuna.create_study(
            storage=storage,
            study_name=name,
            directions=["maximize" if up else "minimize" for up in maximize],
        )
        study.set_metric_names(list(names))
    return study


def frozen(
    number: int, record: TrialRecord | None, space: Space, curve: Mapping[int, float]
) -> FrozenTrial:
    """Return a trial as Optuna knows it.

    Args:
        number: Its number.
        record: What is known of it; None where its folder is gone.
        space: What was searched.
        curve: The first objective by epoch.

    Raises:
        DataError: If it has parameters that the space does not.
    """
    from optuna.trial import TrialState, create_trial

    if record is None:
        trial = create_trial(state=TrialState.FAIL, user_attrs={"state": "unknown"})
        trial.datetime_start = trial.datetime_complete = _UNKNOWN_TIME
        return trial
    state, values = _as_told(record)
    facts = {name: getattr(record, name) for name in _OWN_FACTS}
    missed = [1.0 if amount is None else amount for amount in record.constraints]
    try:
        trial = create_trial(
            state=TrialState[state],
            values=values,
            params=encoded(record.params, space.ranges),
            distributions={key: space.distributions[key] for key in record.params},
            user_attrs={k: without_nonfinite(v) for k, v in facts.items() if v or v == 0},
            intermediate_values={e: v for e, v in curve.items() if math.isfinite(v)},
            constraints={f"{n:03d}": amount for n, amount in enumerate(missed)},
        )
    except (KeyError, ValueError) as error:
        raise DataError(f"trial {number}: not of this search's space: {error}") from None
    start = datetime.fromisoformat(record.started) if record.started else _UNKNOWN_TIME
    trial.datetime_start = start
    if trial.datetime_complete is not None:
        trial.datetime_complete = start + timedelta(seconds=record.seconds or 0.0)
    return trial


def _as_told(record: TrialRecord) -> tuple[str, list[float] | None]:
    """Return Optuna's state of a trial, and the values that it may have in that state."""
    values = [v for v in record.values if v is not None and math.isfinite(v)]
    whole = values if values and len(values) == len(record.values) else None
    if record.state == "running":
        return "RUNNING", None
    if record.state == "stopped":
        return "PRUNED", whole
    measured = record.state in {"complete", "infeasible"} and whole is not None
    return ("COMPLETE", whole) if measured else ("FAIL", None)


def _insert(database: sqlite3.Connection, trials: Iterable[FrozenTrial]) -> None:
    """Add trials to the only study of a database, as Optuna's storage lays them out."""
    from optuna.distributions import distribution_to_json

    rows: dict[str, list[tuple[Any, ...]]] = {
        "trials (trial_id, number, study_id, state, datetime_start, datetime_complete)": [],
        "trial_params (trial_id, param_name, param_value, distribution_json)": [],
        "trial_values (trial_id, objective, value, value_type)": [],
        "trial_intermediate_values "
        "(trial_id, step, intermediate_value, intermediate_value_type)": [],
        "trial_user_attributes (trial_id, key, value_json)": [],
        "trial_system_attributes (trial_id, key, value_json)": [],
    }
    whole, params, values, curve, own, system = rows.values()
    spread: dict[int, str] = {}  # one and the same object describes a parameter in all trials
    for number, trial in enumerate(trials):
        key = number + 1
        times = (_stored(trial.datetime_start), _stored(trial.datetime_complete))
        whole.append((key, number, 1, trial.state.name, *times))
        for name, value in trial.params.items():
            found = trial.distributions[name]
            if id(found) not in spread:
                spread[id(found)] = distribution_to_json(found)
            params.append((key, name, found.to_internal_repr(value), spread[id(found)]))
        values += [(key, n, v, "FINITE") for n, v in enumerate(trial.values or ())]
        curve += [(key, e, v, "FINITE") for e, v in trial.intermediate_values.items()]
        own += [(key, name, json.dumps(v)) for name, v in trial.user_attrs.items()]
        system += [(key, name, json.dumps(v)) for name, v in trial.system_attrs.items()]
    with database:
        for table, found_rows in rows.items():
            marks = ", ".join("?" * (table.count(",") + 1))
            database.executemany(f"INSERT INTO {table} VALUES ({marks})", found_rows)


def _stored(moment: datetime | None) -> str | None:
    """Return a time as SQLAlchemy keeps it: UTC, without saying so."""
    if moment is None:
        return None
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
