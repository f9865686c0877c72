"""Exported files: every kind and every sort of input gives the model's own answers."""

import contextlib
import io
import json
import sys
import zipfile
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from export_models import (
    CITIES,
    LABELS,
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
from fault_programs import Told
from torch import nn

from modelscale.commands import export as command
from modelscale.commands.export_sample import Sample
from modelscale.commands.trained_model import TrainedModel
from modelscale.errors import DataError, GateFailed, Unavailable
from modelscale.evaluation.metric_names import default_metrics
from modelscale.export.answers import graph_of
from modelscale.export.child import OPSET, Converter
from modelscale.export.onnx_file import completed, export_network, export_onnx
from modelscale.export.program import from_bytes, to_bytes
from modelscale.export.reading import expected_outputs, read
from modelscale.export.runtime import onnx_answers, program_answers, runtime_latency
from modelscale.export.signature import signature_of, user_values
from modelscale.models.base import ModelSpec
from modelscale.runs.checkpoints import Checkpoint
from modelscale.runs.export_files import read_certificate
from modelscale.training.artifact import dump_network

SMALL = {
    "mlp": {"hidden": [8]},
    "cnn": {"channels": [4, 8]},
    "resnet": {"width": 4, "blocks": 1, "stages": 2},
    "mobilenet": {"width": 0.25, "expansion": 2},
    "efficientnet_lite": {"width": 0.25, "depth": 0.2},
    "voice_encoder": {"width": 8, "layers": 2},
    "ft_transformer": {"width": 8, "blocks": 2, "heads": 2},
    "text_decoder": {"width": 8, "blocks": 2, "heads": 2},
    "ctc_conv": {"width": 8, "blocks": 2, "kernel": 3},
}
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


def onnx_file(model, converter):
    """Return a model as a finished ONNX file and what it takes."""
    signature = signature_of(model, text=True)
    return completed(export_onnx(model, converter), signature, {"task": model.task}), signature


def archive(model):
    """Return a model as a finished `torch.export` archive and what it takes."""
    signature = signature_of(model, text=False)
    return to_bytes(graph_of(model), {"task": model.task}), signature


def assert_equal_answers(model, raw, answer, signature, tolerance=1e-5):
    with torch.no_grad():
        x = model.preprocessing.module()(torch.from_numpy(model.preprocessing.encode(raw)))
        wanted = expected_outputs(model, x).numpy()
    for stop in (1, 2, len(raw)):  # the batch is free
        found = answer(user_values(model.preprocessing, raw, signature, 0, stop))
        assert found.shape == wanted[:stop].shape
        np.testing.assert_allclose(found, wanted[:stop], rtol=tolerance, atol=tolerance)


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
    assert exported == set(ModelSpec.kinds()) - {
        "encoder_decoder"
    }  # by test_translation_commands


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


class TestLogits:
    """Files of language models and of what is said give logits, from which answers are read."""

    def test_nats_of_a_text_are_read_from_logits_of_the_symbols_before(self):
        raw = stream()
        model = fitted(raw, "text_decoder", "next_token", **SMALL["text_decoder"])
        data, signature = archive(model)
        tokens = user_values(model.preprocessing, raw, signature, 0, 24)["tokens"]
        assert tokens.shape == (24, 7)  # the eighth is only predicted
        logits = torch.from_numpy(program_answers(data)({"tokens": tokens}).copy())
        x = torch.from_numpy(model.preprocessing.encode(raw))
        share = logits.softmax(-1)
        came = [[share[n, t, int(x[n, t + 1])].item() for t in range(7)] for n in range(24)]
        nats = -np.log(np.array(came)).mean(axis=1)
        np.testing.assert_allclose(nats, expected(model, raw)[:, 0], rtol=1e-5)
        np.testing.assert_allclose(read(model, logits, x)[:, 0], nats, rtol=1e-5)

    def test_shorter_texts_get_the_first_of_the_logits(self):
        raw = stream()
        model = fitted(raw, "text_decoder", "next_token", **SMALL["text_decoder"])
        data, signature = archive(model)
        self.assert_shorter_texts_fit(model, raw, program_answers(data), signature)

    @pytest.mark.slow
    def test_shorter_texts_are_taken_by_onnx_runtime(self, converter):
        raw = stream()
        model = fitted(raw, "text_decoder", "next_token", **SMALL["text_decoder"])
        data, signature = onnx_file(model, converter)
        (port,) = onnxruntime.InferenceSession(data).get_inputs()
        assert port.shape == ["batch", "length"]
        self.assert_shorter_texts_fit(model, raw, onnx_answers(data), signature)

    def assert_shorter_texts_fit(self, model, raw, answer, signature):
        tokens = user_values(model.preprocessing, raw, signature, 0, 5)["tokens"]
        whole = answer({"tokens": tokens})
        for length in (1, 2, 6):
            first = answer({"tokens": np.ascontiguousarray(tokens[:, :length])})
            np.testing.assert_allclose(first, whole[:, :length], atol=1e-5)

    def test_what_is_said_is_read_from_a_file_as_by_the_model(self):
        raw = recordings()
        model = fitted(raw, "ctc_conv", {"kind": "ctc", "beam": 4}, **SMALL["ctc_conv"])
        data, signature = archive(model)
        values = user_values(model.preprocessing, raw, signature, 0, 24)
        logits = torch.from_numpy(program_answers(data)(values).copy())
        assert logits.shape[1:] == signature.output.shape
        written = read(model, logits, torch.empty(0)).numpy()
        assert (written == expected(model, raw)).all()
        assert len({tuple(row) for row in written.tolist()}) > 1


class TestInputs:
    def test_a_table_takes_the_cells_as_they_stand(self, converter):
        """Texts in any script, missing ones, unknown ones, and codes as text."""
        model = model_of(table(), hidden=[8])
        data, _ = onnx_file(model, converter)
        cells = [
            [CITIES[0], "1", "x"],
            [CITIES[1], "2", ""],
            ["", "", ""],
            ["paris", "1.0", ""],
        ]
        numbers = np.array([[50, 2], [np.nan, 3], [np.nan, np.nan], [1e6, -1]], np.float32)
        found = onnx_answers(data)(
            {"numbers": numbers, "categories": np.array(cells, dtype=object)}
        )
        codes = [[1, 1, 0], [2, 2, 0], [0, 0, 0], [0, 0, 0]]
        encoded = torch.tensor(np.hstack([numbers, np.array(codes, np.float32)]))
        with torch.no_grad():
            wanted = model.predictions(model.preprocessing.module()(encoded))
        np.testing.assert_allclose(found, wanted, atol=1e-6)
        np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)

    @pytest.mark.slow
    @pytest.mark.parametrize("which", ["numbers", "categories"])
    def test_a_table_of_one_sort_has_one_input(self, which, converter):
        others = {"numbers": "categories", "categories": "numbers"}
        raw = table(**{others[which]: False})
        model = model_of(raw, "ft_transformer", **SMALL["ft_transformer"])
        data, signature = onnx_file(model, converter)
        assert [port.name for port in signature.inputs] == [which]
        assert_equal_answers(model, raw, onnx_answers(data), signature)

    @pytest.mark.slow
    def test_names_types_and_shapes_are_in_the_file(self, converter):
        data, _ = onnx_file(model_of(table()), converter)
        session = onnxruntime.InferenceSession(data)
        assert [(i.name, i.type, i.shape) for i in session.get_inputs()] == [
            ("numbers", "tensor(float)", ["batch", 2]),
            ("categories", "tensor(string)", ["batch", 3]),
        ]
        (output,) = session.get_outputs()
        assert (output.name, output.shape) == ("probabilities", ["batch", 3])

    def test_images_of_bytes_are_taken_as_bytes(self):
        raw = array((2, 8, 8), dtype="uint8")
        model = model_of(raw, "linear")
        (port,) = (signature := signature_of(model, text=True)).inputs
        assert (port.name, port.dtype) == ("images", "uint8")
        floats = array((2, 8, 8), dtype="uint8").array.astype("float32") + 0.5
        broken = array((2, 8, 8))
        object.__setattr__(broken, "array", floats)
        with pytest.raises(DataError, match="not uint8"):
            user_values(model.preprocessing, broken, signature, 0, 2)


