"""`modelscale fit TABLE`: laws fitted to measured points, and what follows from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelscale.commands.documents import clean
from modelscale.commands.fit_documents import analysis_json, budget_json, served_json
from modelscale.commands.fit_request import values_of
from modelscale.commands.fit_table import Table, need, read_table, roles_of
from modelscale.errors import DataError, UsageError, did_you_mean

if TYPE_CHECKING:
    from modelscale.scaling.analysis import Analysis, Options, Prediction
    from modelscale.scaling.laws.base import LawSpec
    from modelscale.scaling.points import Points
    from modelscale.scaling.recommendation import Budget, Return, Served, SideBySide

POINT_ROLES = (
    "parameters",
    "tokens",
    "unique_tokens",
    "compute",
    "size",
    "loss",
    "weight",
    "seed",
    "group",
)
_SIZES = ("compute", "parameters", "tokens", "unique_tokens", "size")
_SPLIT = ("parameters", "tokens")


@dataclass(frozen=True)
class Questions:
    """What is asked of a law.

    Attributes:
        at: Inputs of predictions: `parameters=7e9,tokens=1.4e11`.
        compute: Budgets, FLOPs.
        inference_tokens: Tokens to be served; None if not asked.
        quality_of: The reference whose quality is wanted, as for `at`.
        far: Whether to answer even where that is more than 100 times beyond the data.
    """

    at: Sequence[str] = ()
    compute: Sequence[float] = ()
    inference_tokens: float | None = None
    quality_of: str | None = None
    far: bool = False


@dataclass(frozen=True)
class Fitted:
    """What `fit` found.

    Attributes:
        table: What was read.
        along: The input of one-dimensional laws; None for laws of parameters and tokens.
        analysis: The fits.
        predictions: Answers to `--at`.
        budgets: Answers to `--compute`.
        served: Answer to `--inference-tokens`.
        iso: Optima by minima and by the law.
        returns: What twice as much would buy at the largest point.
        warnings: Reasons for doubt.
    """

    table: Table
    along: str | None
    analysis: Analysis
    predictions: tuple[Prediction, ...] = ()
    budgets: tuple[Budget, ...] = ()
    served: Served | None = None
    iso: tuple[SideBySide, ...] = ()
    returns: tuple[Return, ...] = ()
    warnings: tuple[str, ...] = field(default=())
    exit_code: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the keys of the command's JSON document."""
        recommendation = {
            "compute": [budget_json(budget) for budget in self.budgets],
            "inference": None if self.served is None else served_json(self.served),
            "iso_flop": [
                {
                    "compute": pair.minimum.compute,
                    "minimum_parameters": pair.minimum.parameters,
                    "minimum_loss": pair.minimum.loss,
                    "edge": pair.minimum.edge,
                    "law_parameters": pair.parameters._asdict(),
                    "law_loss": pair.loss,
                }
                for pair in self.iso
            ],
            "returns": [
                {
                    "what": r.what,
                    "factor": r.factor,
                    "before": r.before,
                    "gain": r.gain._asdict(),
                }
                for r in self.returns
            ],
        }
        document = {
            "table": str(self.table.path),
            "fingerprint": self.table.digest,
            "along": self.along,
            **analysis_json(self.analysis, self.table.first_row),
            "predictions": [
                {
                    "at": self._told(prediction.inputs),
                    **prediction.whole._asdict(),
                    "law_low": prediction.law.low,
                    "law_high": prediction.law.high,
                    "beyond": prediction.beyond,
                }
                for prediction in self.predictions
            ],
            "recommendation": recommendation,
            "warnings": list(self.warnings),
        }
        found: dict[str, Any] = clean(document)
        return found

    def _told(self, inputs: Mapping[str, float]) -> dict[str, float]:
        """Return inputs by the names that the user knows them by."""
        return {self.along if n == "size" and self.along else n: v for n, v in inputs.items()}


