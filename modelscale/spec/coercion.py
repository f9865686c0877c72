"""Small readings of a value that depend on its field's type and can mean one thing only.

`1e3` is a whole number where one is wanted, `1_000` too, a text is a path where a path is
wanted, and a list is a tuple. Everything else stays as it is and is judged strictly.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Union, cast, get_args, get_origin

from pydantic import BaseModel

from modelscale.spec.scalars import Underscored


class Wanted(NamedTuple):
    """What a type takes, as far as a reading depends on it."""

    whole: bool = False
    fraction: bool = False
    path: bool = False
    text: bool = False
    items: Wanted | None = None
    entries: Wanted | None = None


def fit(data: Any, fields: Mapping[str, Wanted]) -> Any:
    """Return a section's data with each value as its field reads it."""
    if not isinstance(data, dict):
        return data
    return {
        key: _read(value, fields[key]) if key in fields else _plain(value)
        for key, value in data.items()
    }


@functools.cache
def wanted_by(model: type[BaseModel]) -> dict[str, Wanted]:
    """Return what the fields of a complete model take."""
    return {
        name: _wanted(cast(Hashable, info.annotation))
        for name, info in model.model_fields.items()
    }


def _read(value: Any, wanted: Wanted) -> Any:
    if isinstance(value, Underscored):
        return int(value) if wanted.whole else str(value)
    if isinstance(value, float) and wanted.whole and not wanted.fraction and value.is_integer():
        return int(value)
    if isinstance(value, str) and wanted.path and not wanted.text:
        return Path(value)
    if isinstance(value, (tuple, list)):
        items = wanted.items or Wanted()
        read = tuple(_read(item, items) for item in value)
        return read if wanted.items or isinstance(value, tuple) else list(read)
    if isinstance(value, dict) and wanted.entries:
        return {key: _read(item, wanted.entries) for key, item in value.items()}
    return value


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Underscored) else value


@functools.cache
def _wanted(annotation: Any) -> Wanted:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        wanted = _wanted(arguments[0])
    elif origin in {Union, types.UnionType}:
        wanted = _either([_wanted(argument) for argument in arguments])
    elif origin is Literal:
        wanted = Wanted(whole=any(type(a) is int for a in arguments), text=True)
    elif origin is tuple:
        wanted = Wanted(items=_either([_wanted(a) for a in arguments if a is not Ellipsis]))
    elif origin is dict:
        wanted = Wanted(entries=_wanted(arguments[1]))
    else:
        wanted = Wanted(
            whole=annotation is int,
            fraction=annotation is float,
            path=annotation is Path,
            text=annotation in {str, Any},
        )
    return wanted


def _either(options: list[Wanted]) -> Wanted:
    items = [option.items for option in options if option.items]
    entries = [option.entries for option in options if option.entries]
    return Wanted(
        whole=any(option.whole for option in options),
        fraction=any(option.fraction for option in options),
        path=any(option.path for option in options),
        text=any(option.text for option in options),
        items=_either(items) if items else None,
        entries=_either(entries) if entries else None,
    )
