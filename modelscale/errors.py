"""The errors that a user can cause, each with its exit code. Anything else is a bug."""

from collections.abc import Iterable
from difflib import SequenceMatcher

_LONGEST = 80
_ALIKE = 0.6


class ModelscaleError(Exception):
    """Base of all errors that are shown in one line, without a traceback."""

    exit_code = 1


class UsageError(ModelscaleError):
    """A command line that asks for something that does not exist or fit together."""

    exit_code = 2


class GateFailed(ModelscaleError):
    """A result that misses a bound that the user set."""

    exit_code = 3


class Diverged(ModelscaleError):
    """A loss or gradient that is no longer finite; nothing was updated with it."""

    exit_code = 10


class OutOfMemory(ModelscaleError):
    """More memory was needed than the device or the machine has."""

    exit_code = 11


class DataError(ModelscaleError):
    """Data or a checkpoint that is damaged, hostile or not what the spec says."""

    exit_code = 65


class InputMissing(ModelscaleError):
    """An input file or folder that is not there or cannot be read."""

    exit_code = 66


class Unavailable(ModelscaleError):
    """A needed extra or device is missing; the message names what to install."""

    exit_code = 69


class CannotCreate(ModelscaleError):
    """Output that cannot be created: read-only folder, a file in the way."""

    exit_code = 73


class StorageError(ModelscaleError):
    """Writing failed: the disk is full or broken."""

    exit_code = 74


class TryAgain(ModelscaleError):
    """Interrupted with the state saved, or the run is busy: the same command goes on later."""

    exit_code = 75


class SpecError(ModelscaleError):
    """A spec that cannot be run. `str` is one line for each fault: `file:line:column: …`."""

    exit_code = 78


def did_you_mean(word: str, options: Iterable[str]) -> str:
    """Return "; did you mean 'x'? (one of: …)" for a word that is none of `options`."""
    names = sorted(options)
    close = nearest(word, names)
    hint = f"; did you mean {close!r}?" if close else ""
    return f"{hint} (one of: {', '.join(names)})"


def nearest(word: str, options: Iterable[str]) -> str | None:
    """Return the option that a misspelt word most likely stands for, None if none is near."""
    plain = word.casefold().replace("-", "_")[:_LONGEST]
    near = []
    for option in options:
        other = option.casefold()
        likeness = SequenceMatcher(None, plain, other).ratio()
        edits = _edits(plain, other)
        if likeness >= _ALIKE or edits <= 1:
            near.append((edits, -likeness, option))
    return min(near)[2] if near else None


def _edits(word: str, other: str) -> int:
    """Return how many letters to add, drop, change or swap make `other` of `word`."""
    before: list[int] = []
    last = list(range(len(other) + 1))
    for i, letter in enumerate(word, 1):
        row = [i]
        for j, wanted in enumerate(other, 1):
            cost = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (letter != wanted))
            if i > 1 and j > 1 and letter == other[j - 2] and word[i - 2] == wanted:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        before, last = last, row
    return last[-1]


def missing_extra(package: str, extra: str, purpose: str) -> Unavailable:
    """Return the error for an optional package that is not installed."""
    return Unavailable(
        f"{purpose} needs {package}; install it with: pip install 'modelscale[{extra}]'"
    )
