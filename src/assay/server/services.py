"""What a running server holds; handlers find it at ``request.app.state.services``."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request

from assay.server.rates import Rates
from assay.server.settings import Settings
from assay.storage.blobs import Blobs
from assay.storage.database import Database
from assay.worker.queue import Jobs

__all__ = ["Here", "Services", "services"]


@dataclass(slots=True, kw_only=True)
class Services:
    """Built once at start, by :func:`assay.server.app.make_app`."""

    settings: Settings
    database: Database
    blobs: Blobs
    jobs: Jobs
    rates: Rates
    signing_key: bytes
    clock: Callable[[], float] = time.time
    known_keys: dict[str, str] = field(default_factory=dict)
    """SHA-256 of a presented key to the stored hash that it matched; see ``access``."""


def services(request: Request) -> Services:
    """Dependency."""
    found = request.app.state.services
    assert isinstance(found, Services)
    return found


Here = Annotated[Services, Depends(services)]
"""Parameter of a route: the running server."""
