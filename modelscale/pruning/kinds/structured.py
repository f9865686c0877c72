"""Whole channels, heads and hidden units."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, PositiveInt, model_validator

from modelscale.pruning.criteria.base import CriterionSpec
from modelscale.pruning.kinds._retrained import Retrained
from modelscale.pruning.section import Runtime, Sweep, Target
from modelscale.spec.base import clash


class Structured(Retrained):
    """Removes whole channels, attention heads and hidden units: a smaller dense network."""

    target: Target | None = None
    """How small or fast; half the MACs where neither this nor `max_drop` is given."""

    max_drop: float | None = Field(None, ge=0)
    """Most that the first metric may lose, in place of `target`: the smallest model within it
    is looked for on the validation part. In the metric's units where larger is better, else
    as a share of its value before."""

    confidence: float = Field(0.95, ge=0.5, lt=1)
    """How sure it must be that the loss is within `max_drop`, over the choice of validation
    rows and all sizes that were tried; 0.5 goes by the loss as measured."""

    sweep: Sweep | None = None
    """In place of `target`: several sizes and criteria, a table of what each is worth, and a
    pick by rule."""

    criterion: CriterionSpec = Field(
        default_factory=lambda: CriterionSpec.model_validate("activation")
    )
    """What decides which units go; `activation` when left out, as a batch norm behind a layer
    makes the size of its weights arbitrary."""

    schedule: Literal["one_shot", "iterative", "gradual"] = "one_shot"
    """`one_shot` cuts once; `iterative` in `rounds`, by an equal factor each, with a share of
    the re-training after each; `gradual` likewise, the most in the first rounds, by the cubic
    law of Zhu and Gupta (arXiv:1710.01878)."""

    rounds: int = Field(3, ge=2)
    """Of the schedules `iterative` and `gradual`."""

    allocation: Literal["auto", "global", "uniform"] = "auto"
    """Whether layers lose what matters least in the whole network, or the same share each;
    `auto` trains both for a while and takes the better one on the validation part."""

    align: Literal["auto"] | PositiveInt = "auto"
    """Widths are multiples of this where layers are wide enough, since processors like them;
    `auto` is a power of two up to half the width, from 1 to 16. 1 takes widths as they fall."""

    least: float = Field(0.1, ge=0, le=1)
    """Share of its units that every layer keeps."""

    attention: Literal["heads", "head_size"] = "heads"
    """Whether attention loses whole heads, or all heads of a layer get smaller."""

    runtime: Runtime = "eager"
    """Where latency is aimed at: PyTorch, or ONNX Runtime (an extra)."""

    batch: int = Field(1, ge=1)
    """Examples in a call whose latency is aimed at."""

    @model_validator(mode="after")
    def _one_aim(self) -> Self:
        if self.target is not None and self.max_drop is not None:
            raise clash("'target' and 'max_drop' exclude each other", "target", "max_drop")
        self._check_schedule()
        for name in ("target", "max_drop"):
            if self.sweep is not None and getattr(self, name) is not None:
                raise clash(f"'sweep' and {name!r} exclude each other", "sweep", name)
        return self

    def _check_schedule(self) -> None:
        if self.schedule == "one_shot":
            return
        for name in ("max_drop", "sweep"):
            if getattr(self, name) is not None:
                raise clash(
                    f"'schedule' {self.schedule} goes without {name!r}", "schedule", name
                )
        if self.target is not None and self.target.measure == "latency":
            raise ValueError(f"schedule {self.schedule} aims at macs, parameters or bytes")

    def aim(self) -> Target | None:
        """Return the target; None where the accuracy decides."""
        if self.target is None and self.max_drop is None and self.sweep is None:
            return Target(macs=0.5)
        return self.target
