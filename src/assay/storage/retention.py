"""What is to be forgotten is deleted: media with the pictures in their reports, and leftovers.

Every worker sweeps once a minute; a sweep that finds nothing due changes nothing, and two
at the same time do no harm. The files are unlinked and their rows overwritten (SQLite's
``secure_delete``); copies in backups and on the disk's own level are the operator's to mind.
"""

from __future__ import annotations

import json
import os
import shutil
import zlib
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import quote, unquote

from sqlalchemy import Connection, delete, exists, or_, select, update

from assay.storage import analyses, audit, fleet, uploads
from assay.storage.analyses import ENDED
from assay.storage.blobs import Blobs
from assay.storage.database import Database
from assay.storage.tables import analyses as analyses_table
from assay.storage.tables import (
    deliveries,
    idempotency,
    reports,
    sessions,
    shares,
    tickets,
    workers,
)
from assay.storage.tables import uploads as uploads_table

__all__ = ["Swept", "drop_media", "scratch", "sweep"]

_DAY = 86400.0
_KEEP_DELIVERIES = 30 * _DAY
_KEEP_IDEMPOTENCY = 7 * _DAY
_KEEP_WORKERS = 7 * _DAY
_IDLE_PART = 900.0  # seconds without a byte, after which an upload is not going on
_ORPHAN = 3600.0  # seconds that a file may wait for its row
_THOROUGH_EVERY = 3600.0
_LONGEST_LEASE = 300.0  # seconds of silence after which a worker is surely gone
_BATCH = 200


@dataclass(slots=True, kw_only=True)
class Swept:
    """How much of what was deleted; files in ``media``, ``parts``, ``orphans``, ``scratch``."""

    media: int = 0
    uploads: int = 0
    parts: int = 0
    orphans: int = 0
    scratch: int = 0
    rows: int = 0

    def counts(self) -> dict[str, int]:
        return asdict(self)


def sweep(database: Database, blobs: Blobs, at: float, *, thorough: bool | None = None) -> Swept:
    """Delete what is due at the POSIX time ``at``.

    ``thorough``: also look for files that no row knows, for which every file is listed;
    ``None``: once an hour in the whole fleet.
    """
    done = Swept()
    for ident in _due(database, at):
        with database.write() as c:
            done.media += drop_media(c, blobs, ident, at, actor="system")
    with database.write() as c:
        gone = uploads.expired(c, at)
        for ident in gone:
            uploads.remove(c, ident)
        done.uploads = len(gone)
        done.rows = _rows(c, at)
        alive = {w.id for w in fleet.listed(c)} - set(fleet.lost(c, at, _LONGEST_LEASE))
    for ident in gone:
        uploads.discard(blobs, ident)
    done.parts = _unlink(blobs.stale_parts(at - _IDLE_PART))
    done.scratch = _clear_scratch(blobs, alive, at)
    if thorough if thorough is not None else _hour_has_passed(blobs, at):
        done.orphans = _orphans(database, blobs, at)
    if database.is_sqlite and (done.media or done.orphans):
        # Until then the journal holds what was overwritten.
        with suppress(Exception), database.engine.connect() as c:
            raw = c.connection.driver_connection
            assert raw is not None
            raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return done


def drop_media(c: Connection, blobs: Blobs, ident: str, at: float, *, actor: str) -> bool:
    """Delete the media of an analysis and every picture of them in its report.

    A file of the server's own (``source_path``) is left alone; pictures of it go. ``False``:
    there was nothing to delete any more.
    """
    row = analyses.get(c, ident)
    if row is None or row.media_deleted_at is not None:
        return False
    if row.source_path is None:
        blobs.delete(ident)
    pictures = _strip(c, ident)
    analyses.set_media_deleted(c, ident, at)
    audit.write(
        c,
        actor=actor,
        action="media.delete",
        subject=ident,
        detail={"pictures": pictures, "due": row.media_expires_at},
        at=at,
    )
    return True


