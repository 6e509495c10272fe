"""What routes of forms share: who asks, the checked token, where to go afterwards."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Form, Request
from fastapi.responses import RedirectResponse

from assay.server.access import Principal, check_csrf, page_principal
from assay.server.api.shapes import Ident
from assay.server.services import Here

__all__ = ["Changer", "Here", "Ident", "Reader", "inside", "is_htmx", "to"]

Reader = Annotated[Principal, Depends(page_principal)]


def _changer(who: Reader, request: Request, csrf: Annotated[str, Form()] = "") -> Principal:
    check_csrf(who, csrf or request.headers.get("x-csrf-token", ""))
    return who


Changer = Annotated[Principal, Depends(_changer)]
"""A logged-in user whose form brought the session's token."""


def inside(target: str) -> str:
    """``target`` if it is a path of this server, else the start page."""
    safe = target.startswith("/") and not target.startswith(("//", "/\\")) and "\n" not in target
    return target[:2000] if safe and target.isprintable() else "/"


def to(target: str) -> RedirectResponse:
    """After a change: see other."""
    return RedirectResponse(inside(target), status_code=303)


def is_htmx(request: Request) -> bool:
    return request.headers.get("hx-request") == "true"
