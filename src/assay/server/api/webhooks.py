"""Webhooks of a user: where to, for which events, and what became of each delivery.

Every delivery is a ``POST`` of JSON with the header
``Assay-Signature: t=<unix time>,v1=<hex HMAC-SHA-256 of "<t>.<body>" under the secret>``.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection

from assay.server import cursors
from assay.server.access import Principal, allow
from assay.server.api.shapes import PROBLEM_RESPONSES, Ident, moment
from assay.server.problems import Problem
from assay.server.services import Here, Services
from assay.storage import audit, webhooks
from assay.storage.webhooks import Delivery, Webhook
from assay.worker import outbound

__all__ = ["WebhookIn", "create_for", "log_page", "own", "redeliver_for", "router"]

router = APIRouter(prefix="/api/v1/webhooks", tags=["webhooks"], responses=PROBLEM_RESPONSES)

Writer = Annotated[Principal, Depends(allow("webhooks:write"))]
Event = Literal["analysis.done", "analysis.failed", "review.done"]
_MOST_WEBHOOKS = 20  # of one user

Url = Annotated[str, Field(min_length=1, max_length=2000)]
Events = Annotated[list[Event], Field(min_length=1, max_length=10)]


class WebhookIn(BaseModel):
    model_config = ConfigDict(extra="forbid")

    url: Url
    events: Events


class WebhookChange(BaseModel):
    """What is left out stays as it is."""

    model_config = ConfigDict(extra="forbid")

    url: Url | None = None
    events: Events | None = None
    enabled: bool | None = None


class WebhookOut(BaseModel):
    id: str
    url: str
    events: list[Event]
    enabled: bool
    created_at: datetime

    @classmethod
    def of(cls, row: Webhook) -> WebhookOut:
        return cls.model_validate(
            {
                "id": row.id,
                "url": row.url,
                "events": row.events,
                "enabled": row.disabled_at is None,
                "created_at": moment(row.created_at),
            }
        )


class WebhookMade(WebhookOut):
    secret: str = Field(description="Key of the signatures; shown now and never again.")


class DeliveryOut(BaseModel):
    """One event told. ``response`` is the HTTP status of the last try."""

    id: str
    event: Event
    analysis_id: str
    status: Literal["waiting", "delivered", "given_up"]
    attempts: int
    created_at: datetime
    tried_at: datetime | None
    response: int | None
    error: str

    @classmethod
    def of(cls, row: Delivery) -> DeliveryOut:
        return cls.model_validate(
            {
                "id": row.id,
                "event": row.event,
                "analysis_id": row.subject,
                "status": row.status,
                "attempts": row.attempts,
                "created_at": moment(row.created_at),
                "tried_at": moment(row.tried_at),
                "response": row.response,
                "error": row.error,
            }
        )


class DeliveryList(BaseModel):
    """Newest first. ``next`` is the cursor of the page that follows, if there is one."""

    items: list[DeliveryOut]
    next: str | None


@router.get("", response_model=list[WebhookOut])
def listed(here: Here, who: Writer) -> list[WebhookOut]:
    """The user's webhooks, without their secrets."""
    with here.database.read() as c:
        return [WebhookOut.of(w) for w in webhooks.listed(c, who.user.id)]


@router.post("", status_code=201, response_model=WebhookMade)
def create(asked: WebhookIn, here: Here, who: Writer) -> WebhookMade:
    """Ask to be told of events of the user's analyses."""
    return create_for(here, who, asked)


@router.get("/{ident}", response_model=WebhookOut)
def get(ident: Ident, here: Here, who: Writer) -> WebhookOut:
    """One webhook."""
    return WebhookOut.of(own(here, who, ident))


