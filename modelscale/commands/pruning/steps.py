"""The steps of a `prune` section, one after the other, on one model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modelscale.commands.pruning.bench import Bench, Retrained
from modelscale.pruning.kinds.base import PruneSpec
from modelscale.pruning.kinds.depthwise_separable import DepthwiseSeparable
from modelscale.pruning.kinds.int8 import Int8
from modelscale.pruning.kinds.low_rank import LowRank
from modelscale.pruning.kinds.sparse import Sparse
from modelscale.pruning.kinds.structured import Structured

if TYPE_CHECKING:
    from modelscale.training.artifact import Model


@dataclass(frozen=True)
class Smaller:
    """A model that all steps were done to.

    Attributes:
        model: On the CPU.
        step: Optimizer steps of all re-training.
        steps: What was done, for the document.
    """

    model: Model
    step: int
    steps: list[dict[str, Any]]


def all_steps(bench: Bench, section: PruneSpec, prefix: str = "") -> Smaller:
    """Do all steps but `int8`, which is one of the finished model.

    Args:
        bench: With the model to begin with.
        section: What is to be done.
        prefix: Of the stages' names.
    """
    model, total = bench.first, 0
    steps: list[dict[str, Any]] = []
    for number, step in enumerate(section.parts()):
        if isinstance(step, Int8):
            continue
        label = f"{prefix}{number:02d}-{step.own_kind()}"
        done = _done(bench, label, model, step)
        bench.keep(f"{label}-done", done.model, done.facts, total + done.step)
        model, total = done.model, total + done.step
        steps.append({"kind": step.own_kind(), **done.facts})
    return Smaller(model, total, steps)


def _done(bench: Bench, label: str, model: Model, step: PruneSpec) -> Retrained:
    """Do one step."""
    if isinstance(step, Structured):
        from modelscale.commands.pruning.structured import prune_units

        return prune_units(bench, label, model, step)
    if isinstance(step, Sparse):
        from modelscale.commands.pruning.sparse import prune_weights

        return prune_weights(bench, label, model, step)
    from modelscale.commands.pruning.rewriting import factorise, separate

    if isinstance(step, LowRank):
        return factorise(bench, label, model, step)
    assert isinstance(step, DepthwiseSeparable), step.own_kind()
    return separate(bench, label, model, step)
