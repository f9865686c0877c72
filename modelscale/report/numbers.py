"""How numbers read, in the report and in the tables of the command line. Imports nothing heavy.

What is absent, undefined or not finite has a form too, so that no caller needs a special case.
Signs and units are plain text that survives a log file and a copy into a spreadsheet.
"""

from collections.abc import Sequence
from math import floor, isfinite, isnan, log10

MISSING = "–"
"""What stands for a value that is not there."""

_SI = ("", "k", "M", "G", "T", "P", "E")


def significant(value: float | None, digits: int = 4) -> str:
    """Return a number with `digits` significant digits, such as `0.9778`, `1,797` or `1.2e-05`.

    Integers are given whole, with thousands separated; trailing zeros of a float stay, since
    they say how precise it is.
    """
    special = _special(value)
    if special is not None or value is None:
        return special or MISSING
    if isinstance(value, int):
        return f"{value:,}"
    if value == 0:
        return "0"
    if not 1e-4 <= abs(value) < 1e7:
        return f"{value:.{digits - 1}e}"
    return fixed(value, max(0, digits - 1 - _magnitude(value, digits)))


def fixed(value: float | None, decimals: int) -> str:
    """Return a number with so many digits after the point, thousands separated."""
    special = _special(value)
    if special is not None or value is None:
        return special or MISSING
    text = f"{value:,.{decimals}f}"
    # -0.00 reads as a sign of something; it is a rounded nothing
    return text.removeprefix("-") if not text.strip("-0.,") else text


def column(values: Sequence[float | None], digits: int = 4) -> list[str]:
    """Return the numbers of one table column, with the same decimals so that points align.

    A column that spans more than six orders of magnitude, which no common number of decimals
    serves, has each number with its own significant digits.
    """
    floats = [v for v in values if isinstance(v, float) and isfinite(v)]
    sizes = [abs(v) for v in floats if v]
    if sizes and (max(sizes) >= 1e7 or max(sizes) / min(sizes) >= 1e6 or max(sizes) < 1e-4):
        return [significant(v, digits) for v in values]
    largest = max(sizes, default=1.0)
    decimals = max(0, digits - 1 - _magnitude(largest, digits))
    return [significant(v) if isinstance(v, int) else fixed(v, decimals) for v in values]


def plain(value: float | None) -> str:
    """Return a number as a person would set it: `0.1`, `0.0003`, `128`; six digits at most."""
    special = _special(value)
    if special is not None or value is None:
        return special or MISSING
    return f"{value:,}" if isinstance(value, int) else f"{value:,.6g}"


def parameter(value: float | None, digits: int = 5) -> str:
    """Return a law's parameter; one that its search drove to zero says so."""
    special = _special(value)
    if special is not None or value is None:
        return special or MISSING
    return f"{value:.{digits}g}" if value else "0 (at its bound)"


def percent(fraction: float | None, decimals: int = 1) -> str:
    """Return a fraction as per cent: 0.978 as `97.8 %`."""
    if fraction is None or not isfinite(fraction):
        return MISSING
    return f"{fixed(100 * fraction, decimals)} %"


def estimate(
    value: float | None, low: float | None = None, high: float | None = None, unit: str = ""
) -> str:
    """Return a number with its interval, `54.8 [52.1, 57.6]`, as precise as that allows.

    The interval's width is given with two significant digits, and all three numbers with as
    many decimals: more would claim what the measurement does not know.
    """
    tail = f" {unit}" if unit and value is not None else ""
    decimals = decimals_of_interval(low, high)
    if value is None or low is None or high is None or not isfinite(high - low):
        return significant(value) + tail
    if decimals is None or abs(value) >= 1e7:
        return f"{significant(value)}{tail} [{significant(low)}, {significant(high)}]"
    return f"{fixed(value, decimals)}{tail} [{fixed(low, decimals)}, {fixed(high, decimals)}]"


def decimals_of_interval(low: float | None, high: float | None) -> int | None:
    """Return the decimals that give an interval's width two digits; None if it has no width."""
    if low is None or high is None or not 1e-7 < abs(high - low) < 1e7:
        return None
    return max(0, 1 - floor(log10(abs(high - low))))


def percent_estimate(
    fraction: float | None, low: float | None = None, high: float | None = None
) -> str:
    """Return a fraction and its interval as per cent: `97.8 % [96.1, 99.0]`."""
    if (
        fraction is None
        or low is None
        or high is None
        or not (isfinite(low) and isfinite(high))
    ):
        return percent(fraction)
    decimals = decimals_of_interval(100 * low, 100 * high)
    decimals = 1 if decimals is None else min(3, max(1, decimals))
    ends = f"[{fixed(100 * low, decimals)}, {fixed(100 * high, decimals)}]"
    return f"{percent(fraction, decimals)} {ends}"


def count(value: int | None) -> str:
    """Return a whole number with thousands separated, such as `25,450`."""
    return MISSING if value is None else f"{value:,}"


def si(value: float | None, unit: str = "", digits: int = 3) -> str:
    """Return a number with a decimal prefix: 25450 as `25.4k`, 1.2e9 `MAC` as `1.20 GMAC`.

    Without a unit the prefix follows the number directly, as people write sizes in a spec.
    """
    special = _special(value)
    if special is not None or value is None:
        return special or MISSING
    step = 0
    if abs(value) >= 1000:
        step = min(_magnitude(value, digits) // 3, len(_SI) - 1)
    scaled = value / 1000**step
    if step == 0 and float(value).is_integer():
        text = str(int(value))
    else:
        text = fixed(scaled, max(0, digits - 1 - _magnitude(scaled, digits)))
    return f"{text} {_SI[step]}{unit}" if unit else f"{text}{_SI[step]}"


def size(n_bytes: float | None) -> str:
    """Return a number of bytes with a decimal prefix: 102400 as `102 kB`."""
    return si(n_bytes, "B")


def duration(seconds: float | None) -> str:
    """Return a time span in the two units that matter: `2.1 ms`, `12.3 s`, `1 h 02 min`."""
    special = _special(seconds)
    if special is not None or seconds is None:
        return special or MISSING
    if seconds < 0:
        return "-" + duration(-seconds)
    for limit, factor, unit in ((1e-3, 1e6, "µs"), (1.0, 1e3, "ms"), (59.95, 1.0, "s")):
        if seconds < limit:
            return f"{_three_digits(seconds * factor)} {unit}"
    minutes, rest_s = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest_s:02d} s"
    hours, rest_min = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {rest_min:02d} min"
    return f"{hours // 24:,} d {hours % 24:02d} h"


def _three_digits(value: float) -> str:
    """Return a number below a thousand with three digits and no needless zeros."""
    text = fixed(value, max(0, 2 - _magnitude(value, 3))) if value else "0"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _special(value: float | None) -> str | None:
    """Return how a value that is no ordinary number reads; None for an ordinary one."""
    if value is None or (isinstance(value, float) and isnan(value)):
        return MISSING
    if isinstance(value, float) and not isfinite(value):
        return "∞" if value > 0 else "-∞"
    return None


def _magnitude(value: float, digits: int) -> int:
    """Return the power of ten of a number after it is rounded to `digits` digits."""
    if value == 0:
        return 0
    return int(f"{abs(value):.{digits - 1}e}".partition("e")[2])
