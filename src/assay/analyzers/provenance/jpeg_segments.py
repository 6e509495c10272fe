"""The skeleton of a JPEG file: markers, tables and what follows the picture.

Source: ITU-T T.81 annex B. Nothing is decoded. Reads at most 128 MiB and 20,000 markers.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Jpeg", "read_jpeg", "standard_quality", "standard_table"]

_MOST_MARKERS = 20_000
_SCAN_END = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_ALONE = {0x01, *range(0xD0, 0xD8)}
_FRAMES = {m for m in range(0xC0, 0xD0) if m not in (0xC4, 0xC8, 0xCC)}
_APPS = (
    b"JFIF", b"JFXX", b"Exif", b"http://ns.adobe.com/xap/1.0/", b"http://ns.adobe.com/xmp/extension",
    b"ICC_PROFILE", b"MPF", b"Photoshop 3.0", b"Adobe", b"JP", b"Ducky", b"FPXR",
)  # fmt: skip

_ZIGZAG = (
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20,
    13, 6, 7, 14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59,
    52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
)  # fmt: skip

# ITU-T T.81 annex K.1, row by row.
_LUMINANCE = (
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55,
    14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62,
    18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
)  # fmt: skip
_CHROMINANCE = (
    17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99,
    24, 26, 56, 99, 99, 99, 99, 99, 47, 66, 99, 99, 99, 99, 99, 99,
    *(99,) * 32,
)  # fmt: skip


@dataclass(slots=True)
class Jpeg:
    """``tables`` by number, 64 steps row by row; ``components`` as (h, v, table)."""

    markers: list[str] = field(default_factory=list)
    tables: dict[int, tuple[int, ...]] = field(default_factory=dict)
    components: list[tuple[int, int, int]] = field(default_factory=list)
    width: int = 0
    height: int = 0
    process: int = -1
    restart: int = 0
    scans: int = 0
    comments: list[str] = field(default_factory=list)
    applications: list[str] = field(default_factory=list)
    ended: bool = False
    end: int = 0
    trailing: int = 0
    trailing_head: bytes = b""
    damaged: bool = False

    @property
    def subsampling(self) -> str:
        """``4:2:0`` and so on, ``grey`` for one component, else the factors."""
        factors = [(h, v) for h, v, _ in self.components]
        if len(factors) == 1:
            return "grey"
        names = {
            (1, 1): "4:4:4",
            (2, 1): "4:2:2",
            (2, 2): "4:2:0",
            (1, 2): "4:4:0",
            (4, 1): "4:1:1",
        }
        if len(factors) == 3 and factors[1:] == [(1, 1), (1, 1)] and factors[0] in names:
            return names[factors[0]]
        return " ".join(f"{h}x{v}" for h, v in factors)


def standard_table(quality: int, chroma: bool) -> tuple[int, ...]:
    """The annex K table at ``quality`` (1 to 100) as the IJG library scales it, row by row."""
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    base = _CHROMINANCE if chroma else _LUMINANCE
    return tuple(min(255, max(1, (v * scale + 50) // 100)) for v in base)


def standard_quality(tables: Mapping[int, tuple[int, ...]]) -> int | None:
    """The IJG quality whose tables are exactly these, or ``None``.

    One table (grey, or shared by all) is compared with that for luminance.
    """
    if 0 not in tables or len(tables) > 2 or (len(tables) == 2 and 1 not in tables):
        return None
    for quality in range(100, 0, -1):
        if tables[0] == standard_table(quality, False) and (
            1 not in tables or tables[1] in (standard_table(quality, True), tables[0])
        ):
            return quality
    return None


def read_jpeg(data: bytes) -> Jpeg | None:
    """Walk ``data``; ``None`` if it does not begin like a JPEG. Damage ends the walk."""
    if data[:2] != b"\xff\xd8":
        return None
    found = Jpeg()
    try:
        _walk(data, found)
    except (struct.error, IndexError, ValueError):
        found.damaged = True
    if found.ended:
        found.trailing = len(data) - found.end
        found.trailing_head = data[found.end : found.end + 64]
    return found


def _walk(data: bytes, found: Jpeg) -> None:
    at = 2
    for _ in range(_MOST_MARKERS):
        while data[at] == 0xFF and data[at + 1] == 0xFF:
            at += 1
        if data[at] != 0xFF:
            raise ValueError("no marker")
        marker = data[at + 1]
        at += 2
        if marker == 0xD9:
            found.ended, found.end = True, at
            return
        if marker in _ALONE:
            continue
        (length,) = struct.unpack_from(">H", data, at)
        if length < 2 or at + length > len(data):
            raise ValueError("bad length")
        _segment(marker, data[at + 2 : at + length], found)
        at += length
        if marker == 0xDA:
            following = _SCAN_END.search(data, at)
            if following is None:
                return
            at = following.start()
    found.damaged = True


def _segment(marker: int, body: bytes, found: Jpeg) -> None:
    if 0xE0 <= marker <= 0xEF:
        known = next((a for a in _APPS if body.startswith(a)), b"")
        name = f"APP{marker - 0xE0}" + (f" {known.decode()}" if known else "")
        found.applications.append(name)
        _mark(found, name)
    elif marker in _FRAMES:
        _mark(found, f"SOF{marker - 0xC0}")
        if not found.components:
            found.process = marker - 0xC0
            _, found.height, found.width, count = struct.unpack_from(">BHHB", body)
            for i in range(min(count, 4)):
                factors, table = body[7 + 3 * i], body[8 + 3 * i]
                found.components.append((factors >> 4, factors & 15, table))
    elif marker == 0xDB:
        _mark(found, "DQT")
        _tables(body, found)
    elif marker == 0xDD:
        _mark(found, "DRI")
        (found.restart,) = struct.unpack_from(">H", body)
    elif marker == 0xDA:
        found.scans += 1
        _mark(found, "SOS")
    elif marker == 0xFE:
        _mark(found, "COM")
        if len(found.comments) < 8:
            found.comments.append(body[:400].decode("utf-8", "replace"))
    else:
        _mark(found, {0xC4: "DHT"}.get(marker, f"{marker:02X}"))


def _mark(found: Jpeg, name: str) -> None:
    if len(found.markers) < 200:
        found.markers.append(name)


def _tables(body: bytes, found: Jpeg) -> None:
    at = 0
    while at < len(body):
        wide, number = body[at] >> 4, body[at] & 15
        form = ">64H" if wide else "64B"
        values = struct.unpack_from(form, body, at + 1)
        table = [0] * 64
        for position, value in zip(_ZIGZAG, values, strict=True):
            table[position] = value
        found.tables.setdefault(number, tuple(table))
        at += 1 + struct.calcsize(form)
