"""Two files side by side."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from assay.server.access import visible
from assay.server.pages.forms import Here, Reader
from assay.server.pages.show import page
from assay.storage import analyses
from assay.web.compare import distance, lines, side

__all__ = ["router"]

router = APIRouter()

Idents = Annotated[list[str] | None, Query(alias="id", max_length=10)]


@router.get("/compare")
def compare(request: Request, here: Here, who: Reader, ident: Idents = None) -> Response:
    chosen = list(dict.fromkeys(ident or ()))
    sides: list[dict[str, Any]] = []
    if len(chosen) == 2:
        for one in chosen:
            row = visible(here, who, one)
            with here.database.read() as c:
                report = analyses.report(c, row.id)
            if report is not None:
                sides.append({"row": row, **side(report)})
    if len(sides) != 2:
        return page(request, "compare.html", who, status=422 if ident else 200, sides=[])
    left, right = (s["report"] for s in sides)
    return page(
        request,
        "compare.html",
        who,
        sides=sides,
        lines=lines(left, right),
        same_file=left.media.sha256 == right.media.sha256,
        distance=distance(left.media.pdq, right.media.pdq),
    )
