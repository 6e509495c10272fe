"""Errors as pages, for browsers."""

from __future__ import annotations

from fastapi import Request
from fastapi.responses import Response

from assay.server.pages.show import page as shown
from assay.server.problems import Problem

__all__ = ["page"]


def page(request: Request, problem: Problem) -> Response:
    """What went wrong and what can be done about it."""
    return shown(
        request,
        "error.html",
        status=problem.status,
        headers=problem.headers,
        code=problem.code,
        said=problem.title,
        detail=problem.detail,
        request_id=request.scope.get("state", {}).get("request_id", ""),
    )
