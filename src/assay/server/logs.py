"""Structured logs, one JSON object a line on standard error, without personal data.

Our own records are a constant sentence and fields of :data:`FIELDS`, which are ids and
numbers. Of other libraries' records only the sentence is written, not what they put into
it, and of exceptions where they came from, not what they say: a file name may be in there.
"""

from __future__ import annotations

import json
import logging
import sys
import time
import traceback
from datetime import UTC, datetime
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from assay.server.metrics import Metrics
from assay.server.services import Services

__all__ = ["FIELDS", "Lines", "RequestLog", "set_up"]

FIELDS = frozenset(
    {
        "analysis",
        "bytes",
        "delivery",
        "due",
        "method",
        "request",
        "response",
        "route",
        "seconds",
        "status",
        "try",
        "upload",
        "worker",
    }
)
"""Names of ``extra`` that are written; others are left out."""

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_QUIET = ("/healthz", "/readyz", "/metrics")  # asked every few seconds

log = logging.getLogger("assay.server")


class Lines(logging.Formatter):
    """A record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        ours = record.name.partition(".")[0] == "assay"
        said: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage() if ours else str(record.msg).strip().split("\n")[0],
        }
        for name, value in vars(record).items():
            if name in FIELDS and name not in _STANDARD:
                said[name] = value
        if record.exc_info and record.exc_info[0] is not None:
            kind, _, trace = record.exc_info
            said["exception"] = kind.__name__
            said["trace"] = [
                f"{frame.filename}:{frame.lineno} {frame.name}"
                for frame in traceback.extract_tb(trace)[-20:]
            ]
        return json.dumps(said, ensure_ascii=False, default=str)


def set_up(level: int = logging.INFO) -> None:
    """Send the logs of this process to standard error; may be called again."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Lines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("assay").setLevel(level)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "dbos"):
        other = logging.getLogger(name)
        other.handlers[:] = []
        other.propagate = True
        other.setLevel(logging.WARNING)


class RequestLog:
    """ASGI middleware: each request is logged and counted, by route, not by address.

    Time is taken until the answer begins: streams of events last as long as they last.
    """

    def __init__(self, app: ASGIApp, *, services: Services) -> None:
        self._app = app
        self._metrics = Metrics(services)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope["app"].state.metrics = self._metrics
        begun = time.perf_counter()
        told = False

        async def heed(message: Message) -> None:
            nonlocal told
            if message["type"] == "http.response.start" and not told:
                told = True
                self._note(scope, message["status"], time.perf_counter() - begun)
            await send(message)

        try:
            await self._app(scope, receive, heed)
        except Exception:
            if not told:
                self._note(scope, 500, time.perf_counter() - begun)
            raise

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "none")
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._metrics.observe(method, route, status, seconds)
        if route in _QUIET and status < 500:
            return
        extra = {
            "request": scope.get("state", {}).get("request_id", ""),
            "method": method,
            "route": route,
            "status": status,
            "seconds": round(seconds, 4),
        }
        log.log(logging.ERROR if status >= 500 else logging.INFO, "request", extra=extra)


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
