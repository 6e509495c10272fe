"""XMP packets and IPTC records, flattened to short texts by property.

Source: ISO 16684-1 (XMP), IPTC Photo Metadata Standard, IPTC IIM 4.2. XML goes through
defusedxml with document types forbidden, so that nothing expands or is fetched.
"""

from __future__ import annotations

from collections.abc import Mapping
from xml.etree.ElementTree import Element

__all__ = ["read_iptc", "read_xmp"]

_MOST_BYTES = 4 * 1024 * 1024
_MOST_ELEMENTS = 20_000
_MOST_VALUES = 64  # of one property
_MOST_TEXT = 4000

_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_PREFIXES = {
    "http://iptc.org/std/Iptc4xmpExt/2008-02-29/": "Iptc4xmpExt",
    "http://ns.adobe.com/photoshop/1.0/": "photoshop",
    "http://ns.adobe.com/xap/1.0/": "xmp",
    "http://ns.adobe.com/xap/1.0/mm/": "xmpMM",
    "http://ns.adobe.com/xap/1.0/sType/ResourceEvent#": "stEvt",
    "http://purl.org/dc/elements/1.1/": "dc",
    "http://ns.adobe.com/tiff/1.0/": "tiff",
    "http://ns.adobe.com/exif/1.0/": "exif",
    "http://ns.adobe.com/camera-raw-settings/1.0/": "crs",
    "http://www.tc260.org.cn/ns/AIGC/1.0/": "TC260",
}


def read_xmp(data: bytes) -> dict[str, tuple[str, ...]]:
    """Values by ``"prefix:Name"``, list items under the property that holds them.

    Unknown name spaces read ``"?:Name"``. Empty when the packet is no well-formed XML.
    """
    from defusedxml import ElementTree
    from defusedxml.common import DefusedXmlException

    if not data or len(data) > _MOST_BYTES:
        return {}
    try:
        root = ElementTree.fromstring(_packet(data), forbid_dtd=True)
    except (ElementTree.ParseError, DefusedXmlException, ValueError, LookupError):
        return {}
    found: dict[str, list[str]] = {}
    stack: list[tuple[Element, str]] = [(root, "")]
    for _ in range(_MOST_ELEMENTS):
        if not stack:
            break
        element, within = stack.pop()
        name = _name(element.tag)
        key = name if name and not name.startswith("x:") else within
        _keep(found, key, element.text)
        for attribute, value in element.attrib.items():
            if attribute == f"{{{_RDF}}}resource":
                _keep(found, key, value)
            elif own := _name(attribute):
                _keep(found, own, value)
        stack += [(child, key) for child in reversed(element[:_MOST_ELEMENTS])]
    return {key: tuple(values) for key, values in found.items()}


def _packet(data: bytes) -> bytes:
    """Without the padding and trailing zero bytes that strict parsers refuse."""
    end = data.rfind(b">")
    return data[: end + 1].lstrip(b"\x00 \r\n\t")


def _name(tag: object) -> str:
    """``"prefix:Name"``; empty for RDF's own scaffolding and for comments."""
    if not isinstance(tag, str):
        return ""
    space, _, local = tag.removeprefix("{").rpartition("}")
    if space in (_RDF, "adobe:ns:meta/", "http://www.w3.org/XML/1998/namespace"):
        return ""
    return f"{_PREFIXES.get(space, '?')}:{local[:80]}"


def _keep(found: dict[str, list[str]], key: str, text: str | None) -> None:
    if key and text and (text := text.strip()):
        values = found.setdefault(key, [])
        if len(values) < _MOST_VALUES:
            values.append(text[:_MOST_TEXT])


_IPTC = {
    (2, 40): "instructions", (2, 55): "created", (2, 65): "program", (2, 80): "by-line",
    (2, 110): "credit", (2, 115): "source", (2, 120): "caption",
}  # fmt: skip


def read_iptc(data: bytes) -> Mapping[str, str]:
    """The IIM data sets that matter here, by plain names; the first of each."""
    found: dict[str, str] = {}
    at = 0
    while at + 5 <= len(data) and data[at] == 0x1C:
        size = int.from_bytes(data[at + 3 : at + 5], "big")
        if size & 0x8000:  # extended sizes hold pictures, never the short texts read here
            break
        name = _IPTC.get((data[at + 1], data[at + 2]))
        if name is not None:
            found.setdefault(name, data[at + 5 : at + 5 + size].decode("utf-8", "replace"))
        at += 5 + size
    return found
