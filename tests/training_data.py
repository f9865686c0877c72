"""Small prepared data for tests of the training loop."""

from __future__ import annotations

from dataclasses import replace

import torch

from modelscale.data.examples import TensorExamples
from modelscale.data.prepared import Prepared
from modelscale.data.preprocessing import Preprocessing, TargetScale
from modelscale.losses.base import LossSpec
from modelscale.models.base import ModelSpec
from modelscale.optimizers.base import OptimizerSpec
from modelscale.optimizers.schedules.base import ScheduleSpec
from modelscale.tensors import Inputs
from modelscale.training.plan import Regularization, TrainPlan
from modelscale.training.replica import Replica
from modelscale.training.scoring import Monitor
from modelscale.training.trainer import Trainer

CPU = torch.device("cpu")
LOSS = Monitor("loss", maximize=False)


def classes(
    shape: tuple[int, ...] = (6,), count: int = 96, labels: int = 3, seed: int = 0
) -> Prepared:
    """Return Gaussian inputs whose class depends on their mean and first value."""
    draws = torch.Generator().manual_seed(seed)
    x = torch.randn(count, *shape, generator=draws)
    flat = x.flatten(1)
    score = flat[:, 0] + 3 * flat.mean(dim=1)
    y = torch.bucketize(score, torch.tensor([-0.5, 0.5][: labels - 1]))
    third = count // 6
    return Prepared(
        task="classification",
        inputs=Inputs(shape),
        targets=labels,
        x=TensorExamples(x),
        y=y,
        rows={
            "train": torch.arange(count - 2 * third),
            "validation": torch.arange(count - 2 * third, count - third),
            "test": torch.arange(count - third, count),
        },
        preprocessing=Preprocessing(
            form="array",
            task="classification",
            encoding="onehot",
            shape=shape,
            labels=tuple(f"c{i}" for i in range(labels)),
            target_names=("y",),
        ),
        fingerprint="0" * 64,
    )


def symbols(count: int = 96, length: int = 6, seed: int = 0) -> Prepared:
    """Return texts of eleven symbols, some of them padding, by how many are above the fifth."""
    draws = torch.Generator().manual_seed(seed)
    x = torch.randint(11, (count, length), generator=draws)
    vectors = classes(count=count, seed=seed)
    return replace(
        vectors,
        inputs=Inputs((length,), vocabulary=11),
        x=TensorExamples(x),
        y=torch.bucketize((x > 5).sum(dim=1), torch.tensor([1, 3])),
        preprocessing=vectors.preprocessing.model_copy(
            update={"form": "tokens", "shape": (length,), "vocabulary": 11}
        ),
    )


def windows(count: int = 96, length: int = 6, seed: int = 0) -> Prepared:
    """Return windows of a text in which each symbol is mostly the one before it plus one."""
    draws = torch.Generator().manual_seed(seed)
    start = torch.randint(9, (count, 1), generator=draws)
    x = 2 + (start + torch.arange(length + 1)) % 9
    return replace(
        symbols(count, seed=seed),
        task="language_model",
        inputs=Inputs((length + 1,), vocabulary=11),
        targets=length,
        x=TensorExamples(x),
        y=torch.zeros(count, 1),
        preprocessing=Preprocessing(
            form="tokens",
            task="language_model",
            encoding="codes",
            shape=(length + 1,),
            vocabulary=11,
            target_names=("nats",),
        ),
    )


def series(count: int = 96, labels: int = 3, seed: int = 0) -> Prepared:
    """Return windows of three columns and nine steps; the last channel says that they are."""
    data = classes((4, 9), count, labels, seed)
    x = data.x.take(torch.arange(count)).clone()
    x[:, -1] = 1
    return replace(data, x=TensorExamples(x))


def said(count: int = 96, seed: int = 0) -> Prepared:
    """Return spectra in which a band's loudness says one of three letters, twice."""
    data = classes((1, 8, 12), count, seed=seed)
    y = torch.stack([data.y + 1, data.y.flip(0) + 1], dim=1)
    return replace(data, task="transcription", targets=4, y=y)


