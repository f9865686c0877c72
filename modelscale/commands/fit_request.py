"""What the options of `fit` mean, and which do not go together."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from modelscale.errors import UsageError

if TYPE_CHECKING:
    from modelscale.commands.fit import Questions
    from modelscale.scaling.analysis import Options


def options_of(
    level: float, seed: int, resamples: int, delta: float | None, outliers: str
) -> Options:
    """Return how to fit.

    Raises:
        UsageError: If a value is out of range.
    """
    from modelscale.scaling.analysis import Options
    from modelscale.scaling.outliers import rule_of

    if not 0.5 <= level < 1:
        raise UsageError(f"--level {level:g}: expected 0.5 to below 1, such as 0.9")
    if delta is not None and (not delta > 0 or math.isnan(delta)):
        raise UsageError(f"--delta {delta:g}: expected a number above 0, such as 1e-3")
    rule = rule_of(outliers)
    if rule is None:
        raise UsageError(
            f"--outliers {outliers}: expected auto, none, highest:N or residual:N, such as "
            "highest:5"
        )
    return Options(level, seed, resamples, "auto", delta, rule)


def check_questions(questions: Questions) -> None:
    """Refuse questions that no law can answer, before any work is done.

    Raises:
        UsageError: If one is not well formed.
    """
    for text in questions.at:
        values_of("--at", text)
    for budget in questions.compute:
        if not 0 < budget < math.inf:
            raise UsageError(f"--compute {budget:g}: expected FLOPs above 0")
    served = questions.inference_tokens
    if served is not None and not 0 < served < math.inf:
        raise UsageError(f"--inference-tokens {served:g}: expected a number above 0")
    if (served is None) != (questions.quality_of is None):
        raise UsageError("--inference-tokens and --quality-of go together")
    if questions.quality_of is not None:
        given = values_of("--quality-of", questions.quality_of)
        if "parameters" not in given or not given.keys() <= {"parameters", "tokens"}:
            raise UsageError("--quality-of: expected parameters=…, and tokens=… if known")


def values_of(option: str, text: str) -> dict[str, float]:
    """Return the numbers of `name=value,name=value`.

    Raises:
        UsageError: If it is something else.
    """
    from modelscale.data.cells import NUMBER, TOO_LARGE, parse

    values: dict[str, float] = {}
    for part in text.split(","):
        name, equals, number = (piece.strip() for piece in part.partition("="))
        kind = int(parse([number], frozenset()).kind_N[0])
        known = kind in {NUMBER, TOO_LARGE} and 0 < float(number) < math.inf
        if not name or not equals or not known:
            raise UsageError(
                f"{option} {text!r}: expected NAME=VALUE,… with values above 0, such as "
                "parameters=7e9,tokens=1.4e11"
            )
        values[name] = float(number)
    return values


def refuse_with_curves(questions: Questions, law: str, along: str | None) -> None:
    """Refuse options that mean nothing for curves.

    Raises:
        UsageError: If there is one.
    """
    given = {
        "--at": questions.at,
        "--compute": questions.compute,
        "--inference-tokens": questions.inference_tokens,
        "--quality-of": questions.quality_of,
        "--along": along,
        "--law": None if law == "auto" else law,
    }
    wrong = [name for name, value in given.items() if value]
    if wrong:
        raise UsageError(
            f"{', '.join(wrong)} and --curves do not go together; rows with training 0 say "
            "where to predict"
        )
