"""Links to a report for people without an account."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Form, Path, Request, Response

from assay.report import as_html
from assay.report.media_view import length_of
from assay.server.access import Principal, limit, visible
from assay.server.api import shares as api
from assay.server.pages.forms import Changer, Here, Ident, to
from assay.server.pages.results import as_file
from assay.server.pages.show import page
from assay.server.problems import Problem
from assay.server.services import Services
from assay.storage import analyses, reviews, shares
from assay.storage.analyses import Analysis

__all__ = ["router"]

router = APIRouter()

Token = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{20,100}$")]
_HEADERS = {"X-Robots-Tag": "noindex, nofollow, noarchive", "Referrer-Policy": "no-referrer"}
_LOOKS_PER_MINUTE = 120


@router.post("/analyses/{ident}/shares")
def add(
    ident: Ident,
    request: Request,
    here: Here,
    who: Changer,
    days: Annotated[float, Form(gt=0, le=365)] = 7,
) -> Response:
    """A new link; it is in the answer and nowhere else."""
    row = visible(here, who, ident)
    made = api.make(here, who, row, days)
    return _panel(request, here, who, row, made.url)


@router.post("/shares/{ident}/revoke")
def revoke(ident: Ident, request: Request, here: Here, who: Changer) -> Response:
    row = api.revoke(here, who, ident)
    return _panel(request, here, who, row, "")


def _panel(request: Request, here: Services, who: Principal, row: Analysis, link: str) -> Response:
    if request.headers.get("hx-request") != "true" and not link:
        return to(f"/analyses/{row.id}")
    with here.database.read() as c:
        known = shares.of_analysis(c, row.id, here.clock())
    template = "share_panel.html" if request.headers.get("hx-request") == "true" else "share.html"
    return page(request, template, who, row=row, shares=known, new_link=link)


@router.get("/s/{token}")
def shared(token: Token, request: Request, here: Here) -> Response:
    """The report behind a link."""
    row, share = _behind(request, here, token)
    with here.database.read() as c:
        report = analyses.report(c, row.id)
        judgement = reviews.human_verdict(reviews.of_analysis(c, row.id))
    if report is None:
        raise Problem("gone")
    values = as_html.view(report)
    timed = any(values[k] for k in ("frames", "lanes", "series", "sound"))
    return page(
        request,
        "shared.html",
        headers=_HEADERS,
        row=row,
        share=share,
        token=token,
        judgement=judgement,
        media_url="",
        original_url="",
        length=length_of(report),
        timed=timed,
        **values,
    )


@router.get("/s/{token}/report.{kind}")
def shared_file(
    token: Token, kind: Literal["json", "html", "pdf"], request: Request, here: Here
) -> Response:
    row, _ = _behind(request, here, token)
    answer = as_file(here, row, kind)
    answer.headers.update(_HEADERS)
    return answer


def _behind(request: Request, here: Services, token: str) -> tuple[Analysis, shares.Share]:
    address = request.client.host if request.client else "unknown"
    limit(request, here, f"share:{address}", _LOOKS_PER_MINUTE)
    with here.database.read() as c:
        share = shares.find(c, token, here.clock())
        row = analyses.get(c, share.analysis_id) if share else None
    if share is None or row is None or row.status != "done":
        raise Problem("not-found")
    return row, share
