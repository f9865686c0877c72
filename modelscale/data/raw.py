"""What a source delivers: named columns or one array, before any split or pre-processing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, overload

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from modelscale.data.vocabulary import Vocabulary
    from modelscale.data.windows import Windows


@dataclass(frozen=True)
class Texts:
    """A column of text, stored once per different word.

    Attributes:
        codes_N: (N,) int32 index into `words`; -1 where the cell is missing.
        words: The different texts, in order of appearance; `Documents` for long texts, which
            are a network's input by themselves rather than categories.
    """

    codes_N: NDArray[np.int32]
    words: Sequence[str]

    def __len__(self) -> int:
        return len(self.codes_N)


@dataclass(frozen=True)
class Names(Sequence[str]):
    """Names of examples that are made when they are asked for.

    Attributes:
        size: How many there are.
        name: Makes the name of an example from its number.
    """

    size: int
    name: Callable[[int], str]

    def __len__(self) -> int:
        return self.size

    @overload
    def __getitem__(self, row: int) -> str: ...

    @overload
    def __getitem__(self, row: slice) -> list[str]: ...

    def __getitem__(self, row: int | slice) -> str | list[str]:
        if isinstance(row, slice):
            return [self.name(number) for number in range(*row.indices(self.size))]
        return self.name(row)


@dataclass(frozen=True)
class Raw:
    """All examples of a source.

    Exactly one of `columns`, `array` and `series` holds the inputs. Arrays may be
    read-only memory maps, so that data may be larger than memory.

    Attributes:
        columns: Table inputs by name, each (N,): float64 (NaN is missing) or `Texts`.
        array: Images uint8 or float32 (N, channels, height, width), vectors float32 (N, D)
            or tokens (N, positions) of whole numbers.
        target: (N,) or (N, T) float64, or `Texts`; None to predict only. Zeros for windows of
            a text, which hold by themselves what is to be predicted.
        target_names: Names of the target columns.
        groups: (N,) of values whose rows must stay together, for `split: group`.
        times: (N,) float64 that orders rows, for `split: time`.
        dated: Whether `times` are seconds since 1970 of dates.
        part: Text "train", "validation" or "test" of each row, for `split: column`.
        fingerprint: sha256 of the content that was read.
        origin: For people: file or data set, version, licence.
        series: Windows of series.
        classes: All classes that there are, where rows need not show them; in order.
        group_names: What the numbers in `groups` stand for, where they are numbers of texts.
        vocabulary: Number of symbols when `array` holds tokens.
        symbols: What these symbols are, for windows of a text: number i of the array is
            `symbols.symbols[i]`.
        rate: Samples a second, where `array` holds recordings: (N, S) float32, full scale being
            1, NaN behind the end of each.
        skipped: Columns that were not read, and why.
        first_row: The number that people give the first example: 2 below a header.
        names: What people know the examples by, one for each, such as their file, or unit and
            time; empty for rows of a table, which have their numbers.
    """

    target: NDArray[np.float64] | Texts | None
    target_names: tuple[str, ...]
    fingerprint: str
    origin: str
    columns: dict[str, NDArray[np.float64] | Texts] = field(default_factory=dict)
    array: NDArray[np.generic] | None = None
    series: Windows | None = None
    classes: tuple[str, ...] = ()
    groups: NDArray[np.generic] | None = None
    group_names: tuple[str, ...] = ()
    times: NDArray[np.float64] | None = None
    dated: bool = False
    part: Texts | None = None
    vocabulary: int | None = None
    symbols: Vocabulary | None = None
    rate: int | None = None
    skipped: dict[str, str] = field(default_factory=dict)
    first_row: int = 1
    names: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __len__(self) -> int:
        if self.array is not None:
            return len(self.array)
        if self.series is not None:
            return len(self.series)
        if self.columns:
            return len(next(iter(self.columns.values())))
        return 0 if self.target is None else len(self.target)