def scratch(blobs: Blobs, worker: str) -> Path:
    """An empty folder for the temporary files of a worker that is about to start.

    What a killed worker of this name left there is deleted now; what others left, by a sweep.
    """
    folder = blobs.root / "scratch" / quote(worker, safe="")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, mode=0o700)
    return folder


def _due(database: Database, at: float) -> list[str]:
    query = (
        select(analyses_table.c.id)
        .where(
            analyses_table.c.media_expires_at <= at,
            analyses_table.c.media_deleted_at.is_(None),
            analyses_table.c.status.in_(sorted(ENDED)),
        )
        .order_by(analyses_table.c.media_expires_at)
    )
    with database.read() as c:
        return list(c.execute(query).scalars())


def _strip(c: Connection, ident: str) -> int:
    stored = analyses.report_json(c, ident)
    if stored is None:
        return 0
    document = json.loads(stored)
    count = len(document.get("pictures", ()))
    if count:
        document["pictures"] = []
        made = json.dumps(document, separators=(",", ":"), allow_nan=False)
        c.execute(
            update(reports)
            .where(reports.c.analysis_id == ident)
            .values(document=zlib.compress(made.encode(), 6))
        )
    return count


def _rows(c: Connection, at: float) -> int:
    told = ~exists().where(analyses_table.c.id == deliveries.c.subject)
    count = 0
    for table, condition in (
        (sessions, sessions.c.expires_at <= at),
        (tickets, tickets.c.expires_at <= at),
        (shares, or_(shares.c.expires_at <= at, shares.c.revoked_at <= at)),
        (deliveries, or_(deliveries.c.created_at <= at - _KEEP_DELIVERIES, told)),
        (idempotency, idempotency.c.created_at <= at - _KEEP_IDEMPOTENCY),
        (workers, workers.c.seen_at <= at - _KEEP_WORKERS),
    ):
        count += c.execute(delete(table).where(condition)).rowcount
    return count


def _orphans(database: Database, blobs: Blobs, at: float) -> int:
    """Files of analyses and uploads that are not there: deleted midway, or never entered."""
    count = 0
    keys = [key for key in blobs.keys() if _old(blobs.path(key), at)]  # noqa: SIM118 - no dict
    with database.read() as c:
        for start in range(0, len(keys), _BATCH):
            some = keys[start : start + _BATCH]
            for table in (analyses_table, uploads_table):
                query = select(table.c.id).where(table.c.id.in_(some))
                some = sorted(set(some) - set(c.execute(query).scalars()))
            count += sum(blobs.delete(key) for key in some)
        folder = blobs.root / "uploads"
        for part in folder.iterdir() if folder.is_dir() else ():
            known = select(uploads_table.c.id).where(uploads_table.c.id == part.name)
            if _old(part, at) and c.execute(known).first() is None:
                count += _unlink([part])
    return count


def _old(path: Path | None, at: float) -> bool:
    if path is None:
        return False
    try:
        return path.stat().st_mtime <= at - _ORPHAN
    except FileNotFoundError:
        return False


def _clear_scratch(blobs: Blobs, alive: set[str], at: float) -> int:
    folder = blobs.root / "scratch"
    count = 0
    for own in folder.iterdir() if folder.is_dir() else ():
        # One that is just made belongs to a worker that has not joined yet.
        if unquote(own.name) not in alive and own.stat().st_mtime <= at - 60:
            count += sum(1 for path in own.rglob("*") if path.is_file())
            shutil.rmtree(own, ignore_errors=True)
    return count


def _hour_has_passed(blobs: Blobs, at: float) -> bool:
    mark = blobs.root / "swept"
    try:
        if at - mark.stat().st_mtime < _THOROUGH_EVERY:
            return False
    except FileNotFoundError:
        pass
    mark.touch()
    os.utime(mark, (at, at))
    return True


def _unlink(paths: Iterable[Path]) -> int:
    count = 0
    for path in paths:
        with suppress(FileNotFoundError):
            path.unlink()
            count += 1
    return count
