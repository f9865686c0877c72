"""Paths: what `optimizer.lr` names in a spec, and specs with other values at some paths."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from modelscale.errors import did_you_mean
from modelscale.spec.base import Spec
from modelscale.spec.places import Place, dotted

S = TypeVar("S", bound=Spec)


def spec_class(annotation: Any) -> type[Spec] | None:
    """Return the spec that a type means, seen through `X | None` and `Annotated`."""
    if isinstance(annotation, type) and issubclass(annotation, Spec):
        return annotation
    if get_origin(annotation) in {Union, types.UnionType, Annotated}:
        found = (spec_class(argument) for argument in get_args(annotation))
        return next((cls for cls in found if cls is not None), None)
    return None


def chosen_class(annotation: Any, data: Any) -> type[Spec] | None:
    """Return the class that reads `data`, with families resolved to the kind they name."""
    owner = spec_class(annotation)
    if owner is None:
        return None
    section = owner.expand(data)
    try:
        return owner.variant(section) if isinstance(section, dict) else owner
    except ValueError:
        return None


def annotation_at(annotation: Any, data: Any, place: Place) -> Any | None:
    """Return the type that is wanted at a place, or None where nothing is known of it.

    Args:
        annotation: Type at the top, such as the experiment's class.
        data: Plain data as far as they are there; they say which kinds are meant.
        place: Below the top.
    """
    for part in place:
        owner = chosen_class(annotation, data)
        if owner is not None:
            field = owner.model_fields.get(str(part))
            annotation = field.annotation if field else None
            data = owner.expand(data)
        else:
            annotation = inner(annotation)
        if annotation is None:
            return None
        data = child(data, part)
    return annotation


def inner(annotation: Any) -> Any | None:
    """Return the type of a container's items or values."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in {tuple, list}:
        return arguments[0]
    if origin is dict:
        return arguments[1]
    if origin in {Union, types.UnionType, Annotated}:
        found = (inner(argument) for argument in arguments)
        return next((item for item in found if item is not None), None)
    return None