class TestAnswers:
    SCALES = (
        {"name": "price", "log": True, "mean": 12.0, "scale": 0.5},
        {"name": "age", "log": False, "mean": 40.0, "scale": 25.0},
    )

    def test_values_are_in_the_data_s_units(self, converter):
        raw = table()
        model = model_of(raw, loss="mean_squared_error", targets=self.SCALES, hidden=[8])
        data, signature = onnx_file(model, converter)
        assert signature.output.columns == ("price", "age")
        assert_equal_answers(model, raw, onnx_answers(data), signature)
        values = user_values(model.preprocessing, raw, signature, 0, len(raw))
        price, age = onnx_answers(data)(values).T
        assert (price > 1e4).all()  # exp(12) and not 12
        assert abs(age.mean() - 40) < 25

    @pytest.mark.slow
    def test_one_output_makes_two_probabilities(self, converter):
        raw = table()
        model = model_of(raw, loss="binary_cross_entropy")
        data, signature = onnx_file(model, converter)
        assert signature.output.columns == LABELS[:2]
        assert_equal_answers(model, raw, onnx_answers(data), signature)


class TestFiles:
    def test_metadata_says_what_the_file_is(self, converter):
        data, signature = onnx_file(model_of(table()), converter)
        model = onnx.load_model_from_string(data)
        entries = {entry.key: entry.value for entry in model.metadata_props}
        assert json.loads(entries["modelscale"]) == {"task": "classification", "opset": OPSET}
        assert model.producer_name == "modelscale"
        document = signature.to_json()
        assert document["inputs"][1]["words"][0] == CITIES
        assert document["output"]["columns"] == LABELS

    @pytest.mark.slow
    def test_onnx_files_are_equal_to_the_last_bit(self, converter):
        model = model_of(table())
        assert onnx_file(model, converter) == onnx_file(model, converter)

    def test_an_archive_holds_nothing_pickled(self):
        data, _ = archive(model_of(table(), "ft_transformer", **SMALL["ft_transformer"]))
        with zipfile.ZipFile(io.BytesIO(data)) as members:
            contents = {name: members.read(name) for name in members.namelist()}
        weights = [c for n, c in contents.items() if n.endswith("_config.json")]
        assert weights
        assert all(b'"use_pickle": true' not in config for config in weights)
        # torch.save writes archives of its own, old pickles begin with the protocol's mark.
        assert not any(c.startswith((b"PK", b"\x80\x02")) for c in contents.values())
        found = next(c for n, c in contents.items() if n.endswith("modelscale.json"))
        assert json.loads(found) == {"task": "classification"}

    def test_reading_an_archive_unpickles_nothing(self):
        data, _ = archive(model_of(table()))
        seen = []
        watching = True

        def watch(event, arguments):
            if watching and event == "pickle.find_class":
                seen.append(arguments)

        sys.addaudithook(watch)
        from_bytes(data)
        watching = False
        assert not seen

    def test_the_model_is_left_as_it_was(self, converter):
        model = model_of(array((5,)))
        before = {name: value.clone() for name, value in model.network.state_dict().items()}
        export_onnx(model, converter)
        archive(model)
        assert not model.network.training
        for name, value in model.network.state_dict().items():
            assert torch.equal(value, before[name])


