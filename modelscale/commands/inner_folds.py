"""Cross-validation within a search: folds of train and validation parts, never of the test."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from modelscale.commands.assembly import Assembly
from modelscale.seeds import derive

if TYPE_CHECKING:
    from modelscale.data.loading import LoadedData
    from modelscale.data.splits.base import Fold


def with_inner_folds(assembly: Assembly, folds: int) -> Assembly:
    """Return the same experiment with the data divided for judging trials.

    All folds have equally many training rows, so that one cohort trains them: the rows that
    are left over after an even division are learnt from in every fold. Classes are dealt out
    evenly.

    Args:
        assembly: With one division into train, validation and test.
        folds: How many.

    Raises:
        SpecError: If there are fewer rows than folds.
    """
    outer = assembly.loaded.folds[0]
    count = len(outer.train) + len(outer.validation)
    if count < 2 * folds:
        raise assembly.fault("tune.folds", f"{count} rows are too few for {folds} folds")
    loaded = replace(assembly.loaded, folds=_divided(assembly.loaded, folds, assembly))
    return Assembly(
        assembly.experiment,
        assembly.places,
        loaded,
        assembly.loss,
        assembly.goal,
        assembly.device,
        assembly.threads,
    )


def _divided(loaded: LoadedData, folds: int, assembly: Assembly) -> tuple[Fold, ...]:
    import torch

    from modelscale.data.splits.base import Fold

    outer = loaded.folds[0]
    rows = torch.cat([outer.train, outer.validation]).sort().values
    seed = derive(assembly.experiment.seed, "inner folds")
    rows = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))]
    if loaded.task == "classification":
        target = assembly.data(0, assembly.experiment.model.encoding).y.cpu()
        rows = rows[target[rows].sort(stable=True).indices]
    size = len(rows) // folds
    dealt = rows[: size * folds].view(size, folds)
    found = []
    for fold in range(folds):
        validation = dealt[:, fold].sort().values
        others = [dealt[:, other] for other in range(folds) if other != fold]
        train = torch.cat([*others, rows[size * folds :]]).sort().values
        found.append(Fold(train, validation, outer.test))
    return tuple(found)
