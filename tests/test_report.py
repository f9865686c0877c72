"""The report: one file that needs nothing else, for any data, however hostile or unfinished."""

import re
import sys
from html.parser import HTMLParser
from math import inf, nan
from pathlib import Path
from typing import get_args
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelscale.errors import Unavailable
from modelscale.report.charts import (
    Axis,
    Bars,
    BarSeries,
    Bin,
    Calibration,
    Confusion,
    Curves,
    FittedLine,
    Foretold,
    History,
    LadderSize,
    Mark,
    ParallelCoordinates,
    Plot,
    Residuals,
    ScalingLaw,
    Scatter,
    Series,
    SliceScatter,
    TradeOff,
)
from modelscale.report.content import (
    Block,
    Code,
    Estimate,
    KeyValues,
    Page,
    Paragraph,
    Section,
    Stat,
    Stats,
    Table,
)
from modelscale.report.figures.palette import CSS_VARIABLES
from modelscale.report.tables import laid_out
from modelscale.report.thinning import CURVE_POINTS, condensed, curve_rows, scatter_rows

HOSTILE = (
    '<script>alert("x")</script>&amp;$\\frac{1}{0}$ id="p1-0" 日本\x00\x1b\ud800 '
    "\"'><img src=x onerror=y>"
)
VOID = {"meta", "img", "br", "hr", "link", "input"}


def draw(page):
    pytest.importorskip("matplotlib")
    from modelscale.report.page import render

    return render(page)


def render(*blocks, **page):
    return draw(Page("Run", sections=(Section("All", tuple(blocks)),), **page))


def line(n, value=lambda i: 1.0 / (1 + i), name="train"):
    return Series(name, tuple(map(float, range(n))), tuple(map(value, range(n))))


def plots(label="a", values=(0.3, 0.2, 0.5, nan)):
    """Return one block of every sort of plot, all with the same label and values."""
    series = Series(label, (0.0, 1.0, 2.0, 3.0), values, (0.1,) * 4, (0.9,) * 4)
    return (
        Curves(label, (series,), label, label, marks=(Mark(1.0, label),), caption=label),
        Curves(f"{label} log", (series,), label, label, log_x=True, log_y=True),
        Confusion(label, (label, "b"), ((3, 1), (0, 4)), label),
        Calibration(label, (Bin(0.5, 0.4, 3, 0.1, 0.7), Bin(0.9, nan, 2))),
        Scatter(label, values, values, label),
        Residuals(label, values, values, label),
        FittedLine(label, values, values, series, series, label, label),
        Bars(label, (label, "b", "c", "d"), (BarSeries(label, values),), label),
        Bars(label, (label, "b", "c", "d"), (BarSeries(label, values, values, values),), label),
        History(label, values, values, values, (1,), label),
        ParallelCoordinates(
            label,
            (Axis(label, values, log=True), Axis(label, (label, "b", "b", "c"))),
            values,
            "maximize",
        ),
        SliceScatter(label, values, values, log=True, metric=label),
        SliceScatter(label, (label, "b", "b", "c"), values, metric=label),
        TradeOff(label, values, values, (1,), (0,), (2,), x_label=label, log_x=True),
        ScalingLaw(
            label,
            (LadderSize(label, values, values, series),),
            (Foretold(1.0, values[0], values[1], values[2], values[3]),),
        ),
    )


EMPTY: tuple[Block, ...] = (
    Stats(),
    Paragraph(""),
    KeyValues(),
    Table(),
    Table(("only", "heads")),
    Code(),
    Curves("Loss"),
    Curves("Loss", (Series("train"),)),
    Confusion("Confusion"),
    Confusion("Confusion", ("a", "b"), ((0, 0), (0, 0))),
    Calibration("Calibration"),
    Scatter("Scatter"),
    Residuals("Residuals"),
    FittedLine("Line"),
    Bars("Bars"),
    History("History"),
    ParallelCoordinates("Coordinates"),
    SliceScatter("Slice"),
    TradeOff("Front"),
    ScalingLaw("Law"),
)


@pytest.fixture(scope="module")
def everything():
    """A page with every block, some of them twice, some of them empty."""
    return render(*plots(), *plots("b")[:3], *EMPTY, generated_from=("https://example.org",))


