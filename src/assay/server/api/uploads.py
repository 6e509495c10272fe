"""Resumable uploads of large files, by the tus protocol 1.0 (https://tus.io/protocols).

Create with a length, send pieces with ``PATCH`` at the offset that ``HEAD`` tells, then ask
for the analysis with ``POST /api/v1/analyses`` and ``{"upload_id": ...}``.
"""

from __future__ import annotations

import base64
import binascii
import errno
import os
from datetime import datetime
from email.utils import formatdate
from typing import Annotated, Any, BinaryIO

from fastapi import APIRouter, Depends, Header, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import ClientDisconnect

from assay.server.access import Principal, allow
from assay.server.api.shapes import PROBLEM_RESPONSES, Ident, moment
from assay.server.intake import clean_name, room_for
from assay.server.problems import Problem
from assay.server.services import Here, Services
from assay.storage import uploads
from assay.storage.uploads import Upload

__all__ = ["router"]

router = APIRouter(prefix="/api/v1/uploads", tags=["uploads"], responses=PROBLEM_RESPONSES)

Writer = Annotated[Principal, Depends(allow("analyses:write"))]

_PIECE = 8 * 1024 * 1024  # bytes after which what has arrived is made safe
_TYPES = ("application/offset+octet-stream", "application/octet-stream")
_MOST_BYTES = 2**53
_TUS = {"Tus-Resumable": "1.0.0"}
_OFFSET_HEADERS: dict[str, Any] = {
    "Upload-Offset": {"schema": {"type": "integer"}, "description": "Bytes that are safe."},
    "Upload-Expires": {"schema": {"type": "string"}},
}


class UploadIn(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(max_length=1024)] = ""
    length: Annotated[int, Field(ge=1, le=_MOST_BYTES, description="Bytes of the whole file.")]


class UploadOut(BaseModel):
    """An upload under way. ``sha256`` is told once it is complete."""

    id: str
    name: str
    length: int
    offset: int
    sha256: str | None
    created_at: datetime
    expires_at: datetime

    @classmethod
    def of(cls, row: Upload) -> UploadOut:
        return cls.model_validate(
            {
                "id": row.id,
                "name": row.name,
                "length": row.length,
                "offset": row.offset,
                "sha256": row.sha256,
                "created_at": moment(row.created_at),
                "expires_at": moment(row.expires_at),
            }
        )


@router.options("", status_code=204, include_in_schema=False)
def protocol() -> Response:
    """What of the tus protocol is spoken here."""
    extensions = {"Tus-Version": "1.0.0", "Tus-Extension": "creation,expiration,termination"}
    return Response(status_code=204, headers={**_TUS, **extensions})


@router.post(
    "",
    status_code=201,
    response_model=UploadOut,
    openapi_extra={
        "requestBody": {
            "description": "Not needed when the headers of the tus protocol say the same.",
            "content": {"application/json": {"schema": UploadIn.model_json_schema()}},
        }
    },
    responses={201: {"headers": {"Location": {"schema": {"type": "string"}}, **_OFFSET_HEADERS}}},
)
async def create(
    request: Request,
    response: Response,
    here: Here,
    who: Writer,
    upload_length: Annotated[str, Header(alias="Upload-Length", max_length=20)] = "",
    upload_metadata: Annotated[str, Header(alias="Upload-Metadata", max_length=4096)] = "",
) -> UploadOut:
    """Begin an upload; `Location` says where its bytes go."""
    if upload_length:
        if not (upload_length.isascii() and upload_length.isdigit()):
            raise Problem("invalid", "Upload-Length is a number of bytes")
        said: Any = {"length": int(upload_length), "name": _name_in(upload_metadata)}
    else:
        said = await request.body() or b"{}"
    try:
        asked = (
            UploadIn.model_validate_json(said)
            if isinstance(said, bytes)
            else UploadIn.model_validate(said)
        )
    except ValidationError as error:
        detail = "; ".join(f"{e['loc']}: {e['msg']}" for e in error.errors()[:5])
        raise Problem("invalid", detail[:1000]) from None
    row = await run_in_threadpool(_begin, here, who, asked)
    response.headers.update(_headers(row))
    response.headers["Location"] = f"/api/v1/uploads/{row.id}"
    return UploadOut.of(row)


@router.get("/{ident}", response_model=UploadOut)
def get(ident: Ident, response: Response, here: Here, who: Writer) -> UploadOut:
    """How much of an upload has arrived."""
    row = _own(here, who, ident)
    response.headers.update(_headers(row))
    return UploadOut.of(row)


@router.head(
    "/{ident}",
    response_class=Response,
    responses={200: {"description": "See the headers.", "headers": _OFFSET_HEADERS}},
)
def where(ident: Ident, here: Here, who: Writer) -> Response:
    """The same as headers only: send on from `Upload-Offset`."""
    row = _own(here, who, ident)
    return Response(headers={**_headers(row), "Upload-Length": str(row.length)})


