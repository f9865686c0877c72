"""Linear models beside the answers that can be computed without training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from modelscale.commands.line_fit import Coefficient, Line, LineFit, fit_of, in_data_units
from modelscale.commands.reporting.reading import RunView
from modelscale.commands.reporting.rereading import Reread
from modelscale.errors import ModelscaleError
from modelscale.report import numbers
from modelscale.report.charts import FittedLine, Series
from modelscale.report.content import Block, Cell, Estimate, Paragraph, Section, Table

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from modelscale.commands.experiment import Experiment
    from modelscale.data.loading import LoadedData
    from modelscale.data.prepared import Prepared
    from modelscale.training.artifact import Model

_POINTS = 60  # of each drawn line


@dataclass(frozen=True)
class ClosedForm:
    """What a report says of a linear model.

    Attributes:
        sections: Of the page.
        fit: The line in the data's own units; None unless there is one feature.
    """

    sections: tuple[Section, ...] = ()
    fit: LineFit | None = None


def closed_form(view: RunView, again: Reread) -> ClosedForm:
    """Return what can be computed beside a linear regression; nothing for other models."""
    linear = view.settings.get("model.kind") == "linear"
    trained = [member for member in view.members if "metrics" in member]
    if not linear or again.loaded is None or again.experiment is None or not trained:
        return ClosedForm()
    if again.loaded.task != "regression":
        return ClosedForm()
    from modelscale.data.loading import prepare

    best = view.result.get("best_member")
    fold = next((m["fold"] for m in trained if m["label"] == best), 0)
    labels = [str(m["label"]) for m in trained if m["fold"] == fold]
    alone = len(view.members) == 1
    folders = [view.path if alone else view.path / "members" / label for label in labels]
    experiment = again.experiment
    try:
        models = [_model(folder) for folder in folders]
        data = prepare(again.loaded, fold, experiment.model.encoding, experiment.data)
    except ModelscaleError as error:
        return ClosedForm((Section("Closed form", (Paragraph(f"Not shown: {error}."),)),))
    place = f" of fold {fold}" if again.folds > 1 else ""
    line = _line(models, data, again.loaded, experiment, place)
    chosen = models[labels.index(str(best))] if str(best) in labels else models[0]
    penalty = _ridge(chosen, data, experiment, place)
    found = (section for section in (line[0] if line else None, penalty) if section)
    return ClosedForm(tuple(found), line[1] if line else None)


def _model(folder: Path) -> Model:
    from modelscale.runs.checkpoints import read_checkpoint
    from modelscale.runs.find import find_checkpoint
    from modelscale.training.artifact import load_model

    return load_model(read_checkpoint(find_checkpoint(folder)).files)


def _line(
    models: list[Model],
    data: Prepared,
    loaded: LoadedData,
    experiment: Experiment,
    place: str,
) -> tuple[Section, LineFit] | None:
    """Return the section on the fitted line; None unless one number is mapped to one."""
    import numpy as np

    from modelscale.data.raw import Texts

    lines = [line for model in models if (line := _own_units(model)) is not None]
    if len(lines) < len(models):
        return None
    column = data.preprocessing.numeric[0]
    x_all = loaded.raw.columns[column.name]
    y_all = loaded.raw.target
    if isinstance(x_all, Texts) or y_all is None or isinstance(y_all, Texts):
        return None
    rows = data.rows["train"].numpy()
    x_N = np.asarray(x_all, dtype=np.float64)[rows]
    y_N = np.asarray(y_all, dtype=np.float64).reshape(len(y_all), -1)[rows, 0]
    known = np.isfinite(x_N) & np.isfinite(y_N)
    noise = getattr(experiment.data.source, "noise", None)  # of sources that make their data
    fit = fit_of(lines, x_N[known], y_N[known], None if noise is None else noise**2)
    if fit is None:
        return None
    names = (column.name, data.preprocessing.target_names[0])
    plot = _plot(fit, lines, (x_N, y_N), names, place)
    scale = data.preprocessing.targets[0].scale
    blocks: tuple[Block, ...] = (plot, _coefficients(fit, experiment), _floor(fit, scale))
    return Section("The line", blocks, _told(experiment)), fit


def _own_units(model: Model) -> Line | None:
    if model.inputs.shape != (1,) or model.targets != 1:
        return None
    weight, bias = (value.item() for value in model.network.parameters())
    return in_data_units(weight, bias, model.preprocessing)


def _plot(
    fit: LineFit,
    lines: list[Line],
    points: tuple[NDArray[np.float64], NDArray[np.float64]],
    names: tuple[str, str],
    place: str,
) -> FittedLine:
    import numpy as np

    from modelscale.evaluation.student import mean_over_seeds

    low, high = float(np.nanmin(points[0])), float(np.nanmax(points[0]))
    xs = tuple(np.linspace(low, high, _POINTS).tolist())
    best = fit.least_squares
    half = [best.half_width(x) for x in xs]
    computed = [best.line.weight * x + best.line.bias for x in xs]
    if fit.members == 1:
        ys = [lines[0].weight * x + lines[0].bias for x in xs]
        ends = [(y - h, y + h) for y, h in zip(ys, half, strict=True)]
        band = "the 95 % interval that least squares gives to the mean of y"
    else:
        means = [mean_over_seeds([line.weight * x + line.bias for line in lines]) for x in xs]
        ys = [mean.mean for mean in means]
        ends = [(mean.low, mean.high) for mean in means]
        band = f"the 95 % Student t interval over {fit.members} members"
    return FittedLine(
        "Trained line and least squares",
        tuple(points[0].tolist()),
        tuple(points[1].tolist()),
        Series("trained", xs, tuple(ys), *zip(*ends, strict=True)),
        Series("least squares", xs, tuple(computed)),
        *names,
        caption=f"The {len(points[0]):,} training points{place}. The band is {band}.",
    )


def _coefficients(fit: LineFit, experiment: Experiment) -> Table:
    best, source = fit.least_squares, experiment.data.source
    true = (getattr(source, "slope", None), getattr(source, "intercept", None))
    rows: list[tuple[Cell, ...]] = [
        ("trained [95 %]", _cell(fit.weight), _cell(fit.bias)),
        ("least squares [95 %]", _cell(best.weight), _cell(best.bias)),
        (
            "standard error of least squares",
            Estimate(best.weight.standard_error),
            Estimate(best.bias.standard_error),
        ),
    ]
    if None not in true:
        rows.append(("true, of the generator", Estimate(true[0]), Estimate(true[1])))
    how = (
        f"over {fit.members} members (Student t)"
        if fit.members > 1
        else "from the standard errors of least squares, since one model has no spread"
    )
    return Table(
        ("", "Weight (slope)", "Bias (value at x = 0)"),
        tuple(rows),
        "Weight and bias in the data's own units",
        f"Trained intervals are {how}. Those of least squares are Student t with "
        f"{best.count - 2:,} degrees of freedom: standard errors s / √Sxx and "
        "s · √(1/n + x̄²/Sxx).",
    )


def _cell(coefficient: Coefficient) -> Estimate:
    return Estimate(coefficient.value, coefficient.low, coefficient.high)


def _floor(fit: LineFit, scale: float) -> Table:
    best = fit.least_squares
    rows = [
        ("trained, on the training rows", fit.mean_squared_error),
        ("least squares: no line has less on these rows", best.mean_squared_error),
        ("noise floor: residual variance of least squares", best.residual_variance),
    ]
    if fit.noise_variance is not None:
        rows.append(("true noise variance σ² of the generator", fit.noise_variance))
    extra = fit.mean_squared_error / best.mean_squared_error - 1 if rows[1][1] else 0.0
    told = numbers.percent(extra, 2)
    return Table(
        ("Mean squared error", "In the data's units", "As trained (standardised target)"),
        tuple((name, value, value / scale**2) for name, value in rows),
        "Final training loss against the noise floor",
        f"The trained line's error is {told} above the smallest possible one.",
    )


def _told(experiment: Experiment) -> str:
    penalties = experiment.regularization
    parts = ["The best line can be computed, so training can be checked against it."]
    if penalties.l1 or penalties.l2:
        parts.append("This run has a penalty, which pulls the weight towards 0 on purpose.")
    if experiment.loss is not None and experiment.loss.own_kind() != "mean_squared_error":
        parts.append(
            f"This run minimises {experiment.loss.own_kind()}, whose best line is another one."
        )
    return " ".join(parts)


def _ridge(model: Model, data: Prepared, experiment: Experiment, place: str) -> Section | None:
    """Return the table beside ridge regression; None where it solves another problem."""
    from modelscale.commands.measuring import predict, targets_of
    from modelscale.commands.ridge import solve
    from modelscale.evaluation.metric_names import metric_for

    if model.loss.own_kind() != "mean_squared_error" or experiment.regularization.l1:
        return None
    import torch

    rmse, l2 = metric_for("rmse", "regression"), experiment.regularization.l2
    train = data.rows["train"]
    x_ND = data.x.take(train).flatten(1).double().numpy()
    ridge = solve(x_ND, data.y[train].double().numpy(), l2)
    mean = targets_of(data, train).double().mean(dim=0, keepdim=True)
    rows: list[tuple[Cell, ...]] = []
    for part, of_part in data.rows.items():
        if not len(of_part):
            continue
        actual = targets_of(data, of_part).double()
        x = data.x.take(of_part).flatten(1).double().numpy()
        computed = data.preprocessing.inverse_target(torch.from_numpy(ridge.predict(x)))
        answers = (predict(model, data, of_part), computed, mean.expand_as(actual))
        scores = [rmse.compute(answer.double(), actual).item() for answer in answers]
        rows.append((part, len(of_part), *scores))
    penalty = f"alpha = n·T·l2 = {numbers.plain(len(train) * data.targets * l2)}"
    name = "Ridge" if l2 else "Least squares"
    decay = getattr(experiment.optimizer, "weight_decay", 0.0)
    caption = (
        f"{name} is solved in closed form on the same {len(train):,} training rows{place} and "
        f"inputs, {penalty}; the constant is the mean of the training part."
    )
    if decay:
        caption += f" The optimizer's weight_decay {decay:g} is not part of the closed form."
    table = Table(("Part", "Rows", "Trained", name, "Constant"), tuple(rows), caption=caption)
    return Section(
        "Beside the closed form", (table,), "RMSE in the target's own units; smaller is better."
    )