class Document(HTMLParser):
    """Every tag, attribute and text of a page; fails on tags that do not match."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.tags, self.attributes, self.ids, self.text, self.open = [], [], [], [], []
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_data(self, data):
        self.text.append(data)


def test_page_is_well_formed_and_every_id_is_its_own(everything):
    page = Document(everything.html)
    assert len(page.ids) == len(set(page.ids))
    targets = [v[1:] for k, v in page.attributes if k == "href" and v.startswith("#")]
    assert set(targets) <= set(page.ids)


def test_page_loads_nothing_and_runs_nothing(everything):
    page = Document(everything.html)
    assert not {"script", "link", "img", "iframe", "object", "embed", "base"} & set(page.tags)
    for name, value in page.attributes:
        assert "//" not in (value or ""), name
        assert not name.startswith("on")
    assert "@import" not in "".join(page.text)
    assert "default-src 'none'" in dict(page.attributes)["content"]


def test_every_hostile_text_is_shown_and_never_obeyed():
    stat = Stat(HOSTILE, HOSTILE, HOSTILE, HOSTILE)
    blocks = (
        Stats((stat,)),
        Paragraph(HOSTILE),
        KeyValues(((HOSTILE, HOSTILE),), HOSTILE),
        Table((HOSTILE,), ((HOSTILE,),), HOSTILE, HOSTILE),
        Code(HOSTILE, HOSTILE),
        Code(HOSTILE + "\n" * 40, HOSTILE),
        *plots(HOSTILE),
    )
    sections = (Section(HOSTILE, blocks, HOSTILE), Section(HOSTILE))
    rendered = draw(Page(HOSTILE, HOSTILE, (stat,), sections, (HOSTILE,), (HOSTILE,)))
    page = Document(rendered.html)
    assert not {"script", "img"} & set(page.tags)
    assert "onerror" not in dict(page.attributes)
    assert '<script>alert("x")</script>&amp;$\\frac{1}{0}$' in "".join(page.text)
    rendered.html.encode()
    for name, data in rendered.plots.items():
        assert re.fullmatch(r"[a-z0-9-]+\.svg", name)
        assert not any(e.tag.endswith("script") for e in ET.fromstring(data).iter())


def test_equal_pages_give_equal_bytes_whatever_the_users_own_style(everything):
    mpl = pytest.importorskip("matplotlib")
    with mpl.rc_context({"font.size": 40, "svg.fonttype": "path", "axes.grid": True}):
        again = render(
            *plots(), *plots("b")[:3], *EMPTY, generated_from=("https://example.org",)
        )
        assert again == everything
        assert mpl.rcParams["font.size"] == 40
    assert "matplotlib.pyplot" not in sys.modules


def test_missing_matplotlib_says_what_to_install(monkeypatch):
    from modelscale.report.page import render

    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(Unavailable) as caught:
        render(Page("Run"))
    assert str(caught.value) == (
        "the report needs matplotlib; install it with: pip install 'modelscale[report]'"
    )


@pytest.mark.parametrize("block", EMPTY, ids=lambda block: type(block).__name__)
def test_a_block_without_data_says_so(block):
    rendered = render(block)
    Document(rendered.html)
    assert not rendered.plots
    assert 'class="empty' in rendered.html or isinstance(block, Paragraph)


def test_a_page_without_sections_says_so():
    html = draw(Page("", warnings=("The run was interrupted.",))).html
    assert "Nothing has been recorded yet." in html
    assert "The run was interrupted." in html


def test_every_sort_of_plot_has_a_drawing(everything):
    assert {type(block) for block in plots()} == set(get_args(Plot))
    assert len(everything.plots) == len(plots()) + 3


@pytest.mark.parametrize(
    "values",
    [
        (nan, nan, nan, nan),
        (inf, -inf, nan, 1.0),
        (0.0, 0.0, 0.0, 0.0),
        (1e308, -1e308, 1.0, 2.0),
        (5e-324, 1e-300, 0.0, -1.0),
        (1e99, -1e99, 0.0, 1.0),
    ],
    ids=str,
)
def test_no_number_breaks_a_plot(values):
    Document(render(*plots(values=values)).html)


def test_values_that_cannot_be_shown_are_counted_in_the_caption():
    html = render(
        Curves("Loss", (Series("a", (0.0, 1.0, 2.0), (1.0, nan, -1.0)),), log_y=True)
    ).html
    assert "Not finite and not shown: 1 of 3 values." in html
    assert "At or below zero, where a logarithmic axis has no place: 1 points." in html


def test_a_diverged_trial_does_not_crush_the_others():
    values = (*(0.5 + 0.01 * i for i in range(30)), 1e9)
    html = render(History("Trials", values, values)).html
    assert "Values far outside the picture: 2." in html
    assert "1G" not in html


def test_the_best_trial_is_in_the_picture_however_far_ahead():
    values = (*(0.69 + 0.001 * i for i in range(30)), 0.02)
    best = tuple(min(values[: i + 1]) for i in range(31))
    assert "outside" not in render(History("Trials", values, best)).html
    assert "outside" in render(History("Trials", values, best, direction="maximize")).html
    coordinates = ParallelCoordinates("All", (Axis("lr", values),), values)
    assert "Not shown" not in render(coordinates).html
    n = 6_000
    scores = (*(1.0 + i % 100 for i in range(n)), 0.5)
    told = render(SliceScatter("lr", tuple(map(float, range(n + 1))), scores)).html
    assert "the best, 0.5000, is at 6,000" in told


def test_colours_of_plots_are_variables_that_the_page_defines(everything):
    import modelscale.report

    css = Path(modelscale.report.__file__).with_name("page.css").read_text("utf-8")
    body = everything.html.partition("</style>")[2]
    for colour, variable in CSS_VARIABLES.items():
        assert f"{variable}: " in css.partition("@media")[0]
        assert f"{variable}: " in css.partition("@media")[2]
        assert colour not in body


def test_epochs_are_whole_numbers_on_their_axis():
    three = Series("train", (1, 2, 3), (100, 200, 300))
    rendered = render(Curves("Loss by epoch", (three,), "epoch", "loss"))
    root = ET.fromstring(rendered.plots["loss-by-epoch.svg"])
    ticks = [t.text for t in root.iter("{http://www.w3.org/2000/svg}text") if t.text]
    assert "2" in ticks
    assert not any("." in tick for tick in ticks)


def test_files_are_plain_svg_with_title_and_description():
    rendered = render(Curves("Loss by epoch", (line(30),), "epoch", "loss"))
    root = ET.fromstring(rendered.plots["loss-by-epoch.svg"])
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert [root[0].text, root[0].tag[-5:], root[1].tag[-4:]] == [
        "Loss by epoch",
        "title",
        "desc",
    ]
    assert root[1].text == "loss by epoch: train ends at 0.03333 (29)."
    assert b"var(" not in rendered.plots["loss-by-epoch.svg"]


def test_plots_of_one_title_have_files_of_their_own():
    names = list(render(*(Curves("Loss", (line(3),)),) * 3, Curves("!", (line(3),))).plots)
    assert names == ["loss.svg", "loss-2.svg", "loss-3.svg", "plot.svg"]


def test_large_data_stays_small_and_says_what_was_left_out():
    n = 20_000
    wave = tuple(float(i % 997) for i in range(n))
    rendered = render(
        Curves("Loss", (line(100_000),)),
        Scatter("Points", wave, wave),
        History("Trials", wave, tuple(max(wave[: 1 + i % 7]) for i in range(n)), wave),
        ParallelCoordinates("All", (Axis("lr", wave),), wave),
        Table(("Trial",), tuple((i,) for i in range(n)), highlight=n - 1),
        Bars("Classes", tuple(map(str, range(300))), (BarSeries("f1", (0.5,) * 300),)),
    )
    assert len(rendered.html) < 1_500_000
    assert "Lines of more than 2,000 points show the mean of each stretch" in rendered.html
    assert "Shown: 5,000 of 20,000 points, drawn at random." in rendered.html
    assert "Shown: the best 500." in rendered.html
    assert "The first 200 of 20,000 rows and the highlighted one." in rendered.html
    assert "Shown: the first 60 of 300." in rendered.html


@pytest.mark.parametrize("classes", [2, 10, 50])
def test_confusion_matrix_names_classes_and_the_worst_mistake(classes):
    counts = [[int(i == j) * 9 for j in range(classes)] for i in range(classes)]
    counts[1][0] = 5
    names = tuple(f"kind {i}" for i in range(classes))
    html = render(Confusion("Matrix", names, tuple(map(tuple, counts)))).html
    assert html.count(">kind 1<") == 2
    assert "most often kind 1 was taken for kind 0 (5 times)" in html
    assert ("Counts are left out" in html) == (classes == 50)


def test_condensed_line_keeps_means_spikes_and_gaps():
    y = [1.0] * 10_000
    y[4_321] = 50.0
    y[6_000:7_000] = [nan] * 1_000
    thin = condensed(Series("a", tuple(map(float, range(10_000))), tuple(y)))
    assert len(thin.y) <= CURVE_POINTS
    assert max(v for v in thin.high if v == v) == 50.0
    assert thin.y[0] == 1.0
    assert any(v != v for v in thin.y)
    short_line = line(CURVE_POINTS)
    assert condensed(short_line) is short_line


@given(st.integers(0, 30_000), st.integers(2, 500))
def test_thinning_keeps_order_limit_and_the_last_stair(n, limit):
    for rows in (curve_rows(n, limit), scatter_rows(n, limit)):
        assert len(rows) == min(n, limit)
        assert rows == sorted(set(rows))
        assert all(0 <= row < n for row in rows)
    if n:
        assert curve_rows(n, limit)[-1] == n - 1


def test_table_aligns_columns_of_numbers_alone():
    table = laid_out(
        Table(
            ("Run", "Score", "Loss", "Size"),
            (
                ("a", Estimate(0.9778, 0.961, 0.99), 0.0213, 1077),
                ("b", Estimate(0.99912, 0.9972, 1.0), 12.5, None),
                ("c", None, nan, 3),
            ),
            highlight=1,
        )
    )
    assert [numeric for _, numeric in table.heads] == [False, True, True, True]
    assert [row.cells[1] for row in table.rows] == [
        "0.978 [0.961, 0.990]",
        "0.999 [0.997, 1.000]",
        "–",
    ]
    assert [row.cells[2] for row in table.rows] == ["0.02", "12.50", "–"]
    assert [row.cells[3] for row in table.rows] == ["1,077", "–", "3"]
    assert [row.highlighted for row in table.rows] == [False, True, False]


def test_half_width_plots_stand_in_pairs():
    html = render(*(Curves(f"c{i}", (line(3),)) for i in range(3))).html
    assert html.count('<figure class="plot half">') == 2
    assert html.count('<figure class="plot">') == 1
