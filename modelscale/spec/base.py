"""Specs: the frozen objects that a YAML file becomes before anything runs."""

from collections.abc import Mapping, Sequence
from typing import Any, Self, cast

from pydantic import (
    BaseModel,
    ConfigDict,
    ModelWrapValidatorHandler,
    ValidationError,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from modelscale.errors import did_you_mean
from modelscale.spec.coercion import fit, wanted_by
from modelscale.spec.places import Place

_HINTS = 100  # looking for near names takes time; a spec that is all wrong gets no more


class Spec(BaseModel):
    """A frozen description of something that can be built or run.

    Strict: a number is not read from a string. `1e3` is read as a whole number where one is
    wanted, a list as a tuple, a text as a path. Every field has a type, a unit in the docstring
    below it and a default where one is safe. (Docstrings reach the schema by `spec.docstrings`;
    pydantic's own way reads source files whenever a class is made, a third of `validate`.)
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        defer_build=True,
        protected_namespaces=(),
    )

    @classmethod
    def expand(cls, data: Any) -> Any:
        """Return the mapping that a short form such as `adam` stands for."""
        return data

    @classmethod
    def variant(cls, data: Mapping[str, Any]) -> type["Spec"]:
        """Return the class that reads these data: for a family the kind that they name."""
        return cls

    @classmethod
    def example(cls) -> str:
        """Return a value that a message can show as an example."""
        return "{…}"

    @model_validator(mode="wrap")
    @classmethod
    def _suggest_names(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Read a short form, and values as fields want them; name the nearest known field."""
        data = cls.expand(data)
        if isinstance(data, dict):
            data = fit(data, wanted_by(cls))
        try:
            return handler(data)
        except ValidationError as error:
            faults = [cast(InitErrorDetails, dict(fault)) for fault in error.errors()]
            if not any(_is_unknown_field(fault) for fault in faults):
                raise
            names = list(cls.model_fields)
            restated = [_restated(f, names if i < _HINTS else []) for i, f in enumerate(faults)]
            raise ValidationError.from_exception_data(cls.__name__, restated) from None


def faults_at(*faults: tuple[Place, str]) -> ValidationError:
    """Return the error that a validator raises for faults at places within its own section.

    A fault that two fields make together is told at one of them and names the other:
    `raise faults_at((("log",), "'log' goes with 'low' and 'high'"))`.
    """
    details = [
        InitErrorDetails(
            type=PydanticCustomError("misfit", "{message}", {"message": message}),
            loc=place,
            input=None,
        )
        for place, message in faults
    ]
    return ValidationError.from_exception_data("Spec", details)


def clash(message: str, first: str, *others: str) -> ValidationError:
    """Return the error about fields of one section that do not fit together.

    The loader tells it at the first field and adds where the others are.
    """
    context = {"message": message, "others": others}
    error = PydanticCustomError("clash", "{message}", context)
    details = InitErrorDetails(type=error, loc=(first,), input=None)
    return ValidationError.from_exception_data("Spec", [details])


def unknown_field(name: str, fields: Sequence[str]) -> str:
    """Return the message about a field that is none of `fields`."""
    hint = did_you_mean(name, fields) if fields else ""
    return "unknown field" + (hint.partition(" (one of")[0] or hint)


def _is_unknown_field(fault: InitErrorDetails) -> bool:
    return fault["type"] == "extra_forbidden" and len(fault.get("loc", ())) == 1


def _restated(fault: InitErrorDetails, fields: list[str]) -> InitErrorDetails:
    """Return a fault in a form that can be raised again, with a hint on unknown fields."""
    kind, message = str(fault["type"]), cast(dict[str, Any], fault)["msg"]
    context = dict(fault.get("ctx", {}))
    if _is_unknown_field(fault):
        kind, message = "unknown_field", unknown_field(str(fault["loc"][0]), fields)
    context["message"] = message
    fault["type"] = PydanticCustomError(kind, "{message}", context)
    return fault
