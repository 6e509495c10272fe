"""The jobs themselves: workflows and their steps.

Every step may run again after a crash, so each is written to change nothing the second
time: a report is kept only by the first try that ends.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dbos import DBOS
from sqlalchemy import Connection

from assay.errors import AnalysisCrashed, AssayError, MediaError
from assay.findings import Step
from assay.fusion.outcome import Sensitivity
from assay.isolation import Analyst
from assay.report.document import Report, Verdict
from assay.storage import analyses, audit, options, retention, reviews, webhooks
from assay.storage.analyses import Analysis
from assay.storage.blobs import Blobs
from assay.storage.database import Database
from assay.worker.outbound import Policy
from assay.worker.queue import Jobs

__all__ = ["MOST_TRIES", "Here", "at_work", "set_here"]

MOST_TRIES = 3  # of one file; it may be the file that kills its worker
_FLAGGED = frozenset({Verdict.SUSPICIOUS, Verdict.MANIPULATED, Verdict.SYNTHETIC})
_TELL_EVERY = 0.25  # seconds between two notes of progress

log = logging.getLogger("assay.worker")


@dataclass(slots=True, kw_only=True)
class Here:
    """What the steps need of the process in which they run."""

    worker: str
    database: Database
    blobs: Blobs
    jobs: Jobs
    analysts: queue.SimpleQueue[Analyst]
    webhooks: Policy = field(default_factory=Policy)
    clock: Callable[[], float] = time.time
    stopping: threading.Event = field(default_factory=threading.Event)
    running: dict[str, Analyst] = field(default_factory=dict)


_here: Here | None = None


def set_here(here: Here | None) -> None:
    global _here
    _here = here


def at_work() -> Here:
    """The process's :class:`Here`.

    Raises:
        RuntimeError: no worker runs in this process.
    """
    if _here is None:
        raise RuntimeError("no worker runs in this process")
    return _here


@DBOS.workflow(name="analyze")
def analyze(analysis_id: str) -> str:
    """Analyse one file. Answers how the analysis ended."""
    try:
        return examine(analysis_id)
    except Exception:
        log.exception("analysis failed in the worker itself", extra={"analysis": analysis_id})
        return give_up(analysis_id)


@DBOS.step(name="give_up", retries_allowed=True, max_attempts=5)
def give_up(analysis_id: str) -> str:
    """Our own mistake, not the file's; a row must not say "running" for ever."""
    here = at_work()
    with here.database.read() as c:
        row = analyses.get(c, analysis_id)
    if row is None:
        return "deleted"
    return _set_aside(here, row, "ServerError", "the server could not finish this analysis")


# A database that is busy or away for a moment is worth another try.
@DBOS.step(name="examine", retries_allowed=True, max_attempts=4, interval_seconds=1.0)
def examine(analysis_id: str) -> str:
    """From the stored bytes to the stored report, or to the reason why there is none."""
    here = at_work()
    analyst = here.analysts.get()
    try:
        while True:
            with here.database.write() as c:
                row = analyses.get(c, analysis_id)
                if row is None or row.ended:
                    return row.status if row else "deleted"
                tried = row.attempts
                if tried < MOST_TRIES:
                    row = analyses.begin(c, analysis_id, worker=here.worker, at=here.clock())
            assert row is not None
            if tried >= MOST_TRIES:
                cause = f"set aside after {MOST_TRIES} tries, each of which ended the worker"
                return _set_aside(here, row, "AnalysisCrashed", cause)
            answer = _look(here, analyst, row)
            if answer is not None:
                return answer
    finally:
        here.analysts.put(analyst)


def _look(here: Here, analyst: Analyst, row: Analysis) -> str | None:
    """One try; ``None`` when another is worth it."""
    path = Path(row.source_path) if row.source_path else here.blobs.path(row.id)
    if path is None:
        return _set_aside(here, row, "NotMedia", "the uploaded file is gone")
    with here.database.read() as c:
        chosen = options.load(c)
    here.running[row.id] = analyst
    try:
        report = analyst.analyze(
            path,
            prior=row.prior,
            pictures=not row.zero_retention,
            progress=_teller(here, row.id),
            name=row.name,
            sensitivity=Sensitivity(chosen.sensitivity),
            stability=chosen.stability,
        )
    except AssayError as error:
        if here.stopping.is_set():
            threading.Event().wait()  # the process is about to end; the job is not over
        if isinstance(error, AnalysisCrashed) and row.attempts < MOST_TRIES:
            log.warning("analysis crashed", extra={"analysis": row.id, "try": row.attempts})
            return None
        cause = error.cause if isinstance(error, MediaError) else str(error)
        # Where the server keeps a file is none of its user's business.
        return _set_aside(here, row, type(error).__name__, cause.replace(str(path), row.name))
    finally:
        here.running.pop(row.id, None)
    return _keep(here, row, report)


def _teller(here: Here, analysis_id: str) -> Callable[[Step], None]:
    partial: list[dict[str, Any]] = []
    last = 0.0

    def tell(step: Step) -> None:
        nonlocal last
        if step.found:
            partial.append({"analyzer": step.analyzer, "findings": [dict(f) for f in step.found]})
        now = time.monotonic()
        if now - last < _TELL_EVERY:
            return
        last = now
        with here.database.write() as c:
            analyses.progress(
                c, analysis_id, stage=step.stage, share=step.share, partial=partial[-100:]
            )

    return tell


def _keep(here: Here, row: Analysis, report: Report) -> str:
    at = here.clock()
    with here.database.write() as c:
        if not analyses.finish(c, row.id, report, at):
            return analyses.status_of(c, row.id) or "deleted"
        bound = options.load(c).review_above
        if bound is not None and report.verdict in _FLAGGED and _chance(report) >= bound:
            reviews.open_for(c, row.id, at)
        detail = {"verdict": str(report.verdict), "sha256": report.media.sha256}
        _tell_end(here, c, row, "done", detail, at)
    _drop_media(here, row, at)
    return "done"


def _chance(report: Report) -> float:
    return 1.0 if report.probability is None else report.probability


def _set_aside(here: Here, row: Analysis, kind: str, cause: str) -> str:
    at = here.clock()
    with here.database.write() as c:
        if not analyses.fail(c, row.id, kind=kind, cause=cause, at=at):
            return analyses.status_of(c, row.id) or "deleted"
        _tell_end(here, c, row, "failed", {"error": kind}, at)
    _drop_media(here, row, at)
    return "failed"


def _tell_end(
    here: Here, c: Connection, row: Analysis, status: str, detail: dict[str, Any], at: float
) -> None:
    actor = f"worker:{here.worker}"
    audit.write(c, actor=actor, action=f"analysis.{status}", subject=row.id, detail=detail, at=at)
    fresh = analyses.get(c, row.id)
    assert fresh is not None
    for delivery in webhooks.tell(c, event=f"analysis.{status}", analysis=fresh, at=at):
        here.jobs.deliver(c, delivery)


def _drop_media(here: Here, row: Analysis, at: float) -> None:
    """Delete the media at the end where nothing is to be kept; the sweep does it otherwise."""
    if row.media_expires_at is not None and row.media_expires_at <= at:
        with here.database.write() as c:
            retention.drop_media(c, here.blobs, row.id, at, actor=f"worker:{here.worker}")


@DBOS.workflow(name="deliver")
def deliver(delivery_id: str) -> str:
    """Tell a webhook; see :mod:`assay.worker.deliveries`."""
    from assay.worker import deliveries

    return deliveries.run(delivery_id)
