"""The rungs of a ladder: which models, on which rows, from which seeds, and what each costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from math import prod
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from modelscale.commands.experiment import Experiment
from modelscale.scaling.growth import can_grow, extrapolated, grown
from modelscale.scaling.section import Family, ScaleSection
from modelscale.spec.paths import apply

if TYPE_CHECKING:
    from torch import Tensor

    from modelscale.commands.assembly import Assembly
    from modelscale.data.prepared import Prepared
    from modelscale.training.replica import Replica

FLOPS_PER_MAC = 2
FORWARD_AND_BACKWARD = 3
"""A backward pass costs about two forward passes: by the inputs, and by the weights."""
RATE = "optimizer.lr"
_MOST_HALVINGS = 40
_AHEAD = 2  # sizes beyond the ladder that are looked at


@dataclass(frozen=True)
class Size:
    """One size of the model.

    Attributes:
        index: Its place, 0 the smallest.
        changes: What it changes of the spec, by key.
        variant: The whole experiment with it, without the ladder.
        parameters: Of its network, exactly.
        macs: Of a forward pass on one example, exactly.
    """

    index: int
    changes: dict[str, Any]
    variant: Experiment
    parameters: int
    macs: int


@dataclass(frozen=True)
class Rung:
    """One model to be trained.

    Attributes:
        label: Names its folder: `size-2-data-0-seed-1`.
        size: Which size.
        data: Place of its amount of data, 0 the smallest.
        fraction: Part of the training rows.
        seed: Of everything random, the subset included.
        rows: Training rows.
        examples: Examples that it sees in all epochs.
        units: What the law counts as data: examples, or tokens of a language model.
        compute: FLOPs of its training.
        lr: Its learning rate.
    """

    label: str
    size: Size
    data: int
    fraction: float
    seed: int
    rows: int
    examples: int
    units: int
    compute: int
    lr: float

    @property
    def point(self) -> tuple[int, int]:
        """Size and amount of data: seeds of one point are repetitions."""
        return self.size.index, self.data


@dataclass(frozen=True)
class Ladder:
    """All sizes and rungs.

    Attributes:
        section: What was asked for.
        sizes: Smallest first.
        rungs: By size, amount of data and seed; cheapest size first.
        beyond: Sizes that would follow, for what to train next; none where none is foreseen.
    """

    section: ScaleSection
    sizes: tuple[Size, ...]
    rungs: tuple[Rung, ...]
    beyond: tuple[Size, ...]

    def with_rates(self, rates: Mapping[int, float]) -> Ladder:
        """Return the ladder with a learning rate for each size."""
        rungs = tuple(replace(rung, lr=rates[rung.size.index]) for rung in self.rungs)
        return replace(self, rungs=rungs)


def ladder_of(assembly: Assembly, section: ScaleSection) -> Ladder:
    """Return the ladder of an experiment; sizes are counted, nothing is trained.

    Raises:
        SpecError: If a size is not valid, takes no such data, or sizes do not grow.
    """
    changes = _changes(assembly, section)
    sizes = tuple(_size(assembly, i, change) for i, change in enumerate(changes))
    for smaller, larger in pairwise(sizes):
        if larger.parameters <= smaller.parameters:
            raise assembly.fault(
                "scale",
                f"size {larger.index} has {larger.parameters:,} parameters and the one before "
                f"{smaller.parameters:,}; sizes go from the smallest to the largest",
            )
    beyond = tuple(_beyond(assembly, section, sizes))
    if section.lr.rule == "mup":
        sizes, beyond = _with_base(assembly, section, sizes, beyond)
    rungs = tuple(_rungs(assembly, section, sizes))
    return Ladder(section, sizes, rungs, beyond)


def replica_of(assembly: Assembly, rung: Rung) -> Replica:
    """Return a rung as something that can be trained."""
    variant = rung.size.variant
    if rung.lr != getattr(variant.optimizer, "lr", rung.lr):
        variant = apply(variant, {RATE: rung.lr})
    replica = assembly.replica(0, rung.seed, variant)
    if rung.fraction == 1:
        return replica
    rows = nested_rows(replica.data, rung.seed)[: rung.rows]
    return replace(replica, train_rows=rows.to(replica.data.y.device))


def nested_rows(data: Prepared, seed: int) -> Tensor:
    """Return the training rows in an order whose every beginning is a fair subset.

    Of classes, each beginning has about the shares of the whole: a row's place is its rank
    within its own class, in a random order, over the class's size.

    Args:
        data: The whole.
        seed: Another one is another order.
    """
    import torch

    from modelscale.seeds import derive

    generator = torch.Generator().manual_seed(derive(seed, "ladder"))
    rows = data.rows["train"].cpu()
    shuffled = rows[torch.randperm(len(rows), generator=generator)]
    if data.task != "classification":
        return shuffled
    classes_N = data.y.cpu()[shuffled]
    jitter_N = torch.rand(len(rows), generator=generator, dtype=torch.float64)
    place_N = torch.zeros(len(rows), dtype=torch.float64)
    for label in classes_N.unique():
        own = (classes_N == label).nonzero()[:, 0]
        ranks = torch.arange(len(own), dtype=torch.float64)
        place_N[own] = (ranks + jitter_N[own]) / len(own)
    return shuffled[place_N.argsort(stable=True)]


def training_flops(macs: int, examples: int) -> int:
    """Return the FLOPs of training: forward and backward, two a multiply-add."""
    return FORWARD_AND_BACKWARD * FLOPS_PER_MAC * macs * examples


def units_of(assembly: Assembly) -> int:
    """Return what one example counts in the law: 1, or its tokens in a language model."""
    if assembly.loaded.task != "language_model":
        return 1
    encoding = assembly.experiment.model.encoding
    return prod(assembly.data(0, encoding).inputs.shape)


def _rungs(
    assembly: Assembly, section: ScaleSection, sizes: tuple[Size, ...]
) -> Iterator[Rung]:
    experiment, units = assembly.experiment, units_of(assembly)
    total = len(assembly.loaded.folds[0].train)
    # Rounded down: a quarter of the rows costs at most a quarter.
    counts = [max(1, int(fraction * total + 1e-9)) for fraction in section.data.fractions]
    if len(set(counts)) < len(counts):
        raise assembly.fault("scale.data.fractions", "two of them are the same rows")
    for size in sizes:
        rate = float(getattr(size.variant.optimizer, "lr", 0.0))
        for place, (fraction, rows) in enumerate(
            zip(section.data.fractions, counts, strict=True)
        ):
            examples = rows * size.variant.train.epochs
            for seed in range(experiment.seed, experiment.seed + section.seeds):
                yield Rung(
                    label=f"size-{size.index}-data-{place}-seed-{seed}",
                    size=size,
                    data=place,
                    fraction=fraction,
                    seed=seed,
                    rows=rows,
                    examples=examples,
                    units=examples * units,
                    compute=training_flops(size.macs, examples),
                    lr=rate,
                )


def _changes(assembly: Assembly, section: ScaleSection) -> list[dict[str, Any]]:
    if section.family is None:
        return section.changes()
    model = assembly.experiment.model.model_dump()
    if not can_grow(model):
        kind = assembly.experiment.model.own_kind()
        raise assembly.fault("scale.family", f"{kind} has no width; say `sizes` instead")
    first = _size(assembly, 0, {})
    return [
        {},
        *(
            _grown_changes(assembly, section.family, first, step)
            for step in range(1, section.family.steps)
        ),
    ]


def _grown_changes(
    assembly: Assembly, family: Family, first: Size, step: int
) -> dict[str, Any]:
    """Return the changes that come nearest to `ratio ** step` times the parameters."""
    wanted = first.parameters * family.ratio**step
    model = assembly.experiment.model.model_dump()
    depth = family.ratio ** (step * family.depth)
    low, high = 1.0, family.ratio**step
    best: tuple[float, dict[str, Any]] | None = None
    for _ in range(_MOST_HALVINGS):
        width = (low * high) ** 0.5
        changes = {f"model.{k}": v for k, v in grown(model, width, depth).items()}
        count = _size(assembly, step, changes).parameters
        off = max(count / wanted, wanted / count)
        if best is None or off < best[0]:
            best = off, changes
        if high / low < 1.001:
            break
        low, high = (width, high) if count < wanted else (low, width)
    assert best is not None
    return best[1]


def _size(assembly: Assembly, index: int, changes: dict[str, Any]) -> Size:
    from modelscale.commands.train import model_facts

    absent = dict.fromkeys(("tune", "prune", "ensemble", "scale"))
    plain = assembly.experiment.model_copy(update=absent)
    try:
        variant = apply(plain, changes)
    except ValidationError as error:
        message = error.errors()[0]["msg"]
        raise assembly.fault("scale", f"size {index} ({_told(changes)}): {message}") from None
    facts = model_facts(assembly.replica(0, assembly.experiment.seed, variant))
    return Size(index, changes, variant, facts["parameters"], facts["macs"])


def _with_base(
    assembly: Assembly,
    section: ScaleSection,
    sizes: tuple[Size, ...],
    beyond: tuple[Size, ...],
) -> tuple[tuple[Size, ...], tuple[Size, ...]]:
    """Return both next to the width of the base, whose learning rate is that of all."""
    from modelscale.commands.scale_widths import count_widths, with_base
    from modelscale.errors import SpecError

    if section.lr.base >= len(sizes):
        raise assembly.fault("scale.lr.base", f"there are {len(sizes)} sizes, the first is 0")
    if assembly.experiment.train.mup is not None:
        raise assembly.fault("scale.lr.rule", "train.mup says the base width; leave one out")
    base, further = sizes[section.lr.base], []
    based = tuple(with_base(assembly, size, base) for size in sizes)
    if count_widths(sizes) < 2:
        raise assembly.fault("scale.lr.rule", "mup is for sizes of several widths")
    for size in beyond:
        try:
            further.append(with_base(assembly, size, base))
        except SpecError:
            break
    return based, tuple(further)


def _beyond(
    assembly: Assembly, section: ScaleSection, sizes: tuple[Size, ...]
) -> Iterator[Size]:
    """Yield the sizes that would follow by the same rule, where there is one."""
    from modelscale.errors import SpecError

    changes = [size.changes for size in sizes]
    for index in range(len(sizes), len(sizes) + _AHEAD):
        if section.family is not None:
            following = _grown_changes(assembly, section.family, sizes[0], index)
        else:
            keys = changes[-1]
            following = {k: extrapolated(tuple(c[k] for c in changes)) for k in keys}
            if not following or None in following.values():
                return
        try:
            size = _size(assembly, index, following)
        except SpecError:  # such as a width that heads do not divide
            return
        if size.parameters <= sizes[-1].parameters:
            return
        changes.append(following)
        yield size


def _told(changes: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in changes.items()) or "as it is"
