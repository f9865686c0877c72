"""Small models with every sort of input, and raw data as a user has it."""

from dataclasses import replace

import numpy as np
import torch

from modelscale.data.fitting import fit
from modelscale.data.preprocessing import Preprocessing
from modelscale.data.raw import Raw, Texts
from modelscale.data.section import DataSection
from modelscale.data.vocabulary import Vocabulary
from modelscale.data.windows import Windows
from modelscale.losses.base import LossSpec
from modelscale.models.base import ModelSpec
from modelscale.training.artifact import Model, dump_network
from modelscale.training.combination import Mean
from modelscale.training.ensemble_artifact import (
    Blueprint,
    MemberFiles,
    dump_ensemble,
    load_predictor,
)

CITIES = ("Łódź", 'New "York", NY', "Oslo", " Paris")
LABELS = ("cat", "dog", "ox")


def table(rows=40, *, numbers=True, categories=True, seed=0):
    """Return a table with missing numbers, missing, unknown and odd words, and codes."""
    draws = np.random.default_rng(seed)
    columns = {}
    if numbers:
        area = draws.uniform(20, 250, rows)
        area[draws.random(rows) < 0.2] = np.nan
        columns |= {"area": area, "rooms": draws.integers(1, 8, rows).astype(float)}
    if categories:
        city = draws.integers(-1, len(CITIES) + 1, rows).astype(np.int32)
        columns |= {
            "city": Texts(city, (*CITIES, "never seen in training")),
            "zone": draws.integers(1, 4, rows).astype(float),
            "empty": Texts(np.full(rows, -1, dtype=np.int32), ()),
        }
    target = Texts(draws.integers(0, 3, rows).astype(np.int32), LABELS)
    return Raw(target, ("animal",), "0" * 64, "table", columns=columns)


def stream(rows=24, length=7, symbols=11):
    """Return windows of a text, which overlap by their first and last symbols."""
    draws = np.random.default_rng(0)
    row_L = draws.integers(0, symbols, rows * length + 1).astype(np.int32)
    windows = np.lib.stride_tricks.sliding_window_view(row_L, length + 1)[::length]
    names = tuple("abcdefghijklmnopqrstuvwxyz"[:symbols])
    unit = {"unit": "characters", "lowercase": False, "punctuation": True, "lines": True}
    return Raw(
        np.zeros(rows),
        ("nats",),
        "0" * 64,
        "stream",
        array=windows,
        vocabulary=symbols,
        symbols=Vocabulary(**unit, symbols=names),
    )


def recordings(rows=24, seconds=0.5, rate=2000):
    """Return recordings of different lengths in which words are said."""
    draws = np.random.default_rng(0)
    samples = draws.normal(0, 0.2, (rows, int(seconds * rate))).astype(np.float32)
    for row, end in enumerate(draws.integers(200, samples.shape[1] + 1, rows)):
        samples[row, end:] = np.nan
    words = ("one", "two one", "two two two")
    target = Texts(draws.integers(0, 3, rows).astype(np.int32), words)
    return Raw(target, ("said",), "0" * 64, "recordings", array=samples, rate=rate)


def fitted(raw, kind, loss, **fields):
    """Return a model of a text or of what is said, its pre-processing learnt of all rows."""
    spec = ModelSpec.model_validate({"kind": kind, **fields})
    made = LossSpec.model_validate(loss)
    section = DataSection.model_validate(
        {
            "source": "digits",
            "audio": {"bands": 8, "step_ms": 20},
            "transcript": {"unit": "words"},
        }
    )
    preprocessing = fit(raw, made.task, np.arange(len(raw)), spec.encoding, section)
    inputs = preprocessing.inputs()
    spec.check(inputs)
    torch.manual_seed(0)
    network = spec.build(inputs, made.outputs(preprocessing.outputs))
    _settle(network, inputs.shape)
    return Model(
        spec,
        network.eval(),
        made,
        preprocessing,
        made.task,
        inputs,
        preprocessing.outputs,
        "0" * 64,
    )


def flags(rows):
    """Return two labels, as what is usual and what is not have."""
    return Texts(np.arange(rows, dtype=np.int32) % 2, LABELS[:2])


def pair():
    """Return a table of two columns of categories, as users and items are."""
    raw = table(numbers=False)
    return replace(raw, columns={name: raw.columns[name] for name in ("city", "zone")})


def array(shape, rows=24, dtype="float32", seed=0):
    """Return images, vectors or tokens."""
    draws = np.random.default_rng(seed)
    values = draws.integers(0, 256 if dtype == "uint8" else 7, (rows, *shape)).astype(dtype)
    if dtype == "float32":
        values += draws.random((rows, *shape)).astype(dtype)
    target = Texts(draws.integers(0, 3, rows).astype(np.int32), LABELS)
    tokens = {"vocabulary": 9} if dtype == "int64" else {}
    return Raw(target, ("animal",), "0" * 64, "array", array=values, **tokens)


