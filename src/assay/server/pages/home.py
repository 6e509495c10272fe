"""The start page: give files, see what becomes of them."""

from __future__ import annotations

from collections.abc import Iterable

from fastapi import APIRouter, Request, Response
from sqlalchemy import Connection

from assay.server.access import visible
from assay.server.pages.forms import Here, Ident, Reader
from assay.server.pages.show import page, translate
from assay.storage import accounts, analyses, options
from assay.storage.accounts import User
from assay.storage.analyses import Analysis
from assay.web import words

__all__ = ["names_of", "router", "stages"]

router = APIRouter()

_LATEST = 20


@router.get("/")
def home(request: Request, here: Here, who: Reader) -> Response:
    with here.database.read() as c:
        chosen = options.load(c)
        rows = analyses.page(c, seen_by=who.user, limit=_LATEST)
        names = names_of(c, who.user, rows)
    nothing = here.settings.zero_retention or chosen.zero_retention or chosen.retention_days == 0
    mac = "Mac" in request.headers.get("user-agent", "")
    return page(
        request,
        "home.html",
        who,
        rows=rows,
        names=names,
        may_submit="analyses:write" in who.scopes,
        most_bytes=here.settings.max_upload_bytes,
        keeps_nothing=nothing,
        days=None if chosen.retention_days is None else max(1.0, chosen.retention_days),
        prior=chosen.prior,
        paste_key="⌘V" if mac else translate(request, words.OTHERS["paste"]),
        stages=stages(request),
    )


@router.get("/analyses/{ident}/row")
def row(ident: Ident, request: Request, here: Here, who: Reader) -> Response:
    """One entry of a list, for a page that is open."""
    found = visible(here, who, ident)
    with here.database.read() as c:
        names = names_of(c, who.user, [found])
    return page(request, "row.html", who, row=found, name=names.get(found.owner_id, ""))


def stages(request: Request) -> dict[str, str]:
    """What scripts call the stages of an analysis."""
    said = {key: translate(request, text) for key, text in words.STAGES.items()}
    return {**said, "other": translate(request, words.stage("other"))}


def names_of(c: Connection, reader: User, rows: Iterable[Analysis]) -> dict[str, str]:
    """Who submitted ``rows``, by id; empty for a reader who sees only their own."""
    if not reader.sees_all:
        return {}
    owners = {r.owner_id for r in rows}
    found = (accounts.user(c, ident) for ident in owners)
    return {u.id: u.name for u in found if u is not None}