def fit(
    path: Path,
    columns: Sequence[str],
    law: str,
    along: str | None,
    options: Options,
    questions: Questions,
) -> Fitted:
    """Fit laws to a table and answer questions.

    Args:
        path: The table.
        columns: `role=column`, for columns whose names do not say what they are.
        law: A kind, or "auto" for all that the columns allow.
        along: The column of one-dimensional laws; None where the laws or columns decide.
        options: How to fit.
        questions: What to answer.

    Raises:
        DataError: If the table does not hold what is needed.
        UsageError: If the questions do not fit the law, or lie far beyond the data.
    """
    from modelscale.scaling import cautions
    from modelscale.scaling.analysis import analyse, predict
    from modelscale.scaling.recommendation import (
        has_optimum,
        iso_flop,
        returns,
        serve_cheaply,
        spend,
    )

    kinds = _kinds(law)  # a wrong name is told before the table is read
    table = read_table(path)
    points, axis = points_of(table, columns, along)
    laws, chosen = _laws(kinds, points, axis, law, along, table)
    if chosen is not None:
        points = _with_size(points, chosen)
    try:
        analysis = analyse(points, laws, options)
    except ValueError as error:
        raise DataError(f"{path}: {error}") from None
    warnings = cautions.about_fit(analysis)
    predictions = tuple(
        predict(analysis, _inputs(text, analysis, chosen, axis)) for text in questions.at
    )
    for prediction in predictions:
        warnings += cautions.about_prediction(prediction)
    split = has_optimum(analysis)
    if (questions.compute or questions.inference_tokens) and not split:
        raise UsageError(
            f"--compute and --inference-tokens need a law of parameters and tokens; "
            f"{analysis.kind} knows {chosen or 'size'} alone"
        )
    budgets = tuple(spend(analysis, budget) for budget in questions.compute)
    refused = cautions.too_far(predictions, budgets)
    if refused and not questions.far:
        raise UsageError("\n".join(refused))
    for budget in budgets:
        warnings += cautions.about_budget(budget)
    served = None
    if questions.inference_tokens is not None:
        reference = values_of("--quality-of", questions.quality_of or "")
        served = serve_cheaply(
            analysis,
            reference["parameters"],
            reference.get("tokens"),
            questions.inference_tokens,
        )
    iso = tuple(iso_flop(analysis))
    warnings += cautions.about_iso_flop(iso)
    gains: tuple[Return, ...] = ()
    if split:
        used = points.only(analysis.keep_M).inputs
        top = int(used["compute"].argmax())
        gains = tuple(
            returns(analysis, float(used["parameters"][top]), float(used["tokens"][top]))
        )
    return Fitted(
        table,
        chosen,
        analysis,
        predictions,
        budgets,
        served,
        iso,
        gains,
        tuple(dict.fromkeys(warnings)),
    )


def points_of(
    table: Table, columns: Sequence[str], along: str | None
) -> tuple[Points, dict[str, str]]:
    """Return a table's points, and the column of each role.

    Raises:
        DataError: If a cell is not what it has to be, or there is no loss or no size.
    """
    import numpy as np

    from modelscale.scaling.points import points

    roles = roles_of(table, columns, POINT_ROLES)
    rows = range(len(table))
    loss = table.numbers(need(table, roles, "loss"), rows, positive=True)
    inputs = {
        role: table.numbers(roles[role], rows, positive=True)
        for role in _SIZES
        if role in roles
    }
    if along is not None and along not in _SIZES:
        if along not in table.columns:
            hint = did_you_mean(along, [*_SIZES, *table.columns])
            raise UsageError(f"--along {along}: {table.path} has no such column{hint}")
        inputs[along] = table.numbers(along, rows, positive=True)
    if not inputs:
        need(table, roles, "parameters")
    weight = table.numbers(roles["weight"], rows, positive=False) if "weight" in roles else None
    group = None
    if "group" in roles:
        group = np.unique(table.words(roles["group"]), return_inverse=True)[1]
    try:
        found = points(inputs, loss, weight, group)
    except ValueError as error:
        raise DataError(f"{table.path}: {error}") from None
    return found, roles


def _kinds(law: str) -> list[str]:
    """Return the kinds that a name stands for.

    Raises:
        UsageError: If there is no such law.
    """
    from modelscale.scaling.laws.base import LawSpec

    if law == "auto":
        return LawSpec.kinds()
    if law not in LawSpec.kinds():
        raise UsageError(
            f"--law {law}: no such law{did_you_mean(law, ['auto', *LawSpec.kinds()])}"
        )
    return [law]


