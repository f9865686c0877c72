"""Specs: the frozen objects that a YAML file becomes before anything runs."""

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


class Spec(BaseModel):
    """A frozen description of something that can be built or run.

    Strict: a number is not read from a string; sequences arrive as tuples (the loader makes
    them). Every field has a type, a unit in its docstring and a default where one is safe.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        defer_build=True,
        protected_namespaces=(),
    )

    @model_validator(mode="wrap")
    @classmethod
    def _suggest_names(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Name the nearest field in the error about an unknown one."""
        try:
            return handler(data)
        except ValidationError as error:
            faults = [cast(InitErrorDetails, dict(fault)) for fault in error.errors()]
            for fault in faults:
                _restate(fault, list(cls.model_fields))
            raise ValidationError.from_exception_data(cls.__name__, faults) from None


def _restate(fault: InitErrorDetails, fields: list[str]) -> None:
    """Turn a fault into a form that can be raised again, with a hint on unknown fields."""
    place = fault.get("loc", ())
    if fault["type"] == "extra_forbidden" and len(place) == 1:
        message = "unknown field" + did_you_mean(str(place[0]), fields)
    elif fault["type"] == "unknown_field":  # told by a section within this one
        message = fault["ctx"]["message"]
    else:
        return
    fault["type"] = PydanticCustomError("unknown_field", "{message}", {"message": message})
