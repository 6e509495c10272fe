"""The application: what it is made of, in one place."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import RedirectResponse, Response
from pydantic.json_schema import models_json_schema

from assay import __version__
from assay.server import logs, problems
from assay.server.access import Redirect
from assay.server.api import analyses, health, keys, models, reviews, shapes, shares, uploads
from assay.server.api import webhooks as webhook_routes
from assay.server.headers import BodyLimit, Headers, SameOrigin
from assay.server.pages import install as install_pages
from assay.server.rates import Rates
from assay.server.services import Services
from assay.server.settings import Settings
from assay.storage import accounts, migrate
from assay.storage.blobs import Blobs
from assay.storage.database import Database
from assay.worker import queue

__all__ = ["make_app", "make_services", "setup_link"]

_MOST_BODY = 1024 * 1024
_SETUP_SECONDS = 86400.0
_DESCRIPTION = """
Says whether an image, a video or a sound recording is authentic.

Present a key as `Authorization: Bearer assay_...`. Every error is a problem document
(RFC 9457) whose `type` is `/problems/<code>`. Times are RFC 3339 in UTC.
"""


def make_services(settings: Settings, clock: Callable[[], float] = time.time) -> Services:
    """Open the database, bringing it up to date, and the blobs."""
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    database = Database(settings.url_of_database)
    migrate.upgrade(database)
    queue.prepare(database)
    return Services(
        settings=settings,
        database=database,
        blobs=Blobs(settings.folder_of_media),
        jobs=queue.Jobs(database),
        rates=Rates(),
        signing_key=settings.key(),
        clock=clock,
    )


def make_app(services: Services) -> FastAPI:
    """The ASGI application over ``services``, which it closes at its end."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        services.jobs.close()
        services.database.close()

    app = FastAPI(
        title="Assay",
        version=__version__,
        description=_DESCRIPTION,
        openapi_url="/api/v1/openapi.json",
        docs_url=None,  # its pages load scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
        generate_unique_id_function=lambda route: f"{[*route.tags, 'pages'][0]}_{route.name}",
    )
    app.state.services = services
    problems.install(app)
    app.add_exception_handler(Redirect, _redirect)
    for module in (analyses, uploads, webhook_routes, reviews, shares, keys, models, health):
        app.include_router(module.router)
    install_pages(app)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    # The last one added is the outermost.
    app.add_middleware(BodyLimit, most=_MOST_BODY, streamed=_streamed)
    app.add_middleware(SameOrigin, own=services.settings.base_url)
    app.add_middleware(logs.RequestLog, services=services)
    app.add_middleware(Headers, https=services.settings.secure_cookies)
    return app


def setup_link(services: Services) -> str | None:
    """The link by which the first owner is made; ``None`` once there is a user."""
    with services.database.write() as c:
        if accounts.count_users(c):
            return None
        token = accounts.make_ticket(c, "setup", at=services.clock(), seconds=_SETUP_SECONDS)
    return f"{services.settings.base_url}/setup?token={token}"


def _redirect(request: Request, error: Exception) -> Response:
    assert isinstance(error, Redirect)
    if request.headers.get("hx-request") == "true":
        return Response(headers={"HX-Redirect": error.where})
    return RedirectResponse(error.where, status_code=303)


def _streamed(method: str, path: str) -> bool:
    return (method == "POST" and path == "/api/v1/analyses") or (
        method == "PATCH" and path.startswith("/api/v1/uploads/")
    )


def _openapi(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        made = FastAPI.openapi(app)
        components = made.setdefault("components", {})
        schemas = components.setdefault("schemas", {})
        # Shapes that no route's signature names, because their bodies are streamed.
        _, extra = models_json_schema(
            [(shapes.ProblemOut, "serialization"), (shapes.ByReference, "validation")],
            ref_template="#/components/schemas/{model}",
        )
        schemas.update(extra["$defs"])
        for unused in ("HTTPValidationError", "ValidationError"):
            schemas.pop(unused, None)
        components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        made["security"] = [{"key": []}]
        app.openapi_schema = made
    return app.openapi_schema
