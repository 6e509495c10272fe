"""Human judgement: ask for it, give it, doubt it, export it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from assay.server import cursors
from assay.server.access import Principal, allow, visible
from assay.server.api.shapes import PROBLEM_RESPONSES, AnalysisList, AnalysisOut, Ident, moment
from assay.server.problems import Problem
from assay.server.services import Here, Services
from assay.storage import analyses, audit, reviews, webhooks
from assay.storage.analyses import Analysis
from assay.storage.reviews import Label, NotAllowed, Review

__all__ = ["router", "take"]

router = APIRouter(prefix="/api/v1", tags=["reviews"], responses=PROBLEM_RESPONSES)

Reader = Annotated[Principal, Depends(allow("reviews:read", "analyses:read"))]
Writer = Annotated[Principal, Depends(allow("reviews:write"))]
Action = Literal["request", "confirm", "overrule", "second_opinion", "appeal", "answer"]
Held = Literal["authentic", "manipulated", "synthetic", "inconclusive"]


class ReviewIn(BaseModel):
    """A step. `verdict` goes with `overrule` and `answer`."""

    model_config = ConfigDict(extra="forbid")

    action: Action
    verdict: Held | None = None
    reason: Annotated[str, Field(max_length=reviews.MOST_REASON)] = ""


class ReviewOut(BaseModel):
    """A step that somebody took; steps are never changed."""

    id: str
    analysis_id: str
    user_id: str = Field(description="`system` for requests that the server made itself.")
    action: Action
    verdict: str | None = Field(description="What this person holds the item to be.")
    reason: str
    created_at: datetime

    @classmethod
    def of(cls, step: Review) -> ReviewOut:
        values = asdict(step) | {"created_at": moment(step.created_at)}
        return cls.model_validate(values)


@router.get("/reviews", response_model=AnalysisList)
def waiting(
    here: Here,
    who: Reader,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str, Query(max_length=200)] = "",
) -> AnalysisList:
    """Analyses that wait for a reviewer, the oldest first."""
    if not who.user.sees_all:
        raise Problem("forbidden", "the queue is for reviewers")
    with here.database.read() as c:
        rows, following = cursors.page(
            here.signing_key,
            cursor,
            limit,
            lambda most, after: reviews.waiting(c, limit=most, after=after),
        )
    return AnalysisList(items=[AnalysisOut.of(r) for r in rows], next=following)


@router.get(
    "/reviews/labels",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "One judged analysis a line: hash, kind, what the machine said, "
            "what people hold it to be, why, how many judged and whether they agree.",
            "content": {"application/x-ndjson": {"schema": {"type": "string"}}},
        }
    },
)
def labels(here: Here, who: Reader) -> StreamingResponse:
    """Judged items as labelled data for evaluation."""

    def lines() -> Iterator[str]:
        with here.database.read() as c:
            for label in reviews.labels(c, seen_by=who.user):
                yield json.dumps(_told(label), ensure_ascii=False) + "\n"

    return StreamingResponse(
        lines(),
        media_type="application/x-ndjson",
        headers={"Content-Disposition": 'attachment; filename="assay-labels.ndjson"'},
    )


@router.get("/analyses/{ident}/reviews", response_model=list[ReviewOut])
def listed(ident: Ident, here: Here, who: Reader) -> list[ReviewOut]:
    """Every step, oldest first."""
    row = visible(here, who, ident)
    with here.database.read() as c:
        return [ReviewOut.of(step) for step in reviews.of_analysis(c, row.id)]


@router.post("/analyses/{ident}/reviews", status_code=201, response_model=ReviewOut)
def create(ident: Ident, asked: ReviewIn, here: Here, who: Writer) -> ReviewOut:
    """Ask for a review, judge, ask for a second opinion, appeal, or answer an appeal.

    Who submitted a file may ask and appeal; reviewers and owners may judge. A second look
    is never by somebody who has judged, asked for it or appealed.
    """
    row = visible(here, who, ident)
    return ReviewOut.of(take(here, who, row, asked.action, asked.verdict, asked.reason))


def take(
    here: Services, who: Principal, row: Analysis, action: str, verdict: str | None, reason: str
) -> Review:
    """Take a step, note it in the audit log, and tell webhooks when people have judged."""
    at = here.clock()
    try:
        with here.database.write() as c:
            fresh = analyses.get(c, row.id)
            if fresh is None:
                raise Problem("not-found")
            step = reviews.add(c, fresh, who.user, action, verdict=verdict, reason=reason, at=at)
            audit.write(
                c,
                actor=who.actor,
                action=f"review.{action}",
                subject=row.id,
                detail={"verdict": step.verdict},
                at=at,
            )
            if action in reviews.JUDGEMENTS:
                judged = analyses.get(c, row.id)
                assert judged is not None
                for delivery in webhooks.tell(c, event="review.done", analysis=judged, at=at):
                    here.jobs.deliver(c, delivery)
    except NotAllowed as error:
        code = "forbidden" if "for reviewers" in str(error) else "conflict"
        raise Problem(code, str(error)) from None
    except ValueError as error:
        raise Problem("invalid", str(error)) from None
    return step


def _told(label: Label) -> dict[str, object]:
    at = moment(label.judged_at)
    assert at is not None
    return asdict(label) | {"judged_at": at.isoformat()}
