"""Strings of spoken words, joined from recordings of single words."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from modelscale.data.raw import Raw, Texts
from modelscale.data.shuffling import uniform
from modelscale.data.targets import class_codes, class_labels
from modelscale.errors import DataError, SpecError
from modelscale.seeds import derive

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_SHARE = 4  # a part to choose or measure with has count / 4 strings


@dataclass(frozen=True)
class StringOptions:
    """How words are joined; see the source `audio_strings`."""

    words: Mapping[str, str]
    count: int
    length: tuple[int, int]
    pause_s: tuple[float, float]
    seed: int


class _String(NamedTuple):
    """A string: rows of its words, and the samples of silence before each and at the end."""

    rows: list[int]
    pauses: list[int]


def joined(raw: Raw, options: StringOptions) -> Raw:
    """Return strings of the words of `raw`, each part's from that part's recordings alone.

    Raises:
        DataError: If `raw` has no recordings, no target or no parts.
        SpecError: If `words` names what is not said.
    """
    import numpy as np

    if raw.rate is None or raw.array is None:
        raise SpecError("data.source.of: is no source of recordings (audio_files, …)")
    if raw.target is None or raw.part is None:
        missing = "target" if raw.target is None else "parts"
        raise DataError(f"{raw.origin}: needs {missing} to be joined to strings")
    labels = class_labels(raw)
    if unknown := sorted(set(options.words) - set(labels)):
        raise SpecError(f"data.source.words: {unknown[0]!r} is said nowhere ({labels[0]}, …)")
    said_C = [options.words.get(label, label) for label in labels]
    said_N, part_N = class_codes(raw), np.asarray(raw.part.codes_N)
    groups_N = np.zeros(len(raw)) if raw.groups is None else np.asarray(raw.groups)
    strings: list[_String] = []
    parts: list[int] = []
    for code, name in enumerate(raw.part.words):
        rows_N = np.flatnonzero(part_N == code)
        count = options.count if name == "train" else max(1, options.count // _SHARE)
        if len(rows_N):
            drawn = _drawn(rows_N, groups_N[rows_N], count, name, raw.rate, options)
            strings += drawn
            parts += [code] * len(drawn)
    array_NS = _together(raw.array, strings)
    texts = [" ".join(said_C[said_N[row]] for row in string.rows) for string in strings]
    words, codes_N = np.unique(np.array(texts), return_inverse=True)
    content = f"{raw.fingerprint}{options}"
    return replace(
        raw,
        array=array_NS,
        target=Texts(codes_N.astype(np.int32), tuple(words.tolist())),
        target_names=("said",),
        groups=np.array([groups_N[string.rows[0]] for string in strings]),
        part=Texts(np.array(parts, dtype=np.int32), raw.part.words),
        fingerprint=hashlib.sha256(content.encode()).hexdigest(),
        origin=f"strings of {raw.origin}",
    )


def _drawn(
    rows_N: NDArray[np.int64],
    groups_N: NDArray[np.generic],
    count: int,
    part: str,
    rate: int,
    options: StringOptions,
) -> list[_String]:
    """Return strings of some rows."""
    import numpy as np

    least, most = options.length
    shortest_s, longest_s = options.pause_s
    draws = uniform(count * (2 + 2 * most + 1), derive(options.seed, "strings", part))
    table = draws.reshape(count, -1)
    by_group = {group: rows_N[groups_N == group] for group in np.unique(groups_N).tolist()}
    names = sorted(by_group)
    strings = []
    for numbers in table:
        own = by_group[names[int(numbers[0] * len(names))]]
        length = least + int(numbers[1] * (most - least + 1))
        rows = [int(own[int(u * len(own))]) for u in numbers[2 : 2 + length]]
        pauses_s = shortest_s + numbers[2 + most : 3 + most + length] * (longest_s - shortest_s)
        strings.append(_String(rows, [round(s * rate) for s in pauses_s.tolist()]))
    return strings


def _together(array: NDArray[np.generic], strings: list[_String]) -> NDArray[np.float32]:
    """Return (N, S) samples of strings, NaN behind the end."""
    import numpy as np

    length_N = (~np.isnan(array)).sum(axis=1)
    totals = [int(length_N[s.rows].sum()) + sum(s.pauses) for s in strings]
    found_NS = np.full((len(strings), max(totals)), np.nan, dtype=np.float32)
    for row_S, string, total in zip(found_NS, strings, totals, strict=True):
        row_S[:total] = 0
        place = 0
        for pause, row in zip(string.pauses, string.rows, strict=False):
            place += pause
            row_S[place : place + length_N[row]] = array[row, : length_N[row]]
            place += int(length_N[row])
    return found_NS
