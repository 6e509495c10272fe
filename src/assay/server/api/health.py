"""For those who run the server: does it live, is it ready, how is it doing."""

from __future__ import annotations

import hmac
import ipaddress
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel
from sqlalchemy.exc import SQLAlchemyError

from assay.server.api.shapes import PROBLEM_RESPONSES
from assay.server.problems import Problem
from assay.server.services import Here, Services
from assay.storage import fleet, migrate

__all__ = ["checks", "router"]

router = APIRouter(tags=["operations"])


class Health(BaseModel):
    status: str


class Readiness(BaseModel):
    """``checks``: ``ok``, or what is wrong, for each of database, migrations, workers, disk."""

    ready: bool
    checks: dict[str, str]


# No key is asked for; `security` says so.
_OPEN: dict[str, Any] = {"security": []}


@router.get("/healthz", response_model=Health, openapi_extra=_OPEN)
def healthz() -> Health:
    """Whether the process answers; asks nothing of the database."""
    return Health(status="ok")


@router.get(
    "/readyz",
    response_model=Readiness,
    openapi_extra=_OPEN,
    responses={503: {"model": Readiness, "description": "Not ready; `checks` say why."}},
)
def readyz(here: Here) -> Response:
    """Whether work can be taken: the database, a living worker, room on the disk."""
    found = checks(here)
    ready = all(value == "ok" for value in found.values())
    body = Readiness(ready=ready, checks=found).model_dump()
    return JSONResponse(body, status_code=200 if ready else 503)


@router.get(
    "/metrics",
    response_class=Response,
    openapi_extra=_OPEN,
    responses={
        200: {"description": "In Prometheus's text format.", "content": {"text/plain": {}}},
        **{k: PROBLEM_RESPONSES[k] for k in (401, 403)},
    },
)
def metrics(request: Request, here: Here) -> Response:
    """Requests, queue, workers and storage in numbers.

    With a token set, for who presents it; else for programs on the same machine.
    """
    token = here.settings.metrics_token.get_secret_value()
    if token:
        kind, _, given = request.headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not hmac.compare_digest(given.encode(), token.encode()):
            raise Problem("unauthorized", headers={"WWW-Authenticate": 'Bearer realm="metrics"'})
    elif not _local(request):
        raise Problem("forbidden", "set ASSAY_METRICS_TOKEN to read the metrics from elsewhere")
    return Response(request.app.state.metrics.text(), media_type=CONTENT_TYPE_LATEST)


def checks(here: Services) -> dict[str, str]:
    """``ok`` or what is wrong, by what was looked at."""
    found = dict.fromkeys(("database", "migrations", "workers", "disk"), "ok")
    try:
        with here.database.read() as c:
            if not migrate.is_current(c):
                found["migrations"] = "the database is of another version"
            now, lease = here.clock(), here.settings.lease_seconds
            if not any(w.alive(now, lease) for w in fleet.listed(c)):
                found["workers"] = "no worker was seen lately"
    except SQLAlchemyError:
        found |= {"database": "not reachable", "migrations": "unknown", "workers": "unknown"}
    try:
        if here.blobs.free_bytes() < here.settings.min_free_bytes:
            found["disk"] = "less free than ASSAY_MIN_FREE_BYTES"
    except OSError:
        found["disk"] = "not reachable"
    return found


def _local(request: Request) -> bool:
    # A proxy on this machine asks for others; that it forwards, it says in a header.
    if request.client is None or "x-forwarded-for" in request.headers:
        return False
    try:
        return ipaddress.ip_address(request.client.host).is_loopback
    except ValueError:
        return False
