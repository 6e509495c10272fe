"""The audit log: who did what, each entry chained to the one before by its hash.

``hash = SHA-256(canonical JSON of [prev_hash, seq, at, actor, action, subject, detail])``.
An entry that is changed, moved or removed breaks the chain from there on. What the chain
cannot show is that the newest entries were cut off: for that, note the :func:`head` in a
place that the server cannot write to.

Entries hold ids, never names, addresses or file names, for they are never deleted.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, insert, select

from assay.storage.tables import audit

__all__ = ["FIRST", "Entry", "entries", "hash_of", "head", "verify", "write"]

FIRST = "0" * 64
"""``prev_hash`` of the first entry."""

_LOCK = 0x61737361795F6175  # "assay" "aud": a number of our own among PostgreSQL's locks


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry. ``seq`` counts from 1 without gaps; ``detail`` is canonical JSON."""

    seq: int
    at: float
    actor: str
    action: str
    subject: str
    detail: str
    prev_hash: str
    hash: str


def write(
    c: Connection,
    *,
    actor: str,
    action: str,
    subject: str,
    detail: Mapping[str, Any],
    at: float,
) -> None:
    """Append an entry in the transaction of the change that it records.

    Writers wait for one another until that transaction ends: the chain never forks. Call it
    after the changes themselves, so that the wait is short.

    ``actor``: user id, ``key:<id>``, ``worker:<id>`` or ``system``. ``at``: POSIX seconds.

    Raises:
        ValueError: ``detail`` is no JSON.
    """
    if c.dialect.name == "postgresql":
        # SQLite's writers already hold the only lock there is.
        c.execute(select(func.pg_advisory_xact_lock(_LOCK)))
    last = head(c)
    seq, prev = (1, FIRST) if last is None else (last[0] + 1, last[1])
    text = _canonical(detail)
    said = (seq, float(at), actor[:80], action[:40], subject[:80], text)
    c.execute(
        insert(audit).values(
            seq=seq,
            at=said[1],
            actor=said[2],
            action=said[3],
            subject=said[4],
            detail=text,
            prev_hash=prev,
            hash=_digest(prev, *said),
        )
    )


def head(c: Connection) -> tuple[int, str] | None:
    """``(seq, hash)`` of the newest entry, ``None`` when there is none."""
    row = c.execute(select(audit.c.seq, audit.c.hash).order_by(audit.c.seq.desc()).limit(1)).first()
    return (row.seq, row.hash) if row else None


def hash_of(c: Connection, seq: int) -> str | None:
    """The hash of one entry, to compare with a head that was noted before."""
    return c.execute(select(audit.c.hash).where(audit.c.seq == seq)).scalar()


def entries(c: Connection, *, limit: int = 100, before: int | None = None) -> list[Entry]:
    """At most ``limit`` entries, newest first, older than the entry ``before``."""
    query = select(audit).order_by(audit.c.seq.desc()).limit(limit)
    if before is not None:
        query = query.where(audit.c.seq < before)
    return [Entry(**row) for row in c.execute(query).mappings()]


def verify(c: Connection) -> int | None:
    """The ``seq`` at which the chain first breaks, ``None`` when it holds throughout.

    Reads as a stream: memory does not grow with the log.
    """
    query = select(audit).order_by(audit.c.seq).execution_options(yield_per=1000)
    prev = FIRST
    with c.execute(query) as rows:
        for expected, row in enumerate(rows, start=1):
            digest = _digest(prev, row.seq, row.at, row.actor, row.action, row.subject, row.detail)
            if (row.seq, row.prev_hash, row.hash) != (expected, prev, digest):
                return expected
            prev = row.hash
    return None


def _canonical(value: Any) -> str:
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def _digest(prev: str, *said: Any) -> str:
    return hashlib.sha256(_canonical([prev, *said]).encode()).hexdigest()
