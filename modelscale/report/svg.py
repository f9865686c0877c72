"""From a matplotlib figure to lean SVG: a file of its own, and markup that lives in a page.

Matplotlib's own output carries an XML prologue, metadata, ids on every group and six decimals.
None of it is seen, so it goes. What stays is text as text, so that it can be selected, searched
and set in the page's own font. Colours become CSS variables in the page, which is how one plot
suits a light and a dark page.
"""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, NamedTuple
from xml.etree import ElementTree as ET

from modelscale.report.figures.palette import CSS_VARIABLES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NUMBER = re.compile(r"-?\d+\.\d+(?:e-?\d+)?")
_REFERENCE = re.compile(r"#([\w.-]+)")
_GEOMETRY = ("d", "x", "y", "width", "height", "transform")


class Svg(NamedTuple):
    """One plot in both of its forms."""

    file: bytes
    inline: str


def to_svg(figure: Figure, title: str, description: str, prefix: str) -> Svg:
    """Return a figure as a stand-alone file and as markup for a page.

    Args:
        figure: Drawn within `drawing.style()`, and saved within it too.
        title: Short name, told by screen readers and as a tooltip of the file.
        description: What the plot shows, in words.
        prefix: What ids begin with; must differ between the plots of a page.
    """
    raw = io.BytesIO()
    figure.savefig(raw, format="svg", metadata={"Date": None, "Creator": None})
    root = ET.fromstring(raw.getvalue())
    _tidy(root, prefix)
    _describe(root, title, description, prefix)
    file = _as_file(root)
    _make_inline(root)
    return Svg(file, ET.tostring(root, encoding="unicode"))


def _tidy(root: ET.Element, prefix: str) -> None:
    """Remove in place what is not seen, and shorten what is."""
    referred: dict[str, str] = {}
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        for name in [n for n in element.attrib if n.startswith("{")]:
            element.set(name.rpartition("}")[2], element.attrib.pop(name))
        for name in ("href", "clip-path"):
            for target in _REFERENCE.findall(element.get(name, "")):
                referred.setdefault(target, f"{prefix}-{len(referred)}")
    for element in root.iter():
        _shorten(element, referred)
    _prune(root)


def _shorten(element: ET.Element, referred: dict[str, str]) -> None:
    identity = element.attrib.pop("id", None)
    if identity in referred:
        element.set("id", referred[identity])
    for name in ("href", "clip-path"):
        if name in element.attrib:
            new = _REFERENCE.sub(lambda m: "#" + referred[m[1]], element.attrib[name])
            element.set(name, new)
    for name in _GEOMETRY:
        if name in element.attrib:
            element.set(name, " ".join(_NUMBER.sub(_rounded, element.attrib[name]).split()))
    if element.get("transform", "").startswith(("rotate(-0 ", "rotate(0 ")):
        del element.attrib["transform"]
    if "style" in element.attrib:
        element.set("style", element.attrib["style"].replace(": ", ":").replace("; ", ";"))
    element.tail = None
    if element.tag != "text" and element.text is not None and not element.text.strip():
        element.text = None


def _rounded(match: re.Match[str]) -> str:
    text = f"{float(match[0]):.2f}".rstrip("0").rstrip(".")
    return "0" if text in {"-0", ""} else text


def _prune(element: ET.Element) -> None:
    """Drop metadata and empty groups; give a group the style that all its uses share."""
    kept = []
    for child in element:
        _prune(child)
        lone = child.tag in {"g", "defs"} and not len(child)
        if child.tag in {"metadata", "style"} or lone:
            continue
        wraps = child.tag == "g" and not child.attrib and len(child) == 1
        kept.append(child[0] if wraps else child)
    element[:] = kept
    styles = {child.get("style") for child in element}
    (style,) = styles if len(styles) == 1 else (None,)
    if element.tag == "g" and style and all(child.tag == "use" for child in element):
        element.set("style", style)
        for child in element:
            del child.attrib["style"]


def _describe(root: ET.Element, title: str, description: str, prefix: str) -> None:
    # What stroke ends look like is matplotlib's default style sheet, said once for the plot
    root.attrib.update({"stroke-linejoin": "round", "role": "img"})
    root.set("aria-labelledby", f"{prefix}-t {prefix}-d")
    for place, (tag, text) in enumerate((("title", title), ("desc", description))):
        told = ET.Element(tag, {"id": f"{prefix}-{tag[0]}"})
        told.text = text
        root.insert(place, told)


def _as_file(root: ET.Element) -> bytes:
    root.set("xmlns", "http://www.w3.org/2000/svg")
    text = ET.tostring(root, encoding="unicode")
    del root.attrib["xmlns"]
    return ('<?xml version="1.0" encoding="utf-8"?>\n' + text + "\n").encode()


def _make_inline(root: ET.Element) -> None:
    """Leave size, font and colours to the page."""
    _, _, width, _ = root.attrib["viewBox"].split()
    for name in ("width", "height", "version"):
        root.attrib.pop(name, None)
    root.set("style", f"--width:{float(width):.0f}px;max-width:var(--width)")
    for element in root.iter():
        if element is root or "style" not in element.attrib:
            continue
        rules = [r for r in element.attrib["style"].split(";") if "font-family" not in r]
        style = ";".join(rules)
        for colour, variable in CSS_VARIABLES.items():
            style = style.replace(colour, f"var({variable})")
        element.set("style", style)
