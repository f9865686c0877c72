"""Setting single weights to zero, at once or little by little while the others train."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from modelscale.commands.pruning.bench import Bench, Retrained
from modelscale.models.edits.masked import Masked
from modelscale.models.edits.sparse import Sparse as SparseEdit
from modelscale.pruning import masks
from modelscale.pruning.kinds.sparse import Sparse

if TYPE_CHECKING:
    from torch import Tensor

    from modelscale.commands.ensembling.workshop import Each
    from modelscale.training.artifact import Model
    from modelscale.training.session import Session
    from modelscale.training.trainer import EpochReport

    Choose = Callable[[Model], dict[str, Tensor]]

USUAL = 0.9
_STEPS = 3
"""Of the iterative schedule."""


def prune_weights(bench: Bench, label: str, model: Model, section: Sparse) -> Retrained:
    """Make a model sparse and train what is left of it.

    Args:
        bench: Data and training.
        label: Of the stage.
        model: What is made sparse.
        section: How.

    Raises:
        SpecError: If the criterion scores whole units only, or no weight is above a threshold.
    """
    if section.max_drop is not None:
        from modelscale.commands.pruning.accuracy_budget import weights_within

        return weights_within(bench, label, model, section, section.max_drop)
    return to_sparsity(bench, label, model, section)


def to_sparsity(bench: Bench, label: str, model: Model, section: Sparse) -> Retrained:
    """Make a model as sparse as it says and train it; arguments are as for `prune_weights`."""
    names = masks.prunable(model.network)
    if not names:
        raise bench.shop.assembly.fault("prune", "no linear layer or convolution has weights")
    plan = _Plan(bench, section, bench.epochs(section.retrain, bench.left(model)))
    start = masked(model, names)
    first = plan.at(0, model)
    if first is not None:
        start = with_masks(start, first)
    trained = bench.retrain(
        label, start, section.retrain, each=_rising(plan, model, names) if plan.moves else None
    )
    made = unmasked(model, trained.model.network.state_dict(), names)
    facts = _facts(made, section, names) | {"retrain": trained.facts}
    if section.pattern is not None:
        facts |= _pattern_facts(made, section.pattern, names)
        if section.pattern == "2:4":
            facts["kernels"] = _kernels(bench, made)
    return Retrained(made, trained.step, facts)


@dataclass(frozen=True)
class _Plan:
    """When which weights become zero.

    Attributes:
        bench: Data.
        section: What is wanted.
        epochs: Of re-training.
    """

    bench: Bench
    section: Sparse
    epochs: int

    @property
    def moves(self) -> bool:
        """Whether masks change while training."""
        by_share = self.section.threshold is None and self.section.pattern is None
        return by_share and self.section.schedule != "one_shot" and self.epochs > 1

    @property
    def ramp(self) -> int:
        """Epochs after which the sparsity is reached."""
        return min(self.epochs - 1, max(1, round(self.section.ramp * self.epochs)))

    def sparsity(self, epoch: int) -> float | None:
        """Return the sparsity that begins after an epoch, None where nothing changes."""
        whole = USUAL if self.section.sparsity is None else self.section.sparsity
        if not self.moves:
            return whole if epoch == 0 else None
        if epoch > self.ramp:
            return None
        if self.section.schedule == "gradual":
            return masks.cubic(whole, epoch / self.ramp) if epoch else None
        steps = min(_STEPS, self.ramp + 1)
        due = [round(step * self.ramp / max(1, steps - 1)) for step in range(steps)]
        if epoch not in due:
            return None
        return float(1 - (1 - whole) ** ((due.index(epoch) + 1) / steps))

    def at(self, epoch: int, model: Model) -> dict[str, Tensor] | None:
        """Return the masks that begin after an epoch; None where nothing changes.

        Args:
            epoch: 0 before the first one.
            model: As it is then, without masks.
        """
        section = self.section
        if epoch == 0 and section.threshold is not None:
            found = masks.by_threshold(self._scores(model), section.threshold)
            if not any(bool(mask.any()) for mask in found.values()):
                raise self.bench.shop.assembly.fault(
                    "prune.threshold", f"no weight has a score of {section.threshold:g} or more"
                )
            return found
        if epoch == 0 and section.pattern is not None:
            kept, of = map(int, section.pattern.split(":"))
            return masks.by_pattern(self._scores(model), kept, of)
        sparsity = self.sparsity(epoch)
        if sparsity is None:
            return None
        return masks.by_sparsity(
            self._scores(model), sparsity, per_layer=section.scope == "layer"
        )

    def _scores(self, model: Model) -> dict[str, Tensor]:
        """Return how much each weight matters; one that is zero stays zero."""
        from modelscale.pruning.evidence import Evidence

        bench = self.bench
        evidence = Evidence(model.network, (), bench.batches, model.loss, bench.seed)
        named = dict(model.network.named_parameters())
        scores = {}
        for name in masks.prunable(model.network):
            try:
                score = self.section.criterion.weight_scores(name, evidence)
            except ValueError as error:
                raise bench.shop.assembly.fault("prune.criterion", str(error)) from None
            scores[name] = score.detach().masked_fill(named[name].detach() == 0, -1.0)
        return scores


def masked(model: Model, names: list[str]) -> Model:
    """Return a copy of a model whose weights have masks: of ones, but zeros stay zero."""
    from modelscale.models.modules.exported import twin_of

    edit = Masked(tensors=tuple(names))
    network = edit.apply(twin_of(model.network))
    edits = tuple(e for e in model.edits if not isinstance(e, SparseEdit))
    named = dict(model.network.named_parameters())
    made = replace(model, network=network, edits=(*edits, edit))
    was_sparse = len(edits) < len(model.edits)
    return with_masks(made, {n: named[n].detach() != 0 for n in names}) if was_sparse else made


def with_masks(model: Model, found: Mapping[str, Tensor]) -> Model:
    """Return the model with other masks, in place."""
    from modelscale.models.modules.mask import mask_of

    buffers = dict(model.network.named_buffers())
    for name, mask in found.items():
        buffers[mask_of(name)].copy_(mask)
    return model


def unmasked(plain: Model, state: Mapping[str, Tensor], names: list[str]) -> Model:
    """Return a model with plain weights, zero where the masks were.

    Args:
        plain: The same model before it had masks.
        state: Parameters and buffers of the masked one, by name.
        names: Of the masked parameters.
    """
    from modelscale.models.modules.exported import twin_of
    from modelscale.models.modules.mask import mask_of, original_of

    network = twin_of(plain.network)
    values = dict(state)
    for name in names:
        values[name] = values.pop(original_of(name)) * values.pop(mask_of(name))
    network.load_state_dict(values, strict=False)  # a tied tensor has one of its names
    edits = tuple(edit for edit in plain.edits if not isinstance(edit, SparseEdit))
    return replace(
        plain, network=network.eval(), edits=(*edits, SparseEdit(tensors=tuple(names)))
    )


def _rising(plan: _Plan, plain: Model, names: list[str]) -> Each:
    """Return what sets more weights to zero after an epoch where the plan says so."""

    def each(session: Session, event: EpochReport) -> None:
        from modelscale.models.modules.mask import mask_of
        from modelscale.training.cohort import Weights

        trainer = session.trainer
        if not trainer.living or (event.epoch > plan.ramp):
            return
        found = plan.at(event.epoch, _as_it_is(plain, session, names))
        if found is None:
            return
        weights = trainer.cohort.weights
        device = trainer.cohort.device
        fresh = {mask_of(name): mask[None].to(device) for name, mask in found.items()}
        trainer.cohort.replace(Weights(weights.theta_KP, weights.buffers_K | fresh))
        for progress in trainer.living:  # what was best before had other zeros
            progress.best_score, progress.best_epoch, progress.stale = -float("inf"), 0, 0

    return each


def _as_it_is(plain: Model, session: Session, names: list[str]) -> Model:
    """Return the model that a session trains, with plain weights."""
    cohort = session.trainer.cohort
    state = cohort.layout.tensors(session.trainer.shown().theta_KP[0].cpu())
    state |= {name: b_K[0].cpu() for name, b_K in cohort.weights.buffers_K.items()}
    return unmasked(plain, state, names)


def _facts(model: Model, section: Sparse, names: list[str]) -> dict[str, Any]:
    named = dict(model.network.named_parameters())
    zeros = {name: named[name].detach() == 0 for name in names}
    return {
        "criterion": section.criterion.own_kind(),
        "schedule": "one_shot" if section.threshold or section.pattern else section.schedule,
        "sparsity": sum(int(z.sum()) for z in zeros.values())
        / sum(z.numel() for z in zeros.values()),
        "layers": {name: float(z.float().mean()) for name, z in zeros.items()},
        "note": "zeros do not make dense kernels faster; the file is smaller",
    }


def _pattern_facts(model: Model, pattern: str, names: list[str]) -> dict[str, Any]:
    """Return which layers have the pattern; the others' rows are no multiple of it."""
    of = int(pattern.partition(":")[2])
    named = dict(model.network.named_parameters())
    whole = [name for name in names if named[name][0].numel() % of]
    return {"pattern": pattern, "left_whole": _declined(whole, of)}


