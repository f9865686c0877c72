"""Layers replaced by cheaper ones: low rank, and depthwise separable."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from modelscale.commands.pruning.bench import Bench, Retrained
from modelscale.pruning.kinds.depthwise_separable import DepthwiseSeparable
from modelscale.pruning.kinds.low_rank import LowRank
from modelscale.pruning.section import Retrain, Target

if TYPE_CHECKING:
    from torch import nn

    from modelscale.models.edits.base import EditSpec
    from modelscale.training.artifact import Model

_TOLERANCE = 1.01
NOTHING_TO_SEPARATE = (
    "the network has no dense convolution with a kernel of more than one pixel"
)


class Rewritten(NamedTuple):
    """A model with cheaper layers that is not trained yet.

    Attributes:
        model: On the CPU.
        facts: What was replaced, for the document.
    """

    model: Model
    facts: dict[str, Any]


def factorise(bench: Bench, label: str, model: Model, section: LowRank) -> Retrained:
    """Replace layers by two of lower rank, then train again.

    Raises:
        SpecError: If no layer gets cheaper by it, or the target cannot be met.
    """
    return _trained(bench, label, factorised(bench, model, section), section.retrain)


def factorised(bench: Bench, model: Model, section: LowRank) -> Rewritten:
    """Return a model with layers of lower rank; errors are those of `factorise`."""
    from modelscale.models.edits.low_rank import Factored
    from modelscale.models.edits.low_rank import LowRank as Edit

    ranks = _ranks(bench, model, section)
    if not ranks:
        raise bench.shop.assembly.fault("prune", "no layer gets cheaper by a lower rank")
    factored = tuple(Factored(layer=layer, rank=rank) for layer, rank in ranks.items())
    return _rewritten(bench, model, Edit(factored=factored), {"ranks": ranks})


def _ranks(bench: Bench, model: Model, section: LowRank) -> dict[str, int]:
    from modelscale.evaluation.macs import count_macs, parameter_count
    from modelscale.pruning.low_rank import ranks_for_energy, ranks_that_fit, spectra

    layers = spectra(model.network, bench.example)
    if section.energy is not None:
        return ranks_for_energy(layers, section.energy, section.align)
    target = section.target or Target(macs=0.5)
    by_macs = target.measure == "macs"
    size = 4 if target.measure == "bytes" else 1
    whole = (
        count_macs(model.network, bench.example) if by_macs else parameter_count(model.network)
    )
    bound = _TOLERANCE * target.bound(size * whole) / size

    def left(ranks: Mapping[str, int]) -> float:
        saved = sum(
            (1 - layer.cost(ranks.get(layer.layer)))
            * (layer.macs if by_macs else layer.rows * layer.columns)
            for layer in layers
        )
        return whole - saved

    found = ranks_that_fit(layers, section.align, lambda ranks: left(ranks) <= bound)
    if found is None:
        least = left(ranks_for_energy(layers, 0.0, section.align))
        raise bench.shop.assembly.fault(
            f"prune.target.{target.measure}",
            f"cannot be met: {least / whole:.3g} is left at rank {section.align}; a smaller "
            "prune.align leaves less",
        )
    return found


def separate(bench: Bench, label: str, model: Model, section: DepthwiseSeparable) -> Retrained:
    """Replace convolutions by depthwise and pointwise ones, then train again.

    Raises:
        SpecError: If there is no convolution that could be separated.
    """
    return _trained(bench, label, separated(bench, model, section), section.retrain)


def separated(bench: Bench, model: Model, section: DepthwiseSeparable) -> Rewritten:
    """Return a model with separated convolutions; errors are those of `separate`."""
    from modelscale.models.edits.separable import Separable

    layers = separable_layers(model.network, section.least_channels)
    if not layers:
        raise bench.shop.assembly.fault("prune", NOTHING_TO_SEPARATE)
    return _rewritten(bench, model, Separable(layers=layers), {"layers": list(layers)})


def separable_layers(network: nn.Module, least_channels: int) -> tuple[str, ...]:
    """Return the names of the dense convolutions of more than one pixel."""
    from torch import nn

    return tuple(
        path
        for path, layer in network.named_modules()
        if isinstance(layer, nn.Conv2d)
        and layer.groups == 1
        and layer.in_channels >= least_channels
        and max(layer.kernel_size) > 1
    )


def _rewritten(bench: Bench, model: Model, edit: EditSpec, facts: dict[str, Any]) -> Rewritten:
    from modelscale.models.modules.exported import twin_of
    from modelscale.pruning.calibration import recalibrate

    network = edit.apply(twin_of(model.network))
    recalibrate(network, (x for x, _ in bench.batches))
    start = bench.changed(model, network, edit)
    if bench.has_validation:
        value = bench.score(start)
        facts["untrained"] = value if bench.metric.direction == "maximize" else -value
    return Rewritten(start, facts)


def _trained(bench: Bench, label: str, made: Rewritten, how: Retrain) -> Retrained:
    trained = bench.retrain(label, made.model, how)
    return Retrained(trained.model, trained.step, made.facts | {"retrain": trained.facts})
