"""Links by which strangers read one report, until they expire or are revoked."""

from __future__ import annotations

import hashlib
import secrets
import uuid
from dataclasses import dataclass

from sqlalchemy import Connection, insert, select, update

from assay.storage.tables import shares

__all__ = ["Share", "add", "find", "get", "of_analysis", "revoke"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A link; its token is known only to who has it. Times are POSIX seconds."""

    id: str
    analysis_id: str
    created_by: str
    created_at: float
    expires_at: float
    revoked_at: float | None

    def works(self, at: float) -> bool:
        return self.revoked_at is None and at < self.expires_at


def add(
    c: Connection, analysis_id: str, *, by: str, at: float, expires_at: float
) -> tuple[str, Share]:
    """A new link to a report: its token, shown now and never again, and the row.

    Raises:
        ValueError: it would have expired already.
    """
    if expires_at <= at:
        raise ValueError("the link would have expired already")
    token = secrets.token_urlsafe(32)
    ident = uuid.uuid4().hex
    c.execute(
        insert(shares).values(
            id=ident,
            token_hash=_digest(token),
            analysis_id=analysis_id,
            created_by=by,
            created_at=at,
            expires_at=expires_at,
        )
    )
    made = get(c, ident)
    assert made is not None
    return token, made


def get(c: Connection, ident: str) -> Share | None:
    return _one(c, shares.c.id == ident)


def find(c: Connection, token: str, at: float) -> Share | None:
    """The link of this token, if it still works."""
    found = _one(c, shares.c.token_hash == _digest(token))
    return found if found is not None and found.works(at) else None


def of_analysis(c: Connection, analysis_id: str, at: float) -> list[Share]:
    """The links to an analysis that still work, newest first."""
    query = (
        select(*_COLUMNS)
        .where(
            shares.c.analysis_id == analysis_id,
            shares.c.revoked_at.is_(None),
            shares.c.expires_at > at,
        )
        .order_by(shares.c.created_at.desc(), shares.c.id)
    )
    return [Share(**row) for row in c.execute(query).mappings()]


def revoke(c: Connection, ident: str, at: float) -> bool:
    """Whether there was such a link that was not revoked before."""
    done = c.execute(
        update(shares)
        .where(shares.c.id == ident, shares.c.revoked_at.is_(None))
        .values(revoked_at=at)
    )
    return done.rowcount > 0


_COLUMNS = [shares.c[name] for name in Share.__dataclass_fields__]


def _one(c: Connection, where: object) -> Share | None:
    row = c.execute(select(*_COLUMNS).where(where)).mappings().first()  # type: ignore[arg-type]
    return Share(**row) if row else None


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
