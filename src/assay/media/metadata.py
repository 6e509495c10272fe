"""The metadata blocks of a still picture, raw, as they stand in the file.

Image libraries reinterpret, merge or drop these; whoever judges a picture by them needs
the bytes. Every loop here ends with the file or with its bound.

Not read: extended XMP of JPEG (the second, larger packet), thumbnails, maker notes.
"""

from __future__ import annotations

import contextlib
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

__all__ = ["Blocks", "TiffHeader", "read_blocks", "tiff_header"]

# Segments or chunks of one file, and fill bytes before a marker. Image libraries walk these
# without a bound, one at a time, so more of them is refused before they are called.
_MOST_PARTS = {"jpeg": 20_000, "png": 1_000_000, "webp": 20_000}
_MOST_FILL = 65_536
_MOST_TEXTS = 1_000
_MOST_TEXT = 1024 * 1024  # bytes of one text after decompression

_XMP_JPEG = b"http://ns.adobe.com/xap/1.0/\x00"
_IRB = b"Photoshop 3.0\x00"


@dataclass(slots=True)
class Blocks:
    """What was found.

    ``exif`` begins with the TIFF header (``II*\\0`` or ``MM\\0*``), ``xmp`` is the packet,
    ``icc`` the profile, ``iptc`` the IIM records, ``texts`` (keyword, text) pairs with the
    keyword ``"comment"`` where the format has none. ``animated`` and ``more_pictures`` say
    that the file holds more than the picture shown, ``cut`` that metadata was left out, and
    ``endless`` that the file has implausibly many parts.
    """

    exif: bytes = b""
    xmp: bytes = b""
    icc: bytes = b""
    iptc: bytes = b""
    texts: list[tuple[str, str]] = field(default_factory=list)
    bit_depth: int = 8
    animated: bool = False
    more_pictures: bool = False
    cut: bool = False
    endless: bool = False
    budget: int = 0

    def take(self, data: bytes) -> bytes:
        """``data`` if it still fits into the budget, else nothing, and ``cut`` is set."""
        if len(data) > self.budget:
            self.cut = True
            return b""
        self.budget -= len(data)
        return data

    def text(self, keyword: str, text: str) -> None:
        if len(self.texts) >= _MOST_TEXTS or len(text) > self.budget:
            self.cut = True
            return
        self.budget -= len(text)
        self.texts.append((keyword, text))


def read_blocks(file: BinaryIO, name: str, max_bytes: int) -> Blocks:
    """The blocks of a ``"jpeg"``, ``"png"``, ``"webp"`` or ``"tiff"`` file.

    At most ``max_bytes`` in all; what would exceed that is left out and ``cut`` set.
    Damage ends the reading with what was found before it.
    """
    blocks = Blocks(budget=max_bytes)
    reader = {"jpeg": _jpeg, "png": _png, "webp": _webp, "tiff": _tiff}.get(name)
    if reader is not None:
        file.seek(0)
        with contextlib.suppress(ValueError, IndexError, struct.error, zlib.error):
            reader(file, blocks)
    return blocks


# JPEG: ITU-T T.81 annex B; Exif, XMP, ICC and Photoshop blocks in APP1, APP2 and APP13


def _jpeg(file: BinaryIO, blocks: Blocks) -> None:
    profile: dict[int, bytes] = {}
    resources = b""
    for marker, data in _segments(file, blocks):
        if marker == 0xE1 and data.startswith(b"Exif\x00") and not blocks.exif:
            blocks.exif = blocks.take(data[6:])
        elif marker == 0xE1 and data.startswith(_XMP_JPEG) and not blocks.xmp:
            blocks.xmp = blocks.take(data[len(_XMP_JPEG) :])
        elif marker == 0xE2 and data.startswith(b"ICC_PROFILE\x00") and len(data) > 14:
            profile.setdefault(data[12], blocks.take(data[14:]))
        elif marker == 0xE2 and data.startswith(b"MPF\x00"):
            blocks.more_pictures = True
        elif marker == 0xED and data.startswith(_IRB):
            resources += blocks.take(data[len(_IRB) :])
        elif marker == 0xFE:
            blocks.text("comment", data.decode("utf-8", "replace").rstrip("\x00"))
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC) and data:
            blocks.bit_depth = data[0]
    blocks.icc = b"".join(profile[number] for number in sorted(profile))
    blocks.iptc = _iptc(resources)


