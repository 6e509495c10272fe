"""Webhooks: who wants to be told of what, and the log of every delivery."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from assay.storage.analyses import Analysis
from assay.storage.tables import deliveries, users, webhooks

__all__ = [
    "EVENTS",
    "Delivery",
    "Webhook",
    "add",
    "change",
    "delivery",
    "get",
    "listed",
    "log",
    "note_try",
    "redeliver",
    "remove",
    "signature",
    "target",
    "tell",
]

EVENTS = ("analysis.done", "analysis.failed", "review.done")


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """An address that is told of ``events`` of its owner's analyses."""

    id: str
    owner_id: str
    url: str
    secret: str = field(repr=False)
    events: tuple[str, ...]
    created_at: float
    disabled_at: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One event told, or to be told, to one webhook. ``subject``: id of the analysis.

    ``status``: waiting, delivered or given_up. ``response``: HTTP status of the last try.
    """

    id: str
    webhook_id: str
    event: str
    subject: str
    body: str = field(repr=False)
    status: str
    attempts: int
    created_at: float
    tried_at: float | None
    response: int | None
    error: str


def add(c: Connection, *, owner_id: str, url: str, events: Sequence[str], at: float) -> Webhook:
    """A new webhook with a new secret.

    Raises:
        ValueError: an unknown event, or none.
    """
    made = Webhook(
        id=uuid.uuid4().hex,
        owner_id=owner_id,
        url=url,
        secret="whsec_" + secrets.token_urlsafe(32),
        events=_known(events),
        created_at=at,
        disabled_at=None,
    )
    values = {n: getattr(made, n) for n in Webhook.__dataclass_fields__}
    c.execute(insert(webhooks).values(**{**values, "events": list(made.events)}))
    return made


def get(c: Connection, ident: str, *, owner_id: str) -> Webhook | None:
    query = select(webhooks).where(webhooks.c.id == ident, webhooks.c.owner_id == owner_id)
    row = c.execute(query).mappings().first()
    return _webhook(row) if row else None


def listed(c: Connection, owner_id: str) -> list[Webhook]:
    """The webhooks of a user, oldest first."""
    query = select(webhooks).where(webhooks.c.owner_id == owner_id)
    rows = c.execute(query.order_by(webhooks.c.created_at, webhooks.c.id)).mappings()
    return [_webhook(row) for row in rows]


def change(
    c: Connection,
    ident: str,
    *,
    at: float,
    url: str | None = None,
    events: Sequence[str] | None = None,
    enabled: bool | None = None,
) -> None:
    """Change what is not ``None``.

    Raises:
        ValueError: an unknown event, or none.
    """
    values: dict[str, Any] = {}
    if url is not None:
        values["url"] = url
    if events is not None:
        values["events"] = list(_known(events))
    if enabled is not None:
        values["disabled_at"] = None if enabled else at
    if values:
        c.execute(update(webhooks).where(webhooks.c.id == ident).values(**values))


def remove(c: Connection, ident: str) -> bool:
    """Delete a webhook with its log; what waits to be delivered is not."""
    return c.execute(delete(webhooks).where(webhooks.c.id == ident)).rowcount > 0


def tell(c: Connection, *, event: str, analysis: Analysis, at: float) -> list[str]:
    """Note ``event`` for the owner's webhooks that ask for it; ids of the new deliveries.

    Called in the transaction of the event itself, so that each is told of once.
    """
    query = (
        select(webhooks.c.id, webhooks.c.events)
        .join(users, users.c.id == webhooks.c.owner_id)
        .where(
            webhooks.c.owner_id == analysis.owner_id,
            webhooks.c.disabled_at.is_(None),
            users.c.disabled_at.is_(None),
        )
    )
    made = []
    for row in c.execute(query).all():
        if event in row.events:
            ident = uuid.uuid4().hex
            body = _body(ident, event, analysis, at)
            _enter(c, ident, row.id, event, analysis.id, body, at)
            made.append(ident)
    return made


def redeliver(c: Connection, old: Delivery, at: float) -> str:
    """Tell the same once more; id of the new delivery. The body keeps its ``id``."""
    ident = uuid.uuid4().hex
    _enter(c, ident, old.webhook_id, old.event, old.subject, old.body, at)
    return ident


def delivery(c: Connection, ident: str) -> Delivery | None:
    row = c.execute(select(deliveries).where(deliveries.c.id == ident)).mappings().first()
    return Delivery(**row) if row else None


def target(c: Connection, webhook_id: str) -> Webhook | None:
    """Where a delivery goes; ``None`` when the webhook is gone or switched off."""
    query = select(webhooks).where(webhooks.c.id == webhook_id, webhooks.c.disabled_at.is_(None))
    row = c.execute(query).mappings().first()
    return _webhook(row) if row else None


def log(
    c: Connection, webhook_id: str, *, limit: int, after: tuple[float, str] | None = None
) -> list[Delivery]:
    """At most ``limit`` deliveries, newest first, older than ``after`` = (created_at, id)."""
    query = select(deliveries).where(deliveries.c.webhook_id == webhook_id)
    if after is not None:
        at, ident = after
        query = query.where(
            (deliveries.c.created_at < at)
            | ((deliveries.c.created_at == at) & (deliveries.c.id < ident))
        )
    query = query.order_by(deliveries.c.created_at.desc(), deliveries.c.id.desc()).limit(limit)
    return [Delivery(**row) for row in c.execute(query).mappings()]


def note_try(
    c: Connection, ident: str, *, at: float, status: str, response: int | None, error: str
) -> None:
    """One more try was made and ended so."""
    c.execute(
        update(deliveries)
        .where(deliveries.c.id == ident)
        .values(
            attempts=deliveries.c.attempts + 1,
            tried_at=at,
            status=status,
            response=response,
            error=error[:500],
        )
    )


def signature(secret: str, body: str, at: float) -> str:
    """The header ``Assay-Signature``: time and HMAC-SHA-256 over ``"<time>.<body>"``."""
    stamp = str(int(at))
    digest = hmac.new(secret.encode(), f"{stamp}.{body}".encode(), hashlib.sha256).hexdigest()
    return f"t={stamp},v1={digest}"


def _body(ident: str, event: str, analysis: Analysis, at: float) -> str:
    about: dict[str, Any] = {
        "id": analysis.id,
        "status": analysis.status,
        "name": analysis.name,
        "bytes": analysis.bytes,
        "sha256": analysis.sha256,
        "kind": analysis.kind,
        "verdict": analysis.verdict,
        "probability": analysis.probability,
        "headline": analysis.headline,
        "error": None,
        "review_state": analysis.review_state,
        "links": {"self": f"/api/v1/analyses/{analysis.id}"},
    }
    if analysis.error_type:
        about["error"] = {"type": analysis.error_type, "cause": analysis.error_cause or ""}
    said = {
        "id": ident,
        "event": event,
        "created_at": datetime.fromtimestamp(at, UTC).isoformat(),
        "analysis": about,
    }
    return json.dumps(said, ensure_ascii=False, separators=(",", ":"))


def _enter(
    c: Connection, ident: str, webhook_id: str, event: str, subject: str, body: str, at: float
) -> None:
    c.execute(
        insert(deliveries).values(
            id=ident,
            webhook_id=webhook_id,
            event=event,
            subject=subject,
            body=body,
            status="waiting",
            attempts=0,
            created_at=at,
            error="",
        )
    )


def _known(events: Sequence[str]) -> tuple[str, ...]:
    strange = set(events) - set(EVENTS)
    if strange or not events:
        raise ValueError(f"the events are {', '.join(EVENTS)}; choose at least one")
    return tuple(e for e in EVENTS if e in events)


def _webhook(row: Any) -> Webhook:
    return Webhook(**{**row, "events": tuple(row["events"])})
