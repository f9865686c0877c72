"""The report of a search: several objectives, constraints, parameters that only some have."""

import csv
import html
import json
import re
from math import inf, isnan, nan

import pytest
from command_line import cli
from tuning_spaces import TWO_MODELS, experiment

from modelscale.commands.reporting.importance import importance
from modelscale.commands.reporting.search import Study, random_search
from modelscale.commands.reporting.search_front import constraints_section
from modelscale.report.charts import Axis, History, ParallelCoordinates, TradeOff
from modelscale.report.content import Page, Section
from modelscale.report.figures.drawing import style
from modelscale.report.figures.trade_off import draw_trade_off
from modelscale.report.page import render
from modelscale.runs.trials import TrialRecord, read_trials

SPEC = """\
data: {source: digits, split: {test: 0.2, validation: 0.2, seed: 0}}
model: {kind: mlp, hidden: [16]}
optimizer: {kind: adam, lr: 1e-2}
train: {epochs: 5, batch_size: 64}
tune:
  objectives: [{metric: validation/accuracy}, {metric: model/macs}]
  constraints: {model/parameters: {at_most: 5000}, validation/recall: {at_least: 0.85}}
  sampler: random
  n_trials: 16
  confirm_seeds: 0
  space:
    optimizer.lr: {low: 1e-4, high: 1e-1, log: true}
    model: {choices: [{kind: linear}, {kind: mlp, hidden: [64]}, {kind: mlp, hidden: [256]}]}
    model.dropout: {low: 0.0, high: 0.5, when: {model.kind: [mlp]}}
"""


