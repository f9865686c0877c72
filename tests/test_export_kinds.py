"""Every kind of model with all data that it takes: its files answer as it does."""

import contextlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from export_models import (
    array,
    expected,
    fitted,
    flags,
    model_of,
    pair,
    recordings,
    series,
    stream,
    table,
    together,
)
from exported_files import SMALL, archive, assert_equal_answers, onnx_file
from fault_programs import Told

from modelscale.commands import export as command
from modelscale.commands.export_sample import Sample
from modelscale.commands.trained_model import TrainedModel
from modelscale.evaluation.metric_names import default_metrics
from modelscale.export.child import Converter
from modelscale.export.runtime import onnx_answers, program_answers
from modelscale.export.signature import signature_of, user_values
from modelscale.models.base import ModelSpec
from modelscale.runs.checkpoints import Checkpoint
from modelscale.runs.export_files import read_certificate
from modelscale.training.artifact import dump_network

LOSSES = {"stream": "next_token", "recordings": "ctc"}
"""Of what is no classification, by the form of its data."""
FORMS = {"language_model": "stream", "transcription": "recordings"}
PICTURES = ("efficientnet_lite", "voice_encoder")
"""Kinds that take one channel, or larger images than the others."""
DATA = {
    "picture": lambda: array((1, 32, 32), dtype="uint8"),
    "vector": lambda: array((5,)),
    "image": lambda: array((2, 8, 8), dtype="uint8"),
    "tokens": lambda: array((6,), dtype="int64"),
    "series": series,
    "table": table,
    "pair": pair,
    "stream": stream,
    "recordings": recordings,
}


@pytest.fixture(scope="module")
def converter():
    with Converter() as running:
        yield running


def small(kind, form):
    """Return data and a small model of a kind."""
    raw = DATA[form]()
    if form in LOSSES:
        return raw, fitted(raw, kind, LOSSES[form], **SMALL.get(kind, {}))
    loss = "cross_entropy"
    if ModelSpec.of_kind(kind).reconstructs:
        raw, loss = replace(raw, target=flags(len(raw))), "reconstruction"
    try:
        return raw, model_of(raw, kind, loss, **SMALL.get(kind, {}))
    except ValueError as error:
        pytest.skip(f"{kind} does not take such data: {error}")


def forms_of(kind):
    spec = ModelSpec.of_kind(kind)
    if kind in PICTURES:
        return ["picture"]
    if "classification" not in spec.tasks:
        return [FORMS[task] for task in spec.tasks if task in FORMS]
    return [*spec.takes, *(["table", "pair"] if "vector" in spec.takes else [])]


EVERY = [(kind, form) for kind in ModelSpec.kinds() for form in forms_of(kind)]


def test_every_kind_is_exported_with_some_data():
    exported = set()
    for kind, form in EVERY:
        with contextlib.suppress(pytest.skip.Exception):
            small(kind, form)
            exported.add(kind)
    assert exported == set(ModelSpec.kinds()) - {"encoder_decoder"}  # it has its own test


def certified(model, raw, to, folder, monkeypatch):
    """Return the file of a model as the command writes it, and its certificate."""
    checkpoint = Checkpoint(folder / "checkpoint", 1, dump_network(model))
    trained = TrainedModel(checkpoint, model, torch.device("cpu"), None, None, 0)
    every = np.arange(len(raw))
    sample = Sample("validation", raw, every, every)
    monkeypatch.setattr(command, "sample_of", lambda *_, **__: sample)
    path = folder / "model"
    done = command.export(trained, command.ExportRequest(to, path, seconds=0), Told())
    assert not done.faults
    return path.read_bytes(), read_certificate(path)


class TestEveryKind:
    """Every kind with every sort of data that it takes."""

    @pytest.mark.slow
    @pytest.mark.parametrize(("kind", "form"), EVERY)
    def test_onnx_runtime_gives_the_model_s_answers(self, kind, form, tmp_path, monkeypatch):
        raw, model = small(kind, form)
        data, certificate = certified(model, raw, "onnx", tmp_path, monkeypatch)
        assert_proved(certificate, model, raw)
        signature = signature_of(model, text=True)
        assert_equal_answers(model, raw, onnx_answers(data), signature)

    @pytest.mark.slow
    @pytest.mark.parametrize(("kind", "form"), EVERY)
    def test_program_has_its_certificate(self, kind, form, tmp_path, monkeypatch):
        raw, model = small(kind, form)
        _, certificate = certified(model, raw, "torch-export", tmp_path, monkeypatch)
        assert_proved(certificate, model, raw)

    @pytest.mark.parametrize(("kind", "form"), EVERY)
    def test_program_gives_the_model_s_answers(self, kind, form):
        raw, model = small(kind, form)
        data, signature = archive(model)
        assert_equal_answers(model, raw, program_answers(data), signature, tolerance=1e-6)


def assert_proved(certificate, model, raw):
    """Check that a certificate holds the proof on all rows, with every metric of the task."""
    parity = certificate["document"]["parity"]
    assert parity["rows"] == len(raw)
    assert parity["max_scaled_diff"] < 1e-4
    assert list(parity["metrics"]) == [m.label() for m in default_metrics(model.task)]
    assert parity["metric_diff"] == pytest.approx(0, abs=1e-4)
    assert set(certificate["document"]["latency_ms"]) >= {"eager"}


class TestExecuTorch:
    @pytest.mark.slow
    @pytest.mark.parametrize(("kind", "form"), EVERY)
    def test_every_kind_gives_the_model_s_answers(self, kind, form, converter):
        pytest.importorskip("executorch")
        from modelscale.export.executorch_file import LARGEST_BATCH, export_executorch
        from modelscale.export.runtime import executorch_answers

        raw, model = small(kind, form)
        answer = executorch_answers(export_executorch(model, converter), LARGEST_BATCH)
        signature = signature_of(model, text=False)
        assert_equal_answers(model, raw, answer, signature)
        values = user_values(model.preprocessing, raw, signature, 0, len(raw))
        many = {name: np.concatenate([value] * 8) for name, value in values.items()}
        np.testing.assert_allclose(
            answer(many), np.concatenate([expected(model, raw)] * 8), atol=1e-5
        )


class TestEnsembles:
    """Members that are lifted by `vmap`, whose rules for pooling fix the batch of a graph."""

    MANY = (("cnn", "image"), ("resnet", "image"), ("ft_transformer", "table"))

    @pytest.mark.slow
    @pytest.mark.parametrize(("kind", "form"), MANY)
    def test_onnx_runtime_gives_the_answers_of_all_together(self, kind, form, converter):
        raw = DATA[form]()
        model = together(raw, kind, **SMALL[kind])
        data, signature = onnx_file(model, converter)
        assert_equal_answers(model, raw, onnx_answers(data), signature)

    def test_program_gives_the_answers_of_all_together(self):
        raw = DATA["image"]()
        model = together(raw, "cnn", **SMALL["cnn"])
        data, signature = archive(model)
        assert_equal_answers(model, raw, program_answers(data), signature, tolerance=1e-6)
