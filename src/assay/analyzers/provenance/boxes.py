"""Boxes of ISO base media files (MP4, MOV, M4A, 3GP): a bounded walk over the declarations.

Source: ISO/IEC 14496-12; Apple QuickTime File Format. A box may state size 0 (to the end),
1 (64 bits follow) or nonsense; offsets only ever grow, depth and number are bounded.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import BinaryIO

__all__ = ["Boxes", "read_boxes"]

_MOST_BOXES = 20_000
_MOST_DEPTH = 10
_MOST_PAYLOAD = 64 * 1024
_MOST_TEXTS = 200
_CONTAINERS = {
    b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"udta", b"moof", b"mvex", b"ilst",
}  # fmt: skip
_EPOCH = datetime(1904, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class Boxes:
    """``order`` of the boxes at the top; ``texts`` as (key, text); ``edits`` as lists of
    (duration, media time, rate) per track, times in their own units; ``times`` as stated."""

    order: list[str] = field(default_factory=list)
    brand: str = ""
    brands: list[str] = field(default_factory=list)
    texts: list[tuple[str, str]] = field(default_factory=list)
    handlers: list[tuple[str, str]] = field(default_factory=list)
    compressors: list[str] = field(default_factory=list)
    edits: list[list[tuple[int, int, int]]] = field(default_factory=list)
    track_scales: list[int] = field(default_factory=list)
    created: datetime | None = None
    modified: datetime | None = None
    fragmented: bool = False
    damaged: bool = False
    keys: list[str] = field(default_factory=list)


def read_boxes(file: BinaryIO, size: int) -> Boxes:
    """Walk a file of ``size`` bytes. Damage ends the branch it is in and is noted."""
    found = Boxes()
    budget = [_MOST_BOXES]
    _walk(file, 0, size, (), found, budget)
    if budget[0] <= 0:
        found.damaged = True
    return found


def _headers(
    file: BinaryIO, start: int, end: int, found: Boxes, budget: list[int]
) -> Iterator[tuple[bytes, int, int]]:
    """(kind, start of the content, end) of the boxes between ``start`` and ``end``."""
    at = start
    while at + 8 <= end and budget[0] > 0:
        budget[0] -= 1
        file.seek(at)
        head = file.read(16)
        if len(head) < 8:
            found.damaged = True
            return
        size, kind = struct.unpack_from(">I4s", head)
        content = at + 8
        if size == 1:
            if len(head) < 16:
                found.damaged = True
                return
            (size,) = struct.unpack_from(">Q", head, 8)
            content = at + 16
        elif size == 0:
            size = end - at
        if size < content - at:
            # QuickTime ends user data with 32 zero bits, which is no damage.
            found.damaged = found.damaged or size != 0
            return
        if at + size > end:
            found.damaged = True
        yield kind, content, min(at + size, end)
        at += size


def _walk(
    file: BinaryIO, start: int, end: int, path: tuple[bytes, ...], found: Boxes, budget: list[int]
) -> None:
    for kind, first, last in _headers(file, start, end, found, budget):
        found.fragmented = found.fragmented or kind in (b"moof", b"mvex")
        if not path and len(found.order) < 64:
            found.order.append(_name(kind))
        if path[-1:] == (b"ilst",):
            _item(file, kind, first, last, found, budget)
        elif kind in _CONTAINERS and len(path) < _MOST_DEPTH:
            _walk(file, first, last, (*path, kind), found, budget)
        elif kind == b"meta" and len(path) < _MOST_DEPTH:
            file.seek(first)
            # ISO files have a version before the content of "meta", QuickTime has none.
            skip = 0 if file.read(8)[4:] == b"hdlr" else 4
            _walk(file, first + skip, last, (*path, kind), found, budget)
        elif kind in _READERS or (path[-1:] == (b"udta",)):
            file.seek(first)
            payload = file.read(min(last - first, _MOST_PAYLOAD))
            try:
                _leaf(kind, payload, found)
            except (struct.error, IndexError, OverflowError):
                found.damaged = True


def _name(kind: bytes) -> str:
    return kind.decode("latin-1").strip("\x00 ")


def _text(found: Boxes, key: str, raw: bytes) -> None:
    text = raw.decode("utf-8", "replace").strip("\x00 ")
    if text and len(found.texts) < _MOST_TEXTS:
        found.texts.append((key, text[:2000]))


def _item(
    file: BinaryIO, kind: bytes, first: int, last: int, found: Boxes, budget: list[int]
) -> None:
    """An entry of an ``ilst``: iTunes names it by its kind, QuickTime by a key's number."""
    number = int.from_bytes(kind, "big")
    key = found.keys[number - 1] if 1 <= number <= len(found.keys) else _name(kind)
    for inner, start, end in _headers(file, first, last, found, budget):
        if inner == b"data" and end - start > 8:
            file.seek(start)
            payload = file.read(min(end - start, _MOST_PAYLOAD))
            if payload[3] == 1:  # UTF-8
                _text(found, key, payload[8:])
        elif inner == b"name":
            file.seek(start + 4)
            key = file.read(min(max(0, end - start - 4), 200)).decode("utf-8", "replace")