def fixed_items(annotation: Any) -> int:
    """Return how many items a container always has; 1 where it may have any number."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is tuple and Ellipsis not in arguments:
        return len(arguments)
    if origin in {Union, types.UnionType, Annotated}:
        return max(map(fixed_items, arguments))
    return 1


def child(data: Any, part: str | int) -> Any:
    """Return a part of plain data, or None where there is none."""
    if isinstance(data, dict):
        return data.get(part)
    if isinstance(data, (tuple, list)) and isinstance(part, int) and part < len(data):
        return data[part]
    return None


def plain(spec: Spec) -> dict[str, Any]:
    """Return a spec as mappings, lists and scalars, kinds and defaults included."""
    data: dict[str, Any] = spec.model_dump(mode="json", serialize_as_any=True)
    return data


def paths_of(spec: Spec) -> list[str]:
    """Return the paths of all values of a spec, sections included, in its order."""
    return [dotted(place) for place in _places(plain(spec), ()) if place]


def has_path(spec: Spec, path: str) -> bool:
    """Return whether `path` names something that a spec has or could have.

    A section that is absent counts as one with its defaults: `train.early_stopping.patience`
    exists in a spec that has no early stopping.
    """
    return _exists(type(spec), plain(spec), path.split("."))


def unknown_path(spec: Spec, path: str) -> str | None:
    """Return what is wrong with a path that names nothing in a spec, None for a good one."""
    if has_path(spec, path):
        return None
    hint = did_you_mean(path, paths_of(spec)).partition(" (one of")[0]
    return f"no such key in this spec{hint}"


def apply(spec: S, changes: Mapping[str, Any]) -> S:
    """Return a spec with other values at some paths, validated like a file.

    A path that ends in `kind` and changes it begins the section anew, from the new kind's
    defaults. Shorter paths are applied first, kinds before their fields.

    Raises:
        ValidationError: If the changed spec is not valid.
        KeyError: If a path names nothing.
    """
    data: Any = plain(spec)
    for path in sorted(changes, key=lambda p: (p.count("."), not p.endswith("kind"), p)):
        data = put(data, path.split("."), changes[path], type(spec), fresh_kind=True)
    return type(spec).model_validate(frozen(data))


def frozen(data: Any) -> Any:
    """Return plain data with tuples in place of lists."""
    if isinstance(data, Mapping):
        return {key: frozen(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return tuple(frozen(item) for item in data)
    return data


def put(
    data: Any, keys: list[str], value: Any, annotation: Any, *, fresh_kind: bool = False
) -> Any:
    """Return plain data with `value` at a path; what is shared with `data` is not changed.

    Sections that are absent on the way begin with their defaults.

    Raises:
        KeyError: With the part of the path that leads nowhere.
    """
    if not keys:
        return value
    owner = spec_class(annotation)
    if owner is not None:
        data = owner.expand(data)
    if isinstance(data, (tuple, list)):
        index = _index(keys[0], len(data))
        changed = put(data[index], keys[1:], value, inner(annotation), fresh_kind=fresh_kind)
        return (*data[:index], changed, *data[index + 1 :])
    if data is not None and not isinstance(data, dict):
        raise KeyError(keys[0])
    section: dict[str, Any] = dict(data or {})
    name, rest = split_key(section, keys, annotation)
    if fresh_kind and name == "kind" and not rest and section.get("kind") != value:
        return {"kind": value}
    wanted = annotation_at(annotation, section, (name,))
    old = section.get(name)
    if rest and old is None:
        old = _default(annotation, section, name)
    section[name] = put(old, rest, value, wanted, fresh_kind=fresh_kind)
    return section


def split_key(
    section: dict[str, Any], keys: list[str], annotation: Any
) -> tuple[str, list[str]]:
    """Return the first key of a path and the rest; keys of a search space hold dots."""
    for length in range(len(keys), 1, -1):
        if ".".join(keys[:length]) in section:
            return ".".join(keys[:length]), keys[length:]
    item = None if spec_class(annotation) else spec_class(inner(annotation))
    if item is not None and len(keys) > 1:
        length = len(keys) - 1 if keys[-1] in item.model_fields else len(keys)
        return ".".join(keys[:length]), keys[length:]
    return keys[0], keys[1:]


def _default(annotation: Any, section: dict[str, Any], name: str) -> Any:
    """Return what a field is when nothing is said of it, as far as it must be said."""
    owner = chosen_class(annotation, section)
    field = owner.model_fields.get(name) if owner else None
    default = field.get_default(call_default_factory=True) if field else None
    if isinstance(default, Spec):
        return default.model_dump(mode="json", serialize_as_any=True, exclude_unset=True)
    return {} if default is None or isinstance(default, dict) else default


def _index(key: str, length: int) -> int:
    if not key.isdigit() or int(key) >= length:
        raise KeyError(key)
    return int(key)


def _places(data: Any, place: Place) -> Iterator[Place]:
    yield place
    if isinstance(data, dict):
        for key, value in data.items():
            yield from _places(value, (*place, key))
    elif isinstance(data, list) and any(isinstance(item, dict) for item in data):
        for index, item in enumerate(data):
            yield from _places(item, (*place, index))


def _exists(annotation: Any, data: Any, keys: list[str]) -> bool:
    if not keys:
        return True
    if isinstance(data, (list, tuple)):
        key = keys[0]
        inside = key.isdigit() and int(key) < len(data)
        return inside and _exists(inner(annotation), data[int(key)], keys[1:])
    section = dict(data) if isinstance(data, dict) else {}
    name, rest = split_key(section, keys, annotation)
    if name in section and not rest:
        return True
    wanted = annotation_at(annotation, section, (name,))
    return wanted is not None and _exists(wanted, section.get(name), rest)