class Branching(nn.Module):
    """Cannot be exported: which way it goes depends on the values."""

    def forward(self, x):
        return x + 1 if x.sum() > 0 else x - 1


class Inverting(nn.Module):
    """Has a graph, but ONNX has no such operator."""

    def forward(self, x):
        return torch.linalg.inv(x.unsqueeze(-1) * x.unsqueeze(-2))


@pytest.mark.slow
class TestChild:
    def test_a_network_without_a_graph_is_refused_by_reason(self, converter):
        with pytest.raises(GateFailed, match="the model cannot be exported: "):
            export_network(Branching(), (4,), converter)

    def test_an_operator_that_onnx_lacks_is_named(self, converter):
        with pytest.raises(GateFailed, match="the exporter failed: "):
            export_network(Inverting(), (4,), converter)
        assert export_network(nn.Linear(4, 2), (4,), converter)

    def test_a_child_that_died_is_told_and_replaced(self, converter):
        export_network(nn.Linear(4, 2), (4,), converter)
        converter._child.kill()
        converter._child.wait()
        assert export_network(nn.Linear(4, 2), (4,), converter)
        first = converter._child
        first.stdin.write((1 << 40).to_bytes(8, "big"))  # it dies of a request too large
        with pytest.raises(GateFailed, match="the exporter died with exit code 1"):
            export_network(nn.Linear(4, 2), (4,), converter)
        assert export_network(nn.Linear(4, 2), (4,), converter)
        assert converter._child is not first

    def test_a_child_that_takes_too_long_is_killed(self):
        with Converter(timeout_s=0.01) as hasty:
            with pytest.raises(GateFailed, match="did not end within"):
                export_network(nn.Linear(4, 2), (4,), hasty)
            assert hasty._child is None

    def test_a_user_s_files_do_not_stand_in_for_libraries(self, tmp_path, monkeypatch):
        (tmp_path / "torch.py").write_text("raise SystemExit(9)")
        monkeypatch.chdir(tmp_path)
        assert export_network(nn.Linear(4, 2), (4,))


class TestRuntime:
    def test_latency_of_any_network_in_either_runtime(self, converter):
        network = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        for runtime in ("eager", "onnxruntime"):
            found = runtime_latency(
                network, (4,), runtime, (1, 16), threads=1, seconds=0.02, converter=converter
            )
            assert [entry.batch for entry in found] == [1, 16]
            assert all(0 < e.p10_ms <= e.median_ms <= e.p90_ms for e in found)

    def test_without_the_extra_the_message_says_what_to_install(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "onnxscript", None)
        with pytest.raises(Unavailable, match=r"pip install 'modelscale\[export\]'"):
            export_network(nn.Linear(4, 2), (4,))
