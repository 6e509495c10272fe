"""EXIF: the tags that bear on authenticity, read with bounds from the raw block.

Source: CIPA DC-008 (Exif 2.32), TIFF 6.0. Of each tag at most 64 KiB are read; every
directory is visited once, so that offsets pointing in circles end.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

__all__ = ["Exif", "Value", "comment_text", "read_exif"]

Value: TypeAlias = str | bytes | tuple[float, ...]

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_FORMATS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 11: "f", 12: "d", 13: "I"}
_MOST_TAGS = 400  # of one directory
_MOST_VALUE = 1024 * 1024
_MOST_NUMBERS = 16

_MAIN = {
    0x010E: "ImageDescription", 0x010F: "Make", 0x0110: "Model", 0x0112: "Orientation",
    0x0131: "Software", 0x0132: "DateTime", 0x013B: "Artist", 0x013C: "HostComputer",
    0x8298: "Copyright", 0x9C9B: "XPTitle", 0x9C9C: "XPComment",
}  # fmt: skip
_SUB = {
    0x829A: "ExposureTime", 0x829D: "FNumber", 0x8827: "ISO", 0x9003: "DateTimeOriginal",
    0x9004: "DateTimeDigitized", 0x9010: "OffsetTime", 0x9011: "OffsetTimeOriginal",
    0x920A: "FocalLength", 0x927C: "MakerNote", 0x9286: "UserComment", 0xA002: "PixelXDimension",
    0xA003: "PixelYDimension", 0xA431: "BodySerialNumber", 0xA433: "LensMake",
    0xA434: "LensModel",
}  # fmt: skip
_GPS = {
    1: "GPSLatitudeRef", 2: "GPSLatitude", 3: "GPSLongitudeRef", 4: "GPSLongitude",
    6: "GPSAltitude", 7: "GPSTimeStamp", 29: "GPSDateStamp",
}  # fmt: skip
_PREVIEW = {0x0103: "Compression", 0x0201: "offset", 0x0202: "length"}


@dataclass(frozen=True, slots=True)
class Exif:
    """``tags`` by their standard names; ``thumbnail`` as an encoded picture, may be empty.

    ``damaged`` says that an offset or a length led out of the block.
    """

    tags: Mapping[str, Value] = field(default_factory=dict)
    thumbnail: bytes = b""
    damaged: bool = False

    def text(self, name: str) -> str:
        value = self.tags.get(name, "")
        return value if isinstance(value, str) else ""

    @property
    def camera(self) -> str:
        """Make and model; many models begin with the make already. Empty without a model."""
        make, model = self.text("Make"), self.text("Model")
        if not (make and model):
            return ""
        return model if model.lower().startswith(make.lower()) else f"{make} {model}"

    def number(self, name: str) -> float | None:
        value = self.tags.get(name)
        return value[0] if isinstance(value, tuple) and value else None


class _Block:
    """A TIFF-like block and its byte order."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.order = "<" if data[:2] == b"II" else ">"
        self.seen: set[int] = set()
        self.damaged = False

    def unpack(self, form: str, at: int) -> tuple[int, ...]:
        return struct.unpack_from(self.order + form, self.data, at)

    def directory(self, at: int, names: Mapping[int, str]) -> tuple[dict[str, Value], int]:
        """Named tags of the directory at ``at``, and the offset of the next one or 0."""
        found: dict[str, Value] = {}
        if at in self.seen or not 8 <= at <= len(self.data) - 2:
            self.damaged = self.damaged or at != 0
            return found, 0
        self.seen.add(at)
        (count,) = self.unpack("H", at)
        read = min(count, _MOST_TAGS, (len(self.data) - at - 2) // 12)
        self.damaged = self.damaged or read < count
        for i in range(read):
            tag, kind, number, _ = self.unpack("HHII", at + 2 + 12 * i)
            if tag in names:
                value = self.value(at + 10 + 12 * i, kind, number)
                if value is not None:
                    found.setdefault(names[tag], value)
        end = at + 2 + 12 * count
        return found, self.unpack("I", end)[0] if end + 4 <= len(self.data) else 0

    def value(self, at: int, kind: int, count: int) -> Value | None:
        size = _SIZES.get(kind, 0) * count
        if not 0 < size <= _MOST_VALUE:
            return None
        start = at if size <= 4 else self.unpack("I", at)[0]
        if start + size > len(self.data):
            self.damaged = True
            return None
        if kind == 2:
            raw = self.data[start : start + size].split(b"\x00")[0]
            return raw.decode("utf-8", "replace").strip()
        if kind == 7:
            return self.data[start : start + size]
        if kind == 1 and count > _MOST_NUMBERS:
            return self.data[start : start + size]
        count = min(count, _MOST_NUMBERS)
        if kind in (5, 10):
            pairs = self.unpack(("I" if kind == 5 else "i") * 2 * count, start)
            return tuple(
                a / b if b else float("nan") for a, b in zip(pairs[::2], pairs[1::2], strict=True)
            )
        return tuple(float(v) for v in self.unpack(_FORMATS[kind] * count, start))


def read_exif(data: bytes) -> Exif:
    """The named tags of ``data`` (beginning with the TIFF header); empty if it is none."""
    data = data.removeprefix(b"Exif\x00\x00")
    if data[:4] not in (b"II*\x00", b"MM\x00*") or len(data) < 14:
        return Exif(damaged=bool(data))
    block = _Block(data)
    first = block.unpack("I", 4)[0]
    tags, following = block.directory(first, {**_MAIN, 0x8769: "_sub", 0x8825: "_gps"})
    for pointer, names in (("_sub", _SUB), ("_gps", _GPS)):
        where = tags.pop(pointer, None)
        if isinstance(where, tuple) and where:
            more, _ = block.directory(int(where[0]), names)
            tags.update(more)
    thumbnail = b""
    if following:
        preview, _ = block.directory(following, _PREVIEW)
        offset, length = preview.get("offset"), preview.get("length")
        if isinstance(offset, tuple) and isinstance(length, tuple):
            start, size = int(offset[0]), int(length[0])
            thumbnail = data[start : start + size] if start > 0 else b""
            block.damaged = block.damaged or len(thumbnail) < size
    return Exif(tags=tags, thumbnail=thumbnail, damaged=block.damaged)


def comment_text(value: Value | None) -> str:
    """The text of a ``UserComment`` or ``XP...`` tag, whose encodings vary."""
    if isinstance(value, str):
        return value
    if not isinstance(value, bytes):
        return ""
    code, body = value[:8], value[8:]
    if code.startswith(b"UNICODE"):
        return _utf16(body)
    if code.startswith((b"ASCII", b"JIS")) or code == bytes(8):
        return body.decode("utf-8", "replace").strip("\x00 ")
    if value[1::2].count(0) > len(value) // 3:
        return _utf16(value)
    return value.decode("utf-8", "replace").strip("\x00 ")


def _utf16(body: bytes) -> str:
    """Writers ignore the byte order of the block: the zero bytes of Latin text tell it."""
    order = "utf-16-be" if body[::2].count(0) > body[1::2].count(0) else "utf-16-le"
    return body.decode(order, "replace").strip("\x00 \ufeff")