def text_of(page):
    """Return what a reader sees of a page, in one line."""
    seen = re.sub(r"<(style|svg).*?</\1>", " ", page, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", seen)).split())


def shown(*blocks):
    return render(Page("Run", sections=(Section("All", tuple(blocks)),)))


def trial(number, state="complete", values=(0.5,), **kept):
    return TrialRecord(
        number=number, state=state, values=values, **({"params": {}, "steps": 4} | kept)
    )


@pytest.fixture(scope="module")
def search(tmp_path_factory):
    """Return a folder with a finished search that has all of it, and its report's page."""
    folder = tmp_path_factory.mktemp("search")
    (folder / "mo.yaml").write_text(SPEC)
    tuned = cli(folder, "tune", "mo.yaml", "-q")
    assert tuned.code == 0, tuned.err
    reported = cli(folder, "report", "mo", "--json")
    assert reported.code == 0, reported.err
    run = (folder / "runs" / "mo" / "latest").resolve()
    return run, (run / "report.html").read_text()


class TestRealSearch:
    def test_front_is_the_runs(self, search):
        run, page = search
        seen = text_of(page)
        front = json.loads((run / "run.json").read_bytes())["result"]["pareto"]
        assert "Better is higher validation/accuracy and lower model/macs" in seen
        assert (run / "plots" / "validation-accuracy-against-model-macs.svg").is_file()
        table = seen.partition("Trials on the front")[2].partition("Constraints")[0]
        rows = re.findall(r"(\d+) (0\.\d+|1\.0+) ([\d,.]+) 0\.\d+ \{", table)
        assert sorted(int(number) for number, *_ in rows) == sorted(p["trial"] for p in front)
        accuracies = [float(value) for _, value, _ in rows]
        assert accuracies == sorted(accuracies, reverse=True)

    def test_constraints_count_infeasible_trials(self, search):
        run, page = search
        trials = read_trials(run)
        infeasible = [t for t in trials if t.state == "infeasible"]
        large = [t for t in trials if t.result["static"]["model/parameters"] > 5000]
        poor = [t for t in infeasible if t.steps]
        assert large
        assert poor
        seen = text_of(page)
        assert f"{len(infeasible)} of 16 trials are infeasible and cannot win" in seen
        assert f"model/parameters at most 5,000 16 {len(large)}" in seen
        trained = 16 - len(large)
        assert f"validation/recall at least 0.85 {trained} {len(poor)}" in seen

    def test_parameter_that_some_trials_have(self, search):
        run, page = search
        having = sum("model.dropout" in t.params for t in read_trials(run))
        assert 0 < having < 16
        assert f"Only {having} of 16 trials have it." in text_of(page)
        assert ">absent</text>" in page
        with (run / "trials.csv").open(newline="") as stream:
            rows = list(csv.DictReader(stream))
        assert sum(row["model.dropout"] == "" for row in rows) == 16 - having

    def test_every_objective_is_in_the_table_of_trials(self, search):
        assert "Trial State validation/accuracy model/macs Steps" in text_of(search[1])


class TestInfeasible:
    def study(self):
        trials = (trial(0), trial(1, "infeasible", (0.1,)), trial(2, "stopped", (0.4,)))
        return Study(trials, (0.5, 0.1, 0.4), "validation/loss", "minimize", 0, (), 0)

    def test_values_do_not_count(self):
        study = self.study()
        assert study.feasible[0] == 0.5
        assert isnan(study.feasible[1])
        assert study.feasible[2] == 0.4
        assert study.indices("infeasible") == (1,)
        assert random_search(study.feasible, maximize=False)[-1] == 0.4

    def test_history_marks_them(self):
        block = History("H", (0.5, 0.1, 0.4), (0.5,) * 3, infeasible=(1,), stopped=(2,))
        page = shown(block).html
        assert ">infeasible</text>" in page
        assert ">stopped early</text>" in page

    def test_metrics_of_a_stopped_trial_break_nothing(self):
        spec = experiment(
            "\n    optimizer.lr: {low: 1e-3, high: 1.0}\n",
            "  constraints: {validation/recall: {at_least: 0.9}, model/macs: {at_most: 10}}\n",
        )
        low = {"metrics": {"validation/recall": 0.5}, "static": {"model/macs": 5.0}}
        lost = {"metrics": {"validation/recall": None}, "static": {"model/macs": 20}}
        trials = [
            trial(0, "stopped", result=low),
            trial(1, "infeasible", result=low),
            trial(2, "infeasible", result=lost),
            trial(3, "running"),
        ]
        section = constraints_section(trials, spec)
        assert section.blocks[0].rows == (
            ("validation/recall", "at least 0.9", 2, 2),
            ("model/macs", "at most 10", 3, 1),
        )

    def test_no_constraints_no_section(self):
        assert constraints_section([trial(0)], experiment(TWO_MODELS)) is None
        assert constraints_section([trial(0)], None) is None


class TestConditionalImportance:
    def trials(self, n, every):
        return [
            trial(
                k,
                values=((k * 7 % n) / n,),
                params={"optimizer.lr": 10.0 ** -(1 + 3 * (k * 7 % n) / n)}
                | ({"model.dropout": (k * 7 % n) / n / 2} if k % every == 0 else {}),
            )
            for k in range(n)
        ]

    def test_is_judged_among_the_trials_that_have_it(self):
        spec = experiment(TWO_MODELS)
        found = importance(self.trials(60, 3), spec, maximize=False)
        assert found.values["model.dropout"] == pytest.approx(1)
        assert found.values["optimizer.lr"] == pytest.approx(1)
        assert "judged among those trials" in found.method

    def test_needs_a_few_trials(self):
        found = importance(self.trials(12, 5), None, maximize=False)
        assert list(found.values) == ["optimizer.lr"]
        assert "Fewer than 5 trials have model.dropout." in found.method


class TestTradeOff:
    def lines(self, **kept):
        """Return the front's lines as they are drawn: their style and their points."""
        block = TradeOff("T", (1.0, 2.0, 3.0), (0.5, 0.8, 0.9), (2, 0, 1), **kept)
        with style():
            axes = draw_trade_off(block, 900).figure.axes[0]
            return [(line.get_drawstyle(), line.get_xydata().tolist()) for line in axes.lines]

    def test_stairs_never_promise_more_than_a_trial_reached(self):
        points = [[1, 0.5], [2, 0.8], [3, 0.9]]
        # What may cost 2.5 is as good as what costs 2, but at 2.5 or more it is the one at 3
        assert self.lines() == [("steps-post", points)]
        assert self.lines(x_direction="maximize") == [("steps-pre", points)]

    def test_front_of_more_objectives_is_not_connected(self):
        assert self.lines(connected=False) == []

    def test_what_is_not_there_is_counted(self):
        block = TradeOff(
            "T", (1.0, nan, 3.0, inf), (0.5, 0.8, nan, 0.1), (0, 1), (3,), (2,), log_x=True
        )
        page = shown(block)
        assert "Not shown: 3 of 4 trials without both values." in page.html
        assert list(page.plots) == ["t.svg"]

    @pytest.mark.parametrize("values", [(), (nan, nan)])
    def test_nothing_to_draw(self, values):
        page = shown(TradeOff("T", values, values, tuple(range(len(values)))))
        assert "No trial has a value of both objectives yet." in page.html

    def test_names_are_not_markup(self):
        name = "<b>&$x$\u202e</b>"
        page = shown(TradeOff(name, (1.0, 2.0), (1.0, 2.0), (0,), (1,), (), x_label=name))
        assert "<b>" not in page.html

    def test_far_trial_does_not_crush_the_front(self):
        y = tuple(0.9 + 0.001 * k for k in range(40))
        block = TradeOff("T", tuple(map(float, range(41))), (*y, -1e6), (0,))
        block = TradeOff(block.title, block.x, block.y, (0,), y_direction="maximize")
        assert "Values far outside the picture: 1." in shown(block).html

    def test_thousands_of_trials(self):
        n = 20_000
        wave = tuple(float(k * 7919 % n) for k in range(n))
        block = TradeOff("T", wave, wave[::-1], tuple(range(30)))
        page = shown(block)
        assert len(page.html) < 3_000_000
        assert "drawn at random" in page.html


def test_trial_without_a_parameter_passes_below_its_axis():
    block = ParallelCoordinates(
        "P", (Axis("a", (1.0, 2.0, 3.0)), Axis("b", (0.1, nan, 0.3))), (0.1, 0.2, 0.3)
    )
    assert ">absent</text>" in shown(block).html