def series(rows=24, positions=9):
    """Return windows of two sensors, with missing cells and of different lengths."""
    draws = np.random.default_rng(0)
    length_N = draws.integers(1, positions + 1, rows)
    columns = {name: draws.normal(size=length_N.sum()) for name in ("flow", "pressure")}
    columns["flow"][::7] = np.nan
    windows = Windows(
        columns=columns,
        start_N=np.cumsum(length_N) - length_N,
        length_N=length_N,
        positions=positions,
        time_L=np.arange(length_N.sum(), dtype=np.float64),
        unit_N=np.arange(rows, dtype=np.int32),
        units=tuple(map(str, range(rows))),
    )
    target = Texts(draws.integers(0, 3, rows).astype(np.int32), LABELS)
    return Raw(target, ("animal",), "0" * 64, "series", series=windows)


def model_of(raw, kind="mlp", loss="cross_entropy", targets=None, **fields):
    """Return a model with pre-processing of a raw table or array, its weights drawn anew.

    Args:
        raw: The data.
        kind: Of the network.
        loss: Its kind.
        targets: Scales of regression targets; None for the classes of `LABELS`.
        fields: More of the network's spec.
    """
    spec = ModelSpec.model_validate({"kind": kind, **fields})
    labels = LABELS[: 2 if loss in {"binary_cross_entropy", "reconstruction"} else 3]
    task = "classification" if targets is None else "regression"
    given = {
        "task": task,
        "encoding": spec.encoding,
        "labels": labels if targets is None else (),
        "targets": targets or (),
        "target_names": tuple(t["name"] for t in targets) if targets else ("animal",),
    }
    if raw.series is not None:
        scaled = {"median": 0.1, "mean": 0.2, "scale": 1.5}
        numeric = [
            {"name": "flow", **scaled, "indicator": True},
            {"name": "pressure", **scaled, "indicator": False},
        ]
        shape = (raw.series.positions,)
        given |= {"form": "series", "numeric": numeric, "shape": shape}
    elif raw.array is None:
        given |= {"form": "table", **_columns(raw)}
    elif raw.vocabulary is not None:
        given |= {"form": "tokens", "shape": raw.array.shape[1:], "vocabulary": raw.vocabulary}
    else:
        channels = [
            {"mean": 0.1 * i, "scale": 0.5 + 0.1 * i} for i in range(raw.array.shape[1])
        ]
        divisor = 255.0 if raw.array.dtype == "uint8" else 1.0
        shape = {"shape": raw.array.shape[1:], "channels": channels, "divisor": divisor}
        given |= {"form": "array", **shape}
    preprocessing = Preprocessing.model_validate(given)
    inputs = preprocessing.inputs()
    spec.check(inputs)
    made = LossSpec.model_validate(loss)
    torch.manual_seed(0)
    network = spec.build(inputs, made.outputs(preprocessing.outputs))
    _settle(network, inputs.shape)
    return Model(
        spec, network.eval(), made, preprocessing, task, inputs, preprocessing.outputs, "0" * 64
    )


def together(raw, kind, count=3, **fields):
    """Return an ensemble of networks of one kind, each of its own weights."""
    members = []
    for number in range(count):
        model = model_of(raw, kind, **fields)
        draws = torch.Generator().manual_seed(number)
        with torch.no_grad():
            for parameter in model.network.parameters():
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=draws))
        members.append(MemberFiles(f"m{number}", dump_network(model)))
    mean = Mean("classification", torch.full((count,), 1 / count))
    blueprint = Blueprint(mean, 1, 1.5, "classification", len(LABELS))
    return load_predictor(dump_ensemble(members, blueprint))


def _columns(raw):
    numeric, categories = [], []
    if "area" in raw.columns:
        scaled = {"median": 90.0, "mean": 100.0, "scale": 40.0}
        numeric = [
            {"name": "area", **scaled, "indicator": True},
            {"name": "rooms", "median": 4.0, "mean": 4.5, "scale": 2.0, "indicator": False},
        ]
    if "city" in raw.columns:
        categories = [
            {"name": "city", "words": CITIES},
            {"name": "zone", "words": ("1", "2")},
            {"name": "empty", "words": ()},
        ]
        categories = [column for column in categories if column["name"] in raw.columns]
    items = ("zone",) if set(raw.columns) == {"city", "zone"} else ()
    return {"numeric": numeric, "categories": categories, "item_columns": items}


def _settle(network, shape):
    """Give norms statistics that differ from those of a new network."""
    network.train()
    with torch.no_grad():
        for _ in range(3):
            network(torch.rand(8, *shape))  # as codes they are all code 0
    network.eval()


def expected(model, raw):
    """Return the model's answers by the way that training and `predict` take."""
    with torch.no_grad():
        x = model.preprocessing.module()(torch.from_numpy(model.preprocessing.encode(raw)))
    return model.predictions(x).numpy()
