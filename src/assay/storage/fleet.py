"""Which workers live. A worker renews its lease; one that stops loses its jobs to others."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, insert, select, update

from assay.storage.tables import workers

__all__ = ["LEASE_SECONDS", "Worker", "join", "leave", "listed", "lost", "renew"]

LEASE_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """A process that takes jobs; times are POSIX seconds."""

    id: str
    host: str
    pid: int
    started_at: float
    seen_at: float
    stopped_at: float | None

    def alive(self, at: float, lease: float = LEASE_SECONDS) -> bool:
        return self.stopped_at is None and at - self.seen_at <= lease


def join(c: Connection, ident: str, *, host: str, pid: int, at: float) -> None:
    """Begin a lease; an earlier process of the same name is thereby over."""
    values = {"host": host, "pid": pid, "started_at": at, "seen_at": at, "stopped_at": None}
    done = c.execute(update(workers).where(workers.c.id == ident).values(**values))
    if done.rowcount == 0:
        c.execute(insert(workers).values(id=ident, **values))


def renew(c: Connection, ident: str, at: float) -> None:
    c.execute(update(workers).where(workers.c.id == ident).values(seen_at=at, stopped_at=None))


def leave(c: Connection, ident: str, at: float) -> None:
    c.execute(update(workers).where(workers.c.id == ident).values(stopped_at=at))


def listed(c: Connection) -> list[Worker]:
    query = select(workers).order_by(workers.c.id)
    return [Worker(**row) for row in c.execute(query).mappings()]


def lost(c: Connection, at: float, lease: float = LEASE_SECONDS) -> list[str]:
    """Ids of workers whose jobs another should take over."""
    return [w.id for w in listed(c) if not w.alive(at, lease)]
