"""One analysis: under way, failed, or its result."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter, Request, Response
from sqlalchemy import Connection

from assay.report import as_html
from assay.report.document import Report
from assay.report.media_view import length_of
from assay.server.access import Principal, owns, visible
from assay.server.api import analyses as api
from assay.server.pages.forms import Changer, Here, Ident, Reader, to
from assay.server.pages.home import stages
from assay.server.pages.media import kept
from assay.server.pages.show import page
from assay.server.problems import Problem
from assay.server.services import Services
from assay.storage import accounts, analyses, reviews, shares
from assay.storage.analyses import Analysis

__all__ = ["may_change", "router"]

router = APIRouter()

_SHOWN_WHOLE = frozenset({"jpeg", "png", "webp", "gif", "avif"})


@router.get("/analyses/{ident}")
def result(ident: Ident, request: Request, here: Here, who: Reader) -> Response:
    row = visible(here, who, ident)
    if row.status != "done":
        found = [f for part in row.partial for f in part["findings"]]
        return page(
            request,
            "running.html",
            who,
            row=row,
            found=found,
            may_change=may_change(who, row),
            stages=stages(request),
        )
    with here.database.read() as c:
        report = analyses.report(c, ident)
        if report is None:
            raise Problem("gone")
        values = {
            **_document(report),
            **_people(c, who, row),
            "shares": shares.of_analysis(c, ident, here.clock()),
        }
    media_url = f"/analyses/{ident}/media" if kept(here, row) else ""
    whole = media_url if report.media.format in _SHOWN_WHOLE else ""
    return page(
        request,
        "result.html",
        who,
        row=row,
        media_url=media_url,
        original_url=whole,
        may_change=may_change(who, row),
        new_link="",
        **values,
    )


@router.get("/analyses/{ident}/report.{kind}")
def download(
    ident: Ident, kind: Literal["json", "html", "pdf"], here: Here, who: Reader
) -> Response:
    """The report as a file."""
    row = visible(here, who, ident)
    if row.status != "done":
        raise Problem("not-ready")
    return as_file(here, row, kind)


def as_file(here: Services, row: Analysis, kind: str) -> Response:
    answer = api.render(here, row.id, kind)
    name = f"assay-{row.id[:12]}.{kind}"
    answer.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return answer


@router.post("/analyses/{ident}/cancel")
def cancel(ident: Ident, here: Here, who: Changer) -> Response:
    _write_scope(who)
    api.cancel(ident, Response(), here, who)
    return to(f"/analyses/{ident}")


@router.post("/analyses/{ident}/delete")
def delete(ident: Ident, here: Here, who: Changer) -> Response:
    _write_scope(who)
    api.delete(ident, here, who, "")
    return to("/history")


def may_change(who: Principal, row: Analysis) -> bool:
    """Whether this user may cancel, delete and share."""
    return owns(who, row) and "analyses:write" in who.scopes


def _write_scope(who: Principal) -> None:
    if "analyses:write" not in who.scopes:
        raise Problem("forbidden")


def _document(report: Report) -> dict[str, Any]:
    values = as_html.view(report)
    timed = any(values[k] for k in ("frames", "lanes", "series", "sound"))
    return {
        **values,
        "length": length_of(report),
        "timed": timed or report.media.kind in ("video", "audio"),
    }


def _people(c: Connection, who: Principal, row: Analysis) -> dict[str, Any]:
    """What people said of it, and what this reader may say."""
    steps = reviews.of_analysis(c, row.id)
    may = reviews.allowed(who.user, row, steps)
    idents = {s.user_id for s in steps} | {row.owner_id}
    found = {i: accounts.user(c, i) for i in idents if i != reviews.SYSTEM}
    names = {i: u.name for i, u in found.items() if u is not None}
    judge = who.user.role in ("owner", "reviewer")
    spoke = any(s.user_id == who.user.id for s in steps if s.action != "request")
    return {
        "steps": steps,
        "names": names,
        "owner": names.get(row.owner_id, "") if who.user.sees_all else "",
        "judgement": reviews.human_verdict(steps),
        "may": may,
        "may_review": "reviews:write" in who.scopes,
        "human_verdicts": reviews.VERDICTS,
        "own_word": judge
        and spoke
        and row.review_state in ("open", "second")
        and bool(may["confirm"])
        and bool(may["answer"]),
    }
