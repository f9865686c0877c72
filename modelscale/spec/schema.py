"""JSON Schema (draft 7) of specs, as editors with yaml-language-server read it."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core.core_schema import ModelSchema

from modelscale.spec.base import Spec
from modelscale.spec.docstrings import field_docs, first_line

DIALECT = "http://json-schema.org/draft-07/schema#"


def schema_of(model: type[Spec], title: str) -> dict[str, Any]:
    """Return the JSON Schema of the YAML files that `model` reads.

    Families become the union of their kinds and of the short form; docstrings become the
    descriptions that an editor shows.
    """
    schema = model.model_json_schema(
        ref_template="#/definitions/{model}", schema_generator=_Draft7
    )
    definitions = schema.pop("$defs", {})
    written: dict[str, Any] = _draft7(
        {"$schema": DIALECT, "title": title, **schema, "definitions": definitions}
    )
    return written


class _Draft7(GenerateJsonSchema):
    """Adds the docstrings of fields, which specs leave in the source (see `Spec`)."""

    def model_schema(self, schema: ModelSchema) -> dict[str, Any]:
        written = super().model_schema(schema)
        cls = schema["cls"]
        if isinstance(cls, type) and issubclass(cls, BaseModel):
            _describe(written, cls)
        return written


def _describe(schema: dict[str, Any], cls: type[BaseModel]) -> None:
    schema.pop("title", None)
    schema["description"] = first_line(cls.__doc__)
    docs = field_docs(cls)
    for name, field in schema.get("properties", {}).items():
        field.pop("title", None)
        if name in docs:
            field["description"] = docs[name]


def _draft7(schema: Any) -> Any:
    """Return a schema in draft 7's words."""
    if isinstance(schema, list):
        return [_draft7(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    new = {key: _draft7(value) for key, value in schema.items()}
    if "prefixItems" in new:
        new["items"] = new.pop("prefixItems")
    if "$ref" in new and len(new) > 1 and "properties" not in new:
        # Draft 7 ignores what stands beside a reference.
        new["allOf"] = [{"$ref": new.pop("$ref")}]
    return new