def _declined(names: list[str], of: int) -> list[dict[str, Any]]:
    if not names:
        return []
    return [{"reason": f"rows are no multiple of {of} long", "layers": names}]


def _kernels(bench: Bench, model: Model) -> dict[str, Any]:
    """Return how fast a card's 2:4 kernels are beside its dense ones; or why there are none.

    Measured where the run trains, in half precision, with as many examples as go in a batch.
    """
    import json

    from modelscale.commands.pruning.timing import speedup, timed
    from modelscale.pruning.semi_structured import accelerated

    path = bench.shop.run.path / "latency-pattern.json"
    if not path.is_file():
        device = bench.shop.assembly.device
        found = accelerated(model.network, bench.batches[0][0], device)
        facts: dict[str, Any]
        if isinstance(found, str):
            facts = {"used": False, "why": found}
        else:
            dense, sparse = found.dense, found.sparse
            calls: dict[str, Callable[[Tensor], Tensor]] = {
                "dense": lambda x: dense(x.half()),
                "sparse": lambda x: sparse(x.half()),
            }
            turns = timed(calls, bench.example, device=device)
            times = {
                str(batch): speedup(ms, turns["sparse"][batch]).to_json()
                for batch, ms in turns["dense"].items()
            }
            facts = {"used": True, "layers": list(found.layers), "over_dense_half": times}
        bench.shop.run.write(path.name, json.dumps(facts).encode())
    stored: dict[str, Any] = json.loads(path.read_bytes())
    return stored
