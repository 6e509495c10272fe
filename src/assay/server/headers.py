"""Headers that every answer carries, and bounds on every request."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable

from starlette.datastructures import Headers as RequestHeaders
from starlette.datastructures import MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from assay.server.problems import MEDIA_TYPE, Problem, document

__all__ = ["CSP", "BodyLimit", "Headers", "SameOrigin"]

CSP = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "media-src 'self' blob:",
        "connect-src 'self'",
        "font-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
_ALWAYS = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), interest-cohort=()",
    "X-Frame-Options": "DENY",
}
_ID = re.compile(r"[A-Za-z0-9-]{8,64}")


class Headers:
    """ASGI middleware: secure headers, a request id, no caching of what is not static."""

    def __init__(self, app: ASGIApp, *, https: bool = False) -> None:
        self._app, self._https = app, https

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = dict(scope["headers"]).get(b"x-request-id", b"").decode("latin-1")
        ident = given if _ID.fullmatch(given) else secrets.token_hex(8)
        scope.setdefault("state", {})["request_id"] = ident

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _ALWAYS.items():
                    headers.setdefault(name, value)
                if self._https:
                    headers.setdefault("Strict-Transport-Security", "max-age=31536000")
                headers.setdefault("Cache-Control", "no-store")
                headers["X-Request-ID"] = ident
            await send(message)

        await self._app(scope, receive, with_headers)


class BodyLimit:
    """ASGI middleware: bodies are bounded, but for routes that stream files to their place."""

    def __init__(self, app: ASGIApp, *, most: int, streamed: Callable[[str, str], bool]) -> None:
        self._app, self._most, self._streamed = app, most, streamed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or self._streamed(scope["method"], scope["path"]):
            await self._app(scope, receive, send)
            return
        length = RequestHeaders(scope=scope).get("content-length", "0")
        if not length.isdigit() or int(length) > self._most:
            await _refuse(scope, receive, send, Problem("too-large", f"at most {self._most} bytes"))
            return
        taken = 0

        async def bounded() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > self._most:
                raise Problem("too-large", f"at most {self._most} bytes")
            return message

        await self._app(scope, bounded, send)


class SameOrigin:
    """ASGI middleware: a browser may ask for changes only from our own pages.

    Sessions also need a CSRF token; this covers the login form, which has no session yet.
    Programs that present a key send no ``Origin`` and are not concerned.
    """

    def __init__(self, app: ASGIApp, *, own: str) -> None:
        self._app, self._own = app, own

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] not in ("GET", "HEAD", "OPTIONS"):
            headers = RequestHeaders(scope=scope)
            origin = headers.get("origin")
            here = (self._own, f"{scope['scheme']}://{headers.get('host', '')}")
            if origin is not None and origin not in here:
                await _refuse(scope, receive, send, Problem("csrf"))
                return
        await self._app(scope, receive, send)


async def _refuse(scope: Scope, receive: Receive, send: Send, problem: Problem) -> None:
    response = JSONResponse(document(problem, scope["path"]), problem.status, media_type=MEDIA_TYPE)
    await response(scope, receive, send)
