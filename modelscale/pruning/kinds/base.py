"""The pruning family: the `prune` section of a spec."""

from __future__ import annotations

from typing import Any, ClassVar

from modelscale.components import Component


class PruneSpec(Component):
    """One way to make a trained model smaller, or several in turn.

    A list is short for a sequence: `prune: [structured, int8]`.
    """

    default_kind: ClassVar[str | None] = "structured"

    @classmethod
    def expand(cls, data: Any) -> Any:
        if isinstance(data, (list, tuple)):
            return {"kind": "sequence", "steps": tuple(data)}
        return cls.from_shorthand(str(data)) if isinstance(data, str) else data

    @classmethod
    def _shorthand_schema(cls) -> dict[str, Any]:
        names = {"type": "string", "enum": cls.kinds(), "description": "Short for {kind: …}."}
        steps = {
            "type": "array",
            "items": {"anyOf": [{"type": "string", "enum": cls.kinds()}, {"type": "object"}]},
            "description": "Short for {kind: sequence, steps: […]}.",
        }
        return {"anyOf": [names, steps]}

    def parts(self) -> tuple[PruneSpec, ...]:
        """Return the steps that are done one after the other."""
        return (self,)
