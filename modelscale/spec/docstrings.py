"""Docstrings below fields, read from the source: they are help, schema and documentation."""

from __future__ import annotations

import ast
import functools
import inspect
import sys
from pathlib import Path

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
    file = getattr(sys.modules.get(model.__module__), "__file__", None)
    found = _classes_of(Path(file)).get(model.__qualname__) if file else None
    docs: dict[str, str] = {}
    if found is None:  # made without a source file, or within a function
        return docs
    for field, below in zip(found.body, found.body[1:], strict=False):
        match (field, below):
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=doc)),
            ):
                docs[name] = " ".join(str(doc).split())
    return docs


@functools.cache
def _classes_of(file: Path) -> dict[str, ast.ClassDef]:
    """Return the classes of a source file by name."""
    body = ast.parse(file.read_text(encoding="utf-8")).body
    return {node.name: node for node in body if isinstance(node, ast.ClassDef)}
