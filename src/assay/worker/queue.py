"""Putting jobs into the queue and taking them out, from any process of the server."""

from __future__ import annotations

import contextlib
import logging
from typing import Any

from sqlalchemy import Connection

from assay.storage.analyses import Analysis
from assay.storage.database import Database

__all__ = ["ANALYSES", "DELIVERIES", "VERSION", "Jobs", "prepare"]

ANALYSES = "analyses"
DELIVERIES = "deliveries"
VERSION = "assay-jobs-1"  # raise when a workflow's steps change in kind or order
_APPLICATION = "assay"


def prepare(database: Database) -> None:
    """Make or migrate the queue's own tables; safe to call from several processes at once."""
    from dbos import DBOS

    DBOS.migrate(database.url)


class Jobs:
    """The queue, for processes that take no jobs themselves.

    A job is entered in the same transaction as the row that it is about: there is never
    one without the other. The workflow's id is the row's, so a job entered twice runs once.
    """

    def __init__(self, database: Database) -> None:
        from dbos import DBOSClient

        logging.getLogger("dbos").setLevel(logging.WARNING)
        self._client = DBOSClient(
            system_database_url=database.url, application_name=_APPLICATION, lazy=True
        )

    def analyze(self, c: Connection, analysis: Analysis) -> None:
        """Enter an analysis; ``c`` is the transaction that added it."""
        self._enter(
            c, ANALYSES, "analyze", analysis.id, ident=analysis.id, priority=analysis.priority
        )

    def deliver(
        self, c: Connection, delivery_id: str, *, tried: int = 0, delay: float = 0.0
    ) -> None:
        """Enter a delivery to a webhook, in the transaction that added it or notes a try.

        Each try is a job of its own, begun after ``delay`` seconds.
        """
        ident = f"{delivery_id}-{tried}" if tried else delivery_id
        self._enter(c, DELIVERIES, "deliver", delivery_id, ident=ident, priority=5, delay=delay)

    def cancel(self, ident: str) -> None:
        """Take a job out. What runs already is stopped by its worker, which sees the row."""
        with contextlib.suppress(Exception):  # the row says cancelled; a worker heeds it
            self._client.cancel_workflow(ident)

    def close(self) -> None:
        self._client.destroy()

    def _enter(
        self,
        c: Connection,
        queue: str,
        workflow: str,
        argument: str,
        *,
        ident: str,
        priority: int,
        delay: float = 0.0,
    ) -> None:
        options: Any = {
            "queue_name": queue,
            "workflow_name": workflow,
            "workflow_id": ident,
            "app_version": VERSION,
            "priority": priority,
        }
        if delay > 0:
            options["delay_seconds"] = delay
        self._client.enqueue_in_transaction(c, options, argument)
