"""The examined files themselves, for the players of the result page.

They are somebody's bytes: never shown as a document, never with a type they do not have.
"""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, Response
from fastapi.responses import FileResponse

from assay.media.sniff import sniff
from assay.server.access import visible
from assay.server.pages.forms import Here, Ident, Reader
from assay.server.problems import Problem
from assay.server.services import Services
from assay.storage.analyses import Analysis

__all__ = ["kept", "router"]

router = APIRouter()

_HEADERS = {
    "Content-Security-Policy": "sandbox; default-src 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "private, no-store",
}
_PLAYED = frozenset(
    {
        "image/jpeg", "image/png", "image/webp", "image/gif", "image/avif", "image/bmp",
        "image/tiff", "image/heic", "image/heif",
        "video/mp4", "video/webm", "video/quicktime", "video/x-matroska", "video/mpeg",
        "video/x-msvideo", "video/ogg",
        "audio/mpeg", "audio/mp4", "audio/aac", "audio/flac", "audio/ogg", "audio/wav",
        "audio/x-wav", "audio/webm", "audio/opus",
    }
)  # fmt: skip


@router.get("/analyses/{ident}/media")
def media(ident: Ident, here: Here, who: Reader) -> Response:
    """The file, as an attachment that media elements may play; ranges are honoured."""
    row = visible(here, who, ident)
    path = kept(here, row)
    if path is None:
        raise Problem("gone")
    mime = _mime(path) if row.status == "done" else ""
    return FileResponse(
        path,
        media_type=mime if mime in _PLAYED else "application/octet-stream",
        filename=row.name,
        headers=_HEADERS,
        content_disposition_type="attachment",
    )


def _mime(path: Path) -> str:
    """By content, as in the report; players ask for many ranges, so the report is not read."""
    with path.open("rb") as file:
        found = sniff(file)
    return found.mime if found else ""


def kept(here: Services, row: Analysis) -> Path | None:
    """Where the file of an analysis lies, while it is kept. A file of the server's own,
    which was analysed where it lies, is not handed out."""
    if row.media_deleted_at is not None or row.source_path is not None:
        return None
    return here.blobs.path(row.id)
