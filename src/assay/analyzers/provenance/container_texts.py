"""Names of programs in containers other than MP4: Matroska, RIFF, ID3, FLAC, Ogg.

Source: RFC 8794 (EBML), RFC 9559 (Matroska), the Multimedia Programming Interface (RIFF),
EBU Tech 3285 (bext), ID3v2.4, RFC 9639 (FLAC), Vorbis I comment header, RFC 7845.
Each reader returns (key, text) pairs; damage ends it with what was found before.
"""

from __future__ import annotations

import struct
from typing import BinaryIO

__all__ = ["read_texts"]

_MOST = 20_000  # elements or chunks of one file
_MOST_TEXT = 2000
_MOST_PAIRS = 200
_HEAD = 256 * 1024

Pairs = list[tuple[str, str]]


def read_texts(file: BinaryIO, size: int, form: str) -> Pairs:
    """The pairs of a file of format ``form`` (as in ``Source.format``)."""
    found: Pairs = []
    file.seek(0)
    head = file.read(12)
    try:
        if form in ("matroska", "webm") or head[:4] == b"\x1a\x45\xdf\xa3":
            _matroska(file, size, found)
        elif head[:4] in (b"RIFF", b"RF64"):
            _riff(file, size, found)
        elif head[:3] == b"ID3" or form == "mp3":
            _id3(file, found)
        elif head[:4] == b"fLaC":
            _flac(file, found)
        elif head[:4] == b"OggS":
            _ogg(file, found)
    except (struct.error, IndexError):
        pass
    return found[:_MOST_PAIRS]


def _put(found: Pairs, key: str, raw: bytes, encoding: str = "utf-8") -> None:
    text = raw[:_MOST_TEXT].decode(encoding, "replace").strip("\x00 \ufeff")
    if text and len(found) < _MOST_PAIRS:
        found.append((key, text))


_MASTERS = {0x18538067, 0x1549A966, 0x1654AE6B, 0xAE, 0x1254C367, 0x7373, 0x67C8}
_NAMED = {
    0x4D80: "muxing application", 0x5741: "writing application", 0x7BA9: "title",
    0x45A3: "tag name", 0x4487: "tag", 0x536E: "track name",
}  # fmt: skip


def _matroska(file: BinaryIO, size: int, found: Pairs) -> None:
    """One pass; masters of interest are entered by reading on, all else is skipped."""
    at, name = 0, ""
    for _ in range(_MOST):
        file.seek(at)
        head = file.read(12)
        if at >= size or len(head) < 2:
            return
        number, used = _vint(head, keep=True)
        length, more = _vint(head[used:], keep=False)
        unknown = length == (1 << 7 * more) - 1
        at += used + more
        if number in _MASTERS:
            continue
        if unknown:
            return
        if number in _NAMED and length:
            file.seek(at)
            raw = file.read(min(length, _MOST_TEXT))
            if number == 0x45A3:
                name = raw.decode("utf-8", "replace").strip("\x00 ")[:80]
            elif number == 0x4487:
                _put(found, name or "tag", raw)
            else:
                _put(found, _NAMED[number], raw)
        at += length


def _vint(data: bytes, *, keep: bool) -> tuple[int, int]:
    """A variable-length integer and its width; ``keep`` leaves the marker bit in."""
    first = data[0]
    if first == 0:
        raise IndexError("more than eight bytes")
    width = 9 - first.bit_length()
    if len(data) < width:
        raise IndexError("cut")
    value = int.from_bytes(data[:width], "big")
    return (value if keep else value & ((1 << 7 * width) - 1)), width


def _riff(file: BinaryIO, size: int, found: Pairs) -> None:
    at, end = 12, size
    for _ in range(_MOST):
        file.seek(at)
        head = file.read(12)
        if len(head) < 8 or at >= end:
            return
        kind, length = struct.unpack_from("<4sI", head)
        if kind == b"LIST" and head[8:12] in (b"INFO", b"hdrl", b"strl"):
            at += 12
            continue
        if kind[:1] == b"I" and kind.isalnum() and length <= 64 * 1024:
            file.seek(at + 8)
            _put(found, kind.decode("ascii"), file.read(min(length, _MOST_TEXT)))
        elif kind == b"bext" and length >= 602:
            file.seek(at + 8)
            data = file.read(min(length, _MOST_TEXT + 602))
            _put(found, "originator", data[256:288].split(b"\x00")[0])
            _put(found, "date", data[320:330])
            _put(found, "coding history", data[602:])
        at += 8 + length + (length & 1)


_ENCODINGS = {0: "latin-1", 1: "utf-16", 2: "utf-16-be", 3: "utf-8"}


def _id3(file: BinaryIO, found: Pairs) -> None:
    file.seek(0)
    head = file.read(10)
    length = 0
    if head[:3] == b"ID3":
        length = _syncsafe(head[6:10])
        data = file.read(min(length, _HEAD))
        at = 0
        for _ in range(500):
            kind = data[at : at + 4]
            if len(kind) < 4 or not kind.isalnum():
                break
            raw = data[at + 4 : at + 8]
            size = _syncsafe(raw) if head[3] == 4 else int.from_bytes(raw, "big")
            body = data[at + 10 : at + 10 + size]
            if kind in (b"TSSE", b"TENC", b"TXXX", b"TOFN") and body:
                text = body[1 : 1 + _MOST_TEXT]
                _put(found, kind.decode("ascii"), text, _ENCODINGS.get(body[0], "latin-1"))
            at += 10 + size
        length += 10
    file.seek(length)
    first = file.read(4096)
    for mark in (b"LAME", b"Lavc", b"Lavf", b"GOGO"):
        where = first.find(mark)
        if where >= 0:
            raw = first[where : where + 9]
            shown = bytes(b for b in raw if 32 < b < 127)
            _put(found, "encoder in the first frame", shown)
            return


def _syncsafe(raw: bytes) -> int:
    value = 0
    for byte in raw:
        value = value << 7 | byte & 127
    return value


def _flac(file: BinaryIO, found: Pairs) -> None:
    at = 4
    for _ in range(128):
        file.seek(at)
        head = file.read(4)
        if len(head) < 4:
            return
        length = int.from_bytes(head[1:], "big")
        if head[0] & 127 == 4:
            _comments(file.read(min(length, _HEAD)), found)
        if head[0] & 128:
            return
        at += 4 + length


def _ogg(file: BinaryIO, found: Pairs) -> None:
    file.seek(0)
    data = file.read(_HEAD)
    for mark in (b"\x03vorbis", b"OpusTags"):
        where = data.find(mark)
        if where >= 0:
            _comments(data[where + len(mark) :], found)
            return


def _comments(data: bytes, found: Pairs) -> None:
    """A Vorbis comment block: vendor, then counted ``KEY=text`` strings."""
    (length,) = struct.unpack_from("<I", data)
    _put(found, "vendor", data[4 : 4 + length])
    at = 4 + length
    (count,) = struct.unpack_from("<I", data, at)
    at += 4
    for _ in range(min(count, 200)):
        (length,) = struct.unpack_from("<I", data, at)
        key, sign, text = data[at + 4 : at + 4 + length].partition(b"=")
        if sign and len(key) <= 80:
            _put(found, key.decode("utf-8", "replace").lower(), text)
        at += 4 + length
