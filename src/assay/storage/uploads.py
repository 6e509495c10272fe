"""Resumable uploads: rows that say how much has safely arrived, and the files themselves.

The offset in the table is the truth. It is moved on only after the bytes before it are on
the disk, so what a crash leaves beyond it in the file is cut off and sent again.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from sqlalchemy import Connection, delete, func, insert, select, update

from assay.storage import analyses
from assay.storage.blobs import Blobs
from assay.storage.tables import uploads

__all__ = [
    "Busy",
    "Complete",
    "Upload",
    "advance",
    "create",
    "digest",
    "discard",
    "expired",
    "get",
    "locked",
    "open_uploads",
    "part",
    "remove",
    "reserved_bytes",
    "resume",
    "take",
]

_KEY = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """One upload; ``length`` and ``offset`` in bytes, times in POSIX seconds.

    ``sha256`` is known once it is complete, ``taken_at`` once an analysis was asked for.
    """

    id: str
    owner_id: str
    name: str
    length: int
    offset: int
    sha256: str | None
    taken_at: float | None
    created_at: float
    expires_at: float

    @property
    def complete(self) -> bool:
        return self.sha256 is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Complete:
    """What has wholly arrived and lies under its id in the blobs."""

    name: str
    size: int
    sha256: str


class Busy(Exception):
    """Another request is writing to this upload."""


def create(
    c: Connection, *, owner_id: str, name: str, length: int, at: float, expires_at: float
) -> Upload:
    made = Upload(
        id=uuid.uuid4().hex,
        owner_id=owner_id,
        name=name,
        length=length,
        offset=0,
        sha256=None,
        taken_at=None,
        created_at=at,
        expires_at=expires_at,
    )
    c.execute(insert(uploads).values(**{n: getattr(made, n) for n in Upload.__dataclass_fields__}))
    return made


def get(c: Connection, ident: str, *, owner_id: str, at: float) -> Upload | None:
    """The upload, ``None`` when there is none of this owner that is still open at ``at``."""
    row = (
        c.execute(
            select(uploads).where(
                uploads.c.id == ident, uploads.c.owner_id == owner_id, uploads.c.expires_at > at
            )
        )
        .mappings()
        .first()
    )
    return Upload(**row) if row else None


def open_uploads(c: Connection, owner_id: str) -> int:
    """How many uploads of this owner are under way or wait to be taken."""
    query = select(func.count()).where(uploads.c.owner_id == owner_id, uploads.c.taken_at.is_(None))
    return int(c.execute(query).scalar_one())


def reserved_bytes(c: Connection) -> int:
    """Bytes that all open uploads have still to bring."""
    query = select(func.sum(uploads.c.length - uploads.c.offset)).where(
        uploads.c.taken_at.is_(None)
    )
    return int(c.execute(query).scalar_one() or 0)


def advance(c: Connection, ident: str, offset: int, sha256: str | None = None) -> bool:
    """Note that the bytes before ``offset`` are safe; ``False`` when the upload is gone."""
    done = c.execute(
        update(uploads).where(uploads.c.id == ident).values(offset=offset, sha256=sha256)
    )
    return done.rowcount > 0


def remove(c: Connection, ident: str) -> bool:
    """Forget it; the caller then calls :func:`discard`."""
    return c.execute(delete(uploads).where(uploads.c.id == ident)).rowcount > 0


def expired(c: Connection, at: float) -> list[str]:
    """Ids of uploads whose time is over."""
    return list(c.execute(select(uploads.c.id).where(uploads.c.expires_at <= at)).scalars())


def take(c: Connection, blobs: Blobs, ident: str, *, owner_id: str) -> Complete | None:
    """Move the file of a complete upload under the key ``ident``.

    May be repeated, as when the analysis was refused for now or the answer was lost: the
    row stays until it expires. ``None``: there is no complete upload of this id and owner.
    """
    row = (
        c.execute(
            select(uploads).where(
                uploads.c.id == ident,
                uploads.c.owner_id == owner_id,
                uploads.c.sha256.is_not(None),
            )
        )
        .mappings()
        .first()
    )
    if row is None:
        return None
    file = part(blobs, ident)
    if file.exists():
        blobs.adopt(ident, file)
    elif blobs.path(ident) is None and analyses.status_of(c, ident) is None:
        return None  # it was analysed, and the analysis deleted
    c.execute(
        update(uploads)
        .where(uploads.c.id == ident, uploads.c.taken_at.is_(None))
        .values(taken_at=row["created_at"])
    )
    return Complete(name=row["name"], size=row["length"], sha256=row["sha256"])


def part(blobs: Blobs, ident: str) -> Path:
    """Where the bytes gather."""
    if not _KEY.fullmatch(ident):
        raise ValueError(f"{ident!r} is no id of an upload")
    return blobs.root / "uploads" / ident


def discard(blobs: Blobs, ident: str) -> None:
    """Delete what has arrived, unless it was taken."""
    part(blobs, ident).unlink(missing_ok=True)


@contextmanager
def locked(blobs: Blobs, ident: str) -> Iterator[BinaryIO]:
    """The file, for one writer at a time.

    Raises:
        Busy: another request, of this process or another, has it open.
    """
    path = part(blobs, ident)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with open(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Busy(ident) from None
        yield file


def resume(file: BinaryIO, offset: int) -> bool:
    """Go to ``offset`` and cut off what lies beyond; ``False`` when less than that is there."""
    if os.fstat(file.fileno()).st_size < offset:
        return False
    file.truncate(offset)
    file.seek(offset)
    return True


def digest(blobs: Blobs, ident: str) -> str:
    """SHA-256 of what has arrived, in hex."""
    with part(blobs, ident).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
