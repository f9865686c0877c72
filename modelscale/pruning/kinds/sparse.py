"""Single weights."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from modelscale.pruning.criteria.base import CriterionSpec
from modelscale.pruning.kinds._retrained import Retrained
from modelscale.spec.base import clash


class Sparse(Retrained):
    """Sets single weights to zero and stores the others only: a smaller file.

    Dense kernels compute with zeros as with any number, so nothing gets faster by it.
    """

    sparsity: float | None = Field(None, gt=0, lt=1)
    """Share of the weights of kernels and matrices that become zero; 0.9 when nothing else
    is given."""

    threshold: float | None = Field(None, gt=0)
    """In place of `sparsity`: weights whose score is below this become zero."""

    pattern: str | None = Field(None, pattern=r"^[1-9]\d*:[1-9]\d*$")
    """In place of `sparsity`: so many of each group of weights along the inputs stay, such as
    `2:4`, for which NVIDIA's cards have kernels."""

    max_drop: float | None = Field(None, ge=0)
    """In place of `sparsity`: most that the first metric may lose; the sparsest model within it
    is looked for on the validation part."""

    confidence: float = Field(0.95, ge=0.5, lt=1)
    """How sure it must be that the loss is within `max_drop`, over the choice of validation
    rows and all sizes that were tried; 0.5 goes by the loss as measured."""

    scope: Literal["global", "layer"] = "global"
    """Whether weights are compared over the whole network, or every layer loses its share."""

    criterion: CriterionSpec = Field(
        default_factory=lambda: CriterionSpec.model_validate("magnitude")
    )
    """What decides which weights go."""

    schedule: Literal["gradual", "iterative", "one_shot"] = "gradual"
    """`gradual` raises the sparsity after every epoch of the first part of re-training by a
    cubic law (Zhu and Gupta, arXiv:1710.01878), `iterative` in three steps with training
    between them, `one_shot` at once before it."""

    ramp: float = Field(0.5, gt=0, lt=1)
    """Share of re-training in which the sparsity rises."""

    @model_validator(mode="after")
    def _one_aim(self) -> Self:
        names = ("sparsity", "threshold", "pattern", "max_drop")
        given = [name for name in names if getattr(self, name) is not None]
        if len(given) > 1:
            raise clash(f"{given[0]!r} and {given[1]!r} exclude each other", *given)
        if self.pattern is not None:
            kept, of = map(int, self.pattern.split(":"))
            if kept >= of:
                raise ValueError(f"pattern {self.pattern} keeps everything; 2:4 keeps half")
        return self
