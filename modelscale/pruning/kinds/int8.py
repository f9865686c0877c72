"""Arithmetic with eight bits."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from modelscale.pruning.kinds.base import PruneSpec


class Int8(PruneSpec):
    """Exports the model to ONNX with eight-bit weights and activations, proved and timed.

    Needs the extra `export`. The run keeps its float model beside the file.
    """

    scheme: Literal["auto", "static", "dynamic"] = "auto"
    """Whether activations get fixed scales from training examples, which suits convolutions,
    or are scaled as they come; `auto` takes the kind that suits the network."""

    tolerance: float = Field(0.01, ge=0)
    """Most that the first metric may lose by it; a file that loses more is not kept."""