def translated(count: int = 96, seed: int = 0) -> Prepared:
    """Return texts of five symbols beside their first two, which are to be written, and an end.

    Four symbols are written: padding, what is not known, one of the text's two, and the end.
    """
    data = symbols(count, 5)
    read = 2 + data.x.take(torch.arange(count)) % 2
    written = torch.cat([read[:, :2] - 1, torch.full((count, 1), 3.0)], dim=1)
    return replace(
        data,
        task="translation",
        targets=4,
        inputs=Inputs((8,), vocabulary=4, written=3),
        x=TensorExamples(torch.cat([read, written], dim=1)),
        y=written.long(),
    )


def pairs(count: int = 96, seed: int = 0) -> Prepared:
    """Return codes of two categories, whose class depends on both."""
    draws = torch.Generator().manual_seed(seed)
    sizes = (8, 9)
    codes = torch.stack([torch.randint(n, (count,), generator=draws) for n in sizes], dim=1)
    vectors = classes((2,), count, seed=seed)
    return replace(
        vectors,
        inputs=Inputs((2,), categories=sizes, of_item=(1,)),
        x=TensorExamples(codes.float()),
        y=(codes[:, 0] % 2) + (codes[:, 1] > 4).long(),
    )


TINY: dict[str, dict[str, float]] = {
    "efficientnet_lite": {"width": 0.25, "depth": 0.2},
    "voice_encoder": {"width": 8, "layers": 2},
}
"""Fields of models that are large by default."""


def first_fitting(model: ModelSpec, *choices: Prepared) -> Prepared:
    """Return the first of some data that a model can learn from, or else of other forms."""
    two = (classes(labels=2), series(labels=2))
    others = (pairs(), series(), said(), translated(), *two, classes((1, 64, 64), 48))
    for data in (*choices, *others):
        if data.task in model.tasks and (data.targets == 2 or not model.reconstructs):
            try:
                model.check(data.inputs)
            except ValueError:
                continue
            return data
    raise AssertionError(f"no data for {model.own_kind()}")


def values(count: int = 60, features: int = 4, seed: int = 0, noise: float = 0.1) -> Prepared:
    """Return inputs and targets of a noisy linear function, all rows for training."""
    draws = torch.Generator().manual_seed(seed)
    x = torch.randn(count, features, generator=draws)
    slope = torch.arange(1.0, features + 1)[:, None]
    y = x @ slope + 0.5 + noise * torch.randn(count, 1, generator=draws)
    none = torch.arange(0)
    return Prepared(
        task="regression",
        inputs=Inputs((features,)),
        targets=1,
        x=TensorExamples(x),
        y=y,
        rows={"train": torch.arange(count), "validation": none, "test": none},
        preprocessing=Preprocessing(
            form="array",
            task="regression",
            encoding="onehot",
            shape=(features,),
            targets=(TargetScale(name="y", log=False, mean=0.0, scale=1.0),),
            target_names=("y",),
        ),
        fingerprint="0" * 64,
    )


def replica(
    data: Prepared,
    model: ModelSpec | str | dict[str, object] = "linear",
    optimizer: OptimizerSpec | str | dict[str, object] = "adam",
    scheduler: str | dict[str, object] = "constant",
    loss: str | None = None,
    seed: int = 0,
    regularization: Regularization | None = None,
    augment: tuple[object, ...] = (),
    **plan: object,
) -> Replica:
    """Return a replica; everything that is not said is plain and short."""
    default = {
        "classification": "cross_entropy",
        "regression": "mean_squared_error",
        "language_model": "next_token",
        "transcription": "ctc",
        "translation": "teacher_forcing",
        "pretraining": "masked_values",
    }[data.task]
    network = ModelSpec.model_validate(model)
    default = "reconstruction" if network.reconstructs else default
    return Replica(
        model=network,
        loss=LossSpec.model_validate(loss or default),
        optimizer=OptimizerSpec.model_validate(optimizer),
        scheduler=ScheduleSpec.model_validate(scheduler),
        regularization=regularization or Regularization(),
        plan=TrainPlan.model_validate({"epochs": 2, "batch_size": 16} | plan),
        seed=seed,
        data=data,
        augment=augment,
    )


def trained(*replicas: Replica) -> Trainer:
    """Return the trainer of a cohort at the end of its plan."""
    trainer = Trainer(list(replicas), (), LOSS, CPU)
    for _ in trainer.run():
        pass
    return trainer
