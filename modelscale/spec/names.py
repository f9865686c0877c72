"""Names that become folders: safe on every file system, and never a way out of a folder."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
_RESERVED = r"(?i)(con|prn|aux|nul|com\d|lpt\d|latest)(\..*)?"


def _checked(name: str) -> str:
    if not re.fullmatch(PATTERN[1:-1], name):
        message = (
            "a name has 1 to 64 letters, digits, '.', '_' or '-' and begins with a letter or "
            f"digit, got {name[:80]!r}"
        )
    elif name.endswith("."):
        message = f"a name does not end with a dot, got {name!r}"
    elif re.fullmatch(_RESERVED, name):
        message = f"{name!r} is reserved and cannot be a folder's name; choose another"
    else:
        return name
    raise PydanticCustomError("misfit", "{message}", {"message": message})


RunName = Annotated[
    str, AfterValidator(_checked), WithJsonSchema({"type": "string", "pattern": PATTERN})
]
"""The name of a run, which is its folder's name."""
