"""Prunings as a user types them, of one small trained model, timed little."""

import shutil
import sys
from contextlib import contextmanager

import pytest

from modelscale.commands.pruning import timing
from modelscale.runs.checkpoints import read_checkpoint
from modelscale.runs.find import find_checkpoint
from modelscale.training.artifact import load_model

QUICK = ("--set", "prune.retrain.epochs=2", "--threads", "1")


@contextmanager
def timed_little():
    """Time little, and in PyTorch alone; what the times are is of no interest."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timing, "TURNS", 3)
        patch.setattr(timing, "SECONDS", 0.005)
        patch.setitem(sys.modules, "onnxruntime", None)
        yield


def with_trained(workshop, folder):
    """Return a folder with a trained model whose original can be taken away."""
    shutil.copytree(workshop / "runs" / "digits", folder / "runs" / "digits", symlinks=True)
    return folder


def model_at(path):
    """Return the model of a run, or of a checkpoint."""
    return load_model(dict(read_checkpoint(find_checkpoint(path)).files))
