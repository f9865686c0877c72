"""From YAML text to plain data with places, in one pass over the parser's events.

Neither PyYAML's composer nor its constructor is used: they recurse (and so crash on deep
nesting), expand aliases without a bound, keep the last of two equal keys silently, and build
objects from tags. The events themselves come from an iterative parser.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import yaml

from modelscale.errors import SpecError
from modelscale.spec.places import Fault, Origin, Place, Tree
from modelscale.spec.scalars import scalar
from modelscale.spec.source import describe

MAX_DEPTH = 64
MAX_NODES = 50_000
MAX_ALIASES = 100
# libyaml where it is there: ten times as fast; the events are the same.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Dropped:
    """Stands for a value that cannot be read, whose fault is already told."""


DROPPED = _Dropped()


class _Anchored(NamedTuple):
    """A finished value that an alias may repeat; its size counts all nodes below it."""

    value: Any
    size: int
    height: int


@dataclass(eq=False, repr=False)
class _Open:
    """A mapping or sequence whose end has not come yet."""

    place: Place
    origin: Origin
    anchor: str | None
    is_mapping: bool
    entries: dict[str, Any] = field(default_factory=dict)
    items: list[Any] = field(default_factory=list)
    key: Any = None
    has_key: bool = False
    size: int = 1
    height: int = 1


def parse(text: str, name: str) -> Tree:
    """Return the tree of one YAML document.

    Tags, merge keys, equal keys, keys that are no text and numbers that are not finite are
    faults of the tree, so that they are told together with everything else.

    Raises:
        SpecError: If the text is no YAML, or too deep or too large to go on with.
    """
    reader = _Reader(name)
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            reader.take(event)
    except yaml.MarkedYAMLError as error:
        from modelscale.spec.yaml_faults import explain

        raise SpecError(str(explain(error, text, name))) from None
    except yaml.YAMLError as error:
        words = " ".join(str(error).split())
        raise SpecError(f"{name}:1:1: not YAML: {words}") from None
    return reader.tree


class _Reader:
    """Takes events one by one and grows the tree."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.tree = Tree(data=DROPPED)
        self.stack: list[_Open] = []
        self.anchors: dict[str, _Anchored] = {}
        self.open_anchors: set[str] = set()
        self.documents = self.nodes = self.aliases = 0

    def take(self, event: yaml.Event) -> None:
        """Add what one event says."""
        mark = event.start_mark
        origin = (
            Origin(self.name, mark.line + 1, mark.column + 1) if mark else Origin(self.name)
        )
        if isinstance(event, yaml.DocumentStartEvent):
            self.documents += 1
            if self.documents > 1:
                self._stop(
                    origin, "a second document begins here ('---'); one file is one spec"
                )
        elif isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            self._open(event, origin)
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            self._close()
        elif isinstance(event, yaml.ScalarEvent):
            self._scalar(event, origin)
        elif isinstance(event, yaml.AliasEvent):
            self._alias(str(event.anchor), origin)

    def _stop(self, origin: Origin, message: str) -> None:
        self.tree.faults.append(Fault(origin, self._place(), message))
        raise SpecError("\n".join(map(str, sorted(self.tree.faults, key=Fault.order))))

    def _fault(self, origin: Origin, place: Place, message: str) -> None:
        self.tree.faults.append(Fault(origin, place, message))

    def _place(self) -> Place:
        """Return the place of the next value."""
        if not self.stack:
            return ()
        parent = self.stack[-1]
        if not parent.is_mapping:
            return (*parent.place, len(parent.items))
        return (*parent.place, parent.key) if isinstance(parent.key, str) else parent.place

    def _count(self, origin: Origin, nodes: int, height: int) -> None:
        self.nodes += nodes
        if self.nodes > MAX_NODES:
            self._stop(
                origin, f"more than {MAX_NODES} values (aliases counted as often as used)"
            )
        if len(self.stack) + height > MAX_DEPTH:
            self._stop(origin, f"nested deeper than {MAX_DEPTH} levels")

    def _check_tag(self, tag: str | None, origin: Origin) -> bool:
        if tag is None:
            return True
        short = tag.replace("tag:yaml.org,2002:", "!!")
        self._fault(origin, self._place(), f"tags such as {short!r} are not allowed; remove it")
        return False

    def _open(self, event: yaml.CollectionStartEvent, origin: Origin) -> None:
        self._count(origin, 1, 1)
        self._check_tag(event.tag, origin)
        if event.anchor:
            self.open_anchors.add(event.anchor)
        is_mapping = isinstance(event, yaml.MappingStartEvent)
        self.stack.append(_Open(self._place(), origin, event.anchor, is_mapping))

    def _close(self) -> None:
        done = self.stack.pop()
        value: Any = done.entries if done.is_mapping else tuple(done.items)
        anchored = _Anchored(value, done.size, done.height)
        if done.anchor:
            self.open_anchors.discard(done.anchor)
            self.anchors[done.anchor] = anchored
        self._add(anchored, done.origin)

    def _scalar(self, event: yaml.ScalarEvent, origin: Origin) -> None:
        self._count(origin, 1, 0)
        text: str = event.value
        value: Any = text
        is_key = bool(self.stack) and self.stack[-1].is_mapping and not self.stack[-1].has_key
        if not self._check_tag(event.tag, origin):
            value = DROPPED
        elif not event.style and not (is_key and text == "<<"):
            try:
                value = scalar(text)
            except ValueError as error:
                value = DROPPED
                self._fault(origin, self._place(), str(error))
        else:
            wrong = next((c for c in text if c not in "\n\t" and not _allowed(c)), None)
            if wrong is not None:
                value = DROPPED
                self._fault(
                    origin, self._place(), f"holds {describe(wrong)}, which is not allowed"
                )
        if not is_key and value is not DROPPED:
            self.tree.texts[self._place()] = repr(text) if event.style else text
        anchored = _Anchored(value, 1, 0)
        if event.anchor:
            self.anchors[event.anchor] = anchored
        self._add(anchored, origin, merge=not event.style and text == "<<")

    def _alias(self, anchor: str, origin: Origin) -> None:
        self.aliases += 1
        if self.aliases > MAX_ALIASES:
            self._stop(origin, f"more than {MAX_ALIASES} aliases")
        found = _Anchored(DROPPED, 1, 0)
        if anchor in self.open_anchors:
            self._fault(
                origin, self._place(), f"alias '*{anchor}' stands within its own anchor"
            )
        elif anchor in self.anchors:
            found = self.anchors[anchor]
        else:
            self._fault(
                origin, self._place(), f"no anchor '&{anchor}' stands before this alias"
            )
        self._count(origin, found.size, found.height)
        self._add(found, origin)

    def _add(self, child: _Anchored, origin: Origin, *, merge: bool = False) -> None:
        """Hand a finished value to the mapping or sequence that it stands in."""
        if not self.stack:
            self.tree.values[()] = origin
            self.tree.data = child.value
            return
        parent = self.stack[-1]
        parent.size += child.size
        parent.height = max(parent.height, child.height + 1)
        if parent.is_mapping and not parent.has_key:
            parent.has_key = True
            parent.key = self._key(parent, child.value, origin, merge)
            return
        place = self._place()
        if not parent.is_mapping:
            self.tree.keys[place] = self.tree.values[place] = origin
            parent.items.append(child.value)
            return
        if isinstance(parent.key, str):
            self.tree.values[place] = origin
            parent.entries[parent.key] = child.value
        parent.has_key, parent.key = False, None

    def _key(self, parent: _Open, value: Any, origin: Origin, merge: bool) -> Any:
        """Return the key if it is good, otherwise tell its fault."""
        if merge:
            self._fault(origin, parent.place, "merge keys ('<<') are not allowed; write it out")
            return DROPPED
        if isinstance(value, str):
            key = str(value)
            place = (*parent.place, key)
            if key in parent.entries:
                first = self.tree.keys[place].line
                self._fault(origin, place, f"given twice; the first is on line {first}")
            else:
                self.tree.keys[place] = origin
            return key
        if value is not DROPPED:
            shown = _shown(value)
            self._fault(origin, parent.place, f"keys are texts, got {shown}")
        return DROPPED


def _allowed(character: str) -> bool:
    return character >= " " and not "\x7f" <= character <= "\x9f" and not _surrogate(character)


def _surrogate(character: str) -> bool:
    return "\ud800" <= character <= "\udfff"


def _shown(value: Any) -> str:
    if isinstance(value, (dict, tuple)):
        return "a section" if isinstance(value, dict) else "a list"
    if value is None:
        return "an empty one"
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return f"{text}; quote it: '{text}'"
