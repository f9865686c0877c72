"""Writing plain data as YAML that reads the same under YAML 1.1, 1.2 and this loader."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from modelscale.spec.places import Place, dotted
from modelscale.spec.scalars import scalar

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")
_YAML_1_1 = frozenset({"y", "n", "yes", "no", "on", "off"})
# Characters that YAML does not print as they are, beside those that JSON escapes.
_ESCAPES = {
    code: f"\\u{code:04x}"
    for code in (*range(0x7F, 0xA0), 0x2028, 0x2029, 0xFEFF, 0xFFFE, 0xFFFF)
}
_COMMENT_COLUMN = 40


def emit(data: Mapping[str, Any], comments: Mapping[str, str]) -> str:
    """Return YAML text of plain data.

    Args:
        data: Mappings with text keys, lists, and scalars.
        comments: Text to stand behind the value at a path.
    """
    return "".join(_section(data, (), comments)) or "{}\n"


def quoted(text: str) -> str:
    """Return a text as a YAML scalar, plain where every reader takes it as a text."""
    if (
        _PLAIN.fullmatch(text)
        and text.lower() not in _YAML_1_1
        and isinstance(scalar(text), str)
    ):
        return text
    return json.dumps(text, ensure_ascii=False).translate(_ESCAPES)


def _section(
    data: Mapping[str, Any], place: Place, comments: Mapping[str, str]
) -> Iterator[str]:
    indent = "  " * len(place)
    for key, value in data.items():
        yield from _entry(f"{indent}{quoted(key)}:", value, (*place, key), comments)


def _entry(head: str, value: Any, place: Place, comments: Mapping[str, str]) -> Iterator[str]:
    if isinstance(value, dict) and value:
        yield f"{head}\n"
        yield from _section(value, place, comments)
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        yield f"{head}\n"
        for index, item in enumerate(value):
            yield from _item(item, (*place, index), comments)
    else:
        comment = comments.get(dotted(place))
        line = f"{head} {flow(value)}"
        yield f"{line:{_COMMENT_COLUMN}}  # {comment}\n" if comment else f"{line}\n"


def _item(item: Any, place: Place, comments: Mapping[str, str]) -> Iterator[str]:
    """Yield an item of a block list: its first line begins with `- `."""
    indent = "  " * (len(place) - 1)
    if not isinstance(item, dict) or not item:
        yield f"{indent}- {flow(item)}\n"
        return
    for number, line in enumerate(_section(item, place, comments)):
        yield line if number else f"{indent}- {line.removeprefix(indent + '  ')}"


def flow(value: Any) -> str:
    """Return plain data as YAML on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{quoted(k)}: {flow(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(flow, value)) + "]"
    if isinstance(value, str):
        return quoted(value)
    text = json.dumps(value, allow_nan=False)
    # YAML 1.1 reads 1e-05 as a text and 1.0e-05 as a number.
    return text.replace("e", ".0e") if isinstance(value, float) and "." not in text else text
