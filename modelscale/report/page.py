"""From a page's content to one HTML file that needs nothing else, and its plots as SVG."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import singledispatch
from itertools import chain, count, groupby
from typing import TYPE_CHECKING, Any, NamedTuple

from modelscale.report.characters import legal, short, slug
from modelscale.report.charts import (
    Calibration,
    Confusion,
    Curves,
    Plot,
    Residuals,
    Scatter,
    SliceScatter,
)
from modelscale.report.content import (
    Block,
    Code,
    KeyValues,
    Page,
    RenderedPage,
    Section,
    Stats,
    Table,
)
from modelscale.report.figures import (
    bars,
    classes,
    lines,
    regression,
    scaling,
    study,
    trade_off,
)
from modelscale.report.figures.drawing import FULL, HALF, Drawn, style
from modelscale.report.tables import facts, laid_out

if TYPE_CHECKING:
    from markupsafe import Markup

_FOLDED_LINES = 16  # longer code is behind a click
_SMALL_MATRIX = 12  # classes of a confusion matrix that is legible in half a column


class _View(NamedTuple):
    """A block as the template takes it: which macro, with what, over how much of the column."""

    kind: str
    content: Any
    half: bool = False


class _Figure(NamedTuple):
    """A plot as the template takes it; without markup there is nothing to show."""

    title: str
    svg: Markup | None
    description: str
    caption: str


def render(page: Page) -> RenderedPage:
    """Draw a page. Equal pages give equal bytes; nothing is written.

    Raises:
        Unavailable: If matplotlib, which the extra `report` brings, is not installed.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("modelscale", "report")
    environment = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    plots: dict[str, bytes] = {}
    with style():
        sections = [
            (section, list(_views(section, index, plots)))
            for index, section in enumerate(page.sections, start=1)
        ]
    html = environment.get_template("page.html").render(page=page, sections=sections)
    return RenderedPage(legal(html), plots)


def _views(section: Section, index: int, plots: dict[str, bytes]) -> Iterator[_View]:
    """Yield the section's blocks; plots that follow each other stand side by side."""
    place = 0
    for pairs, run in groupby(section.blocks, _pairs):
        blocks = list(run)
        paired = len(blocks) - len(blocks) % 2 if pairs else 0
        for nth, block in enumerate(blocks):
            place += 1
            yield _view(
                block,
                f"p{index}-{place}",
                plots,
                half=nth < paired or isinstance(block, SliceScatter),
            )


def _pairs(block: Block) -> bool:
    """Return whether a block is as good at half the width, beside another such."""
    match block:
        case Curves() | Scatter() | Residuals() | Calibration() | SliceScatter():
            return True
        case Confusion():
            return len(block.labels) <= _SMALL_MATRIX
    return False


def _view(block: Block, name: str, plots: dict[str, bytes], *, half: bool) -> _View:
    match block:
        case Table():
            return _View("table", laid_out(block))
        case KeyValues():
            return _View("facts", (block.title, facts(block)))
        case Code():
            lines = block.text.count("\n") + 1
            return _View("code", (block, lines, lines > _FOLDED_LINES))
        case Stats():
            return _View("stats", block.stats)
    if not isinstance(block, Plot):
        return _View("paragraph", block.text)
    return _View("plot", _figure(block, name, plots, HALF if half else FULL), half)


def _figure(block: Plot, name: str, plots: dict[str, bytes], width: int) -> _Figure:
    """Draw a plot and put its file among the others under a name of its own."""
    from markupsafe import Markup

    from modelscale.report.svg import to_svg

    drawn = _draw(block, width)
    caption = " ".join(filter(None, (block.caption, *drawn.notes)))
    if drawn.figure is None:
        return _Figure(block.title, None, drawn.description, caption)
    svg = to_svg(drawn.figure, short(block.title, 200), short(drawn.description, 2000), name)
    plots[_file_name(block.title, plots)] = svg.file
    # The markup comes from our own serialiser, which escapes every text in it
    return _Figure(block.title, Markup(svg.inline), drawn.description, caption)


def _file_name(title: str, taken: Collection[str]) -> str:
    """Return a name for a plot's file; the second of a title ends in `-2`."""
    names = (f"{slug(title)}{end}.svg" for end in chain([""], map("-{}".format, count(2))))
    return next(name for name in names if name not in taken)


@singledispatch
def _draw(block: Plot, width: int) -> Drawn:
    """Draw a plot of so many pixels' width."""
    raise AssertionError(f"{type(block).__name__} of width {width} has no drawing")


_draw.register(lines.draw_curves)
_draw.register(lines.draw_fitted_line)
_draw.register(classes.draw_confusion)
_draw.register(classes.draw_calibration)
_draw.register(regression.draw_scatter)
_draw.register(regression.draw_residuals)
_draw.register(bars.draw_bars)
_draw.register(study.draw_history)
_draw.register(study.draw_parallel)
_draw.register(study.draw_slice)
_draw.register(trade_off.draw_trade_off)
_draw.register(scaling.draw_scaling_law)
