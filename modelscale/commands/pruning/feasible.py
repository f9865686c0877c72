"""What can be known to be impossible before there is a run: no run is begun for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelscale.commands.pruning.bench import Finder, examples_of
from modelscale.pruning.kinds.base import PruneSpec
from modelscale.pruning.kinds.sparse import Sparse
from modelscale.pruning.kinds.structured import Structured
from modelscale.pruning.section import Target

if TYPE_CHECKING:
    from modelscale.commands.assembly import Assembly
    from modelscale.data.prepared import Prepared
    from modelscale.errors import SpecError
    from modelscale.pruning.graph.units import Declined
    from modelscale.training.artifact import Model

TOLERANCE = 1.01
"""Above a target by no more than this counts as met: counting and timing are no finer."""


def check_possible(
    assembly: Assembly, model: Model, data: Prepared, section: PruneSpec, units: Finder
) -> None:
    """Raise where no cut can meet what the section asks for.

    Only the first step is certain: what later ones begin with is not made yet.

    Args:
        assembly: For the place of a fault in the spec.
        model: What is to be made smaller.
        data: As it sees it.
        section: What is asked for.
        units: Keeps what it finds, for the run itself.

    Raises:
        SpecError: If so.
    """
    for step in section.parts():
        _check_rows(assembly, data, step)
    first = section.parts()[0]
    if isinstance(first, Sparse):
        _check_weights(assembly, model)
    if isinstance(first, Structured):
        methods = ("structured",) if first.sweep is None else first.sweep.methods
        if "structured" in methods:
            _check_units(assembly, model, data, first, units)
        if "depthwise_separable" in methods:
            _check_convolutions(assembly, model)
        if "sparse" in methods:
            _check_weights(assembly, model)


def nothing_to_cut(assembly: Assembly, declined: tuple[Declined, ...]) -> SpecError:
    """Return the error about a network that has no units, and why."""
    why = f" ({declined[0].reason})" if declined else ""
    return assembly.fault("prune", f"the network has no units that could go{why}")


def _check_rows(assembly: Assembly, data: Prepared, step: PruneSpec) -> None:
    if len(data.rows["validation"]):
        return
    for name in ("max_drop", "sweep"):
        if getattr(step, name, None) is not None:
            raise assembly.fault(
                f"prune.{name}", "needs a validation part; give `data.split.validation`"
            )


def _check_convolutions(assembly: Assembly, model: Model) -> None:
    from modelscale.commands.pruning.rewriting import NOTHING_TO_SEPARATE, separable_layers
    from modelscale.pruning.kinds.depthwise_separable import DepthwiseSeparable

    if not separable_layers(model.network, DepthwiseSeparable().least_channels):
        raise assembly.fault("prune.sweep.methods", NOTHING_TO_SEPARATE)


def _check_weights(assembly: Assembly, model: Model) -> None:
    from modelscale.pruning.masks import prunable

    if not prunable(model.network):
        raise assembly.fault("prune", "no linear layer or convolution has weights")


def _check_units(
    assembly: Assembly, model: Model, data: Prepared, step: Structured, units: Finder
) -> None:
    import torch

    from modelscale.commands.pruning.structured import measured, unreachable
    from modelscale.pruning.allocation import kept_units, ladder_of
    from modelscale.pruning.evidence import Evidence
    from modelscale.pruning.surgery import cut

    structure = units.find(model.network, examples_of(data), step.attention)
    if not structure.groups:
        raise nothing_to_cut(assembly, structure.declined)
    evidence = Evidence(model.network, structure.groups, (), model.loss, 0)
    criteria = (step.sweep.criteria if step.sweep else ()) or (step.criterion,)
    for criterion in criteria:
        try:
            criterion.check(evidence)
        except ValueError as error:
            raise assembly.fault("prune.criterion", str(error)) from None
    smallest_of = Target(macs=min(step.sweep.macs)) if step.sweep else None
    target = smallest_of or step.aim()
    if target is None or target.measure == "latency":
        return
    flat = {group.name: torch.ones(group.units) for group in structure.groups}
    ladders = [ladder_of(g, flat[g.name], step.align, step.least) for g in structure.groups]
    counts = {ladder.name: ladder.rungs[0] for ladder in ladders}
    smallest = cut(model.network, structure, kept_units(flat, counts)).network.eval()
    example = model.inputs.shape
    least = measured(smallest, example, target)
    before = measured(model.network, example, target)
    if least > TOLERANCE * target.bound(before):
        raise unreachable(assembly, target, least, before, sweep=step.sweep is not None)
