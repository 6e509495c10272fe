"""Analyses: what was asked for, how far it is, and the report that came of it."""

from __future__ import annotations

import uuid
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, and_, delete, func, insert, or_, select, update

from assay.report.as_json import from_json, to_json
from assay.report.document import Report
from assay.storage.accounts import User
from assay.storage.tables import analyses, idempotency, reports

__all__ = [
    "ENDED",
    "STATUSES",
    "Analysis",
    "Filters",
    "add",
    "begin",
    "cancel",
    "counts",
    "fail",
    "finish",
    "get",
    "page",
    "progress",
    "queued_by",
    "recall",
    "remember",
    "remove",
    "report",
    "report_json",
    "requeue",
    "set_media_deleted",
    "status_of",
]

STATUSES = ("queued", "running", "done", "failed", "cancelled")
ENDED = frozenset({"done", "failed", "cancelled"})
_MOST_REPORT = 512 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """One row; times are POSIX seconds, ``progress`` in [0, 1]."""

    id: str
    owner_id: str
    status: str
    name: str
    bytes: int
    sha256: str
    kind: str | None
    prior: float
    priority: int
    zero_retention: bool
    source_path: str | None
    created_at: float
    started_at: float | None
    finished_at: float | None
    media_expires_at: float | None
    media_deleted_at: float | None
    worker: str | None
    attempts: int
    stage: str
    progress: float
    partial: list[dict[str, Any]]
    verdict: str | None
    probability: float | None
    headline: str | None
    error_type: str | None
    error_cause: str | None
    review_state: str
    revision: int

    @property
    def ended(self) -> bool:
        return self.status in ENDED

    @property
    def etag(self) -> str:
        return f'"{self.revision}"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Which analyses a list holds; every field narrows it. ``text`` is looked for in names
    and at the start of hashes."""

    status: str | None = None
    verdict: str | None = None
    kind: str | None = None
    review_state: str | None = None
    text: str = ""
    owner_id: str | None = None
    since: float | None = None
    until: float | None = None


def add(
    c: Connection,
    *,
    owner_id: str,
    name: str,
    size: int,
    sha256: str,
    prior: float,
    at: float,
    ident: str | None = None,
    priority: int = 5,
    zero_retention: bool = False,
    source_path: str | None = None,
    media_expires_at: float | None = None,
) -> Analysis:
    """A new analysis in the queue."""
    ident = ident or uuid.uuid4().hex
    c.execute(
        insert(analyses).values(
            id=ident,
            owner_id=owner_id,
            status="queued",
            name=name,
            bytes=size,
            sha256=sha256,
            prior=prior,
            priority=priority,
            zero_retention=zero_retention,
            source_path=source_path,
            created_at=at,
            media_expires_at=media_expires_at,
            attempts=0,
            stage="",
            progress=0.0,
            partial=[],
            review_state="none",
            revision=1,
        )
    )
    found = get(c, ident)
    assert found is not None
    return found


def get(c: Connection, ident: str, *, seen_by: User | None = None) -> Analysis | None:
    """The analysis; ``None`` when there is none that ``seen_by`` may see."""
    query = select(analyses).where(analyses.c.id == ident)
    if seen_by is not None:
        query = _visible(query, seen_by)
    row = c.execute(query).mappings().first()
    return Analysis(**row) if row else None


def status_of(c: Connection, ident: str) -> str | None:
    return c.execute(select(analyses.c.status).where(analyses.c.id == ident)).scalar()


def page(
    c: Connection,
    *,
    seen_by: User,
    filters: Filters | None = None,
    limit: int = 50,
    after: tuple[float, str] | None = None,
) -> list[Analysis]:
    """At most ``limit`` analyses, newest first, older than ``after`` = (created_at, id)."""
    query = _filtered(_visible(select(analyses), seen_by), filters or Filters())
    if after is not None:
        at, ident = after
        query = query.where(
            or_(
                analyses.c.created_at < at,
                and_(analyses.c.created_at == at, analyses.c.id < ident),
            )
        )
    query = query.order_by(analyses.c.created_at.desc(), analyses.c.id.desc()).limit(limit)
    return [Analysis(**row) for row in c.execute(query).mappings()]


def counts(c: Connection, *, seen_by: User) -> dict[str, int]:
    """How many visible analyses there are of each status."""
    query = _visible(select(analyses.c.status, func.count()), seen_by).group_by(analyses.c.status)
    found: dict[str, int] = dict(c.execute(query).tuples().all())
    return {status: found.get(status, 0) for status in STATUSES}


def queued_by(c: Connection, owner_id: str) -> int:
    """How many analyses of this user have not ended."""
    query = select(func.count()).where(
        analyses.c.owner_id == owner_id, analyses.c.status.in_(("queued", "running"))
    )
    return int(c.execute(query).scalar_one())


def begin(c: Connection, ident: str, *, worker: str, at: float) -> Analysis | None:
    """A worker takes it up: one more attempt. ``None`` when it has ended or is gone."""
    row = get(c, ident)
    if row is None or row.ended:
        return None
    _change(
        c,
        ident,
        status="running",
        worker=worker,
        attempts=row.attempts + 1,
        started_at=row.started_at or at,
        stage="",
        progress=0.0,
        partial=[],
    )
    return get(c, ident)


def progress(
    c: Connection,
    ident: str,
    *,
    stage: str,
    share: float,
    partial: Sequence[dict[str, Any]],
) -> bool:
    """Note how far a running analysis is; ``False`` when it no longer should run."""
    done = c.execute(
        update(analyses)
        .where(analyses.c.id == ident, analyses.c.status == "running")
        .values(
            stage=stage[:80],
            progress=min(max(share, 0.0), 1.0),
            partial=list(partial),
            revision=analyses.c.revision + 1,
        )
    )
    return done.rowcount > 0


def requeue(c: Connection, ident: str) -> None:
    """The worker was told to stop: the analysis goes back, and this try is not counted."""
    c.execute(
        update(analyses)
        .where(analyses.c.id == ident, analyses.c.status == "running")
        .values(
            status="queued",
            worker=None,
            stage="",
            progress=0.0,
            partial=[],
            attempts=analyses.c.attempts - 1,
            revision=analyses.c.revision + 1,
        )
    )


def finish(c: Connection, ident: str, made: Report, at: float) -> bool:
    """Keep the report. ``False``, and nothing changed, when the analysis has ended before."""
    row = get(c, ident)
    if row is None or row.ended:
        return False
    document = zlib.compress(to_json(made).encode(), 6)
    c.execute(delete(reports).where(reports.c.analysis_id == ident))
    c.execute(insert(reports).values(analysis_id=ident, document=document))
    _change(
        c,
        ident,
        status="done",
        finished_at=at,
        stage="",
        progress=1.0,
        partial=[],
        kind=made.media.kind,
        verdict=str(made.verdict),
        probability=made.probability,
        headline=made.headline,
    )
    return True


def fail(c: Connection, ident: str, *, kind: str, cause: str, at: float) -> bool:
    """Set aside with the reason. ``False`` when the analysis has ended before."""
    row = get(c, ident)
    if row is None or row.ended:
        return False
    _change(
        c,
        ident,
        status="failed",
        finished_at=at,
        stage="",
        partial=[],
        error_type=kind[:40],
        error_cause=cause[:2000],
    )
    return True


def cancel(c: Connection, ident: str, at: float) -> bool:
    """Stop a queued or running analysis. ``False`` when it has ended before."""
    row = get(c, ident)
    if row is None or row.ended:
        return False
    _change(c, ident, status="cancelled", finished_at=at, stage="", partial=[])
    return True


def remove(c: Connection, ident: str) -> bool:
    """Delete the analysis and its report; the media is the caller's to delete."""
    return c.execute(delete(analyses).where(analyses.c.id == ident)).rowcount > 0


