"""Settings: webhooks of the user, and what was sent to them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Query, Request, Response
from pydantic import ValidationError

from assay.server.access import Principal
from assay.server.api import webhooks as api
from assay.server.pages.forms import Changer, Here, Ident, Reader, to
from assay.server.pages.settings import framed
from assay.server.problems import Problem
from assay.server.services import Services
from assay.storage import webhooks

__all__ = ["router"]

router = APIRouter(prefix="/settings/webhooks")

_PAGE = 50


@router.get("")
def listed(request: Request, here: Here, who: Reader) -> Response:
    return _page(request, here, who)


@router.post("")
def create(
    request: Request,
    here: Here,
    who: Changer,
    url: Annotated[str, Form(max_length=3000)] = "",
    events: Annotated[list[str] | None, Form()] = None,
) -> Response:
    """A new webhook; the key of its signatures is in the answer and nowhere else."""
    _allowed(who)
    try:
        asked = api.WebhookIn.model_validate({"url": url.strip(), "events": events or []})
        made = api.create_for(here, who, asked)
    except ValidationError as error:
        fault = error.errors()[0]
        return _page(
            request, here, who, wrong=f"{fault['loc'][0]}: {fault['msg']}", asked_url=url[:2000]
        )
    except Problem as problem:
        wrong = problem.detail or problem.title
        return _page(request, here, who, wrong=wrong, asked_url=url[:2000])
    return _page(request, here, who, secret=made.secret)


@router.get("/{ident}")
def log(
    ident: Ident,
    request: Request,
    here: Here,
    who: Reader,
    cursor: Annotated[str, Query(max_length=200)] = "",
) -> Response:
    """What was sent to a webhook and what became of it."""
    _allowed(who)
    hook = api.own(here, who, ident)
    rows, following = api.log_page(here, ident, cursor, _PAGE)
    next_url = f"/settings/webhooks/{ident}?cursor={following}" if following else ""
    return framed(
        request,
        who,
        "settings_deliveries.html",
        "deliveries",
        hook=hook,
        deliveries=rows,
        next_url=next_url,
    )


@router.post("/{ident}/switch")
def switch(
    ident: Ident, here: Here, who: Changer, on: Annotated[str, Form(max_length=1)] = "0"
) -> Response:
    _allowed(who)
    api.change(ident, api.WebhookChange(enabled=on == "1"), here, who)
    return to("/settings/webhooks?saved=1")


@router.post("/{ident}/delete")
def delete(ident: Ident, here: Here, who: Changer) -> Response:
    _allowed(who)
    api.remove(ident, here, who)
    return to("/settings/webhooks?saved=1")


@router.post("/{ident}/deliveries/{delivery}/again")
def again(ident: Ident, delivery: Ident, here: Here, who: Changer) -> Response:
    _allowed(who)
    api.redeliver_for(here, who, ident, delivery)
    return to(f"/settings/webhooks/{ident}?saved=1")


def _allowed(who: Principal) -> None:
    if "webhooks:write" not in who.scopes:
        raise Problem("forbidden")


def _page(
    request: Request,
    here: Services,
    who: Principal,
    *,
    secret: str = "",
    wrong: str = "",
    asked_url: str = "",
) -> Response:
    _allowed(who)
    with here.database.read() as c:
        hooks = webhooks.listed(c, who.user.id)
    return framed(
        request,
        who,
        "settings_webhooks.html",
        "webhooks",
        wrong=wrong,
        hooks=hooks,
        secret=secret,
        asked_url=asked_url,
    )
