"""Quantities as people write them: `30m`, `10M`, `4GiB`. A plain number means the base unit."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

_NUMBER = r"(\d+(?:\.\d+)?)"
_TIME = f"(?:{_NUMBER}d)?(?:{_NUMBER}h)?(?:{_NUMBER}m)?(?:{_NUMBER}s)?"
_TIME_UNITS_S = (86_400, 3_600, 60, 1)
_COUNT_UNITS = {"k": 10**3, "K": 10**3, "M": 10**6, "B": 10**9, "G": 10**9, "T": 10**12}
_BYTE_UNITS = {
    "B": 1,
    "kB": 10**3,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}
_COUNT = f"{_NUMBER} ?({'|'.join(_COUNT_UNITS)})"
_BYTES = f"{_NUMBER} ?({'|'.join(_BYTE_UNITS)})"


def _seconds(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    found = re.fullmatch(_TIME, value)
    if not value or not found:
        raise _unreadable("a time such as 90, 45s, 30m, 2h or 1h30m", value)
    pairs = zip(found.groups(), _TIME_UNITS_S, strict=True)
    return sum(float(number) * unit for number, unit in pairs if number)


def _count(value: Any) -> Any:
    return _sized(value, _COUNT, _COUNT_UNITS, "a number such as 5000, 1.5k, 10M or 2B")


def _bytes(value: Any) -> Any:
    return _sized(value, _BYTES, _BYTE_UNITS, "a size such as 512MB or 4GiB")


def _sized(value: Any, form: str, units: dict[str, int], wanted: str) -> Any:
    if not isinstance(value, str):
        return value
    found = re.fullmatch(form, value)
    if not found:
        raise _unreadable(wanted, value)
    number = float(found[1]) * units[found[2]]
    if not number.is_integer():
        raise _unreadable(f"{wanted} that is whole", value)
    return int(number)


def _unreadable(wanted: str, value: str) -> PydanticCustomError:
    message = f"expected {wanted}, got the text {value!r}"
    return PydanticCustomError("misfit", "{message}", {"message": message})


def _schema(pattern: str, kind: str, examples: list[str]) -> WithJsonSchema:
    text = {"type": "string", "pattern": f"^{pattern}$", "examples": examples}
    return WithJsonSchema({"anyOf": [{"type": kind}, text]})


Seconds = Annotated[float, BeforeValidator(_seconds), _schema(_TIME, "number", ["30m", "2h"])]
"""A time: seconds as a number, or `45s`, `30m`, `2h`, `1h30m`, `1d`."""

Count = Annotated[int, BeforeValidator(_count), _schema(_COUNT, "integer", ["10M", "1.5k"])]
"""A number of things: whole, or with k, M, B (10⁹) or T behind it."""

Bytes = Annotated[int, BeforeValidator(_bytes), _schema(_BYTES, "integer", ["4GiB", "512MB"])]
"""A size: bytes as a whole number, or with kB, MB, GB (powers of 1000), KiB, MiB, GiB."""