def report(c: Connection, ident: str) -> Report | None:
    """The report of an analysis that is done."""
    text = report_json(c, ident)
    return None if text is None else from_json(text)


def report_json(c: Connection, ident: str) -> str | None:
    """The same as it is stored."""
    stored = c.execute(select(reports.c.document).where(reports.c.analysis_id == ident)).scalar()
    if stored is None:
        return None
    return zlib.decompressobj().decompress(stored, _MOST_REPORT).decode()


def set_media_deleted(c: Connection, ident: str, at: float) -> None:
    _change(c, ident, media_deleted_at=at)


def recall(c: Connection, owner_id: str, key: str) -> tuple[str, str] | None:
    """``(request hash, analysis id)`` that an Idempotency-Key stands for."""
    row = c.execute(
        select(idempotency.c.request_hash, idempotency.c.analysis_id).where(
            idempotency.c.owner_id == owner_id, idempotency.c.key == key
        )
    ).first()
    return (row.request_hash, row.analysis_id) if row else None


def remember(
    c: Connection, owner_id: str, key: str, *, request_hash: str, analysis_id: str, at: float
) -> None:
    """Tie an Idempotency-Key to the analysis it made."""
    c.execute(
        insert(idempotency).values(
            owner_id=owner_id,
            key=key,
            request_hash=request_hash,
            analysis_id=analysis_id,
            created_at=at,
        )
    )


def _change(c: Connection, ident: str, **values: Any) -> None:
    c.execute(
        update(analyses)
        .where(analyses.c.id == ident)
        .values(revision=analyses.c.revision + 1, **values)
    )


def _visible(query: Select[Any], user: User) -> Select[Any]:
    return query if user.sees_all else query.where(analyses.c.owner_id == user.id)


def _filtered(query: Select[Any], f: Filters) -> Select[Any]:
    for column, value in (
        (analyses.c.status, f.status),
        (analyses.c.verdict, f.verdict),
        (analyses.c.kind, f.kind),
        (analyses.c.review_state, f.review_state),
        (analyses.c.owner_id, f.owner_id),
    ):
        if value is not None:
            query = query.where(column == value)
    if f.since is not None:
        query = query.where(analyses.c.created_at >= f.since)
    if f.until is not None:
        query = query.where(analyses.c.created_at < f.until)
    if f.text:
        query = query.where(
            or_(
                func.lower(analyses.c.name).contains(f.text.lower(), autoescape=True),
                analyses.c.sha256.startswith(f.text.lower(), autoescape=True),
                analyses.c.id == f.text,
            )
        )
    return query
