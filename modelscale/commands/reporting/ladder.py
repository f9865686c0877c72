"""How a ladder went: the law, its test, the frontier, returns, and what to train next."""

from __future__ import annotations

import math
from typing import Any, get_args

from modelscale.commands.reporting.coordinates import coordinate_section
from modelscale.commands.reporting.reading import RunView
from modelscale.report import numbers
from modelscale.report.charts import Curves, Foretold, LadderSize, ScalingLaw, Series
from modelscale.report.content import (
    Block,
    Cell,
    Code,
    Estimate,
    Paragraph,
    Section,
    Stat,
    Table,
)
from modelscale.tensors import Task

_MOST_SIZES = 8
_WIDE = 10  # times as large as the lower end of an interval is its upper one
_TOGETHER = "\u00a0"  # a space at which no line ends
_RECOMMENDED = "recommended.yaml"


def ladder_stats(view: RunView) -> tuple[Stat, ...]:
    """Return the tiles: the held-out rung, and how many rungs there are."""
    held, rungs = view.result.get("held_out"), view.result.get("rungs")
    tiles = []
    if held:
        tiles.append(
            Stat(
                "Held-out rung",
                numbers.significant(held["measured"]),
                f"[{numbers.significant(held['low'])}, {numbers.significant(held['high'])}]",
                f"{'inside' if held['inside'] else 'outside'} what the law foretold, "
                f"{numbers.significant(held['value'])} ({held['error']:+.1%})",
                lead=True,
            )
        )
    if rungs:
        tiles.append(Stat("Rungs", f"{rungs['complete']}", note=f"of {rungs['total']}"))
    return tuple(tiles)


def ladder_sections(view: RunView) -> list[Section]:
    """Return the sections about a ladder, as far as it has come."""
    result = view.result
    if not result.get("points"):
        told = Paragraph(
            "The ladder is not finished; `points.csv` holds what has been measured."
        )
        return [Section("The ladder", (told,))]
    sections = [_law(result)]
    if result.get("held_out"):
        sections.append(_test(result))
    if result.get("recommendation"):
        sections.append(_advice(view, result, result["recommendation"]))
    if result.get("learning_rate"):
        sections.append(_rates(result["learning_rate"], result.get("coordinate_check")))
    if result.get("coordinate_check"):
        sections.append(coordinate_section(result["coordinate_check"]))
    sections.append(_rungs(result))
    return sections


def _law(result: dict[str, Any]) -> Section:
    law = result["law"]
    blocks: list[Block] = [_plot(result)]
    if law is not None:
        refit = result.get("refit")
        tested = (
            f"{_runs(law)} The law is the one that was tested; recommendations use the fit to "
            "all rungs."
        )
        if refit is not None and refit["kind"] == law["kind"]:
            blocks.append(_params(f"The law: {law['kind']}", law, tested, refit["params"]))
        elif refit is not None:
            blocks.append(_params(f"The law that was tested: {law['kind']}", law, tested))
            title = f"With the held-out rungs: {refit['kind']}"
            blocks.append(_params(title, refit, _runs(refit)))
        else:
            blocks.append(_params(f"The law: {law['kind']}", law, _runs(law)))
        forms = tuple((f["kind"], _share(f["held_out"])) for f in result["forms"])
        blocks.append(
            Table(
                ("Form", "Error on the top of the fitted range"),
                forms,
                title="Forms that were tried",
            )
        )
    return Section(
        "The law",
        tuple(blocks),
        "Compute is 3 × 2 × multiply-adds of a forward pass × examples seen, counted from the "
        "network's own modules.",
    )


def _params(
    title: str, law: dict[str, Any], caption: str, refit: dict[str, Any] | None = None
) -> Table:
    """Return a law's parameters; beside them those of the same law with the held-out rungs."""
    heads = ("Parameter", f"{law['level']:.0%} interval")
    rows: list[tuple[Cell, ...]] = []
    for name, p in law["params"].items():
        more = () if refit is None else (numbers.significant(refit[name]["value"]),)
        rows.append((name, _estimate(p) + _bound(p), *more))
    columns = heads if refit is None else (*heads, "With the held-out rungs")
    return Table(columns, tuple(rows), title=title, caption=caption)


def _runs(law: dict[str, Any]) -> str:
    return f"{law['points']} runs, noise {law['noise']:.1%} of the loss."


