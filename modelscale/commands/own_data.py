"""The data that a trained model's run was trained on, read again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from modelscale.commands.trained_model import TrainedModel
from modelscale.errors import DataError, UsageError
from modelscale.tensors import Part

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from modelscale.data.raw import Raw, Texts


@dataclass(frozen=True)
class OwnData:
    """All examples of a run's data, divided as for the model.

    Attributes:
        raw: The examples as they were read.
        parts: int64 rows of each part; of the model's own fold where there are several.
        on_disk: Whether prepared examples go to the cache folder rather than to memory.
    """

    raw: Raw
    parts: dict[Part, Tensor]
    on_disk: bool


def read_own(trained: TrainedModel, *, accept_change: bool) -> OwnData:
    """Return the data of a model's run.

    Args:
        trained: The model.
        accept_change: Whether the data may have changed since the training.

    Raises:
        DataError: If the data has changed.
        UsageError: If the model stands in no run.
    """
    from modelscale.data.loading import load

    experiment, model = trained.experiment, trained.model
    if experiment is None:
        raise UsageError(
            f"{trained.checkpoint.path}: stands in no run, so its data is not known; "
            "give --data FILE"
        )
    anomaly = experiment.task == "anomaly"
    loaded = load(experiment.data, "anomaly" if anomaly else model.task)
    if loaded.raw.fingerprint != model.fingerprint and not accept_change:
        raise DataError(
            f"{loaded.raw.origin}: is not the data that the model was trained on (sha256 "
            f"{loaded.raw.fingerprint[:12]}… now, {model.fingerprint[:12]}… then); "
            "--accept-data-change measures on it all the same"
        )
    fold = loaded.folds[min(trained.fold, len(loaded.folds) - 1)]
    parts: dict[Part, Tensor] = {
        "train": fold.train,
        "validation": fold.validation,
        "test": fold.test,
    }
    return OwnData(loaded.raw, parts, loaded.on_disk)


def rows_of(raw: Raw, rows: NDArray[np.int64]) -> Raw:
    """Return some rows of raw data, in that order; its fingerprint is still the whole's."""
    from modelscale.data.raw import Texts

    def taken(cells: NDArray[np.float64] | Texts) -> NDArray[np.float64] | Texts:
        if isinstance(cells, Texts):
            return Texts(cells.codes_N[rows], cells.words)
        return cells[rows]

    return replace(
        raw,
        columns={name: taken(cells) for name, cells in raw.columns.items()},
        series=None if raw.series is None else raw.series.rows(rows),
        array=None if raw.array is None else raw.array[rows],
        target=None if raw.target is None else taken(raw.target),
        groups=None,
        times=None,
        part=None,
    )
