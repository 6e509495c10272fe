"""A worker process: takes jobs until it is told to stop."""

from __future__ import annotations

import logging
import os
import queue
import signal
import socket
import threading
import time
from collections.abc import Callable

from dbos import DBOS, DBOSConfig

from assay.isolation import Analyst
from assay.limits import Limits
from assay.storage import analyses, fleet, retention
from assay.storage.blobs import Blobs
from assay.storage.database import Database
from assay.worker import deliveries as _deliveries  # noqa: F401 - its steps register themselves
from assay.worker import jobs
from assay.worker.outbound import Policy
from assay.worker.queue import ANALYSES, DELIVERIES, VERSION, Jobs

__all__ = ["Worker"]

log = logging.getLogger("assay.worker")

_LOOK_EVERY = 0.3  # seconds between two looks for cancelled analyses
_SWEEP_EVERY = 60.0


class Worker:
    """Takes jobs from the queue of ``database`` and works ``at_once`` of them at a time.

    ``name`` must be unique in the fleet and, so that a restarted worker takes up its own
    jobs at once, the same at each start. A worker that says nothing for ``lease_seconds``
    (alike in the whole fleet) loses its jobs to the others. One worker per process: the
    queue's library keeps its state in the process.
    """

    def __init__(
        self,
        *,
        database: Database,
        blobs: Blobs,
        name: str,
        at_once: int = 1,
        limits: Limits | None = None,
        lease_seconds: float = fleet.LEASE_SECONDS,
        webhooks: Policy | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.name = name
        self._at_once = at_once
        self._lease = lease_seconds
        self._analysts = [Analyst(limits) for _ in range(at_once)]
        idle: queue.SimpleQueue[Analyst] = queue.SimpleQueue()
        for analyst in self._analysts:
            idle.put(analyst)
        self.here = jobs.Here(
            worker=name,
            database=database,
            blobs=blobs,
            jobs=Jobs(database),
            analysts=idle,
            webhooks=webhooks or Policy(),
            clock=clock,
        )
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Begin to take jobs; returns at once."""
        here = self.here
        jobs.set_here(here)
        with here.database.write() as c:
            host = socket.gethostname()[:120]
            fleet.join(c, self.name, host=host, pid=os.getpid(), at=here.clock())
        config: DBOSConfig = {
            "name": "assay",
            "system_database_url": here.database.url,
            "application_version": VERSION,
            "executor_id": self.name,
            "enable_otlp": False,
            "log_level": "WARNING",
            "notification_listener_polling_interval_sec": 1.0,
        }
        DBOS(config=config)
        DBOS.launch()
        for name, many in ((ANALYSES, self._at_once), (DELIVERIES, 4)):
            DBOS.register_queue(
                name,
                worker_concurrency=many,
                polling_interval_sec=0.1,
                on_conflict="always_update",
            )
        for target in (self._renew, self._heed, self._sweep):
            thread = threading.Thread(target=self._guard, args=(target,), daemon=True)
            thread.start()
            self._threads.append(thread)
        log.info("worker started", extra={"worker": self.name})

    def stop(self, grace: float = 10.0) -> None:
        """Take no more jobs, give those at work ``grace`` seconds, put the rest back."""
        here = self.here
        DBOS.destroy(workflow_completion_timeout_sec=max(1, round(grace)))
        here.stopping.set()
        self._over.set()
        with here.database.write() as c:
            for ident in list(here.running):
                analyses.requeue(c, ident)
            fleet.leave(c, self.name, here.clock())
        for analyst in self._analysts:
            analyst.close()
        log.info("worker stopped", extra={"worker": self.name})

    def run(self) -> None:
        """Work until SIGTERM or SIGINT; a second one ends it at once."""
        told = threading.Event()

        def heed(number: int, frame: object) -> None:
            if told.is_set():
                os._exit(128 + number)
            told.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, heed)
        self.start()
        while not told.wait(0.5):
            pass
        self.stop()
        # Threads that hold unfinished jobs never return; the jobs are others' now.
        os._exit(0)

    def _guard(self, loop: Callable[[], float]) -> None:
        """Repeat ``loop``, which answers how long to wait, whatever it meets."""
        while True:
            try:
                pause = loop()
            except Exception:
                log.exception("worker chore failed", extra={"worker": self.name})
                pause = 2.0
            if self._over.wait(pause):
                return

    def _renew(self) -> float:
        at = self.here.clock()
        with self.here.database.write() as c:
            fleet.renew(c, self.name, at)
            lost = [name for name in fleet.lost(c, at, self._lease) if name != self.name]
        if lost:
            # Of the library's own surface only this asks for given executors.
            DBOS._recover_pending_workflows(lost)
        return self._lease / 6

    def _heed(self) -> float:
        running = dict(self.here.running)
        if running:
            with self.here.database.read() as c:
                over = [i for i in running if analyses.status_of(c, i) != "running"]
            for ident in over:
                running[ident].close()
        return _LOOK_EVERY

    def _sweep(self) -> float:
        retention.sweep(self.here.database, self.here.blobs, self.here.clock())
        return _SWEEP_EVERY
