"""Exported files: what goes in and comes out, and what is in them."""

import io
import json
import sys
import zipfile

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
    model_of,
    recordings,
    stream,
    table,
)
from exported_files import SMALL, archive, assert_equal_answers, onnx_file

from modelscale.errors import DataError
from modelscale.export.child import OPSET, Converter
from modelscale.export.onnx_file import export_onnx
from modelscale.export.program import from_bytes
from modelscale.export.reading import read
from modelscale.export.runtime import onnx_answers, program_answers
from modelscale.export.signature import signature_of, user_values


@pytest.fixture(scope="module")
def converter():
    with Converter() as running:
        yield running


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
