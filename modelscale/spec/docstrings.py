"""Docstrings below fields, read from the source: they are help, schema and documentation."""

from __future__ import annotations

import ast
import functools
import inspect
import textwrap

from pydantic import BaseModel


@functools.cache
def field_docs(model: type[BaseModel]) -> dict[str, str]:
    """Return the docstring of each field of a model, inherited fields included."""
    docs: dict[str, str] = {}
    for owner in reversed(model.__mro__):
        if issubclass(owner, BaseModel) and owner is not BaseModel:
            docs |= _own_docs(owner)
    return {name: docs[name] for name in model.model_fields if name in docs}


def first_line(text: str | None) -> str:
    """Return the first sentence or line of a docstring."""
    return inspect.cleandoc(text or "").partition("\n")[0]


def _own_docs(model: type[BaseModel]) -> dict[str, str]:
    try:
        source = textwrap.dedent(inspect.getsource(model))
    except (OSError, TypeError):  # made without a source file
        return {}
    body = ast.parse(source).body[0]
    assert isinstance(body, ast.ClassDef)
    docs = {}
    for field, below in zip(body.body, body.body[1:], strict=False):
        match (field, below):
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(
                value=ast.Constant(value=doc)
            ):
                docs[name] = " ".join(str(doc).split())
    return docs
