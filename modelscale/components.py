"""Components: the parts of a spec that are chosen by `kind`.

A family is a folder (`models/`, `losses/`, …) with a `base.py`; a kind is a file in it.
`kind: mlp` in a `model:` section means the one `ModelSpec` class in `models/mlp.py`. There is
no list to extend and no decorator to call: a new file is a new kind. Nothing that a spec or a
checkpoint says can import other code; a user's own kinds come from installed packages that
the command line allows by name (`allow_plugin`).
"""

import functools
import importlib
import importlib.metadata
import inspect
import pkgutil
from collections.abc import Mapping
from typing import Any, ClassVar, Self

from pydantic import (
    GetJsonSchemaHandler,
    ModelWrapValidatorHandler,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)
from pydantic_core import CoreSchema, PydanticCustomError

from modelscale.errors import Unavailable, did_you_mean
from modelscale.spec.base import Spec

PLUGIN_GROUP = "modelscale.plugins"
_plugins: dict[str, str] = {}  # kind -> module, filled by the command line alone


def allow_plugin(name: str) -> None:
    """Make the kind `name` available from an installed package's entry point.

    Raises:
        Unavailable: If no installed package offers it.
    """
    points = {p.name: p for p in importlib.metadata.entry_points(group=PLUGIN_GROUP)}
    if name not in points:
        raise Unavailable(f"--plugin {name}: no installed package offers it")
    _plugins[name] = points[name].value


def allowed_plugins() -> tuple[str, ...]:
    """Return the kinds that the command line has allowed by name."""
    return tuple(_plugins)


@functools.cache
def _modules_in(package: str) -> tuple[str, ...]:
    """Return the names of a package's files; read once, as every section asks for them."""
    folder = importlib.import_module(package).__path__
    return tuple(module.name for module in pkgutil.iter_modules(folder) if not module.ispkg)


class Component(Spec):
    """Base of the family bases. A subclass in a `base.py` is a family, any other is a kind."""

    default_kind: ClassVar[str | None] = None
    """The kind that a mapping without `kind` means; None where it must be said."""

    @classmethod
    def own_kind(cls) -> str:
        """Return the kind that this class is."""
        named = {module: kind for kind, module in _plugins.items()}
        return named.get(cls.__module__, cls.__module__.rpartition(".")[2])

    @classmethod
    def is_family(cls) -> bool:
        """Return whether this class stands for all kinds of its family."""
        return cls.__module__.endswith(".base")

    @classmethod
    def kinds(cls) -> list[str]:
        """Return the kinds of this family, by the files in its folder."""
        names = _modules_in(cls.__module__.rpartition(".")[0])
        plugins = [kind for kind in _plugins if cls._class_in(_plugins[kind])]
        return sorted([n for n in names if n != "base" and not n.startswith("_")] + plugins)

    @classmethod
    def of_kind(cls, kind: str) -> type[Self]:
        """Return the class of `kind`.

        Raises:
            ValueError: If the family has no such kind.
        """
        if kind not in cls.kinds():
            raise ValueError(f"unknown kind {kind!r}{did_you_mean(kind, cls.kinds())}")
        folder = cls.__module__.rpartition(".")[0]
        found = cls._class_in(_plugins.get(kind, f"{folder}.{kind}"))
        assert found is not None, f"{folder}.{kind} defines no {cls.__name__}"
        return found

    @classmethod
    def _class_in(cls, module_name: str) -> type[Self] | None:
        module = importlib.import_module(module_name)
        for _, found in inspect.getmembers(module, inspect.isclass):
            if issubclass(found, cls) and found.__module__ == module.__name__:
                return found
        return None

    @classmethod
    def from_shorthand(cls, text: str) -> dict[str, Any]:
        """Return the mapping that a bare string is short for."""
        return {"kind": text}

    @classmethod
    def expand(cls, data: Any) -> Any:
        return cls.from_shorthand(str(data)) if isinstance(data, str) else data

    @classmethod
    def variant(cls, data: Mapping[str, Any]) -> type[Self]:
        """Return the class of the kind that these data name.

        Raises:
            PydanticCustomError: If they name none, or one that does not exist.
        """
        if not cls.is_family():
            return cls
        kind = data.get("kind", cls.default_kind)
        if not isinstance(kind, str):
            message = f"needs a 'kind' (one of: {', '.join(cls.kinds())})"
            raise PydanticCustomError("needs_kind", "{message}", {"message": message})
        if kind not in cls.kinds():
            message = f"unknown kind {kind!r}{did_you_mean(kind, cls.kinds())}"
            raise PydanticCustomError("unknown_kind", "{message}", {"message": message})
        return cls.of_kind(kind)

    @classmethod
    def example(cls) -> str:
        return (cls.default_kind or cls.kinds()[0]) if cls.is_family() else cls.own_kind()

    @model_validator(mode="wrap")
    @classmethod
    def _choose(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Build the kind that a mapping names, where a field asks for its family."""
        data = cls.expand(data)
        if not isinstance(data, dict):
            return handler(data)
        kind_class = cls.variant(data)
        fields = {key: value for key, value in data.items() if key != "kind"}
        return kind_class.model_validate(fields) if cls.is_family() else handler(fields)

    @model_serializer(mode="wrap")
    def _with_kind(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Write the kind before the fields."""
        return {"kind": self.own_kind(), **handler(self)}

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Return the union of all kinds for a family, and a closed object for a kind."""
        if not cls.is_family():
            return cls._kind_schema(core_schema, handler)
        kinds = [cls.of_kind(kind) for kind in cls.kinds()]
        for found in kinds:
            found.model_rebuild()
        return {
            "anyOf": [
                cls._shorthand_schema(),
                *(
                    found._kind_schema(found.__pydantic_core_schema__, handler)
                    for found in kinds
                ),
            ]
        }

    @classmethod
    def _kind_schema(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        schema = handler.resolve_ref_schema(handler(core_schema))
        kind = {"const": cls.own_kind(), "type": "string", "description": "Which one."}
        required = [name for name in schema.get("required", []) if name != "kind"]
        schema["properties"] = {"kind": kind, **schema.get("properties", {})}
        if cls.own_kind() != cls.default_kind:
            required.insert(0, "kind")
        if required:
            schema["required"] = required
        return schema

    @classmethod
    def _shorthand_schema(cls) -> dict[str, Any]:
        if cls.from_shorthand("x") == {"kind": "x"}:
            return {
                "type": "string",
                "enum": cls.kinds(),
                "description": "Short for {kind: …}.",
            }
        return {"type": "string", "description": "Short form."}
