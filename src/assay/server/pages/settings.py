"""Settings: keys of everybody; retention, operating point and the audit log for owners."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Form, Path, Query, Request, Response
from pydantic import ValidationError

from assay.server.access import Principal, allow_role
from assay.server.api import keys as keys_api
from assay.server.api.shapes import KeyIn
from assay.server.pages.forms import Changer, Here, Reader, to
from assay.server.pages.show import page, translate
from assay.server.problems import Problem
from assay.server.services import Services
from assay.storage import accounts, audit, options
from assay.web import words

__all__ = ["framed", "router"]

router = APIRouter()

_AUDIT_PAGE = 50


@router.get("/settings")
def first(who: Reader) -> Response:
    return to("/settings/keys")


@router.get("/settings/keys")
def keys(request: Request, here: Here, who: Reader) -> Response:
    return _keys(request, here, who)


@router.post("/settings/keys")
def make_key(
    request: Request,
    here: Here,
    who: Changer,
    name: Annotated[str, Form(max_length=200)] = "",
    scopes: Annotated[list[str] | None, Form()] = None,
    days: Annotated[str, Form(max_length=10)] = "",
) -> Response:
    """A new key; its secret is in the answer and nowhere else."""
    try:
        asked = KeyIn.model_validate(
            {"name": name.strip(), "scopes": scopes or [], "expires_in_days": days or None}
        )
        made = keys_api.make(here, who, asked)
    except ValidationError as error:
        fault = error.errors()[0]
        return _keys(request, here, who, wrong=f"{fault['loc'][0]}: {fault['msg']}")
    except Problem as problem:
        return _keys(request, here, who, wrong=problem.detail or problem.title)
    return _keys(request, here, who, secret=made.secret)


@router.post("/settings/keys/{ident}/revoke")
def revoke_key(
    ident: Annotated[str, Path(pattern="^[0-9a-f]{16}$")], here: Here, who: Changer
) -> Response:
    keys_api.revoke(here, who, ident)
    return to("/settings/keys?saved=1")


@router.get("/settings/server")
def server(request: Request, here: Here, who: Reader) -> Response:
    return _server(request, here, who)


@router.post("/settings/server")
def change_server(
    request: Request,
    here: Here,
    who: Changer,
    keep: Annotated[Literal["days", "ever", "nothing"], Form()],
    sensitivity: Annotated[str, Form(max_length=20)],
    prior: Annotated[float, Form()],
    days: Annotated[float | None, Form()] = None,
    review: Annotated[str, Form(max_length=5)] = "",
    above: Annotated[float | None, Form()] = None,
    stability: Annotated[str, Form(max_length=5)] = "",
) -> Response:
    allow_role(who, "owner")
    values: dict[str, Any] = {
        "zero_retention": keep == "nothing",
        "retention_days": {"days": days, "ever": None, "nothing": 0.0}[keep],
        "prior": prior / 100.0,
        "sensitivity": sensitivity,
        "stability": bool(stability),
        "review_above": above / 100.0 if review and above is not None else None,
    }
    if keep == "days" and days is None:
        return _server(request, here, who, wrong="say after how many days files are deleted")
    at = here.clock()
    try:
        with here.database.write() as c:
            options.change(c, by=who.user.id, at=at, **values)
            audit.write(
                c,
                actor=who.actor,
                action="options.change",
                subject="server",
                detail=values,
                at=at,
            )
    except ValueError as error:
        return _server(request, here, who, wrong=str(error))
    return to("/settings/server?saved=1")


@router.get("/settings/audit")
def log(
    request: Request,
    here: Here,
    who: Reader,
    before: Annotated[int | None, Query(ge=1, le=2**62)] = None,
    check: bool = False,
) -> Response:
    allow_role(who, "owner")
    with here.database.read() as c:
        entries = audit.entries(c, limit=_AUDIT_PAGE + 1, before=before)
        broken = audit.verify(c) if check else None
        people = {u.id: u.name for u in accounts.users_list(c)}
    more = len(entries) > _AUDIT_PAGE
    entries = entries[:_AUDIT_PAGE]
    return framed(
        request,
        who,
        "settings_audit.html",
        "audit",
        entries=entries,
        names=people,
        older=entries[-1].seq if more else None,
        checked=check,
        broken=broken,
    )


def framed(
    request: Request, who: Principal, template: str, part: str, *, wrong: str = "", **values: Any
) -> Response:
    """A page of the settings with their menu; ``part``: one of ``words.SETTINGS``."""
    menu = ["keys"]
    if "webhooks:write" in who.scopes:
        menu.append("webhooks")
    if who.user.role == "owner":
        menu += ["users", "server", "audit"]
    return page(
        request,
        template,
        who,
        status=422 if wrong else 200,
        heading=translate(request, words.SETTINGS[part]),
        menu=[(f"/settings/{name}", translate(request, words.SETTINGS[name])) for name in menu],
        saved=request.query_params.get("saved") == "1",
        wrong=wrong,
        **values,
    )


def _keys(
    request: Request, here: Services, who: Principal, *, secret: str = "", wrong: str = ""
) -> Response:
    at = here.clock()
    with here.database.read() as c:
        known = [
            k
            for k in accounts.keys_of(c, who.user.id)
            if k.revoked_at is None and (k.expires_at is None or k.expires_at > at)
        ]
    scopes = [s for s in accounts.SCOPES if s in who.scopes]
    return framed(
        request,
        who,
        "settings_keys.html",
        "keys",
        wrong=wrong,
        keys=known[::-1],
        scopes=scopes,
        secret=secret,
    )


def _server(request: Request, here: Services, who: Principal, *, wrong: str = "") -> Response:
    allow_role(who, "owner")
    with here.database.read() as c:
        chosen = options.load(c)
    return framed(
        request,
        who,
        "settings_server.html",
        "server",
        wrong=wrong,
        o=chosen,
        fixed_zero=here.settings.zero_retention,
    )