@router.patch("/{ident}", response_model=WebhookOut)
def change(ident: Ident, asked: WebhookChange, here: Here, who: Writer) -> WebhookOut:
    """Change address or events, switch it off or on again."""
    own(here, who, ident)
    if asked.url is not None:
        _check(here, asked.url)
    at = here.clock()
    with here.database.write() as c:
        webhooks.change(c, ident, at=at, url=asked.url, events=asked.events, enabled=asked.enabled)
        _audit(c, who, "webhook.change", ident, at)
    return WebhookOut.of(own(here, who, ident))


@router.delete("/{ident}", status_code=204)
def remove(ident: Ident, here: Here, who: Writer) -> Response:
    """Delete a webhook and its log."""
    own(here, who, ident)
    at = here.clock()
    with here.database.write() as c:
        webhooks.remove(c, ident)
        _audit(c, who, "webhook.delete", ident, at)
    return Response(status_code=204)


@router.get("/{ident}/deliveries", response_model=DeliveryList)
def deliveries(
    ident: Ident,
    here: Here,
    who: Writer,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str, Query(max_length=200)] = "",
) -> DeliveryList:
    """What was told and what became of it, newest first."""
    own(here, who, ident)
    rows, following = log_page(here, ident, cursor, limit)
    return DeliveryList(items=[DeliveryOut.of(r) for r in rows], next=following)


@router.post(
    "/{ident}/deliveries/{delivery}/redeliver", status_code=201, response_model=DeliveryOut
)
def redeliver(ident: Ident, delivery: Ident, here: Here, who: Writer) -> DeliveryOut:
    """Tell the same event once more; the body is the same, with the same `id`."""
    return redeliver_for(here, who, ident, delivery)


def log_page(
    here: Services, ident: str, cursor: str, limit: int
) -> tuple[list[Delivery], str | None]:
    """Deliveries of a webhook, newest first, and the cursor of what follows."""
    with here.database.read() as c:
        return cursors.page(
            here.signing_key,
            cursor,
            limit,
            lambda most, after: webhooks.log(c, ident, limit=most, after=after),
        )


def create_for(here: Services, who: Principal, asked: WebhookIn) -> WebhookMade:
    """The new webhook; its secret is in the answer and nowhere else."""
    _check(here, asked.url)
    at = here.clock()
    with here.database.write() as c:
        if len(webhooks.listed(c, who.user.id)) >= _MOST_WEBHOOKS:
            raise Problem("conflict", f"a user has at most {_MOST_WEBHOOKS} webhooks")
        made = webhooks.add(c, owner_id=who.user.id, url=asked.url, events=asked.events, at=at)
        _audit(c, who, "webhook.create", made.id, at)
    return WebhookMade(**WebhookOut.of(made).model_dump(), secret=made.secret)


def redeliver_for(here: Services, who: Principal, ident: str, delivery: str) -> DeliveryOut:
    """The new delivery, already entered in the queue."""
    hook = own(here, who, ident)
    if hook.disabled_at is not None:
        raise Problem("conflict", "the webhook is switched off")
    at = here.clock()
    with here.database.write() as c:
        old = webhooks.delivery(c, delivery)
        if old is None or old.webhook_id != ident:
            raise Problem("not-found")
        fresh = webhooks.redeliver(c, old, at)
        here.jobs.deliver(c, fresh)
        _audit(c, who, "webhook.redeliver", ident, at)
        made = webhooks.delivery(c, fresh)
    assert made is not None
    return DeliveryOut.of(made)


def own(here: Services, who: Principal, ident: str) -> Webhook:
    """The webhook, unless it is not of this user."""
    with here.database.read() as c:
        row = webhooks.get(c, ident, owner_id=who.user.id)
    if row is None:
        raise Problem("not-found")
    return row


def _check(here: Services, url: str) -> None:
    try:
        outbound.check_url(url, here.settings.outbound())
    except outbound.Refused as error:
        raise Problem("invalid", f"url: {error}") from None


def _audit(c: Connection, who: Principal, action: str, ident: str, at: float) -> None:
    # The address itself may hold a secret and stays out of the log.
    audit.write(c, actor=who.actor, action=action, subject=ident, detail={}, at=at)
