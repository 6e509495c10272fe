"""Ways in and out: first owner, log in, invitation and new password, log out, language."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Query, Request, Response

from assay.server import access
from assay.server.pages.forms import Changer, Here, inside, to
from assay.server.pages.show import LANGUAGE_COOKIE, page, translate
from assay.server.services import Services
from assay.storage import accounts, audit
from assay.web import catalogue, words

__all__ = ["router"]

router = APIRouter()

_TRIES_PER_MINUTE = 10  # of an address, and of an account, to log in or use a link

Text = Annotated[str, Form(max_length=2000)]
Token = Annotated[str, Query(max_length=200)]


@router.get("/login")
def login_page(request: Request, here: Here, next: str = "/") -> Response:  # noqa: A002
    return page(request, "login.html", next=inside(next), email="", wrong=False)


@router.post("/login")
def login(
    request: Request,
    here: Here,
    email: Text = "",
    password: Text = "",
    next: Text = "/",  # noqa: A002
) -> Response:
    _slowly(request, here)
    access.limit(request, here, f"login:{email.strip().lower()[:254]}", _TRIES_PER_MINUTE)
    with here.database.read() as c:
        user = accounts.login(c, email, password)
    if user is None:
        return page(
            request, "login.html", status=401, next=inside(next), email=email[:254], wrong=True
        )
    return _in(here, user, next, "session.start")


@router.post("/logout")
def logout(here: Here, who: Changer) -> Response:
    answer = to("/login")
    access.end(here, answer, who)
    return answer


@router.post("/language")
def language(
    request: Request,
    language: Text = "",
    next: Text = "/",  # noqa: A002
) -> Response:
    answer = to(next)
    if language in catalogue.LANGUAGES:
        answer.set_cookie(
            LANGUAGE_COOKIE, language, max_age=365 * 86400, samesite="lax", httponly=True
        )
    return answer


@router.get("/setup")
def setup_page(request: Request, here: Here, token: Token = "") -> Response:
    with here.database.read() as c:
        good = accounts.read_ticket(c, token, "setup", here.clock()) is not None
        good = good and accounts.count_users(c) == 0
    return _account(request, "setup", token, good=good)


@router.post("/setup")
def setup(
    request: Request,
    here: Here,
    token: Text = "",
    name: Text = "",
    email: Text = "",
    password: Text = "",
) -> Response:
    _slowly(request, here)
    at = here.clock()
    try:
        with here.database.write() as c:
            good = accounts.read_ticket(c, token, "setup", at) is not None
            if not good or accounts.count_users(c) or not accounts.burn_ticket(c, token):
                return _account(request, "setup", token, good=False)
            user = accounts.add_user(
                c, email=email, name=name, role="owner", at=at, password=password or " "
            )
            audit.write(c, actor=user.id, action="server.setup", subject=user.id, detail={}, at=at)
    except ValueError as error:
        given = {"name": name, "email": email}
        return _account(request, "setup", token, good=True, wrong=str(error), **given)
    return _in(here, user, "/", "session.start")


@router.get("/invite")
def invite_page(request: Request, here: Here, token: Token = "") -> Response:
    return _link_page(request, here, "invite", token)


@router.post("/invite")
def invite(request: Request, here: Here, token: Text = "", password: Text = "") -> Response:
    return _use_link(request, here, "invite", token, password)


@router.get("/password")
def password_page(request: Request, here: Here, token: Token = "") -> Response:
    return _link_page(request, here, "password", token)


@router.post("/password")
def new_password(request: Request, here: Here, token: Text = "", password: Text = "") -> Response:
    return _use_link(request, here, "password", token, password)


def _link_page(request: Request, here: Services, purpose: str, token: str) -> Response:
    user = _user_of(here, purpose, token)
    return _account(
        request, purpose, token, good=user is not None, email=user.email if user else ""
    )


def _user_of(here: Services, purpose: str, token: str) -> accounts.User | None:
    with here.database.read() as c:
        found = accounts.read_ticket(c, token, purpose, here.clock())
        user = accounts.user(c, found[0]) if found and found[0] else None
    return None if user is None or user.disabled_at is not None else user


def _use_link(
    request: Request, here: Services, purpose: str, token: str, password: str
) -> Response:
    _slowly(request, here)
    user = _user_of(here, purpose, token)
    if user is None:
        return _account(request, purpose, token, good=False)
    at = here.clock()
    try:
        with here.database.write() as c:
            if not accounts.burn_ticket(c, token):
                return _account(request, purpose, token, good=False)
            accounts.set_password(c, user.id, password)
            audit.write(c, actor=user.id, action="user.password", subject=user.id, detail={}, at=at)
    except ValueError as error:
        return _account(request, purpose, token, good=True, wrong=str(error), email=user.email)
    return _in(here, user, "/", "session.start")


def _account(
    request: Request,
    purpose: str,
    token: str,
    *,
    good: bool,
    wrong: str = "",
    name: str = "",
    email: str = "",
) -> Response:
    heading, intro = words.ENTRIES[purpose], words.ENTRY_NOTES[purpose]
    return page(
        request,
        "account.html",
        status=200 if good and not wrong else 422 if good else 410,
        heading=translate(request, heading),
        intro=translate(request, intro),
        action=f"/{purpose}",
        asks_who=purpose == "setup",
        token=token,
        good=good,
        wrong=wrong,
        name=name,
        email=email,
    )


def _in(here: Services, user: accounts.User, target: str, action: str) -> Response:
    answer = to(target)
    access.start(here, answer, user)
    at = here.clock()
    with here.database.write() as c:
        audit.write(c, actor=user.id, action=action, subject=user.id, detail={}, at=at)
    return answer


def _slowly(request: Request, here: Services) -> None:
    address = request.client.host if request.client else "unknown"
    access.limit(request, here, f"entry:{address}", _TRIES_PER_MINUTE * 3)
