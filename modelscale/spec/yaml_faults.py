"""What a YAML parser's complaint means to the person who wrote the text."""

from __future__ import annotations

import re

import yaml

from modelscale.spec.places import Fault, Origin

_NO_SPACE = re.compile(r"^(\s*(?:- )?[\w.-]+:)[^\s:/]")
_TAB_INDENT = re.compile(r"^ *\t\s*\S")
_EXPECTED_KEY = "expected another 'key: value' here; check quotes, brackets and indentation"
_OPENERS = {
    "while parsing a flow sequence": "'[' is never closed",
    "while parsing a flow mapping": "'{' is never closed",
    "while scanning a quoted scalar": "this quote is never closed",
}


def explain(error: yaml.MarkedYAMLError, text: str, name: str) -> Fault:
    """Return the fault that a syntax error of PyYAML stands for.

    Args:
        error: From libyaml's parser or from the one in Python; their words differ.
        text: The whole YAML text.
        name: How messages name the file.
    """
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line, mark.column) if mark else (0, 0)
    lines = text.split("\n")
    here = lines[line] if line < len(lines) else ""
    for number in (line, line - 1):
        if 0 <= number < len(lines) and _TAB_INDENT.match(lines[number]):
            at = lines[number].index("\t")
            return _fault(name, number, at, f"tab on line {number + 1}; indent with spaces")
    opener = _opener(error)
    if opener and error.context_mark:
        opened = error.context_mark
        return _fault(name, opened.line, opened.column, opener)
    problem = error.problem or ""
    if "values are not allowed" in problem:
        return _stray_colon(name, lines, line, column)
    return _fault(name, line, column, _meaning(problem, here, column))


def _fault(name: str, line: int, column: int, message: str) -> Fault:
    return Fault(Origin(name, line + 1, column + 1), (), message)


def _opener(error: yaml.MarkedYAMLError) -> str | None:
    problem = error.problem or ""
    context = (error.context or "").replace("double-", "").replace("single-", "")
    if "escape" in problem or (context.endswith("scalar") and "end of stream" not in problem):
        return None
    return _OPENERS.get(context)


def _stray_colon(name: str, lines: list[str], line: int, column: int) -> Fault:
    """Return the fault behind a ':' where none can stand."""
    here = lines[line]
    above = next((n for n in range(line - 1, -1, -1) if lines[n].strip()), None)
    if re.search(r":\s", here[:column]):
        return _fault(name, line, column, "a value that holds ': ' must be in quotes")
    if above is None:
        return _fault(name, line, column, "a ':' cannot stand here")
    missing = _NO_SPACE.match(lines[above])
    if missing:
        return _fault(name, above, missing.end(1) - 1, "missing space after ':'")
    if ":" in lines[above]:
        start = len(here) - len(here.lstrip())
        message = f"indented deeper than line {above + 1}, which already has a value"
        return _fault(name, line, start, message)
    at = len(lines[above]) - len(lines[above].lstrip())
    return _fault(name, above, at, "expected 'key: value'; there is no ':' on this line")


_MEANINGS = {
    "maximum nesting depth": "nested deeper than 64 levels",
    "could not find expected ':'": ("expected 'key: value'; a ':' is missing before this line"),
    "Unicode character escape": "no character has this code; remove the escape",
    "unknown escape": (
        "unknown escape in double quotes; write '\\\\' for a backslash, or use single quotes"
    ),
    "entries are not allowed": (
        "a list with '- ' begins on a line of its own; or write it as [a, b]"
    ),
    "expected key": _EXPECTED_KEY,
    "expected <block end>": _EXPECTED_KEY,
    "document start": "expected the end of the spec; check the indentation of this line",
}


def _meaning(problem: str, here: str, column: int) -> str:
    if "cannot start any token" in problem:
        sign = here[column : column + 1]
        if sign == "\t":
            return "a tab; indent with spaces"
        return f"a value cannot begin with {sign!r}; put it in quotes"
    known = (meaning for words, meaning in _MEANINGS.items() if words in problem)
    return next(known, f"not YAML: {problem or 'cannot be parsed'}")