def _time(value: int) -> datetime | None:
    try:
        return _EPOCH + timedelta(seconds=value) if value else None
    except OverflowError:
        return None


def _leaf(kind: bytes, data: bytes, found: Boxes) -> None:
    if kind == b"ftyp":
        found.brand = _name(data[:4])
        found.brands = [_name(data[i : i + 4]) for i in range(8, min(len(data), 8 + 64) - 3, 4)]
    elif kind == b"mvhd":
        long = data[0] == 1
        created, modified, _ = struct.unpack_from(">QQI" if long else ">III", data, 4)
        found.created, found.modified = _time(created), _time(modified)
    elif kind == b"mdhd":
        found.track_scales.append(struct.unpack_from(">I", data, 20 if data[0] == 1 else 12)[0])
    elif kind == b"hdlr":
        name = data[24:]
        if name[:1] and name[0] == len(name) - 1:  # QuickTime counts the letters first
            name = name[1:]
        text = name.split(b"\x00")[0].decode("utf-8", "replace").strip()
        if len(found.handlers) < 64:
            found.handlers.append((_name(data[8:12]), text[:200]))
    elif kind == b"elst":
        long = data[0] == 1
        (count,) = struct.unpack_from(">I", data, 4)
        form, step = (">Qqi", 20) if long else (">Iii", 12)
        count = min(count, (len(data) - 8) // step, 1000)
        if len(found.edits) < 64:
            found.edits.append([struct.unpack_from(form, data, 8 + step * i) for i in range(count)])
    elif kind == b"stsd":
        _compressor(data, found)
    elif kind == b"keys":
        at = 8
        while at + 8 <= len(data) and len(found.keys) < 500:
            (size,) = struct.unpack_from(">I", data, at)
            if size < 8:
                break
            found.keys.append(data[at + 8 : at + size].decode("utf-8", "replace")[:200])
            at += size
    elif len(data) > 4 and kind[:1] == b"\xa9":
        size = struct.unpack_from(">H", data)[0]
        _text(found, _name(kind), data[4 : 4 + size] if size + 4 <= len(data) else data[4:])
    elif len(data) > 4 and kind in (b"auth", b"titl", b"dscp", b"cprt", b"SDLN", b"smrd"):
        _text(found, _name(kind), data[4:] if data[:1] == b"\x00" else data)


def _compressor(data: bytes, found: Boxes) -> None:
    """The name of the compressor in a visual sample entry: a counted string of 32 bytes."""
    entry = data[8:]
    if len(entry) >= 86 and entry[4:8] in (
        b"avc1", b"avc3", b"hvc1", b"hev1", b"mp4v", b"av01", b"vp09", b"apcn", b"jpeg",
    ):  # fmt: skip
        raw = entry[50:82]
        text = raw[1 : 1 + min(raw[0], 31)].decode("utf-8", "replace").strip("\x00 ")
        if text and len(found.compressors) < 64:
            found.compressors.append(text)


_READERS = {b"ftyp", b"mvhd", b"mdhd", b"hdlr", b"elst", b"stsd", b"keys"}
