"""The whole memory of a server in one file, which another one can begin from.

A backup is a tar archive: a table a member as JSON lines, each file of media, and last a
manifest with the SHA-256 of every member. It does not depend on the kind of database, so it
also moves a server from SQLite to PostgreSQL. The queue is not in it: what had not ended is
entered anew. Sessions and links are not in it either; people log in again.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import re
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from sqlalchemy import Connection, LargeBinary, Table, insert, select

from assay.storage import accounts, audit, migrate
from assay.storage.blobs import Blobs
from assay.storage.database import Database
from assay.storage.tables import analyses, metadata

__all__ = ["BackupError", "Contents", "check", "make", "restore"]

_FORMAT = 1
_LEFT_OUT = frozenset({"sessions", "tickets", "workers", "uploads"})
_MEDIA = re.compile(r"media/([0-9a-f]{32})")
_TABLE = re.compile(r"tables/([a-z_]{1,40})\.jsonl")
_MANIFEST = "manifest.json"
_CHUNK = 1024 * 1024
_ROWS = 500  # inserted at a time
_MOST_LINE = 1024 * 1024 * 1024


class BackupError(RuntimeError):
    """The file is no whole backup, or this server cannot begin from it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What is in a backup."""

    created_at: float
    revision: str
    rows: dict[str, int]
    media: int
    bytes: int


def make(database: Database, blobs: Blobs, path: Path, *, at: float) -> Contents:
    """Write a backup to ``path``, whole or not at all, while the server goes on.

    Media that is deleted meanwhile is left out.
    """
    part = path.with_name(f".{path.name}.part")
    hashes: dict[str, str] = {}
    rows: dict[str, int] = {}
    try:
        # Whoever reads the file reads every report.
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file, tarfile.open(fileobj=file, mode="w") as tar:
            with database.snapshot() as c:
                revision = migrate.revision_of(c) or ""
                for table in _tables():
                    name = f"tables/{table.name}.jsonl"
                    rows[table.name], hashes[name] = _write_table(c, table, tar, name)
                kept = select(analyses.c.id).where(
                    analyses.c.source_path.is_(None), analyses.c.media_deleted_at.is_(None)
                )
                keys = [str(key) for key in c.execute(kept).scalars()]
            media = size = 0
            for key in keys:
                found = blobs.path(key)
                if found is None:
                    continue
                try:
                    with found.open("rb") as blob:
                        length = os.fstat(blob.fileno()).st_size
                        hashes[f"media/{key}"] = _add(tar, f"media/{key}", blob, length)
                except FileNotFoundError:
                    continue
                media, size = media + 1, size + length
            made = Contents(created_at=at, revision=revision, rows=rows, media=media, bytes=size)
            text = json.dumps({"format": _FORMAT, **_told(made), "sha256": hashes}).encode()
            _add(tar, _MANIFEST, io.BytesIO(text), len(text))
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return made


def check(path: Path) -> Contents:
    """Read a backup through and compare every hash.

    Raises:
        BackupError: it is broken, incomplete, or of another format.
    """
    return _read(path, lambda name, stream: _drain(stream))


def restore(
    database: Database,
    blobs: Blobs,
    path: Path,
    *,
    at: float,
    enter: Callable[[Connection, str, str], None],
) -> Contents:
    """Fill an empty server from a backup, or leave it as it is.

    Args:
        enter: called as ``enter(connection, kind, id)`` for every job that had not ended,
            ``kind`` being ``analysis`` or ``delivery``; puts it into the queue.

    Raises:
        BackupError: the server is not empty, or the backup is broken, newer, or older than
            what can be read.
    """
    found = check(path)
    migrate.upgrade(database)
    if found.revision != migrate.head():
        raise BackupError(
            f"{path}: made with revision {found.revision} of the tables, this program works with "
            f"{migrate.head()}: restore it with the program that made it, then upgrade"
        )
    written: list[str] = []
    tables = {table.name: table for table in _tables()}
    try:
        with database.write() as c:
            if accounts.count_users(c):
                raise BackupError("this server has users already; restore into a new one")

            def take(name: str, stream: IO[bytes]) -> None:
                media, table = _MEDIA.fullmatch(name), _TABLE.fullmatch(name)
                if media:
                    with blobs.write(media[1]) as file:
                        for chunk in _chunks(stream):
                            file.write(chunk)
                    written.append(media[1])
                elif table and table[1] in tables:
                    _read_table(c, tables[table[1]], stream)
                else:
                    raise BackupError(f"{path}: it holds something unknown, {name!r}")

            _read(path, take)
            broken = audit.verify(c)
            if broken is not None:
                raise BackupError(f"{path}: the audit log in it is broken from entry {broken} on")
            _enter_unfinished(c, enter)
            detail = {"created_at": found.created_at, "rows": sum(found.rows.values())}
            audit.write(
                c, actor="system", action="server.restore", subject="server", detail=detail, at=at
            )
    except BaseException:
        for key in written:
            blobs.delete(key)
        raise
    return found


def _enter_unfinished(c: Connection, enter: Callable[[Connection, str, str], None]) -> None:
    from assay.storage.tables import deliveries

    open_now = analyses.c.status.in_(("queued", "running"))
    for ident in c.execute(select(analyses.c.id).where(open_now)).scalars().all():
        c.execute(
            analyses.update()
            .where(analyses.c.id == ident)
            .values(status="queued", worker=None, stage="", progress=0.0, partial=[])
        )
        enter(c, "analysis", ident)
    waiting = select(deliveries.c.id).where(deliveries.c.status == "waiting")
    for ident in c.execute(waiting).scalars().all():
        enter(c, "delivery", ident)


def _tables() -> list[Table]:
    """In an order in which rows can be inserted."""
    return [t for t in metadata.sorted_tables if t.name not in _LEFT_OUT]


def _write_table(c: Connection, table: Table, tar: tarfile.TarFile, name: str) -> tuple[int, str]:
    count = 0
    with tempfile.TemporaryFile() as file:
        query = select(table).order_by(*table.primary_key.columns)
        for row in c.execution_options(yield_per=_ROWS).execute(query).mappings():
            line = json.dumps({k: _plain(v) for k, v in row.items()}, separators=(",", ":"))
            file.write(line.encode() + b"\n")
            count += 1
        length = file.tell()
        file.seek(0)
        return count, _add(tar, name, file, length)


def _read_table(c: Connection, table: Table, stream: IO[bytes]) -> None:
    binary = {col.name for col in table.columns if isinstance(col.type, LargeBinary)}
    known = set(table.columns.keys())
    batch: list[dict[str, Any]] = []

    def put() -> None:
        if batch:
            c.execute(insert(table), batch)
            batch.clear()

    for line in iter(lambda: stream.readline(_MOST_LINE), b""):
        row = json.loads(line)
        if set(row) != known:
            raise BackupError(f"the table {table.name} has other columns in the backup")
        batch.append({k: base64.b64decode(v) if k in binary else v for k, v in row.items()})
        if len(batch) >= _ROWS:
            put()
    put()


def _plain(value: Any) -> Any:
    if isinstance(value, bytes | memoryview):
        return base64.b64encode(bytes(value)).decode()
    return value


def _add(tar: tarfile.TarFile, name: str, file: IO[bytes], length: int) -> str:
    """Add ``length`` bytes as a member; their SHA-256."""
    member = tarfile.TarInfo(name)
    member.size, member.mode = length, 0o600
    hashed = _Hashed(file)
    tar.addfile(member, hashed)
    return hashed.hexdigest()


def _read(path: Path, take: Callable[[str, IO[bytes]], None]) -> Contents:
    """Give every member to ``take`` and compare the hashes with the manifest."""
    hashes: dict[str, str] = {}
    manifest: dict[str, Any] | None = None
    try:
        with tarfile.open(path, "r|") as tar:
            for member in tar:
                stream = tar.extractfile(member)
                if stream is None or not member.isreg() or manifest is not None:
                    raise BackupError(f"{path}: no backup of Assay")
                if member.name == _MANIFEST:
                    manifest = json.loads(stream.read(256 * _CHUNK))
                    continue
                if member.name in hashes:
                    raise BackupError(f"{path}: {member.name} stands in it twice")
                hashed = _Hashed(stream)
                take(member.name, hashed)  # type: ignore[arg-type]
                _drain(hashed)  # type: ignore[arg-type]
                hashes[member.name] = hashed.hexdigest()
    except (OSError, tarfile.TarError, ValueError) as error:
        raise BackupError(f"{path}: cannot be read as a backup: {error}") from error
    if not isinstance(manifest, dict) or manifest.get("format") != _FORMAT:
        raise BackupError(f"{path}: its manifest is missing or of another format")
    if manifest.get("sha256") != hashes:
        raise BackupError(f"{path}: what is in it differs from its manifest")
    return Contents(**{name: manifest[name] for name in Contents.__dataclass_fields__})


def _told(made: Contents) -> dict[str, Any]:
    return {name: getattr(made, name) for name in Contents.__dataclass_fields__}


def _chunks(stream: IO[bytes]) -> Iterator[bytes]:
    return iter(lambda: stream.read(_CHUNK), b"")


def _drain(stream: IO[bytes]) -> None:
    for _ in _chunks(stream):
        pass


class _Hashed:
    """A stream that hashes what is read from it."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self._hash = stream, hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        return self._seen(self._stream.read(size))

    def readline(self, size: int = -1) -> bytes:
        return self._seen(self._stream.readline(size))

    def hexdigest(self) -> str:
        return self._hash.hexdigest()

    def _seen(self, data: bytes) -> bytes:
        self._hash.update(data)
        return data
