"""Every error of the API as a problem document (RFC 9457)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

__all__ = ["MEDIA_TYPE", "PROBLEMS", "Problem", "document", "install"]

MEDIA_TYPE = "application/problem+json"

PROBLEMS: Mapping[str, tuple[int, str]] = {
    "bad-request": (400, "The request cannot be understood"),
    "unauthorized": (401, "Log in or present a key"),
    "forbidden": (403, "This is not allowed to you"),
    "csrf": (403, "The page is out of date; load it again"),
    "not-found": (404, "There is nothing here"),
    "method-not-allowed": (405, "This cannot be done here"),
    "not-acceptable": (406, "The answer does not come in this form"),
    "conflict": (409, "The request does not fit the present state"),
    "not-ready": (409, "The analysis has not ended"),
    "gone": (410, "This has been deleted"),
    "length-required": (411, "The length must be said beforehand"),
    "precondition-failed": (412, "The item has changed meanwhile"),
    "too-large": (413, "The file is too large"),
    "unsupported-media-type": (415, "The body has an unexpected type"),
    "invalid": (422, "The request is not valid"),
    "idempotency-key-reused": (422, "The key was used for another request"),
    "too-many-requests": (429, "Too many requests; wait a little"),
    "queue-full": (429, "Too many analyses are waiting"),
    "internal": (500, "The server made a mistake"),
    "unavailable": (503, "The server cannot do this just now"),
    "storage-full": (507, "The server has no room left"),
}
"""Every code with its HTTP status and title. ``type`` is ``/problems/<code>``."""

_BY_STATUS = {404: "not-found", 405: "method-not-allowed", 401: "unauthorized", 403: "forbidden"}


class Problem(Exception):
    """An error to be told. ``extra`` becomes members of the document."""

    def __init__(
        self,
        code: str,
        detail: str = "",
        *,
        headers: Mapping[str, str] | None = None,
        **extra: Any,
    ) -> None:
        self.code, self.detail, self.extra = code, detail, extra
        self.status, self.title = PROBLEMS[code]
        self.headers = dict(headers or {})
        super().__init__(detail or self.title)


def document(problem: Problem, instance: str) -> dict[str, Any]:
    """The members of the problem document."""
    body: dict[str, Any] = {
        "type": f"/problems/{problem.code}",
        "title": problem.title,
        "status": problem.status,
    }
    if problem.detail:
        body["detail"] = problem.detail
    return {**body, "instance": instance, **problem.extra}


def answer(problem: Problem, request: Request) -> Response:
    """As JSON, or for a browser that asks for a page, as one."""
    if _wants_page(request):
        from assay.server.pages.errors import page

        return page(request, problem)
    return JSONResponse(
        document(problem, request.url.path),
        status_code=problem.status,
        headers=problem.headers,
        media_type=MEDIA_TYPE,
    )


def install(app: Any) -> None:
    """Let every exception of ``app`` end as a problem."""

    async def told(request: Request, error: Problem) -> Response:
        return answer(error, request)

    async def http(request: Request, error: HTTPException) -> Response:
        code = _BY_STATUS.get(error.status_code, "bad-request")
        problem = Problem(code, headers=error.headers)
        if error.status_code not in _BY_STATUS and error.status_code != 400:
            problem.status = error.status_code
            problem.title = str(error.detail)
        return answer(problem, request)

    async def invalid(request: Request, error: RequestValidationError) -> Response:
        errors = [
            {"where": ".".join(str(p) for p in e["loc"]), "what": str(e["msg"])[:300]}
            for e in error.errors()[:20]
        ]
        detail = "; ".join(f"{e['where']}: {e['what']}" for e in errors)
        return answer(Problem("invalid", detail[:2000], errors=errors), request)

    async def unforeseen(request: Request, error: Exception) -> Response:
        return answer(Problem("internal"), request)

    app.add_exception_handler(Problem, told)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(Exception, unforeseen)


def _wants_page(request: Request) -> bool:
    if request.url.path.startswith("/api/"):
        return False
    accept = request.headers.get("accept", "")
    return "text/html" in accept and request.headers.get("hx-request") != "true"
