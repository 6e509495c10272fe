"""Taking in files: a multipart body is written to its place as it arrives, or refused."""

from __future__ import annotations

import hashlib
import unicodedata
import uuid
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from fastapi import Request
from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from assay.server.problems import Problem
from assay.server.services import Services

__all__ = ["Taken", "clean_name", "room_for", "take_multipart"]

_MOST_FIELDS = 16
_MOST_FIELD_BYTES = 4096
_MOST_HEADER_BYTES = 8192
_OVERHEAD = 65536  # of a multipart body around its file


@dataclass(slots=True, kw_only=True)
class Taken:
    """A file that now lies under ``key`` in the blobs, and the fields that came with it."""

    key: str
    name: str
    size: int
    sha256: str
    fields: dict[str, str] = field(default_factory=dict)


def clean_name(name: str) -> str:
    """A file name as it is kept: the last part of a path, printable, at most 255 characters."""
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    shown = "".join(c for c in unicodedata.normalize("NFC", last) if c.isprintable())
    return shown.strip()[:255] or "unnamed"


def room_for(here: Services, size: int | None) -> None:
    """Raise when a file of ``size`` bytes (unknown: ``None``) will not be taken."""
    bound = here.settings.max_upload_bytes
    if size is not None and size > bound:
        raise Problem("too-large", f"at most {bound} bytes are accepted", max_bytes=bound)
    if here.blobs.free_bytes() - (size or 0) < here.settings.min_free_bytes:
        raise Problem("storage-full", headers={"Retry-After": "600"})


async def take_multipart(request: Request, here: Services) -> Taken:
    """Write the single file of a ``multipart/form-data`` body into the blobs.

    Nothing is kept when the body breaks off, is no multipart, or grows beyond the bound.
    """
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    boundary = options.get(b"boundary")
    if kind != b"multipart/form-data" or not boundary:
        raise Problem("unsupported-media-type", "send multipart/form-data with a field `file`")
    length = request.headers.get("content-length")
    room_for(here, max(0, int(length) - _OVERHEAD) if length and length.isdigit() else None)
    key = uuid.uuid4().hex
    with ExitStack() as stack:
        reader = _Reader(here, stack, key)
        parser = MultipartParser(boundary, reader.callbacks())
        try:
            async for chunk in request.stream():
                parser.write(chunk)
            parser.finalize()
        except FormParserError as error:
            raise Problem("bad-request", f"the multipart body is broken: {error}") from error
        return reader.taken()


class _Reader:
    """Callbacks of the parser; raises out of the ``with`` block, which removes the part."""

    def __init__(self, here: Services, stack: ExitStack, key: str) -> None:
        self._here, self._stack, self._key = here, stack, key
        self._header_name = self._header_value = b""
        self._headers: dict[str, bytes] = {}
        self._header_bytes = 0
        self._file: BinaryIO | None = None
        self._in_file = False
        self._field = ""
        self._value = b""
        self._name: str | None = None
        self._size = 0
        self._hash = hashlib.sha256()
        self._fields: dict[str, str] = {}
        self._complete = False

    def callbacks(self) -> Any:
        return {
            "on_part_begin": self._part_begin,
            "on_header_field": self._on_header_field,
            "on_header_value": self._on_header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_finished,
            "on_part_data": self._part_data,
            "on_part_end": self._part_end,
            "on_end": self._end,
        }

    def taken(self) -> Taken:
        if not self._complete:
            raise Problem("bad-request", "the multipart body breaks off")
        if self._name is None:
            raise Problem("invalid", "the field `file` is missing")
        return Taken(
            key=self._key,
            name=self._name,
            size=self._size,
            sha256=self._hash.hexdigest(),
            fields=self._fields,
        )

    def _part_begin(self) -> None:
        self._headers, self._header_bytes, self._value = {}, 0, b""
        self._in_file = False

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header_name += self._counted(data[start:end])

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += self._counted(data[start:end])

    def _counted(self, data: bytes) -> bytes:
        self._header_bytes += len(data)
        if self._header_bytes > _MOST_HEADER_BYTES:
            raise Problem("bad-request", "a part's headers are too long")
        return data

    def _header_end(self) -> None:
        self._headers[self._header_name.decode("latin-1").lower()] = self._header_value
        self._header_name = self._header_value = b""

    def _headers_finished(self) -> None:
        _, options = parse_options_header(self._headers.get("content-disposition", b""))
        self._field = options.get(b"name", b"").decode("utf-8", "replace")
        if self._field != "file":
            if len(self._fields) >= _MOST_FIELDS:
                raise Problem("bad-request", "too many fields")
            return
        if self._name is not None:
            raise Problem("invalid", "one request takes one file")
        self._name = clean_name(options.get(b"filename", b"").decode("utf-8", "replace"))
        self._file = self._stack.enter_context(self._here.blobs.write(self._key))
        self._in_file = True

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if not self._in_file:
            self._value += data[start:end]
            if len(self._value) > _MOST_FIELD_BYTES:
                raise Problem("invalid", f"the field {self._field[:80]!r} is too long")
            return
        assert self._file is not None
        self._size += end - start
        bound = self._here.settings.max_upload_bytes
        if self._size > bound:
            raise Problem("too-large", f"at most {bound} bytes are accepted", max_bytes=bound)
        piece = data[start:end]
        self._hash.update(piece)
        self._file.write(piece)

    def _part_end(self) -> None:
        if not self._in_file:
            self._fields[self._field] = self._value.decode("utf-8", "replace")

    def _end(self) -> None:
        self._complete = True
