"""Links by which people without an account read one report."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, ConfigDict, Field

from assay.server.access import Principal, allow, owns, visible
from assay.server.api.shapes import PROBLEM_RESPONSES, Ident, moment
from assay.server.problems import Problem
from assay.server.services import Here, Services
from assay.storage import analyses, audit, shares
from assay.storage.analyses import Analysis
from assay.storage.shares import Share

__all__ = ["make", "revoke", "router"]

router = APIRouter(prefix="/api/v1", tags=["shares"], responses=PROBLEM_RESPONSES)

Reader = Annotated[Principal, Depends(allow("analyses:read"))]
Writer = Annotated[Principal, Depends(allow("analyses:write"))]
_DAY = 86400.0


class ShareIn(BaseModel):
    model_config = ConfigDict(extra="forbid")

    expires_in_days: Annotated[float, Field(gt=0, le=365)] = 7


class ShareOut(BaseModel):
    """A link that works. The address itself is told only when it is made."""

    id: str
    analysis_id: str
    created_at: datetime
    expires_at: datetime

    @classmethod
    def of(cls, share: Share) -> ShareOut:
        return cls.model_validate(
            {
                "id": share.id,
                "analysis_id": share.analysis_id,
                "created_at": moment(share.created_at),
                "expires_at": moment(share.expires_at),
            }
        )


class ShareMade(ShareOut):
    url: str = Field(description="The link; shown now and never again.")


@router.get("/analyses/{ident}/shares", response_model=list[ShareOut])
def listed(ident: Ident, here: Here, who: Reader) -> list[ShareOut]:
    """Links to a report that still work, newest first."""
    row = visible(here, who, ident)
    with here.database.read() as c:
        return [ShareOut.of(s) for s in shares.of_analysis(c, row.id, here.clock())]


@router.post("/analyses/{ident}/shares", status_code=201, response_model=ShareMade)
def create(ident: Ident, asked: ShareIn, here: Here, who: Writer) -> ShareMade:
    """Make a link. It shows the report without the file, and no search engine keeps it."""
    return make(here, who, visible(here, who, ident), asked.expires_in_days)


@router.delete("/shares/{ident}", status_code=204)
def remove(ident: Ident, here: Here, who: Writer) -> Response:
    """Revoke a link; it stops working at once."""
    revoke(here, who, ident)
    return Response(status_code=204)


def make(here: Services, who: Principal, row: Analysis, days: float) -> ShareMade:
    """A link to the report of ``row`` for ``days`` days."""
    _own(who, row)
    if row.status != "done":
        raise Problem("not-ready", f"the analysis is {row.status}", analysis_status=row.status)
    at = here.clock()
    with here.database.write() as c:
        token, share = shares.add(c, row.id, by=who.user.id, at=at, expires_at=at + days * _DAY)
        detail = {"share": share.id, "expires_at": share.expires_at}
        audit.write(c, actor=who.actor, action="share.create", subject=row.id, detail=detail, at=at)
    url = f"{here.settings.base_url}/s/{token}"
    return ShareMade(**ShareOut.of(share).model_dump(), url=url)


def revoke(here: Services, who: Principal, ident: str) -> Analysis:
    """End a link; the analysis it led to."""
    if "analyses:write" not in who.scopes:
        raise Problem("forbidden")
    at = here.clock()
    with here.database.write() as c:
        share = shares.get(c, ident)
        row = analyses.get(c, share.analysis_id, seen_by=who.user) if share else None
        if row is None:
            raise Problem("not-found")
        _own(who, row)
        if shares.revoke(c, ident, at):
            detail = {"share": ident}
            audit.write(
                c, actor=who.actor, action="share.revoke", subject=row.id, detail=detail, at=at
            )
    return row


def _own(who: Principal, row: Analysis) -> None:
    if "analyses:write" not in who.scopes or not owns(who, row):
        raise Problem("forbidden", "this analysis belongs to somebody else")
