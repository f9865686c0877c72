"""The colours of plots, by what they are for.

Matplotlib draws with the colours of a light page; the page replaces each by a CSS variable, so
that a dark page shows its own (`page.css`). No two roles share a colour. The six series colours
are those of Okabe and Ito, which people with any colour vision tell apart.
"""

INK = "#1f2933"
"""Text that is read."""

MUTED = "#5f6c7b"
"""Axis labels, ticks, and marks that stand back."""

GRID = "#e3e8ee"
"""Lines that help the eye."""

SURFACE = "#ffffff"
"""What plots are drawn on; also the rim of a mark on others."""

HEAT = "#1b5a97"
"""A cell of a heat map at its fullest."""

ON_HEAT = "#fefefe"
"""Text on a full cell."""

REST = "#8d99a6"
"""What is compared with, and trials that are not among the best."""

SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Lines and marks, in this order."""

DASHES: tuple[tuple[float, ...], ...] = ((), (5, 2), (1.5, 1.5), (6, 2, 1.5, 2))
"""Line styles; the next one begins when the colours have all been used."""

CSS_VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    GRID: "--grid",
    SURFACE: "--surface",
    HEAT: "--heat",
    ON_HEAT: "--on-heat",
    REST: "--rest",
    **{colour: f"--series-{index}" for index, colour in enumerate(SERIES)},
}
"""The page's name for each colour."""


def series_color(index: int) -> str:
    """Return the colour of the series at `index`."""
    return SERIES[index % len(SERIES)]


def series_dashes(index: int) -> tuple[float, ...]:
    """Return the on-off pattern of the series at `index`; empty for a solid line."""
    return DASHES[index // len(SERIES) % len(DASHES)]
