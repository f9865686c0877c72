"""Models as finished files, and whether these answer as the models do."""

import numpy as np
import torch

from modelscale.export.answers import graph_of
from modelscale.export.onnx_file import completed, export_onnx
from modelscale.export.program import to_bytes
from modelscale.export.reading import expected_outputs
from modelscale.export.signature import signature_of, user_values

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
