"""All analyses: search, filters, page after page."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request, Response

from assay.server import cursors
from assay.server.pages.forms import Here, Reader
from assay.server.pages.home import names_of, stages
from assay.server.pages.show import page
from assay.storage import analyses
from assay.web import words

__all__ = ["router"]

router = APIRouter()

_PAGE = 25


@router.get("/history")
def history(
    request: Request,
    here: Here,
    who: Reader,
    q: Annotated[str, Query(max_length=200)] = "",
    verdict: str = "",
    kind: str = "",
    status: str = "",
    review: str = "",
    since: str = "",
    until: str = "",
    cursor: Annotated[str, Query(max_length=200)] = "",
) -> Response:
    asked = {
        "q": q.replace("\0", "").strip(),
        "verdict": verdict if verdict in words.VERDICTS else "",
        "kind": kind if kind in words.MEDIA else "",
        "status": status if status in words.STATUSES else "",
        "review": review if review in words.REVIEW_STATES else "",
        "since": since if _day(since) else "",
        "until": until if _day(until) else "",
    }
    first, last = _day(since), _day(until)
    filters = analyses.Filters(
        text=asked["q"],
        verdict=asked["verdict"] or None,
        kind=asked["kind"] or None,
        status=asked["status"] or None,
        review_state=asked["review"] or None,
        since=first.timestamp() if first else None,
        until=(last + timedelta(days=1)).timestamp() if last else None,
    )
    with here.database.read() as c:
        rows, following = cursors.page(
            here.signing_key,
            cursor,
            _PAGE,
            lambda most, after: analyses.page(
                c, seen_by=who.user, filters=filters, limit=most, after=after
            ),
        )
        names = names_of(c, who.user, rows)
    next_url = ""
    if following:
        kept = {k: v for k, v in asked.items() if v}
        next_url = f"/history?{urlencode({**kept, 'cursor': following})}"
    return page(
        request,
        "history.html",
        who,
        asked=asked,
        rows=rows,
        names=names,
        next_url=next_url,
        stages=stages(request),
    )


def _day(text: str) -> datetime | None:
    try:
        day = date.fromisoformat(text)
        return datetime(day.year, day.month, day.day, tzinfo=UTC) if day.year > 1970 else None
    except ValueError:
        return None
