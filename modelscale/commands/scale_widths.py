"""One learning rate for all widths of a ladder, and the check that it can be so.

Under maximal update parametrisation (`modelscale/models/modules/widths.py`) a step changes what
each layer says by an amount that does not depend on the width. The coordinate check (Yang et
al., arXiv:2203.03466, appendix D.1) measures that before the ladder is trained: mean absolute
changes of each layer's outputs over the first steps, at several widths of one depth.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import TYPE_CHECKING, Any

from modelscale.models.base import ModelSpec
from modelscale.spec.paths import apply

if TYPE_CHECKING:
    from modelscale.commands.assembly import Assembly
    from modelscale.commands.experiment import Experiment
    from modelscale.commands.scale_ladder import Size

CHECK = "coordinate_check.csv"
STEPS = 4
BOUND = 0.3
"""Slope of log change by log width that is still about 0."""
_LEAST_SEEDS = 4
_WAYS = ("mup", "standard")
_MAY_FALL = "scores"


@dataclass(frozen=True)
class Change:
    """How much a layer's outputs change at one width.

    Attributes:
        way: `mup` or `standard`.
        layer: Its path in the network; `output` is what the network says.
        width: Multiple of the base width.
        change: Mean absolute change over examples, units and seeds.
    """

    way: str
    layer: str
    width: float
    change: float


@dataclass(frozen=True)
class Check:
    """A coordinate check.

    Attributes:
        lr: Learning rate that it was made with.
        changes: What was measured, the layers in the network's order.
    """

    lr: float
    changes: tuple[Change, ...]

    def slopes(self, way: str) -> dict[str, float]:
        """Return the slope of log change by log width of each layer."""
        found: dict[str, list[tuple[float, float]]] = {}
        for one in self.changes:
            if one.way == way and one.change != 0:
                place = math.log(one.width), math.log(one.change)
                found.setdefault(one.layer, []).append(place)
        return {layer: _slope(places) for layer, places in found.items() if len(places) > 1}

    @property
    def outside(self) -> dict[str, float]:
        """Return the layers whose slope is not about 0, with it.

        Attention scores may fall: at first they are products of what does not know of each
        other, whose mean falls with the root of a head's size.
        """
        slopes = self.slopes("mup")
        falls = {k for k, s in slopes.items() if s < 0 and k.rpartition(".")[2] == _MAY_FALL}
        return {k: s for k, s in slopes.items() if not abs(s) <= BOUND and k not in falls}

    def warnings(self) -> list[str]:
        """Return a line where some layers do not keep to the rule."""
        if not self.outside:
            return []
        told = ", ".join(f"{layer} {slope:+.2f}" for layer, slope in self.outside.items())
        return [
            f"coordinate check: first changes of {told} follow the width by that power, more "
            f"than {BOUND:g} from 0: the base's learning rate may not suit other widths"
        ]

    def to_json(self) -> dict[str, Any]:
        """Return it as data."""
        slopes = {way: self.slopes(way) for way in _WAYS}
        layers = list(dict.fromkeys(one.layer for one in self.changes))
        return {
            "lr": self.lr,
            "steps": STEPS,
            "bound": BOUND,
            "holds": not self.outside,
            "layers": [
                {
                    "layer": layer,
                    "slope": slopes["mup"].get(layer),
                    "standard_slope": slopes["standard"].get(layer),
                    **{
                        way: [
                            {"width": one.width, "change": one.change}
                            for one in self.changes
                            if one.way == way and one.layer == layer
                        ]
                        for way in _WAYS
                    },
                }
                for layer in layers
            ],
        }

    def table(self) -> bytes:
        """Return the content of `coordinate_check.csv`."""
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(["parametrisation", "layer", "width", "change", "lr"])
        for one in self.changes:
            row = [one.way, one.layer, repr(one.width), repr(one.change), repr(self.lr)]
            table.writerow(row)
        return text.getvalue().encode()

    @staticmethod
    def read(table: bytes) -> Check:
        """Return the check that a table was written of."""
        rows = list(csv.DictReader(io.StringIO(table.decode())))
        changes = (
            Change(r["parametrisation"], r["layer"], float(r["width"]), float(r["change"]))
            for r in rows
        )
        return Check(float(rows[0]["lr"]), tuple(changes))


def with_base(assembly: Assembly, size: Size, base: Size) -> Size:
    """Return a size that begins and learns next to the width of another one.

    Raises:
        SpecError: If no rule says how this model grows from there.
    """
    first, model = base.variant.model, size.variant.model
    fields = _widths(first, like=model)
    try:
        model.at_widths(fields)
        first.at_widths(_widths(model, like=first))  # as the check will have it
        variant = apply(size.variant, {"train.mup": fields})
    except ValueError as error:
        raise assembly.fault("scale.lr.rule", f"mup: {_first(error)}") from None
    assembly.replica(0, assembly.experiment.seed, variant)  # rules are there, or it raises
    return replace(size, variant=variant)


def count_widths(sizes: Sequence[Size]) -> int:
    """Return how many different widths some sizes have."""
    first = sizes[0].variant.model
    return len({str(_widths(size.variant.model, like=first)) for size in sizes})


def check_of(assembly: Assembly, sizes: Sequence[Size], base: Size, lr: float) -> Check:
    """Return the coordinate check of a ladder, at the base's depth and the ladder's widths.

    Args:
        assembly: What is trained.
        sizes: Of the ladder.
        base: The one at whose width nothing is changed.
        lr: Learning rate of all sizes.
    """
    from modelscale.training.coordinates import changes_of

    plain = apply(base.variant, {"train.mup": None, "scheduler": {"kind": "constant"}})
    plain = apply(plain, {"optimizer.lr": lr})
    first = plain.model
    models = [first.at_widths(widths) for widths in _three(sizes, first)]
    seeds = range(assembly.experiment.seed, assembly.experiment.seed + _LEAST_SEEDS)
    changes = []
    for way in _WAYS:
        mup = _widths(first, like=first) if way == "mup" else None
        for model in models:
            variant = _variant(plain, model, mup)
            replicas = [assembly.replica(0, seed, variant) for seed in seeds]
            multiple = _size_of(model) / _size_of(first)
            changes += [
                Change(way, layer, multiple, change)
                for layer, change in changes_of(replicas, assembly.device, STEPS).items()
            ]
    return Check(lr, tuple(changes))


def _variant(plain: Experiment, model: ModelSpec, mup: Mapping[str, Any] | None) -> Experiment:
    plan = plain.train.model_copy(update={"mup": mup})
    return plain.model_copy(update={"model": model, "train": plan})


def _three(sizes: Sequence[Size], like: ModelSpec) -> list[dict[str, Any]]:
    """Return the narrowest, a middle and the widest widths of a ladder, by fields."""
    every = {str(w): w for w in (_widths(size.variant.model, like=like) for size in sizes)}
    found = sorted(every.values(), key=lambda w: _size_of(like.at_widths(w)))
    return [found[0], *found[len(found) // 2 : -1][:1], found[-1]]


def _widths(model: ModelSpec, like: ModelSpec) -> dict[str, Any]:
    """Return the widths of a model for one of another depth, whose last layer is repeated."""
    found = {}
    for name in model.widths:
        own, wanted = getattr(model, name), getattr(like, name)
        if isinstance(own, tuple) and own:
            own = own[: len(wanted)] + own[-1:] * (len(wanted) - len(own))
        found[name] = own
    return found


def _size_of(model: ModelSpec) -> float:
    """Return the width of a model as one number: the mean over its layers."""
    values = [getattr(model, name) for name in model.widths]
    return fmean(
        x for value in values for x in (value if isinstance(value, tuple) else [value])
    )


def _slope(places: Sequence[tuple[float, float]]) -> float:
    """Return the slope of the least-squares line through some points."""
    middle_x, middle_y = (fmean(column) for column in zip(*places, strict=True))
    spread = math.fsum((x - middle_x) ** 2 for x, _ in places)
    return math.fsum((x - middle_x) * (y - middle_y) for x, y in places) / spread


def _first(error: ValueError) -> str:
    from pydantic import ValidationError

    if not isinstance(error, ValidationError):
        return str(error)
    return str(error.errors()[0]["msg"]).removeprefix("Value error, ")
