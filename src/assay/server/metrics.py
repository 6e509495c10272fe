"""What Prometheus is told. Labels are routes, statuses and kinds: never names or addresses."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import func, select

from assay.server.services import Services
from assay.storage import fleet
from assay.storage.analyses import STATUSES
from assay.storage.tables import analyses, deliveries

__all__ = ["Metrics"]

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """The metrics of one server process, in a registry of their own."""

    def __init__(self, services: Services) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "assay_http_requests",
            "Requests answered.",
            ("method", "route", "status"),
            registry=self._registry,
        )
        self._latency = Histogram(
            "assay_http_request_seconds",
            "Time until an answer begins.",
            ("route",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._registry.register(_Stored(services))

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        self._requests.labels(method, route, str(status)).inc()
        self._latency.labels(route).observe(seconds)

    def text(self) -> bytes:
        """In Prometheus's text format."""
        return generate_latest(self._registry)


class _Stored(Collector):
    """What the tables say at the moment of asking; alike from every process of a fleet."""

    def __init__(self, services: Services) -> None:
        self._here = services

    def describe(self) -> Iterator[Metric]:
        return iter(())  # the tables are not asked before they are there

    def collect(self) -> Iterator[Metric]:
        here = self._here
        now = here.clock()
        with here.database.read() as c:
            counted = c.execute(
                select(analyses.c.status, analyses.c.kind, func.count()).group_by(
                    analyses.c.status, analyses.c.kind
                )
            ).all()
            oldest = c.execute(
                select(func.min(analyses.c.created_at)).where(analyses.c.status == "queued")
            ).scalar()
            stored = c.execute(
                select(func.sum(analyses.c.bytes)).where(
                    analyses.c.media_deleted_at.is_(None), analyses.c.source_path.is_(None)
                )
            ).scalar()
            waiting = c.execute(
                select(func.count()).where(deliveries.c.status == "waiting")
            ).scalar()
            crew = fleet.listed(c)
        family = GaugeMetricFamily(
            "assay_analyses", "Analyses by status and kind.", labels=("status", "kind")
        )
        queued = 0
        there = {(status, kind or "unknown"): count for status, kind, count in counted}
        for status in STATUSES:
            there.setdefault((status, "unknown"), 0)
        for (status, kind), count in sorted(there.items()):
            family.add_metric((status, kind), count)
            queued += count if status == "queued" else 0
        yield family
        alive = sum(w.alive(now, here.settings.lease_seconds) for w in crew)
        for name, what, value in (
            ("assay_queue_length", "Analyses that wait.", queued),
            (
                "assay_queue_oldest_seconds",
                "Age of the analysis that waits longest.",
                now - oldest if oldest is not None else 0.0,
            ),
            ("assay_workers", "Workers that live.", alive),
            ("assay_media_bytes", "Bytes of the media that are kept.", int(stored or 0)),
            ("assay_deliveries_waiting", "Webhook deliveries that wait.", int(waiting or 0)),
            ("assay_free_bytes", "Free space where media are kept.", here.blobs.free_bytes()),
        ):
            yield GaugeMetricFamily(name, what, value=value)
