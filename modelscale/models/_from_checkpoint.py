"""A model that begins with the weights of a checkpoint, in place of a kind."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import (
    Field,
    GetJsonSchemaHandler,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
)
from pydantic_core import CoreSchema

from modelscale.models.base import Form, ModelSpec
from modelscale.tensors import Inputs, Task

if TYPE_CHECKING:
    from torch import nn

Blocks = Annotated[int, Field(ge=0)]
Patterns = Annotated[tuple[str, ...], Field(min_length=1)]


class FromCheckpoint(ModelSpec):
    """A trained model's network and weights, to be trained further.

    Whoever assembles an experiment reads the checkpoint and puts its model in this one's
    place; nothing else of a run ever sees this spec.
    """

    takes: ClassVar[tuple[Form, ...]] = ()
    tasks: ClassVar[tuple[Task, ...]] = ()

    # The field's name is a word of Python's own, so it cannot stand on a line as the others do.
    __annotations__["from"] = Annotated[
        Path,
        Field(
            description="A checkpoint, run or study folder, or a run's name: whose model, "
            "weights and pre-processing are begun with."
        ),
    ]

    freeze: Literal["none", "body"] | Blocks | Patterns = "none"
    """What is not trained: `body` is all but the output layer (a linear probe), a number that
    many layers from the input on (embeddings count as one), or patterns such as `body.*` of
    parameters' names."""

    layer_decay: float = Field(1.0, gt=0, le=1)
    """Factor on the learning rate of each layer for every layer that lies above it."""

    unfreeze: int | None = Field(None, ge=1)
    """Epochs between two layers that begin to be trained, from the output down; all are from
    the start where it is left out."""

    head: Literal["auto", "fresh"] = "auto"
    """Whether the output layer is drawn anew; `auto` keeps it where task and classes (or target
    values) are those of the checkpoint."""

    scaling: Literal["checkpoint", "own"] = "checkpoint"
    """Whether numbers and pixels are scaled as for the checkpoint, or by the training part."""

    length: int | None = Field(None, ge=1)
    """Symbols of a text, where fewer than the checkpoint's are to be read; samples of a
    recording, where networks read any number of them."""

    dropout: float | None = Field(None, gt=0, lt=1)
    """In place of the checkpoint's rate, for models that have one above 0."""

    @field_validator("freeze")
    @classmethod
    def _patterns_are_names(cls, freeze: str | int | tuple[str, ...]) -> object:
        if isinstance(freeze, tuple) and not all(freeze):
            raise ValueError("an empty pattern fits no parameter")
        return freeze

    @property
    def source(self) -> Path:
        """The checkpoint, as it was given."""
        path = getattr(self, "from")
        assert isinstance(path, Path)
        return path

    def at_widths(self, fields: Mapping[str, Any]) -> ModelSpec:
        raise ValueError("is for weights that are drawn, not for those of model.from")

    def build(self, inputs: Inputs, outputs: int) -> nn.Module:
        raise AssertionError("a checkpoint's own model is built in its place")

    @model_serializer(mode="wrap")
    def _with_kind(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        written: dict[str, Any] = handler(self)
        return written

    @classmethod
    def _kind_schema(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return handler.resolve_ref_schema(handler(core_schema))
