"""Text from data, made fit for XML, for a plot's margins and for file names."""

import re
import unicodedata

_ILLEGAL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_REPLACEMENT = "\ufffd"


def legal(text: str) -> str:
    """Return text without the characters that neither XML nor UTF-8 can hold."""
    return _ILLEGAL.sub(_REPLACEMENT, text)


def short(text: str, limit: int) -> str:
    """Return one line of at most `limit` characters, cut with an ellipsis."""
    line = " ".join(legal(text).split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def slug(title: str, fallback: str = "plot") -> str:
    """Return a file name's stem that any system takes, such as `loss-by-epoch`."""
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain)[:60].strip("-") or fallback