def _segments(file: BinaryIO, blocks: Blocks) -> Iterator[tuple[int, bytes]]:
    """(marker, payload) up to the first scan."""
    file.read(2)
    fill = 0
    for _ in range(_MOST_PARTS["jpeg"]):
        head = file.read(2)
        while head == b"\xff\xff" and fill < _MOST_FILL:
            head = b"\xff" + file.read(1)
            fill += 1
        if fill >= _MOST_FILL:
            break
        if len(head) < 2 or head[0] != 0xFF or head[1] in (0xD9, 0xDA):
            return
        if head[1] == 0x01 or 0xD0 <= head[1] <= 0xD8:
            continue
        (length,) = struct.unpack(">H", file.read(2))
        yield head[1], file.read(max(0, length - 2))
    blocks.endless = True


def _iptc(resources: bytes) -> bytes:
    """Image resource 0x0404 of Adobe's list of ``8BIM`` resources."""
    at = 0
    while resources[at : at + 4] == b"8BIM":
        (number,) = struct.unpack_from(">H", resources, at + 4)
        at += 6 + (resources[at + 6] + 2 & ~1)
        (size,) = struct.unpack_from(">I", resources, at)
        if number == 0x0404:
            return resources[at + 4 : at + 4 + size]
        at += 4 + size + (size & 1)
    return b""


# PNG: ISO/IEC 15948 with the extensions eXIf, acTL


def _png(file: BinaryIO, blocks: Blocks) -> None:
    file.read(8)
    for _ in range(_MOST_PARTS["png"]):
        head = file.read(8)
        if len(head) < 8:
            return
        length, kind = struct.unpack(">I4s", head)
        if kind == b"IEND":
            return
        if kind not in (b"IHDR", b"eXIf", b"iCCP", b"tEXt", b"zTXt", b"iTXt", b"acTL"):
            file.seek(length + 4, 1)
            continue
        if length > blocks.budget:
            blocks.cut = True
            file.seek(length + 4, 1)
            continue
        data = file.read(length)
        file.seek(4, 1)
        with contextlib.suppress(ValueError, zlib.error):  # a bad text spoils only itself
            _png_chunk(kind, data, blocks)
    blocks.endless = True


def _png_chunk(kind: bytes, data: bytes, blocks: Blocks) -> None:
    if kind == b"IHDR":
        blocks.bit_depth = 8 if data[9] == 3 else data[8]
    elif kind == b"acTL":
        blocks.animated = True
    elif kind == b"eXIf":
        blocks.exif = blocks.exif or blocks.take(data)
    elif kind == b"iCCP":
        _, _, rest = data.partition(b"\x00")
        blocks.icc = blocks.icc or blocks.take(_inflate(rest[1:], blocks))
    elif kind == b"tEXt":
        key, _, text = data.partition(b"\x00")
        _png_text(key, text, "latin-1", blocks)
    elif kind == b"zTXt":
        key, _, text = data.partition(b"\x00")
        _png_text(key, _inflate(text[1:], blocks), "latin-1", blocks)
    else:
        key, _, rest = data.partition(b"\x00")
        packed = rest[:1] == b"\x01"
        _, _, rest = rest[2:].partition(b"\x00")  # language
        _, _, text = rest.partition(b"\x00")  # translated keyword
        _png_text(key, _inflate(text, blocks) if packed else text, "utf-8", blocks)


def _png_text(key: bytes, text: bytes, encoding: str, blocks: Blocks) -> None:
    raw = {b"exif": "exif", b"APP1": "exif", b"iptc": "iptc", b"xmp": "xmp"}
    if key == b"XML:com.adobe.xmp":
        blocks.xmp = blocks.xmp or blocks.take(text)
    elif key.startswith(b"Raw profile type ") and (name := raw.get(key[17:])):
        # ImageMagick: a line with the name, one with the length, then hexadecimal
        data = bytes.fromhex("".join(text.decode("ascii").split()[2:]))
        if name == "exif" and data.startswith(b"Exif\x00\x00"):
            data = data[6:]
        elif name == "exif" and data.startswith(_XMP_JPEG):
            name, data = "xmp", data[len(_XMP_JPEG) :]
        if name == "iptc":
            data = _iptc(data.removeprefix(_IRB)) or data
        if not getattr(blocks, name):
            setattr(blocks, name, blocks.take(data))
    else:
        blocks.text(key.decode("latin-1"), text.decode(encoding, "replace"))


