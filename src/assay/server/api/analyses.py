"""Create, get, list, cancel, delete analyses; their reports and events."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse
from pydantic import ValidationError

from assay.server import cursors, events, intake
from assay.server.access import Principal, allow, owns, visible
from assay.server.api.shapes import (
    PROBLEM_RESPONSES,
    AnalysisList,
    AnalysisOut,
    ByReference,
    Ident,
    MediaKindName,
    Status,
    VerdictName,
)
from assay.server.problems import Problem
from assay.server.services import Here, Services
from assay.server.submit import Wish, allowed_file, submit
from assay.storage import analyses, audit, uploads

__all__ = ["router"]

router = APIRouter(prefix="/api/v1", tags=["analyses"], responses=PROBLEM_RESPONSES)

Reader = Annotated[Principal, Depends(allow("analyses:read"))]
Writer = Annotated[Principal, Depends(allow("analyses:write"))]
IdempotencyKey = Annotated[str, Header(alias="Idempotency-Key", max_length=200)]

_SANDBOX = "sandbox allow-scripts allow-downloads; frame-ancestors 'none'"
_KINDS = {
    "json": "application/json",
    "html": "text/html; charset=utf-8",
    "pdf": "application/pdf",
}
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": {"type": "string", "format": "binary"},
                        "prior": {"type": "number", "minimum": 0.0001, "maximum": 0.9999},
                        "priority": {"type": "integer", "minimum": 1, "maximum": 9},
                        "zero_retention": {"type": "boolean"},
                    },
                }
            },
            "application/json": {"schema": {"$ref": "#/components/schemas/ByReference"}},
        },
    }
}


@router.post(
    "/analyses",
    status_code=201,
    response_model=AnalysisOut,
    openapi_extra=_BODY,
    responses={200: {"model": AnalysisOut, "description": "The Idempotency-Key made it before."}},
)
async def create(
    request: Request, response: Response, here: Here, who: Writer, key: IdempotencyKey = ""
) -> AnalysisOut:
    """Queue an analysis of an uploaded file, or of one that the server has.

    The file is streamed to its place as it arrives. With an `Idempotency-Key` a repeated
    request answers with the analysis that the first one made.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json":
        row, new = await run_in_threadpool(_by_reference, here, who, await _json(request), key)
    else:
        taken = await intake.take_multipart(request, here)
        row, new = await run_in_threadpool(_uploaded, here, who, taken, key)
    response.headers["Location"] = f"/api/v1/analyses/{row.id}"
    response.headers["ETag"] = row.etag
    if not new:
        response.status_code = 200
        response.headers["Idempotency-Replayed"] = "true"
    return AnalysisOut.of(row)


@router.get("/analyses", response_model=AnalysisList)
def listed(
    response: Response,
    here: Here,
    who: Reader,
    status: Status | None = None,
    verdict: VerdictName | None = None,
    kind: MediaKindName | None = None,
    review: Annotated[Literal["none", "open", "second", "done"] | None, Query()] = None,
    q: Annotated[str, Query(max_length=200, description="Part of a name, or a hash.")] = "",
    since: datetime | None = None,
    until: datetime | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str, Query(max_length=200)] = "",
) -> AnalysisList:
    """Analyses that this key or user may see, newest first."""
    filters = analyses.Filters(
        status=status,
        verdict=verdict,
        kind=kind,
        review_state=review,
        text=_text(q),
        since=since.timestamp() if since else None,
        until=until.timestamp() if until else None,
    )
    with here.database.read() as c:
        rows, following = cursors.page(
            here.signing_key,
            cursor,
            limit,
            lambda most, after: analyses.page(
                c, seen_by=who.user, filters=filters, limit=most, after=after
            ),
        )
    return AnalysisList(items=[AnalysisOut.of(r) for r in rows], next=following)


@router.get("/events", response_class=StreamingResponse, responses={200: events.DESCRIPTION})
async def all_events(request: Request, here: Here, who: Reader) -> StreamingResponse:
    """Changes of the newest 50 analyses that this key or user may see, as they happen."""
    return events.stream(request, here, who)


