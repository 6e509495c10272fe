"""The review queue, and the forms by which people judge."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Query, Request, Response

from assay.server import cursors
from assay.server.access import visible
from assay.server.api import reviews as api
from assay.server.pages.forms import Changer, Here, Ident, Reader, to
from assay.server.pages.show import page
from assay.server.problems import Problem
from assay.storage import accounts, analyses, reviews

__all__ = ["router"]

router = APIRouter()

_PAGE = 25


@router.get("/reviews")
def queue(
    request: Request,
    here: Here,
    who: Reader,
    cursor: Annotated[str, Query(max_length=200)] = "",
) -> Response:
    """What waits; for an analyst, what became of their own requests."""
    key = here.signing_key
    after = cursors.read(key, cursor) if cursor else None
    judge = who.user.role in ("owner", "reviewer")
    items = []
    next_url = ""
    with here.database.read() as c:
        if who.user.sees_all:
            rows = reviews.waiting(c, limit=_PAGE + 1, after=after)
        else:
            states = ("open", "second", "done")
            rows = [
                row
                for state in states
                for row in analyses.page(
                    c,
                    seen_by=who.user,
                    filters=analyses.Filters(review_state=state),
                    limit=_PAGE,
                )
            ]
        if who.user.sees_all and len(rows) > _PAGE:
            rows = rows[:_PAGE]
            next_url = f"/reviews?cursor={cursors.write(key, rows[-1].created_at, rows[-1].id)}"
        for row in rows:
            steps = reviews.of_analysis(c, row.id)
            may = reviews.allowed(who.user, row, steps)
            ready = judge and (not may["confirm"] or not may["answer"])
            people = {s.user_id: accounts.user(c, s.user_id) for s in steps}
            items.append(
                {
                    "row": row,
                    "last": steps[-1] if steps else None,
                    "ready": ready,
                    "judgement": reviews.human_verdict(steps),
                    "names": {i: u.name for i, u in people.items() if u is not None},
                }
            )
    return page(request, "reviews.html", who, items=items, judge=judge, next_url=next_url)


@router.post("/analyses/{ident}/reviews")
def add(
    ident: Ident,
    here: Here,
    who: Changer,
    action: Annotated[str, Form(max_length=20)],
    verdict: Annotated[str, Form(max_length=20)] = "",
    reason: Annotated[str, Form(max_length=reviews.MOST_REASON * 2)] = "",
) -> Response:
    """One step of a review."""
    if "reviews:write" not in who.scopes:
        raise Problem("forbidden")
    row = visible(here, who, ident)
    api.take(here, who, row, action, verdict or None, reason)
    return to(f"/analyses/{ident}#human")
