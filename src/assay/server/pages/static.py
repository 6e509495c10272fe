"""Style, scripts and pictures of the pages themselves."""

from __future__ import annotations

import os
from typing import Any

from fastapi import FastAPI
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from assay.web.render import REPORT_SCRIPT, STATIC

__all__ = ["mount"]


class _Revalidated(StaticFiles):
    """Browsers keep the files but ask whether they have changed: modules import one another
    by plain names, which carry no version."""

    def file_response(
        self, full_path: Any, stat_result: os.stat_result, scope: Any, status_code: int = 200
    ) -> Response:
        answer = super().file_response(full_path, stat_result, scope, status_code)
        answer.headers["Cache-Control"] = "no-cache"
        return answer

    def lookup_path(self, path: str) -> tuple[str, os.stat_result | None]:
        if path == REPORT_SCRIPT.name:
            return str(REPORT_SCRIPT), REPORT_SCRIPT.stat()
        return super().lookup_path(path)


def mount(app: FastAPI) -> None:
    """Serve them under ``/static``."""
    app.mount("/static", _Revalidated(directory=STATIC), name="static")