@router.get(
    "/analyses/{ident}",
    response_model=AnalysisOut,
    responses={304: {"description": "Not changed since the given ETag."}},
)
def get(
    ident: Ident,
    response: Response,
    here: Here,
    who: Reader,
    if_none_match: Annotated[str, Header(alias="If-None-Match", max_length=400)] = "",
) -> Any:
    """One analysis; while it runs, how far it is and what was found so far."""
    row = visible(here, who, ident)
    if if_none_match and row.etag in [t.strip() for t in if_none_match.split(",")]:
        return Response(status_code=304, headers={"ETag": row.etag})
    response.headers["ETag"] = row.etag
    return AnalysisOut.of(row)


@router.get(
    "/analyses/{ident}/events",
    response_class=StreamingResponse,
    responses={200: events.DESCRIPTION},
)
async def one_events(ident: Ident, request: Request, here: Here, who: Reader) -> StreamingResponse:
    """Progress of one analysis; the stream ends with it."""
    await run_in_threadpool(visible, here, who, ident)
    return events.stream(request, here, who, ident)


@router.post("/analyses/{ident}/cancel", response_model=AnalysisOut)
def cancel(ident: Ident, response: Response, here: Here, who: Writer) -> AnalysisOut:
    """Stop an analysis that is queued or running; its worker ends within a second."""
    row = _own(here, who, ident)
    at = here.clock()
    with here.database.write() as c:
        done = analyses.cancel(c, ident, at)
        if done:
            audit.write(
                c, actor=who.actor, action="analysis.cancel", subject=ident, detail={}, at=at
            )
        fresh = analyses.get(c, ident)
    if fresh is None:
        raise Problem("not-found")
    if not done and row.status != "cancelled":
        raise Problem("conflict", f"the analysis is {fresh.status}", analysis_status=fresh.status)
    here.jobs.cancel(ident)
    response.headers["ETag"] = fresh.etag
    return AnalysisOut.of(fresh)


@router.delete(
    "/analyses/{ident}",
    status_code=204,
    responses={412: {"description": "Changed since the given ETag."}},
)
def delete(
    ident: Ident,
    here: Here,
    who: Writer,
    if_match: Annotated[str, Header(alias="If-Match", max_length=400)] = "",
) -> Response:
    """Delete the analysis, its report and its media; a running one is stopped first."""
    row = _own(here, who, ident)
    if if_match and if_match != "*" and row.etag not in [t.strip() for t in if_match.split(",")]:
        raise Problem("precondition-failed")
    at = here.clock()
    with here.database.write() as c:
        analyses.remove(c, ident)
        detail = {"sha256": row.sha256}
        audit.write(
            c, actor=who.actor, action="analysis.delete", subject=ident, detail=detail, at=at
        )
    if not row.ended:
        here.jobs.cancel(ident)
    if row.source_path is None:
        here.blobs.delete(ident)
    return Response(status_code=204)


@router.get(
    "/analyses/{ident}/report",
    response_class=Response,
    responses={200: {"description": "The report.", "content": {k: {} for k in _KINDS.values()}}},
)
def report(
    ident: Ident,
    request: Request,
    here: Here,
    who: Reader,
    format: Annotated[  # noqa: A002 - the name of the parameter on the wire
        Literal["json", "html", "pdf"] | None,
        Query(description="Default: what `Accept` prefers, else JSON."),
    ] = None,
) -> Response:
    """The report of an analysis that is done, as JSON, HTML or PDF."""
    row = visible(here, who, ident)
    if row.status != "done":
        raise Problem("not-ready", f"the analysis is {row.status}", analysis_status=row.status)
    return render(here, ident, format or _accepted(request))


