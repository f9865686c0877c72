"""Sub-sections of the `prune` section."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from modelscale.pruning.criteria.base import CriterionSpec
from modelscale.spec.base import Spec
from modelscale.spec.quantities import Bytes, Count

Measure = Literal["macs", "parameters", "bytes", "latency"]
Runtime = Literal["eager", "onnxruntime"]
Method = Literal["structured", "low_rank", "depthwise_separable", "sparse", "int8"]
Sparsity = Annotated[float, Field(gt=0, lt=1)]
Pattern = Annotated[str, Field(pattern=r"^[1-9]\d*:[1-9]\d*$")]


class Target(Spec):
    """How small or fast the model is to be: one of four measures.

    Up to 1 a number is the share that is left of the model's own, above it is absolute.
    """

    macs: float | Count | None = Field(None, gt=0)
    """Multiply-accumulates of one example, such as 0.25 or `2M`."""

    parameters: float | Count | None = Field(None, gt=0)
    """Numbers that are learnt, such as 0.25 or `50k`."""

    bytes: float | Bytes | None = Field(None, gt=0)
    """Bytes of the parameters, such as 0.25 or `200kB`."""

    latency: float | None = Field(None, gt=0, le=1)
    """Share of the model's own latency, measured in `runtime` at `batch`."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        given = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                "needs just one of macs, parameters, bytes and latency, such as {macs: 0.25}"
            )
        return self

    @property
    def measure(self) -> Measure:
        """What is aimed at."""
        names: tuple[Measure, ...] = ("macs", "parameters", "bytes", "latency")
        return next(name for name in names if getattr(self, name) is not None)

    def bound(self, before: float) -> float:
        """Return the most that may be left of a model that has `before` of the measure."""
        value = float(getattr(self, self.measure))
        return value * before if value <= 1 else value


class Retrain(Spec):
    """How the smaller model is trained again.

    The schedule of the learning rate matters more than what was removed (Renda et al.,
    arXiv:2003.02389).
    """

    epochs: int | None = Field(None, ge=0)
    """Passes over the training part; 0 trains nothing. When left out, as much arithmetic as
    the first training: as many passes for a network of as many MACs, twice as many for one of
    half of them, three times as many for one of a third and below."""

    rewind: Literal["learning_rate", "weights", "none"] = "learning_rate"
    """`learning_rate` repeats the whole schedule of the first training; `weights` also goes
    back to the weights that the first training began with; `none` trains at a small constant
    rate, as fine-tuning is mostly done."""

    lr: float | None = Field(None, gt=0)
    """Constant rate where `rewind` is `none`; a tenth of the spec's when left out."""

    distill: float = Field(0.0, ge=0, le=1)
    """Share of the unpruned model's answer in the target; the rest is the true target
    (Hinton et al., arXiv:1503.02531)."""

    @model_validator(mode="after")
    def _rate_is_read(self) -> Self:
        if self.lr is not None and self.rewind != "none":
            raise ValueError("'lr' goes with rewind: none; else the spec's own rate is used")
        return self


class Sweep(Spec):
    """Several sizes, in several ways, in one run; equal shapes are trained together."""

    macs: tuple[float, ...] = Field((0.5, 0.25, 0.125), min_length=1)
    """Shares of the MACs that are left."""

    criteria: tuple[CriterionSpec, ...] = ()
    """What decides which units go, each in its turn; `criterion` alone when left out."""

    methods: tuple[Method, ...] = ("structured",)
    """Ways to make it smaller: `structured` by each criterion and `low_rank`, both to each of
    `macs`; `depthwise_separable`, which has one size; `sparse`, to each of `sparsities`; and
    `int8`, which computes the model and every other point with eight bits as well, in ONNX
    Runtime (an extra)."""

    sparsities: tuple[Sparsity, ...] = ()
    """Shares of single weights that become zero by the method `sparse`: 0.8, 0.9 and 0.95
    where neither this nor `patterns` is given. MACs stay as they are, the file gets smaller."""

    patterns: tuple[Pattern, ...] = ()
    """Patterns such as `2:4` that weights get by the method `sparse`."""

    within: float = Field(0.01, ge=0)
    """The pick is the point of fewest MACs, then of fewest bytes, that loses no more of the
    first metric than this on the validation part; where none does, the one that loses least
    of those in full precision."""

    @model_validator(mode="after")
    def _shares(self) -> Self:
        if any(not 0 < share <= 1 for share in self.macs):
            raise ValueError("macs: shares are above 0 and at most 1")
        if not set(self.methods) - {"int8"}:
            raise ValueError("methods: int8 goes with at least one that makes points")
        if self.criteria and "structured" not in self.methods:
            raise ValueError("'criteria' goes with the method structured")
        for name in ("sparsities", "patterns"):
            if getattr(self, name) and "sparse" not in self.methods:
                raise ValueError(f"{name!r} goes with the method sparse")
        return self
