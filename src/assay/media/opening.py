"""From a path to a :class:`Source`: the only code that opens the user's file.

Follows symbolic links, but opens nothing except regular files: a pipe would block and
reading a device can have effects.
"""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from typing import BinaryIO

from assay.errors import Corrupt, MediaError, NotMedia, TooLarge, Unsupported
from assay.limits import Limits
from assay.media.sniff import FORMATS, Format, refusal, sniff
from assay.media.source import Source

__all__ = ["format_of", "open_source", "reopen"]

_CHUNK = 1024 * 1024


def open_source(path: str | os.PathLike[str], limits: Limits, name: str = "") -> Source:
    """Reads ``path`` once: its size, its SHA-256 and, from the content, its format.

    ``name`` is what its owner calls the file, when it lies under another name.

    Raises:
        NotMedia: missing, unreadable, not a regular file, empty, or not media.
        Unsupported: media of a kind this build does not read.
        TooLarge: more bytes than ``limits.max_bytes``.
    """
    place = Path(os.fsdecode(path))
    file = _open(place)
    with file:
        size = os.fstat(file.fileno()).st_size
        if size == 0:
            raise NotMedia(place, "the file is empty")
        if size > limits.max_bytes:
            raise TooLarge(place, f"{size} bytes, more than the limit of {limits.max_bytes}")
        try:
            found = sniff(file)
            if found is None:
                what, media = refusal(file)
                if media:
                    raise Unsupported(place, f"the content is {what}, which is not supported")
                raise NotMedia(place, f"the content is {what}, not an image, video or sound")
            digest = _sha256(file, size, place)
        except OSError as error:
            raise NotMedia(place, f"the file cannot be read: {error.strerror}") from error
    return Source(
        path=place,
        sha256=digest,
        size=size,
        format=found.name,
        mime=found.mime,
        extension_matches=Path(name or place).suffix.lower().removeprefix(".") in found.extensions,
        given_name=name,
    )


def format_of(source: Source) -> Format:
    """The table entry behind ``source.format``."""
    return FORMATS[source.format]


def reopen(source: Source) -> BinaryIO:
    """The file of ``source`` once more.

    Raises:
        MediaError: it is gone, or no longer of the size that was hashed.
    """
    file = _open(source.path)
    if os.fstat(file.fileno()).st_size != source.size:
        file.close()
        raise Corrupt(source.path, "the file was changed while it was analysed")
    return file


def _open(place: Path) -> BinaryIO:
    try:
        _regular(place, os.stat(place).st_mode)
        descriptor = os.open(place, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        file = os.fdopen(descriptor, "rb")
    except OSError as error:
        raise NotMedia(place, _why(error)) from error
    except ValueError as error:  # a null byte in the name
        raise NotMedia(place, f"not a file name: {error}") from error
    try:
        # Again on what was opened: the name may point elsewhere by now.
        _regular(place, os.fstat(file.fileno()).st_mode)
    except MediaError:
        file.close()
        raise
    return file


def _regular(place: Path, mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise NotMedia(place, "a folder, not a file")
    if not stat.S_ISREG(mode):
        raise NotMedia(place, "a pipe, socket or device, not a regular file")


def _why(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, PermissionError):
        return "no permission to read the file"
    return f"the file cannot be opened: {error.strerror or error}"


def _sha256(file: BinaryIO, size: int, place: Path) -> str:
    file.seek(0)
    digest = hashlib.sha256()
    seen = 0
    while chunk := file.read(_CHUNK):
        seen += len(chunk)
        if seen > size:
            break
        digest.update(chunk)
    if seen != size:
        raise Corrupt(place, "the file changed while it was read")
    return digest.hexdigest()
