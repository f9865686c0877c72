"""The `scale` section of a spec: a ladder of sizes, amounts of data and seeds."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from modelscale.spec.base import Spec, clash, faults_at

Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(gt=0, le=1)]
_PARTS = ("validation", "test")


class SizeChoices(Spec):
    """The values that one key of the spec takes from the smallest size to the largest."""

    choices: tuple[Any, ...] = Field(min_length=1)
    """One value a size: numbers, words, lists, or whole sub-sections."""


class Family(Spec):
    """Sizes that grow from the spec's own model by rule.

    Each size has about `ratio` times the parameters of the one before. Depth takes the part
    `depth` of that growth on a logarithmic scale, width does the rest. Widths are whole and
    keep a multiple of the attention heads; the counts that are reported are exact.
    """

    steps: int = Field(5, ge=2, le=20)
    """Sizes, the spec's own model included, which is the smallest."""

    ratio: float = Field(4.0, gt=1)
    """Parameters of a size, as a multiple of those of the size before."""

    depth: float = Field(0.0, ge=0, le=1)
    """Part of the growth that goes into depth; 0 grows the width alone."""


class DataLadder(Spec):
    """Amounts of data."""

    fractions: tuple[Share, ...] = Field((1.0,), min_length=1)
    """Parts of the training rows. Subsets are nested: each holds the smaller ones. All rungs
    are measured on the same validation and test parts."""

    @field_validator("fractions")
    @classmethod
    def _differ(cls, fractions: tuple[float, ...]) -> tuple[float, ...]:
        if len(set(fractions)) < len(fractions):
            raise ValueError("names a fraction twice")
        return tuple(sorted(fractions))


class LearningRates(Spec):
    """How the learning rate follows the size.

    Without `sweep` all sizes have the spec's own `optimizer.lr`: the words `fixed`, and `mup`
    for `{rule: mup}`.
    """

    rule: Literal["fitted", "mup"] = "fitted"
    """`mup` has one rate for all sizes and lets wide layers begin and learn as `train.mup` has
    them, next to those of the size `base`. A coordinate check before the ladder tells whether
    that holds."""

    sweep: tuple[Positive, ...] = ()
    """Learning rates that are tried with all data and all seeds. By default on the smallest
    sizes, whose best ones give the rule lr = c N^-a, by which every size then has its rate;
    with `mup` on the size `base` alone, whose best rate all have."""

    sizes: int = Field(3, ge=1)
    """Sizes on which they are tried; from two on, the exponent a is fitted. Not with `mup`."""

    base: int = Field(0, ge=0)
    """The size, 0 the smallest, at whose width `mup` changes nothing."""

    @classmethod
    def expand(cls, data: Any) -> Any:
        if data == "mup":
            return {"rule": "mup"}
        return {} if data == "fixed" else data

    @model_validator(mode="after")
    def _is_of_the_rule(self) -> Self:
        if self.rule == "mup" and "sizes" in self.model_fields_set:
            raise clash("with rule 'mup' rates are tried on one size, 'base'", "sizes", "rule")
        if self.rule != "mup" and "base" in self.model_fields_set:
            raise clash("'base' goes with rule 'mup'", "base")
        return self

    def tries(self, size: int) -> bool:
        """Return whether rates are tried on a size."""
        return size == self.base if self.rule == "mup" else size < self.sizes

    @field_validator("sweep")
    @classmethod
    def _several(cls, sweep: tuple[float, ...]) -> tuple[float, ...]:
        if len(sweep) in {1, 2}:
            raise ValueError("needs at least 3 rates, or none")
        return tuple(sorted(set(sweep)))


class ScaleSection(Spec):
    """A ladder: every size with every amount of data and every seed."""

    sizes: dict[str, SizeChoices] = Field(default_factory=dict)
    """Sizes, smallest first, by the key's path: `model.hidden: {choices: [[16], [64]]}`.
    Several keys go in step: the first size takes the first choice of each."""

    family: Family | None = None
    """Sizes by rule, in place of `sizes`."""

    data: DataLadder = Field(default_factory=DataLadder)
    """Amounts of data: `{fractions: [0.1, 0.3, 1.0]}`."""

    seeds: int = Field(3, ge=1)
    """Seeds of each rung: `seed`, `seed` + 1, … Each draws its own subsets of the data."""

    metric: str = "validation/loss"
    """What the law is about, of the validation or test part: `validation/accuracy` stands for
    the share of errors, 1 - accuracy."""

    lr: LearningRates = Field(default_factory=LearningRates)
    """Learning rate by size: `fixed`, `{sweep: [3e-4, 1e-3, 3e-3]}`, or `mup`."""

    law: str = "auto"
    """A kind of law, or `auto` for the one that foretells the larger rungs best."""

    held_out: Literal["top", "none"] = "top"
    """Whether the law is tested on the largest rung, which its fit has not seen."""

    gap: float = Field(4.0, ge=1)
    """The test's fit sees only rungs of at most 1/`gap` of the largest one's compute."""

    level: float = Field(0.9, ge=0.5, lt=1)
    """Of all intervals."""

    @field_validator("law")
    @classmethod
    def _law_exists(cls, law: str) -> str:
        from modelscale.errors import did_you_mean
        from modelscale.scaling.laws.base import LawSpec

        known = ["auto", *LawSpec.kinds()]
        if law not in known:
            raise ValueError(f"no such law{did_you_mean(law, known)}")
        return law

    @field_validator("metric")
    @classmethod
    def _is_of_a_part(cls, name: str) -> str:
        part, slash, metric = name.partition("/")
        if part not in _PARTS or not slash or not metric:
            raise ValueError("expected validation/METRIC or test/METRIC")
        if name == "test/loss":
            raise ValueError("of the test part metrics are measured, such as test/log_loss")
        return name

    @model_validator(mode="after")
    def _sizes_go_in_step(self) -> Self:
        if self.family is not None and self.sizes:
            raise clash("'sizes' and 'family' exclude each other", "family", "sizes")
        if self.family is None and not self.sizes:
            if len(self.data.fractions) < 2:
                raise ValueError("needs 'sizes', 'family' or several data.fractions")
            return self
        lengths = {key: len(found.choices) for key, found in self.sizes.items()}
        first = next(iter(lengths.values()), 0)
        faults = [
            (("sizes", key, "choices"), f"has {length} values, and the first key {first}")
            for key, length in lengths.items()
            if length != first
        ]
        if faults:
            raise faults_at(*faults)
        return self

    def changes(self) -> list[dict[str, Any]]:
        """Return what each size changes of the spec, by key; one without changes if none."""
        count = max((len(found.choices) for found in self.sizes.values()), default=1)
        return [{k: f.choices[i] for k, f in self.sizes.items()} for i in range(count)]


def size_values(section: ScaleSection) -> dict[str, dict[tuple[str | int, ...], Any]]:
    """Return all values of each varied key by where they are written below it."""
    return {
        key: {("choices", i): value for i, value in enumerate(found.choices)}
        for key, found in section.sizes.items()
    }