def _inflate(data: bytes, blocks: Blocks) -> bytes:
    bound = min(_MOST_TEXT, blocks.budget)
    out = zlib.decompressobj().decompress(data, bound + 1)
    if len(out) > bound:
        blocks.cut = True
        return b""
    return out


# WebP: RFC 9649


def _webp(file: BinaryIO, blocks: Blocks) -> None:
    file.read(12)
    for _ in range(_MOST_PARTS["webp"]):
        head = file.read(8)
        if len(head) < 8:
            return
        kind, length = struct.unpack("<4sI", head)
        if kind in (b"EXIF", b"XMP ", b"ICCP", b"VP8X"):
            if length > blocks.budget:
                blocks.cut = True
                file.seek(length + (length & 1), 1)
                continue
            data = file.read(length)
            file.seek(length & 1, 1)
            if kind == b"VP8X":
                blocks.animated = bool(data[:1] and data[0] & 2)
            elif kind == b"EXIF":
                blocks.exif = blocks.take(data.removeprefix(b"Exif\x00\x00"))
            elif kind == b"XMP ":
                blocks.xmp = blocks.take(data)
            else:
                blocks.icc = blocks.take(data)
        else:
            file.seek(length + (length & 1), 1)


# TIFF 6.0: only the first directory


@dataclass(frozen=True, slots=True)
class TiffHeader:
    """Of the first directory: ``entries`` by tag as (type, count, value or offset bytes)."""

    order: str
    entries: dict[int, tuple[int, int, bytes]]
    more: bool

    def short(self, tag: int, default: int) -> int:
        """The first value of an integer tag."""
        kind, _, raw = self.entries.get(tag, (0, 0, b""))
        if kind == 3:
            return int(struct.unpack(self.order + "H", raw[:2])[0])
        return int(struct.unpack(self.order + "I", raw[:4])[0]) if kind == 4 else default


_TIFF_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}


def tiff_header(file: BinaryIO) -> TiffHeader | None:
    """The first directory of a classic TIFF or of an Exif block; ``None`` if unreadable."""
    start = file.tell()
    head = file.read(8)
    order = {b"II*\x00": "<", b"MM\x00*": ">"}.get(head[:4])
    if order is None or len(head) < 8:
        return None
    file.seek(start + struct.unpack(order + "I", head[4:])[0])
    counted = file.read(2)
    if len(counted) < 2:
        return None
    (count,) = struct.unpack(order + "H", counted)
    raw = file.read(count * 12 + 4)
    entries: dict[int, tuple[int, int, bytes]] = {}
    for at in range(0, min(len(raw) // 12, count) * 12, 12):
        tag, kind, number = struct.unpack_from(order + "HHI", raw, at)
        entries.setdefault(tag, (kind, number, raw[at + 8 : at + 12]))
    following = raw[count * 12 :]
    return TiffHeader(order, entries, more=len(following) == 4 and any(following))


def _tiff(file: BinaryIO, blocks: Blocks) -> None:
    header = tiff_header(file)
    if header is None:
        return
    blocks.more_pictures = header.more

    def value(tag: int) -> bytes:
        kind, count, raw = header.entries.get(tag, (0, 0, b""))
        size = _TIFF_SIZES.get(kind, 0) * count
        if size > blocks.budget:
            blocks.cut = True
            return b""
        if size <= 4:
            return raw[:size]
        file.seek(struct.unpack(header.order + "I", raw)[0])
        return blocks.take(file.read(size))

    depths = value(258)
    if depths:
        blocks.bit_depth = struct.unpack_from(header.order + "H", depths)[0]
    else:
        blocks.bit_depth = 1
    blocks.xmp = value(700)
    blocks.icc = value(34675)
    blocks.iptc = value(33723)
    for tag, name in ((270, "ImageDescription"), (305, "Software"), (315, "Artist")):
        if text := value(tag):
            blocks.text(name, text.split(b"\x00")[0].decode("utf-8", "replace"))
