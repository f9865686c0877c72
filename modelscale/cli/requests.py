"""From parsed arguments to what a command is asked to run."""

from __future__ import annotations

import sys
from pathlib import Path

from modelscale.commands.experiment import Experiment
from modelscale.commands.launching import Request
from modelscale.errors import UsageError
from modelscale.spec.loader import load


def request(
    verb: str,
    config: Path,
    overrides: tuple[str, ...],
    runs: Path,
    threads: int | None,
    new: bool,
    max_time: str | None,
) -> Request:
    """Return the request of a command that runs a spec.

    Raises:
        SpecError: If the spec has faults.
        UsageError: If `max_time` is no duration.
    """
    return Request(
        verb=verb,
        loaded=load(config, Experiment, overrides),
        stem=_run_name(config),
        root=runs,
        words=("modelscale", *sys.argv[1:]),
        threads=threads,
        new=new,
        max_time_s=None if max_time is None else seconds_of(max_time),
    )


def _run_name(config: Path) -> str:
    """Return the file's name as a run's name: other characters become dashes."""
    stem = "stdin" if str(config) == "-" else config.stem
    word = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in stem)
    return word.strip("._-")[:64] or "run"


def seconds_of(text: str) -> float:
    """Return the seconds of `--max-time`.

    Raises:
        UsageError: If it is no duration.
    """
    from pydantic import TypeAdapter, ValidationError

    from modelscale.spec.quantities import Seconds

    try:
        number = text.strip()
        plain = number.replace(".", "", 1).isdigit()
        return TypeAdapter(Seconds).validate_python(float(number) if plain else text)
    except ValidationError:
        raise UsageError(
            f"--max-time {text}: expected a duration such as 90, 45s, 30m or 2h"
        ) from None
