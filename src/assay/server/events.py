"""Server-sent events: what changes in the tables, told to who waits for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse

from assay.server.access import Principal
from assay.server.api.shapes import AnalysisOut
from assay.server.problems import Problem
from assay.server.services import Services
from assay.storage import analyses
from assay.storage.analyses import Analysis

__all__ = ["DESCRIPTION", "stream"]

DESCRIPTION: dict[str, Any] = {
    "description": "Events `analysis`, each with an analysis as JSON; a comment as a sign of "
    "life every 15 s.",
    "content": {"text/event-stream": {"schema": {"type": "string"}}},
}
_LOOK_EVERY = 0.4  # seconds
_BEAT_EVERY = 15.0
_LONGEST = 3600.0  # then the client connects again
_MOST_STREAMS = 32  # of one user
_WATCHED = 50

_open: dict[str, int] = {}


def stream(
    request: Request, here: Services, who: Principal, ident: str | None = None
) -> StreamingResponse:
    """Events of one analysis until it ends, or of the newest ones until the client goes."""
    if _open.get(who.user.id, 0) >= _MOST_STREAMS:
        raise Problem(
            "too-many-requests", "too many event streams are open", headers={"Retry-After": "15"}
        )
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(
        _events(request, here, who, ident), media_type="text/event-stream", headers=headers
    )


async def _events(
    request: Request, here: Services, who: Principal, ident: str | None
) -> AsyncIterator[str]:
    _open[who.user.id] = _open.get(who.user.id, 0) + 1
    try:
        seen: dict[str, int] = {}
        beat = begun = time.monotonic()
        yield "retry: 2000\n\n"
        while time.monotonic() - begun < _LONGEST and not await request.is_disconnected():
            rows = await run_in_threadpool(_rows, here, who, ident)
            for row in rows:
                if seen.get(row.id) != row.revision:
                    seen[row.id] = row.revision
                    yield _event(row)
                    beat = time.monotonic()
            if ident is not None and (not rows or rows[0].ended):
                return
            if time.monotonic() - beat > _BEAT_EVERY:
                beat = time.monotonic()
                yield ": here\n\n"
            await asyncio.sleep(_LOOK_EVERY)
    finally:
        _open[who.user.id] -= 1
        if not _open[who.user.id]:
            del _open[who.user.id]


def _rows(here: Services, who: Principal, ident: str | None) -> list[Analysis]:
    with here.database.read() as c:
        if ident is None:
            return analyses.page(c, seen_by=who.user, limit=_WATCHED)[::-1]
        row = analyses.get(c, ident, seen_by=who.user)
        return [row] if row else []


def _event(row: Analysis) -> str:
    data = AnalysisOut.of(row).model_dump_json()
    return f"id: {row.id}-{row.revision}\nevent: analysis\ndata: {data}\n\n"
