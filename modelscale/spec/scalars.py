"""Scalars of YAML 1.2 (core schema): what a plain word in a spec means.

PyYAML follows YAML 1.1, where `no` is false, `010` is 8, `1:30` is 90 and `1e-3` is a text.
"""

from __future__ import annotations

import re

Scalar = str | int | float | bool | None

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE = frozenset({"true", "True", "TRUE"})
_FALSE = frozenset({"false", "False", "FALSE"})
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_LEADING_ZERO = re.compile(r"[-+]?0[0-9]+")
_UNDERSCORED = re.compile(r"[-+]?[1-9][0-9]*(_[0-9]+)+")
_MAX_DIGITS = 40


class Underscored(str):
    """A plain `1_000`: a whole number where a field wants one, and a text elsewhere."""

    __slots__ = ()


def scalar(text: str) -> Scalar:
    """Return the value of a plain (unquoted) scalar.

    Raises:
        ValueError: If it is a number that a spec may not hold; the message says what to write.
    """
    if text in _NULL:
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    if text[0] not in "+-.0123456789":
        return text
    if _INT.fullmatch(text):
        return _whole(text)
    if _FLOAT.fullmatch(text):
        number = float(text)
        if number in {float("inf"), float("-inf")}:
            raise ValueError(f"{_shortened(text)} is too large for a number")
        return number
    if _NOT_FINITE.fullmatch(text):
        raise ValueError(f"{text} is not a finite number; quote it if it is meant as text")
    return Underscored(text) if _UNDERSCORED.fullmatch(text) else text


def _whole(text: str) -> int:
    if len(text) > _MAX_DIGITS:
        raise ValueError(f"{_shortened(text)} has {len(text)} digits; numbers stay below 2**63")
    if _LEADING_ZERO.fullmatch(text):
        raise ValueError(f"{text} begins with 0; write {int(text)}, or '{text}' for a text")
    number = int(text, 0)
    if not -(2**63) <= number < 2**63:
        raise ValueError(f"{text} is too large; whole numbers stay below 2**63")
    return number


def _shortened(text: str) -> str:
    return text if len(text) <= _MAX_DIGITS else f"{text[:12]}…"
