"""Routes of the HTML pages; what they show is made in :mod:`assay.web`."""

from __future__ import annotations

from fastapi import FastAPI

from assay.server.pages.compare import router as compare
from assay.server.pages.entry import router as entry
from assay.server.pages.history import router as history
from assay.server.pages.home import router as home
from assay.server.pages.media import router as media
from assay.server.pages.results import router as results
from assay.server.pages.reviews import router as reviews
from assay.server.pages.settings import router as settings
from assay.server.pages.shares import router as shares
from assay.server.pages.static import mount
from assay.server.pages.users import router as users
from assay.server.pages.webhooks import router as webhooks

__all__ = ["install"]


def install(app: FastAPI) -> None:
    """Add the pages to the application."""
    mount(app)
    for router in (
        entry,
        home,
        history,
        results,
        media,
        reviews,
        shares,
        compare,
        settings,
        users,
        webhooks,
    ):
        app.include_router(router, include_in_schema=False)