def _laws(
    kinds: Sequence[str],
    points: Points,
    roles: Mapping[str, str],
    law: str,
    along: str | None,
    table: Table,
) -> tuple[dict[str, LawSpec], str | None]:
    """Return the candidate laws, and the input of one-dimensional ones."""
    from modelscale.scaling.laws.base import LawSpec

    there = set(points.inputs)
    specs = {kind: LawSpec.of_kind(kind).model_validate({}) for kind in kinds}
    flat = {kind: spec for kind, spec in specs.items() if spec.inputs == ("size",)}
    deep = {kind: spec for kind, spec in specs.items() if spec.inputs != ("size",)}
    able = {kind: spec for kind, spec in deep.items() if set(spec.inputs) <= there}
    if able and along is None and _varies_twice(points):
        repeats = {k: s for k, s in able.items() if "unique_tokens" in s.inputs}
        return (repeats if repeats and law == "auto" else able), None
    if law != "auto" and deep:
        spec = deep[law]
        absent = [name for name in spec.inputs if name not in there]
        if absent:
            raise DataError(
                f"{table.path}: row 1: {law} needs {' and '.join(spec.inputs)}; no column is "
                f"the {absent[0]}: --columns '{absent[0]}=COLUMN'"
            )
        if along is not None:
            raise UsageError(f"--along: {law} is a law of {' and '.join(spec.inputs)}")
        return able, None
    bounded = bool((points.loss_M < 1).all())
    flat = {k: s for k, s in flat.items() if bounded or not s.bounded or law == k}
    if law != "auto" and specs[law].bounded and not bounded:
        raise DataError(f"{table.path}: {law} is for errors between 0 and 1")
    return flat, along or _one_size(points, roles, table)


def _varies_twice(points: Points) -> bool:
    """Return whether parameters and tokens both vary, and not only in step."""
    import numpy as np

    size, data = (np.log(points.inputs[name]) for name in _SPLIT)
    if np.ptp(size) < 1e-9 or np.ptp(data) < 1e-9:
        return False
    return bool(abs(np.corrcoef(size, data)[0, 1]) < 1 - 1e-9) or len(points) < 3


def _one_size(points: Points, roles: Mapping[str, str], table: Table) -> str:
    """Return the one column that varies among sizes."""
    import numpy as np

    given = [name for name in _SIZES if name in points.inputs and name in roles]
    varying = [name for name in given if np.ptp(np.log(points.inputs[name])) > 1e-9]
    if not varying:
        raise DataError(f"{table.path}: all points have the same size; a law needs several")
    return varying[0]


def _with_size(points: Points, along: str) -> Points:
    from dataclasses import replace

    if along not in points.inputs:
        raise UsageError(f"--along {along}: the table has no such size")
    return replace(points, inputs={**points.inputs, "size": points.inputs[along]})


def _inputs(
    text: str, analysis: Analysis, along: str | None, roles: Mapping[str, str]
) -> dict[str, float]:
    """Return a question's inputs as the law takes them."""
    import numpy as np

    from modelscale.scaling.points import with_derived

    option = "--at"
    role_of = {column: role for role, column in roles.items()}
    given = {role_of.get(name, name): value for name, value in values_of(option, text).items()}
    known = {"parameters", "tokens", "unique_tokens", "compute", "size", along or "size"}
    for name in given:
        if name not in known:
            raise UsageError(f"{option} {text!r}: unknown {name!r}{did_you_mean(name, known)}")
    arrays = with_derived({name: np.array([value]) for name, value in given.items()})
    full = {name: float(values[0]) for name, values in arrays.items()}
    if along is not None and along in full:
        full["size"] = full[along]
    if "tokens" in full:
        full.setdefault("unique_tokens", full["tokens"])
    law = analysis.fit.law
    absent = [n for n in law.inputs if n not in full]
    if absent:
        wanted = [along if name == "size" and along else name for name in law.inputs]
        raise UsageError(f"{option} {text!r}: {analysis.kind} needs {' and '.join(wanted)}")
    return {name: full[name] for name in law.inputs}
