"""Points of a sweep as they are priced: in PyTorch, or with eight bits in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from modelscale.commands.pruning.bench import Bench
from modelscale.commands.pruning.eight_bits import calibration
from modelscale.commands.pruning.timing import Call
from modelscale.errors import GateFailed

if TYPE_CHECKING:
    from modelscale.training.artifact import Model

EIGHT_BITS = "-int8"
"""Ends the names of points with eight bits."""


@dataclass(frozen=True)
class Priced:
    """A network that is measured and timed.

    Attributes:
        model: Its architecture and what its outputs mean.
        call: What computes its outputs.
        runtime: Where.
        bytes: Of the file that it is in; None for those of the parameters.
    """

    model: Model
    call: Call
    runtime: str = "eager"
    bytes: int | None = None

    def answering(self) -> Model:
        """Return the model whose network is the call."""
        from torch import Tensor, nn

        if isinstance(self.call, nn.Module):
            return self.model
        call = self.call

        class Called(nn.Module):
            """A network that another runtime computes."""

            def forward(self, x: Tensor) -> Tensor:
                return call(x.contiguous())

        return replace(self.model, network=Called())


def in_eight_bits(bench: Bench, models: Mapping[str, Model]) -> dict[str, Priced]:
    """Return the models with eight bits, by their names and `-int8`; none that has no such.

    Raises:
        Unavailable: If a package is missing.
    """
    from modelscale.export.child import Converter
    from modelscale.export.onnx_file import export_network
    from modelscale.export.quantise import quantise_dynamic, quantise_static, scheme_for
    from modelscale.export.runtime import onnx_call

    made: dict[str, Priced] = {}
    with Converter() as converter:
        for name, model in models.items():
            try:
                plain = export_network(model.network, bench.example, converter)
                static = scheme_for(plain) == "static"
                small = (
                    quantise_static(plain, calibration(bench))
                    if static
                    else quantise_dynamic(plain)
                )
            except GateFailed as error:
                bench.shop.tell.warn(f"sweep: {name}{EIGHT_BITS} is left out: {error}")
                continue
            call = onnx_call(small)
            made[f"{name}{EIGHT_BITS}"] = Priced(model, call, "onnxruntime", len(small))
    return made
