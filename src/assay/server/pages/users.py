"""Settings of an owner: who has an account, and as what."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Form, Request, Response

from assay.server.access import Principal, allow_role
from assay.server.pages.forms import Changer, Here, Ident, Reader, to
from assay.server.pages.settings import framed
from assay.server.problems import Problem
from assay.server.services import Services
from assay.storage import accounts, audit
from assay.storage.accounts import User

__all__ = ["router"]

router = APIRouter()

_LINK_SECONDS = 7 * 86400.0
Text = Annotated[str, Form(max_length=300)]


@router.get("/settings/users")
def users(request: Request, here: Here, who: Reader) -> Response:
    return _page(request, here, who)


@router.post("/settings/users")
def invite(
    request: Request,
    here: Here,
    who: Changer,
    name: Text = "",
    email: Text = "",
    role: Text = "analyst",
) -> Response:
    """A new account and the link by which its password is set."""
    allow_role(who, "owner")
    at = here.clock()
    try:
        with here.database.write() as c:
            user = accounts.add_user(c, email=email, name=name, role=role, at=at)
            token = accounts.make_ticket(c, "invite", at=at, seconds=_LINK_SECONDS, user_id=user.id)
            detail = {"role": role}
            audit.write(
                c, actor=who.actor, action="user.invite", subject=user.id, detail=detail, at=at
            )
    except ValueError as error:
        return _page(request, here, who, wrong=str(error))
    link = f"{here.settings.base_url}/invite?token={token}"
    return _page(request, here, who, link=link, link_for=user.name)


@router.post("/settings/users/{ident}/link")
def link(ident: Ident, request: Request, here: Here, who: Changer) -> Response:
    """A link by which this user sets a new password."""
    allow_role(who, "owner")
    user = _user(here, ident)
    at = here.clock()
    purpose = "password" if user.has_password else "invite"
    with here.database.write() as c:
        token = accounts.make_ticket(c, purpose, at=at, seconds=_LINK_SECONDS, user_id=ident)
        audit.write(c, actor=who.actor, action="user.link", subject=ident, detail={}, at=at)
    made = f"{here.settings.base_url}/{purpose}?token={token}"
    return _page(request, here, who, link=made, link_for=user.name)


@router.post("/settings/users/{ident}/role")
def role(ident: Ident, request: Request, here: Here, who: Changer, role: Text = "") -> Response:
    allow_role(who, "owner")
    _user(here, ident)
    return _change(request, here, who, ident, "user.role", {"role": role}, role=role)


@router.post("/settings/users/{ident}/lock")
def lock(ident: Ident, request: Request, here: Here, who: Changer) -> Response:
    allow_role(who, "owner")
    _user(here, ident)
    return _change(request, here, who, ident, "user.lock", {})


@router.post("/settings/users/{ident}/unlock")
def unlock(ident: Ident, request: Request, here: Here, who: Changer) -> Response:
    allow_role(who, "owner")
    _user(here, ident)
    return _change(request, here, who, ident, "user.unlock", {})


def _change(
    request: Request,
    here: Services,
    who: Principal,
    ident: str,
    action: str,
    detail: dict[str, Any],
    role: str = "",
) -> Response:
    at = here.clock()
    try:
        with here.database.write() as c:
            if action == "user.role":
                accounts.set_role(c, ident, role)
            else:
                accounts.set_disabled(c, ident, at if action == "user.lock" else None)
            audit.write(c, actor=who.actor, action=action, subject=ident, detail=detail, at=at)
    except ValueError as error:
        return _page(request, here, who, wrong=str(error))
    return to("/settings/users?saved=1")


def _user(here: Services, ident: str) -> User:
    with here.database.read() as c:
        user = accounts.user(c, ident)
    if user is None:
        raise Problem("not-found")
    return user


def _page(
    request: Request,
    here: Services,
    who: Principal,
    *,
    wrong: str = "",
    link: str = "",
    link_for: str = "",
) -> Response:
    allow_role(who, "owner")
    with here.database.read() as c:
        known = accounts.users_list(c)
    return framed(
        request,
        who,
        "settings_users.html",
        "users",
        wrong=wrong,
        users=known,
        link=link,
        link_for=link_for,
    )