@router.patch(
    "/{ident}",
    status_code=204,
    response_class=Response,
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {k: {"schema": {"type": "string", "format": "binary"}} for k in _TYPES},
        }
    },
    responses={204: {"description": "Arrived.", "headers": _OFFSET_HEADERS}},
)
async def append(
    ident: Ident,
    request: Request,
    here: Here,
    who: Writer,
    upload_offset: Annotated[int, Header(alias="Upload-Offset", ge=0, le=_MOST_BYTES)],
) -> Response:
    """Send bytes that belong at `Upload-Offset`. What arrives before a break is kept."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in _TYPES:
        raise Problem("unsupported-media-type", f"send {_TYPES[0]}")
    await run_in_threadpool(_own, here, who, ident)
    try:
        with uploads.locked(here.blobs, ident) as file:
            # Only who holds the lock knows an offset that nobody else moves on.
            row = await run_in_threadpool(_own, here, who, ident)
            _check(row, upload_offset, request.headers.get("content-length", ""))
            if not row.complete:
                if not uploads.resume(file, row.offset):
                    raise Problem("gone", "the bytes of this upload are lost; begin again")
                await _receive(request, here, row, file)
    except uploads.Busy:
        raise Problem("conflict", "another request is sending to this upload") from None
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise Problem("storage-full", headers={"Retry-After": "600"}) from None
    row = await run_in_threadpool(_own, here, who, ident)
    return Response(status_code=204, headers=_headers(row))


@router.delete("/{ident}", status_code=204)
def remove(ident: Ident, here: Here, who: Writer) -> Response:
    """Give an upload up; what has arrived is deleted."""
    _own(here, who, ident)
    with here.database.write() as c:
        uploads.remove(c, ident)
    uploads.discard(here.blobs, ident)
    return Response(status_code=204, headers=_TUS)


def _begin(here: Services, who: Principal, asked: UploadIn) -> Upload:
    at = here.clock()
    room_for(here, asked.length)
    with here.database.write() as c:
        # Open uploads have a claim on the free space before their bytes are there.
        claimed = asked.length + uploads.reserved_bytes(c)
        if here.blobs.free_bytes() - claimed < here.settings.min_free_bytes:
            raise Problem("storage-full", headers={"Retry-After": "600"})
        if uploads.open_uploads(c, who.user.id) >= here.settings.max_open_uploads:
            most = here.settings.max_open_uploads
            raise Problem("too-many-requests", f"at most {most} uploads may be open")
        return uploads.create(
            c,
            owner_id=who.user.id,
            name=clean_name(asked.name),
            length=asked.length,
            at=at,
            expires_at=at + here.settings.upload_hours * 3600.0,
        )


def _check(row: Upload, offset: int, length: str) -> None:
    if offset != row.offset:
        raise Problem(
            "conflict", f"the offset is {row.offset}", headers=_headers(row), offset=row.offset
        )
    left = row.length - row.offset
    if length.isdigit() and int(length) > left:
        raise Problem("too-large", f"{left} bytes are left of this upload", max_bytes=left)


async def _receive(request: Request, here: Services, row: Upload, file: BinaryIO) -> None:
    at = safe = row.offset
    try:
        async for chunk in request.stream():
            if at + len(chunk) > row.length:
                raise Problem("too-large", f"the upload has {row.length} bytes")
            file.write(chunk)
            at += len(chunk)
            if at - safe >= _PIECE and at < row.length:
                await run_in_threadpool(_make_safe, here, row, file, at)
                safe = at
    except ClientDisconnect:
        raise Problem("bad-request", "the body breaks off") from None
    finally:
        if at > safe:
            await run_in_threadpool(_make_safe, here, row, file, at)


def _make_safe(here: Services, row: Upload, file: BinaryIO, offset: int) -> None:
    file.flush()
    os.fsync(file.fileno())
    # The whole is there only together with its hash.
    sha256 = uploads.digest(here.blobs, row.id) if offset == row.length else None
    with here.database.write() as c:
        there = uploads.advance(c, row.id, offset, sha256)
    if not there:
        raise Problem("not-found", "the upload was given up meanwhile")


def _own(here: Services, who: Principal, ident: str) -> Upload:
    with here.database.read() as c:
        row = uploads.get(c, ident, owner_id=who.user.id, at=here.clock())
    if row is None:
        raise Problem("not-found")
    return row


def _headers(row: Upload) -> dict[str, str]:
    return {
        **_TUS,
        "Upload-Offset": str(row.offset),
        "Upload-Expires": formatdate(row.expires_at, usegmt=True),
    }


def _name_in(metadata: str) -> str:
    """The file name in the header ``Upload-Metadata``: keys with values in base64."""
    for pair in metadata.split(","):
        key, _, value = pair.strip().partition(" ")
        if key in ("filename", "name"):
            try:
                return base64.b64decode(value, validate=True).decode("utf-8", "replace")[:1024]
            except binascii.Error:
                raise Problem("invalid", "Upload-Metadata is not in base64") from None
    return ""
