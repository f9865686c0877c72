"""The JSON Schema of experiment specs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from modelscale.commands.experiment import Experiment
from modelscale.spec.schema import schema_of

FILE_NAME = "modelscale.schema.json"


@dataclass(frozen=True)
class Schema:
    """The schema as a JSON object."""

    content: dict[str, Any]
    exit_code: int = 0

    def text(self) -> str:
        """Return the schema as the text of a file."""
        return json.dumps(self.content, indent=2, ensure_ascii=False) + "\n"

    def to_json(self) -> dict[str, Any]:
        """Return the keys of the command's JSON document."""
        return {"schema": self.content}


def experiment_schema() -> Schema:
    """Return the schema that all kinds known now make up."""
    return Schema(schema_of(Experiment, "modelscale experiment"))