def render(here: Services, ident: str, kind: str) -> Response:
    """The stored report in one of its forms."""
    with here.database.read() as c:
        text = analyses.report_json(c, ident)
    if text is None:
        raise Problem("gone")
    headers = {"Content-Disposition": f'inline; filename="assay-{ident[:12]}.{kind}"'}
    if kind == "json":
        return Response(text, media_type=_KINDS[kind], headers=headers)
    from assay.report.as_json import from_json

    document = from_json(text)
    if kind == "pdf":
        from assay.report.as_pdf import to_pdf

        return Response(to_pdf(document), media_type=_KINDS[kind], headers=headers)
    from assay.report.as_html import to_html

    # The page brings a policy of its own; the sandbox keeps it off our cookies and pages.
    headers["Content-Security-Policy"] = _SANDBOX
    return Response(to_html(document), media_type=_KINDS[kind], headers=headers)


def _accepted(request: Request) -> str:
    accept = request.headers.get("accept", "")
    for kind, mime in (("json", "json"), ("html", "text/html"), ("pdf", "application/pdf")):
        if mime in accept:
            return kind
    if accept and "*" not in accept:
        raise Problem("not-acceptable", "there are JSON, HTML and PDF")
    return "json"


def _own(here: Services, who: Principal, ident: str) -> analyses.Analysis:
    """An analysis that the principal may change: their own, or any for an owner."""
    row = visible(here, who, ident)
    if not owns(who, row):
        raise Problem("forbidden", "this analysis belongs to somebody else")
    return row


async def _json(request: Request) -> ByReference:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > 65536:
            raise Problem("too-large", "a JSON body has at most 65536 bytes")
    try:
        asked = ByReference.model_validate_json(body)
    except ValidationError as error:
        detail = "; ".join(f"{e['loc']}: {e['msg']}" for e in error.errors()[:5])
        raise Problem("invalid", detail[:1000]) from None
    if (asked.upload_id is None) == (asked.path is None):
        raise Problem("invalid", "give either upload_id or path")
    return asked


def _by_reference(
    here: Services, who: Principal, asked: ByReference, key: str
) -> tuple[analyses.Analysis, bool]:
    if asked.path is not None:
        found = allowed_file(here, asked.path)
    else:
        assert asked.upload_id is not None
        with here.database.write() as c:
            done = uploads.take(c, here.blobs, asked.upload_id, owner_id=who.user.id)
        if done is None:
            raise Problem("invalid", "there is no completed upload of this id")
        found = Wish(name=done.name, size=done.size, sha256=done.sha256, key=asked.upload_id)
    wish = replace(
        found,
        prior=asked.prior,
        priority=asked.priority,
        zero_retention=asked.zero_retention,
    )
    return submit(here, who, wish, idempotency_key=_valid(key))


def _uploaded(
    here: Services, who: Principal, taken: intake.Taken, key: str
) -> tuple[analyses.Analysis, bool]:
    new = False
    try:
        row, new = submit(here, who, _wish(taken), idempotency_key=_valid(key))
    finally:
        if not new:
            here.blobs.delete(taken.key)
    return row, new


def _wish(taken: intake.Taken) -> Wish:
    if taken.size == 0:
        raise Problem("invalid", "the file is empty")
    fields = {k: v.strip() for k, v in taken.fields.items() if v.strip()}
    strange = set(fields) - {"prior", "priority", "zero_retention"}
    if strange:
        raise Problem("invalid", f"no such field: {', '.join(sorted(strange))[:200]}")
    try:
        asked = ByReference.model_validate({**fields, "upload_id": "0" * 32})
    except ValidationError as error:
        detail = "; ".join(f"{e['loc'][0]}: {e['msg']}" for e in error.errors()[:5])
        raise Problem("invalid", detail[:1000]) from None
    return Wish(
        key=taken.key,
        name=taken.name,
        size=taken.size,
        sha256=taken.sha256,
        prior=asked.prior,
        priority=asked.priority,
        zero_retention=asked.zero_retention,
    )


def _valid(key: str) -> str:
    if key and not re.fullmatch(r"[\x21-\x7e]{1,200}", key):
        raise Problem("invalid", "an Idempotency-Key has 1 to 200 printable ASCII characters")
    return key


def _text(q: str) -> str:
    return q.replace("\0", "").strip()
