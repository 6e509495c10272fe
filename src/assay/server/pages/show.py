"""From a request and a template to the answer: language, navigation, token of the forms."""

from __future__ import annotations

from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse

from assay.server.access import Principal
from assay.server.services import services
from assay.storage import reviews
from assay.web import catalogue
from assay.web.render import render

__all__ = ["LANGUAGE_COOKIE", "language_of", "page", "translate"]

LANGUAGE_COOKIE = "assay_language"


def page(
    request: Request,
    template: str,
    who: Principal | None = None,
    *,
    status: int = 200,
    headers: dict[str, str] | None = None,
    **values: Any,
) -> HTMLResponse:
    """The rendered page. ``who``: whose navigation it carries; ``None`` for strangers."""
    language = language_of(request, who)
    text = render(template, language, _frame(request, who) | values)
    all_headers = {"Vary": "Cookie, Accept-Language, HX-Request"} | (headers or {})
    return HTMLResponse(text, status_code=status, headers=all_headers)


def language_of(request: Request, who: Principal | None) -> str:
    """What the reader chose, else what the browser asks for."""
    chosen = request.cookies.get(LANGUAGE_COOKIE, "")
    return catalogue.choose(request.headers.get("accept-language", ""), chosen)


def translate(request: Request, message: str) -> str:
    """``message`` in the language of the reader, for text that a route makes itself."""
    return catalogue.load(language_of(request, None)).gettext(message)


def _frame(request: Request, who: Principal | None) -> dict[str, Any]:
    here = services(request)
    waiting = 0
    if who is not None and who.user.role in ("owner", "reviewer"):
        with here.database.read() as c:
            waiting = reviews.count_waiting(c)
    return {
        "who": who,
        "csrf": who.csrf if who else "",
        "path": request.url.path,
        "waiting": waiting,
        "now": here.clock(),
    }
