"""The model family."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError

from modelscale.components import Component
from modelscale.tensors import Encoding, Inputs, Task

if TYPE_CHECKING:
    from torch import nn

Form = Literal["vector", "image", "tokens", "series"]


def form_of(inputs: Inputs) -> Form:
    """Return what sort of inputs these are."""
    if inputs.vocabulary is not None:
        return "tokens"
    if len(inputs.shape) == 2:
        return "series"
    return "image" if len(inputs.shape) == 3 else "vector"


class ModelSpec(Component):
    """A neural network that maps a batch of inputs to a batch of outputs.

    Written for one replica; the trainer lifts it to K with `vmap`. Rates that replicas of one
    cohort may differ in are buffers of the network (see `modules/dropout.py`).
    """

    encoding: ClassVar[Encoding] = "onehot"
    """How categories of a table reach the network."""

    per_replica: ClassVar[tuple[str, ...]] = ()
    """Fields that replicas of one cohort may differ in, as they are buffers of the network."""

    takes: ClassVar[tuple[Form, ...]] = ("vector", "image")
    """The sorts of inputs that the network can read."""

    tasks: ClassVar[tuple[Task, ...]] = ("classification", "regression")
    """What the network can learn."""

    widths: ClassVar[tuple[str, ...]] = ()
    """Fields that say how wide it is; none where no rule carries a learning rate from one width
    to another (see `modules/widths.py`)."""

    reconstructs: ClassVar[bool] = False
    """Whether it makes its input again, to find anomalies without labels."""

    @classmethod
    def variant(cls, data: Mapping[str, Any]) -> type[ModelSpec]:
        """Return the class of the kind that these data name, or of a checkpoint's model."""
        if not cls.is_family() or "from" not in data:
            return super().variant(data)
        if "kind" in data:
            message = "'from' brings the checkpoint's own kind; leave out 'kind' and its fields"
            raise PydanticCustomError("misfit", "{message}", {"message": message})
        from modelscale.models._from_checkpoint import FromCheckpoint

        return FromCheckpoint

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Return the union of all kinds and of `{from: CHECKPOINT}` for the family."""
        schema = super().__get_pydantic_json_schema__(core_schema, handler)
        if cls.is_family():
            from modelscale.models._from_checkpoint import FromCheckpoint

            FromCheckpoint.model_rebuild()
            core = FromCheckpoint.__pydantic_core_schema__
            schema["anyOf"].append(FromCheckpoint._kind_schema(core, handler))
        return schema

    def check(self, inputs: Inputs) -> None:
        """Raise ValueError where the network cannot take such inputs."""
        form = form_of(inputs)
        if form not in self.takes:
            others = [
                kind for kind in ModelSpec.kinds() if form in ModelSpec.of_kind(kind).takes
            ]
            raise ValueError(
                f"{self.own_kind()} takes {' or '.join(self.takes)} inputs, not {form} inputs "
                f"of shape {inputs.shape}; these do: {', '.join(others)}"
            )
        self.check_size(inputs)

    def at_widths(self, fields: Mapping[str, Any]) -> ModelSpec:
        """Return this model with other widths.

        Raises:
            ValueError: If one of the fields is no width, or the values do not fit the model.
        """
        kind = self.own_kind()
        if not self.widths:
            known = [k for k in ModelSpec.kinds() if ModelSpec.of_kind(k).widths]
            raise ValueError(f"is not defined for {kind}; for these it is: {', '.join(known)}")
        for name, value in fields.items():
            if name not in self.widths:
                raise ValueError(
                    f"'{name}' is no width of {kind}; it has: {', '.join(self.widths)}"
                )
            own = getattr(self, name)
            both = isinstance(own, tuple) and isinstance(value, tuple)
            if both and len(own) != len(value):
                raise ValueError(f"{name} has {len(value)} layers, and the model {len(own)}")
        return type(self).model_validate({**self.model_dump(), **fields})

    def quantile_bins(self) -> int:
        """Return how many bins the model wants each number cut into; 0 for none."""
        return 0

    def layer_widths(self) -> tuple[int, ...]:
        """Return sizes of layers that zeros may fill up without changing any answer.

        Models that differ in them alone are trained in one stack (`training/padding.py`).
        """
        return ()

    def widened(self, widths: tuple[int, ...]) -> Self:
        """Return this model with other widths, as many as `layer_widths` returns."""
        assert not widths
        return self

    def check_size(self, inputs: Inputs) -> None:
        """Raise ValueError where inputs of the right sort are too small or too large."""

    @abstractmethod
    def build(self, inputs: Inputs, outputs: int) -> nn.Module:
        """Return the network with freshly initialised weights, drawn from the global RNG.

        Args:
            inputs: What one example looks like.
            outputs: Number of output values O of an example.

        Returns:
            A module that maps x: (batch, *inputs.shape) float32 to (batch, outputs).
        """
