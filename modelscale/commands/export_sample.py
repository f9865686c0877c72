"""The real examples that an exported file is proved on, and those that calibrate it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from modelscale.commands.trained_model import VALUES_AT_ONCE, TrainedModel, read_named
from modelscale.errors import UsageError
from modelscale.seeds import derive
from modelscale.tensors import Part

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from modelscale.data.raw import Raw
    from modelscale.export.parity import Gap
    from modelscale.export.runtime import Answer
    from modelscale.export.signature import Signature

CALIBRATION_ROWS = 512
_CALIBRATION_BATCH = 32
_IN_TURN: tuple[Part, ...] = ("validation", "train")  # never the test part


@dataclass(frozen=True)
class Sample:
    """Examples that a file and its model both answer.

    Attributes:
        part: Of the run's data, or `new`.
        raw: All examples.
        rows: (N,) those to answer.
        train: (M,) those that may calibrate; empty where they are not known.
    """

    part: str
    raw: Raw
    rows: NDArray[np.int64]
    train: NDArray[np.int64]


@dataclass(frozen=True)
class Answered:
    """What a model and a file answered to the same examples.

    Attributes:
        expected: (N, C) probabilities or (N, T) values of the model, as metrics take them.
        found: The same of the file.
        targets: (N,) classes, or (N, T) values in the data's units.
        logits: How far the file's logits are off; None where it gives the answers themselves.
    """

    expected: Tensor
    found: Tensor
    targets: Tensor
    logits: Gap | None


def sample_of(trained: TrainedModel, data: str | None, *, accept_change: bool) -> Sample:
    """Return the validation part of the run's own data, or all rows of other data.

    Args:
        trained: The model.
        data: A file, a folder or a name of the catalogue; None for the run's own data.
        accept_change: Whether the run's data may have changed since.

    Raises:
        DataError: If the data has changed, or is not what the model takes.
        UsageError: If the run's data is not known.
    """
    import numpy as np

    from modelscale.commands.own_data import read_own

    if data is not None:
        raw = read_named(data, trained, with_target=True)
        return Sample("new", raw, np.arange(len(raw)), np.arange(0))
    own = read_own(trained, accept_change=accept_change)
    part = next(name for name in _IN_TURN if len(own.parts[name]))
    return Sample(part, own.raw, own.parts[part].numpy(), own.parts["train"].numpy())


def answered(
    trained: TrainedModel, sample: Sample, signature: Signature, answer: Answer
) -> Answered:
    """Return the answers of a model and of a file, which gets the user's values.

    Args:
        trained: The model.
        sample: The examples.
        signature: What the file takes.
        answer: Answers as the file does.
    """
    import torch

    from modelscale.commands.own_data import rows_of
    from modelscale.export.parity import Gap, gap_of_logits
    from modelscale.export.reading import answers, expected_outputs, gives_logits, read
    from modelscale.export.signature import user_values

    model, preprocessing = trained.model, trained.model.preprocessing
    module = preprocessing.module()
    expected, found, targets = [], [], []
    logits = Gap(0.0, 0.0) if gives_logits(model.task) else None
    for rows in _pieces(trained, sample.rows, signature):
        raw = rows_of(sample.raw, rows)
        with torch.no_grad():
            x = module(torch.from_numpy(preprocessing.encode(raw)))
        expected.append(answers(model, x))
        targets.append(preprocessing.encode_target(raw))
        values = user_values(preprocessing, raw, signature, 0, len(raw))
        outputs = torch.from_numpy(answer(values).copy())
        found.append(read(model, outputs, x))
        if logits is not None:
            with torch.no_grad():
                logits = logits.or_larger(gap_of_logits(expected_outputs(model, x), outputs))
    y = _joined(targets)
    if model.task != "classification":
        y = preprocessing.inverse_target(y)
    return Answered(torch.cat(expected), torch.cat(found), y, logits)


def _joined(pieces: list[Tensor]) -> Tensor:
    """Return all rows; those of what is said are padded with zeros to the longest."""
    import torch
    from torch.nn import functional as F

    if pieces[0].dim() == 1:
        return torch.cat(pieces)
    width = max(piece.shape[1] for piece in pieces)
    return torch.cat([F.pad(piece, (0, width - piece.shape[1])) for piece in pieces])


def _pieces(
    trained: TrainedModel, rows: NDArray[np.int64], signature: Signature
) -> Iterator[NDArray[np.int64]]:
    from modelscale.commands.measuring import EXAMPLES_AT_ONCE

    model = trained.model
    shapes = (model.inputs.shape, model.preprocessing.shape, signature.output.shape)
    width = max(1, *map(prod, shapes))
    step = max(1, min(EXAMPLES_AT_ONCE, VALUES_AT_ONCE // width))
    for start in range(0, len(rows), step):
        yield rows[start : start + step]


def first_values(
    trained: TrainedModel, sample: Sample, signature: Signature, most: int
) -> dict[str, NDArray[Any]]:
    """Return the first of a sample's rows as an exported file takes them."""
    from modelscale.commands.own_data import rows_of
    from modelscale.export.signature import user_values

    raw = rows_of(sample.raw, sample.rows[:most])
    return user_values(trained.model.preprocessing, raw, signature, 0, len(raw))


def calibration(
    trained: TrainedModel, sample: Sample, signature: Signature
) -> Iterator[dict[str, NDArray[Any]]]:
    """Yield batches of training rows, drawn by a fixed seed.

    Raises:
        UsageError: If the training rows are not known.
    """
    import torch

    from modelscale.commands.own_data import rows_of
    from modelscale.export.signature import user_values

    if not len(sample.train):
        raise UsageError(
            "static int8 is calibrated on the run's training rows, which --data does not "
            "have; leave --data out or take --quantize int8-dynamic"
        )
    generator = torch.Generator().manual_seed(derive(0, "calibration"))
    order = torch.randperm(len(sample.train), generator=generator)[:CALIBRATION_ROWS]
    chosen = sample.train[order.sort().values.numpy()]
    for start in range(0, len(chosen), _CALIBRATION_BATCH):
        raw = rows_of(sample.raw, chosen[start : start + _CALIBRATION_BATCH])
        yield user_values(trained.model.preprocessing, raw, signature, 0, len(raw))
