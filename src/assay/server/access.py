"""Who asks, and what they may do."""

from __future__ import annotations

import hashlib
import hmac
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import quote

from fastapi import Depends, Request, Response

from assay.server.problems import Problem
from assay.server.services import Here, Services
from assay.storage import accounts, analyses
from assay.storage.accounts import ApiKey, Session, User
from assay.storage.analyses import Analysis

__all__ = [
    "COOKIE",
    "Asker",
    "Principal",
    "allow",
    "allow_role",
    "check_csrf",
    "end",
    "limit",
    "owns",
    "page_principal",
    "principal",
    "start",
    "visible",
]

COOKIE = "assay_session"
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_MOST_KNOWN_KEYS = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who asks: a user by browser (``session``) or a program with a user's key (``key``)."""

    user: User
    scopes: frozenset[str]
    session: Session | None = None
    key: ApiKey | None = None

    @property
    def actor(self) -> str:
        """Name in the audit log."""
        return f"key:{self.key.id}" if self.key else self.user.id

    @property
    def csrf(self) -> str:
        return self.session.csrf if self.session else ""


def principal(request: Request, here: Here) -> Principal:
    """Dependency of the API: a key (``Authorization: Bearer``) or a session.

    A change asked for by a session must bring its ``X-CSRF-Token``.
    """
    header = request.headers.get("authorization", "")
    if header:
        who = _by_key(here, header)
    else:
        who = _by_session(request, here)
        if who is not None and request.method not in _SAFE:
            check_csrf(who, request.headers.get("x-csrf-token", ""))
    if who is None:
        limit(request, here, f"stranger:{_address(request)}")
        raise Problem("unauthorized", headers={"WWW-Authenticate": 'Bearer realm="assay"'})
    limit(request, here, f"user:{who.user.id}")
    return who


Asker = Annotated[Principal, Depends(principal)]


def allow(*scopes: str) -> Callable[[Principal], Principal]:
    """Dependency factory: the principal, if all of ``scopes`` are theirs."""

    def check(who: Asker) -> Principal:
        lacking = [s for s in scopes if s not in who.scopes]
        if lacking:
            raise Problem("forbidden", f"this needs {', '.join(lacking)}", needs=lacking)
        return who

    return check


def page_principal(request: Request, here: Here) -> Principal:
    """Dependency of the pages: a session, or a way to the login page.

    The CSRF token of a form is in its body: routes that change something call
    :func:`check_csrf` with the field ``csrf``.
    """
    who = _by_session(request, here)
    if who is None:
        target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        where = "/login" if request.method not in _SAFE else f"/login?next={quote(target)}"
        raise Redirect(where)
    limit(request, here, f"user:{who.user.id}")
    return who


class Redirect(Exception):
    """Ends a request with a redirection (303)."""

    def __init__(self, where: str) -> None:
        self.where = where
        super().__init__(where)


def allow_role(who: Principal, *roles: str) -> None:
    """Raise unless the user has one of ``roles``."""
    if who.user.role not in roles:
        raise Problem("forbidden", f"this is for: {', '.join(roles)}")


def check_csrf(who: Principal, token: str) -> None:
    """Raise unless ``token`` is that of the session; keys need none."""
    if who.session is not None and not hmac.compare_digest(
        who.session.csrf.encode(), token.encode()
    ):
        raise Problem("csrf")


def visible(here: Services, who: Principal, ident: str) -> Analysis:
    """The analysis, unless there is none that the principal may see."""
    with here.database.read() as c:
        row = analyses.get(c, ident, seen_by=who.user)
    if row is None:
        raise Problem("not-found")
    return row


def owns(who: Principal, row: Analysis) -> bool:
    """Whether the analysis is the user's to change: their own, or any for an owner."""
    return row.owner_id == who.user.id or who.user.role == "owner"


def limit(request: Request, here: Services, name: str, per_minute: float | None = None) -> None:
    """Count a request of ``name``; raise when there were too many."""
    wait = here.rates.take(name, per_minute or here.settings.rate_per_minute)
    if wait > 0:
        raise Problem("too-many-requests", headers={"Retry-After": str(math.ceil(wait))})


def start(here: Services, response: Response, user: User) -> Session:
    """Log a browser in: the cookie goes into ``response``."""
    with here.database.write() as c:
        token, made = accounts.open_session(c, user.id, here.clock())
    response.set_cookie(
        COOKIE,
        token,
        max_age=int(accounts.SESSION_SECONDS),
        path="/",
        secure=here.settings.secure_cookies,
        httponly=True,
        samesite="lax",
    )
    return made


def end(here: Services, response: Response, who: Principal) -> None:
    """Log a browser out."""
    if who.session is not None:
        with here.database.write() as c:
            accounts.end_session(c, who.session.token_hash)
    response.delete_cookie(COOKIE, path="/")


def _by_session(request: Request, here: Services) -> Principal | None:
    token = request.cookies.get(COOKIE)
    if not token:
        return None
    now = here.clock()
    with here.database.read() as c:
        found = accounts.session(c, token, now)
    if found is None:
        return None
    user, session, due = found
    if due:
        with here.database.write() as c:
            accounts.touch(c, session.token_hash, now)
    return Principal(user=user, scopes=accounts.scopes_of(user.role), session=session)


def _by_key(here: Services, header: str) -> Principal | None:
    kind, _, token = header.partition(" ")
    if kind.lower() != "bearer":
        return None
    token = token.strip()
    digest = hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
    now = here.clock()
    with here.database.read() as c:
        found = accounts.key_principal(c, token, now, known=here.known_keys.get(digest))
    if found is None:
        return None
    user, key, stored = found
    if digest not in here.known_keys:
        if len(here.known_keys) >= _MOST_KNOWN_KEYS:
            here.known_keys.clear()
        here.known_keys[digest] = stored
    if key.used_at is None or now - key.used_at > 60.0:
        with here.database.write() as c:
            accounts.note_key_use(c, key.id, now)
    return Principal(
        user=user, scopes=frozenset(key.scopes) & accounts.scopes_of(user.role), key=key
    )


def _address(request: Request) -> str:
    return request.client.host if request.client else "unknown"
