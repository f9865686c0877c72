"""The page of one run, by the command that made it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from modelscale.commands.line_fit import LineFit
from modelscale.commands.reporting.answers import answers_of, ranks_items, texts_of
from modelscale.commands.reporting.closed_form import closed_form
from modelscale.commands.reporting.curves import curves_section
from modelscale.commands.reporting.ensemble import ensemble_sections
from modelscale.commands.reporting.errors_made import errors_section, texts_section
from modelscale.commands.reporting.ladder import ladder_sections, ladder_stats
from modelscale.commands.reporting.overview import (
    generated_from,
    metrics_section,
    stats_of,
    subtitle_of,
    title_of,
    warnings_of,
)
from modelscale.commands.reporting.priced import decisions_section
from modelscale.commands.reporting.provenance import (
    data_section,
    environment_section,
    settings_section,
)
from modelscale.commands.reporting.pruned import pruned_sections, pruned_stats, pruned_warnings
from modelscale.commands.reporting.reading import RunView, estimates
from modelscale.commands.reporting.repeated import members_section
from modelscale.commands.reporting.rereading import Reread, reread
from modelscale.commands.reporting.search import search_sections, search_stats, study_of
from modelscale.errors import ModelscaleError
from modelscale.report.content import Page, Section, Stat

_MOST_TEXTS = 20


@dataclass(frozen=True)
class RunPage:
    """A run's page, and what of it other programs want.

    Attributes:
        page: To be drawn.
        fit: The trained line of a one-feature regression.
    """

    page: Page
    fit: LineFit | None = None


def run_page(view: RunView) -> RunPage:
    """Return the page of one run, as far as it has come."""
    again = reread(view)
    rows = again.rows()
    if view.verb == "tune":
        return RunPage(_page(view, again, *_searched(view, again, rows), rows, ()))
    if view.verb == "scale":
        return RunPage(_page(view, again, *_climbed(view, rows), rows, ()))
    faults: list[str] = []
    sections: list[Section | None] = list(pruned_sections(view))
    computed = closed_form(view, again)
    if view.verb == "ensemble":
        sections += ensemble_sections(view)
    if estimates(view.result):
        sections.append(metrics_section(view, rows))
        sections.append(members_section(view))
    sections += computed.sections
    if view.lines or not sections:
        sections.append(curves_section(view))
    try:
        sections += _answered(view)
    except ModelscaleError as error:
        faults.append(str(error))
    there = [section for section in sections if section is not None]
    stats = (*pruned_stats(view), *stats_of(view, rows))
    page = _page(view, again, stats, there, rows, [*pruned_warnings(view), *faults])
    return RunPage(page, computed.fit)


def _answered(view: RunView) -> list[Section | None]:
    """Return what is seen in a run's answers.

    Raises:
        DataError: If a file of answers is damaged.
    """
    answers = answers_of(view)
    if answers is None:
        return [texts_section(texts_of(view, _MOST_TEXTS))]
    return [
        decisions_section(view),
        None if ranks_items(view) else errors_section(answers),
    ]


def _searched(
    view: RunView, again: Reread, rows: dict[str, int]
) -> tuple[tuple[Stat, ...], list[Section]]:
    study = study_of(view)
    sections = list(search_sections(view, study, again))
    if estimates(view.result):
        sections.insert(1, metrics_section(view, rows))
    return (*stats_of(view, rows), *search_stats(study)), sections


def _climbed(view: RunView, rows: dict[str, int]) -> tuple[tuple[Stat, ...], list[Section]]:
    sections = ladder_sections(view)
    if estimates(view.result):
        sections.append(metrics_section(view, rows))
    others = [replace(stat, lead=False) for stat in stats_of(view, rows)]
    return (*ladder_stats(view), *others), sections


def _page(
    view: RunView,
    again: Reread,
    stats: tuple[Stat, ...],
    sections: list[Section],
    rows: dict[str, int],
    faults: list[str] | tuple[str, ...],
) -> Page:
    return Page(
        title=title_of(view),
        subtitle=subtitle_of(view),
        stats=stats,
        sections=(
            *sections,
            data_section(view, again, rows),
            settings_section(view),
            environment_section(view),
        ),
        warnings=(*warnings_of(view), *faults),
        generated_from=generated_from(view),
    )
