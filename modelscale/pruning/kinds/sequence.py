"""Several steps in turn."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, WithJsonSchema, model_validator

from modelscale.pruning.kinds.base import PruneSpec
from modelscale.pruning.kinds.structured import Structured

_ITEMS = {"anyOf": [{"type": "string"}, {"type": "object"}]}


class Sequence(PruneSpec):
    """Steps that are done one after the other, each on what the one before has left."""

    steps: Annotated[
        tuple[PruneSpec, ...],
        Field(min_length=1),
        WithJsonSchema({"type": "array", "minItems": 1, "items": _ITEMS}),
    ]
    """Ways to make the model smaller; `int8` can only be the last one."""

    @model_validator(mode="after")
    def _order(self) -> Self:
        kinds = [step.own_kind() for step in self.steps]
        if "sequence" in kinds:
            raise ValueError("a sequence cannot hold another sequence")
        if "int8" in kinds[:-1]:
            raise ValueError("int8 can only be the last step: its arithmetic is not trained")
        if "sparse" in kinds and kinds[kinds.index("sparse") + 1 :] not in ([], ["int8"]):
            raise ValueError("only int8 can follow sparse: other steps would undo its zeros")
        for step in self.steps[:-1]:
            if isinstance(step, Structured) and step.sweep is not None:
                last = [name for name in step.sweep.methods if name in {"sparse", "int8"}]
                if last:
                    raise ValueError(f"a sweep over {last[0]} can only be the last step")
        return self

    def parts(self) -> tuple[PruneSpec, ...]:
        return self.steps