def _plot(result: dict[str, Any]) -> ScalingLaw:
    along = result["along"] or "tokens"
    points = [p for p in result["points"] if p["loss"] is not None]
    lines = {line["parameters"]: line for line in result.get("lines") or ()}
    held = result.get("held_out") or {}
    one_line = lines.get(None)
    by_size = sorted({p["parameters"] for p in points})
    if along == "parameters":
        groups = [("measured", points, one_line)]
    else:
        chosen = by_size[:: -(-len(by_size) // _MOST_SIZES)]
        groups = [
            (
                f"{numbers.count(size)} parameters",
                [p for p in points if p["parameters"] == size],
                lines.get(size, one_line),
            )
            for size in chosen
        ]
    return ScalingLaw(
        "Measured rungs and the law",
        tuple(
            LadderSize(
                name,
                tuple(float(p[along]) for p in own),
                tuple(p["loss"] for p in own),
                None if line is None else _series(name, line),
            )
            for name, own, line in groups
        ),
        tuple(
            Foretold(r[along], r["measured"], r["value"], r["low"], r["high"])
            for r in held.get("rungs", ())
            if along == "parameters" or r["parameters"] in {p["parameters"] for p in points}
        ),
        x_label="parameters" if along == "parameters" else f"{_units(result)} seen in training",
        y_label=_loss_name(result["metric"]),
        caption="Bands are those of the law alone; the intervals of the held-out rungs are for "
        "a measurement.",
    )


def _series(name: str, line: dict[str, Any]) -> Series:
    columns = (
        tuple(math.nan if v is None else v for v in line[key])
        for key in ("x", "value", "low", "high")
    )
    return Series(name, *columns)


def _test(result: dict[str, Any]) -> Section:
    held = result["held_out"]
    rows = tuple(
        (
            numbers.count(int(r["parameters"])),
            numbers.count(int(r["tokens"])),
            f"{r['times_fitted_compute']:.2f}",
            numbers.significant(r["measured"]),
            _estimate(r),
            f"{r['error']:+.1%}",
            "inside" if r["inside"] else "outside",
        )
        for r in held["rungs"]
    )
    columns = (
        "Parameters",
        _units(result).capitalize(),
        "× largest fitted compute",
        "Measured",
        f"Foretold, {held['level']:.0%} interval",
        "Error",
        "Measured is",
    )
    table = Table(
        columns,
        rows,
        caption="The last row is the top rung. Measured is the mean over seeds.",
        highlight=len(rows) - 1,
    )
    note = "Rungs that the law's fit has not seen: all that are well above the fitted range."
    return Section("The test on held-out rungs", (table,), note)


def _advice(view: RunView, result: dict[str, Any], advice: dict[str, Any]) -> Section:
    chosen = advice["chosen"]
    blocks: list[Block] = [
        Table(
            ("Size", "Parameters", "FLOPs", "Expected", "State"),
            tuple(
                (
                    ", ".join(f"{k} {v}" for k, v in option["changes"].items()) or "as it is",
                    numbers.count(option["parameters"]),
                    numbers.si(option["compute"]),
                    _estimate(option["expected"]),
                    "trained" if option["trained"] else "not trained",
                )
                for option in advice["sizes"]
            ),
            title="Every size with all the data there is",
            caption=f"Highlighted: the smallest size within {advice['within']:.0%} of the "
            "best expected.",
            highlight=[o["size"] for o in advice["sizes"]].index(chosen["size"]),
        )
    ]
    if advice["frontier"]:
        blocks += [_frontier_plot(advice["frontier"], _units(result))]
        blocks += [_frontier(result["metric"], advice["frontier"], _units(result))]
    rows = tuple(
        (
            f"{r['factor']:g} × {_units(result) if r['what'] == 'tokens' else r['what']}",
            _estimate(r["gain"]),
            numbers.significant(r["before"]),
        )
        for r in advice["returns"]
    )
    heads = ("More", f"Takes off {_loss_name(result['metric'])}", "Which is")
    blocks.append(Table(heads, rows, title="What more would buy at the top rung"))
    run = advice["next_run"]
    if run is not None:
        size = ", ".join(f"{k} {v}" for k, v in run["changes"].items())
        seconds = run.get("seconds")
        took = f", about {numbers.duration(seconds)} each seed" if seconds else ""
        blocks.append(
            Paragraph(
                f"The run that would teach most: {numbers.count(run['parameters'])} parameters"
                f"{f' ({size})' if size else ''} on {run['fraction']:.0%} of the data, "
                f"{numbers.si(run['compute'])} FLOPs{took}. The error of the prediction at ten "
                f"times the compute would go from {run['sd_before']:.1%} to "
                f"{run['sd_after']:.1%}."
            )
        )
    path = view.path / _RECOMMENDED
    if path.is_file():
        text = path.read_text(encoding="utf-8", errors="replace")
        blocks.append(Code(text, title=f"{_RECOMMENDED}: ready for modelscale train"))
    return Section("What to train next", tuple(blocks))


def _frontier(metric: str, budgets: list[dict[str, Any]], units: str) -> Table:
    rows = tuple(
        (
            numbers.si(b["compute"]),
            _amount(b["parameters"]),
            _amount(b["tokens"]),
            _estimate(b["loss"]),
            f"{numbers.si(b['range']['low']['value'])} to "
            f"{numbers.si(b['range']['high']['value'])}",
        )
        for b in budgets
    )
    heads = ("FLOPs", "Best parameters", f"Best {units}", f"Expected {_loss_name(metric)}")
    return Table((*heads, "Sizes nearly as good"), rows, title="The frontier")


def _frontier_plot(budgets: list[dict[str, Any]], units: str) -> Curves:
    x = tuple(b["compute"] for b in budgets)

    def series(name: str, key: str) -> Series:
        columns = (tuple(b[key][end] for b in budgets) for end in ("value", "low", "high"))
        return Series(name, x, *columns)

    return Curves(
        "Best size and data by compute",
        (series("best parameters", "parameters"), series(f"best {units}", "tokens")),
        x_label="FLOPs",
        y_label="best size, best data",
        log_x=True,
        log_y=True,
    )


def _rates(rates: dict[str, Any], check: dict[str, Any] | None) -> Section:
    rows = tuple(
        (
            numbers.count(size["parameters"]),
            f"{size['best']:.3g}",
            ", ".join(
                f"{t['lr']:.3g}: {numbers.significant(t['loss'])}" for t in size["tried"]
            ),
        )
        for size in rates["sizes"]
    )
    table = Table(("Parameters", "Best learning rate", "Tried: loss"), rows)
    rule = f"lr = {rates['c']:.4g} × parameters^{0 - rates['a']:.4g}"
    note = f"Tried on the smallest sizes with all data; every size then has {rule}."
    if check is not None:
        note = f"Tried on the base size with all data; every size then has {rates['c']:.4g}."
    return Section("Learning rate by size", (table,), note)


def _rungs(result: dict[str, Any]) -> Section:
    points = result["points"]
    some = any(p["ending"] != "complete" for p in points)
    rows = tuple(
        (
            p["label"],
            numbers.count(p["parameters"]),
            f"{p['fraction']:g}",
            f"{p['lr']:.3g}",
            numbers.si(p["compute"]),
            *([p["ending"]] if some else []),
            Estimate(p["loss"]),
        )
        for p in points
    )
    heads = ["Rung", "Parameters", "Data", "Rate", "FLOPs", *(["Ending"] if some else [])]
    table = Table((*heads, _loss_name(result["metric"])), rows, caption="All: points.csv.")
    return Section("All rungs", (table,))


def _units(result: dict[str, Any]) -> str:
    return str(result.get("units", "examples"))


def _bound(param: dict[str, Any]) -> str:
    return " (at its bound)" if param["value"] == 0 else ""


def _estimate(interval: dict[str, Any]) -> str:
    """Return a number with its ends, by their size where they lie a factor of 10 apart."""
    ends = [interval[key] for key in ("value", "low", "high")]
    value, low, high = ends
    if None not in ends and 0 < _WIDE * low < high:
        value, low, high = (numbers.significant(end, 3) for end in ends)
        return f"{value} [{low},{_TOGETHER}{high}]"
    return numbers.estimate(value, low, high).replace(", ", f",{_TOGETHER}")


def _amount(interval: dict[str, Any]) -> str:
    """Return a size or an amount of data with its ends, shortened by prefixes."""
    value, low, high = (numbers.si(interval[key]) for key in ("value", "low", "high"))
    return f"{value} [{low},{_TOGETHER}{high}]"


def _loss_name(metric: str) -> str:
    """Return what the law is about, for people; what grows is counted by what is missing."""
    from modelscale.evaluation.metric_names import direction_of

    for task in get_args(Task):
        try:
            return metric if direction_of(metric, task) == "minimize" else f"1 - {metric}"
        except ValueError:
            continue
    return metric


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.2%}"
