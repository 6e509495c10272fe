"""What operators and their programs see: health, metrics, logs without personal data."""

from __future__ import annotations

import io
import json
import logging
import re
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families as parse
from sqlalchemy import text

from assay.server import logs


def _values(house: Any, **headers: str) -> dict[tuple[str, ...], float]:
    answer = httpx.get(f"{house.url}/metrics", headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain")
    return {
        (s.name, *(f"{k}={v}" for k, v in sorted(s.labels.items()))): s.value
        for family in parse(answer.text)
        for s in family.samples
    }


def test_a_server_lives_and_is_ready_when_it_can_work(houses: Any, tmp_path: Path) -> None:
    house = houses.House(tmp_path / "house", workers=0)
    try:
        assert httpx.get(f"{house.url}/healthz").json() == {"status": "ok"}
        early = httpx.get(f"{house.url}/readyz")
        assert early.status_code == 503
        assert early.json()["checks"]["workers"] == "no worker was seen lately"
        house.workers = [house.worker("w1")]
        deadline = time.monotonic() + 60
        while (ready := httpx.get(f"{house.url}/readyz")).status_code == 503:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert ready.json() == {
            "ready": True,
            "checks": dict.fromkeys(("database", "migrations", "workers", "disk"), "ok"),
        }
        house.settings.min_free_bytes = 2**60
        assert "ASSAY_MIN_FREE_BYTES" in httpx.get(f"{house.url}/readyz").json()["checks"]["disk"]
        with house.services.database.write() as c:
            c.execute(text("UPDATE alembic_version SET version_num = 'older'"))
        assert "another version" in httpx.get(f"{house.url}/readyz").json()["checks"]["migrations"]
        with house.services.database.write() as c:
            c.execute(text("DROP TABLE alembic_version"))
            c.execute(text("ALTER TABLE workers RENAME TO gone"))
        assert httpx.get(f"{house.url}/readyz").json()["checks"]["database"] == "not reachable"
        assert httpx.get(f"{house.url}/healthz").status_code == 200
    finally:
        house.close()


def test_metrics_count_requests_by_route_and_the_queue(houses: Any, tmp_path: Path) -> None:
    house = houses.House(tmp_path / "house", workers=0)
    letter = tmp_path / "secret-name.txt"
    letter.write_text("no media at all")
    try:
        with house.program() as client:
            ident = house.submit(client, letter)["id"]
            for _ in range(3):
                client.get(f"/api/v1/analyses/{ident}")
            client.get("/api/v1/analyses/nonsense")
            client.get("/no/such/page")
        found = _values(house)
        route = "route=/api/v1/analyses/{ident}"
        name = "assay_http_requests_total"
        assert found[name, "method=GET", route, "status=200"] == 3
        assert found[name, "method=GET", route, "status=422"] == 1
        assert found[name, "method=POST", "route=/api/v1/analyses", "status=201"] == 1
        assert found["assay_http_request_seconds_count", route] == 4
        assert found["assay_queue_length",] == 1
        assert found["assay_analyses", "kind=unknown", "status=queued"] == 1
        assert found["assay_analyses", "kind=unknown", "status=done"] == 0
        assert 0 < found["assay_queue_oldest_seconds",] < 60
        assert found["assay_workers",] == 0
        assert found["assay_media_bytes",] == 15
        told = httpx.get(f"{house.url}/metrics").text
        assert "secret-name" not in told
        assert ident not in told
        forwarded = httpx.get(f"{house.url}/metrics", headers={"X-Forwarded-For": "1.2.3.4"})
        assert forwarded.status_code == 403
    finally:
        house.close()


def test_metrics_ask_for_their_token(houses: Any, tmp_path: Path) -> None:
    house = houses.House(tmp_path / "house", workers=0, metrics_token="open sesame")
    try:
        for headers in ({}, {"Authorization": "Bearer other"}, {"Authorization": "open sesame"}):
            assert httpx.get(f"{house.url}/metrics", headers=headers).status_code == 401
        assert _values(house, Authorization="Bearer open sesame")["assay_workers",] == 0
    finally:
        house.close()


@pytest.fixture
def written() -> Any:
    """A logger's output as it would be on standard error."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logs.Lines())
    made = []

    def logger(name: str) -> logging.Logger:
        found = logging.getLogger(name)
        found.addHandler(handler)
        found.propagate = False
        made.append(found)
        return found

    yield logger, lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    for found in made:
        found.removeHandler(handler)
        found.propagate = True


def test_only_known_fields_are_written(written: Any) -> None:
    logger, lines = written
    logger("assay.x").warning("worker ended", extra={"worker": "w1", "email": "a@example.org"})
    logger("other").warning("cannot open %s", "/home/ann/holiday.jpg")
    try:
        raise FileNotFoundError("/home/ann/holiday.jpg")
    except FileNotFoundError:
        logging.getLogger("assay.x").exception("worker chore failed")
    first, second, third = lines()
    assert first["worker"] == "w1"
    assert (first["level"], first["message"]) == ("warning", "worker ended")
    assert second["message"] == "cannot open %s"
    assert third["exception"] == "FileNotFoundError"
    assert third["trace"][-1].endswith("test_only_known_fields_are_written")
    assert not re.search("email|example|/ann|holiday", json.dumps(lines()))


def test_the_log_of_a_real_server_names_nobody(
    houses: Any, tmp_path: Path, portrait_video: Path
) -> None:
    """From upload to report and failure, with a telling file name, address and account."""
    house = houses.House(tmp_path / "house", workers=0)
    port = houses.free_port()
    log = tmp_path / "log"
    with log.open("wb") as file:
        process = houses.serve(house.folder, port, 1, stderr=file)
    secret = tmp_path / "Ann Example at the clinic.txt"
    secret.write_text("no media at all")
    try:
        with house.program() as inside:
            headers = inside.headers
        client = httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=60)
        deadline = time.monotonic() + 60
        while True:
            try:
                client.get("/healthz")
                break
            except httpx.TransportError:
                assert time.monotonic() < deadline
                time.sleep(0.1)
        ident = house.submit(client, secret)["id"]
        assert house.wait(client, ident, 120)["status"] == "failed"
        client.get("/api/v1/analyses", params={"q": "Ann Example"})
        client.get("/Ann/Example", headers={"X-Request-ID": "trace-me-12345"})
        client.close()
    finally:
        process.terminate()
        process.wait(timeout=40)
        house.close()
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert {"request", "worker started"} <= {line["message"] for line in lines}
    asked = [line for line in lines if line["message"] == "request"]
    assert {(a["method"], a["route"], a["status"]) for a in asked} >= {
        ("POST", "/api/v1/analyses", 201),
        ("GET", "/api/v1/analyses", 200),
        ("GET", "none", 404),
    }
    assert any(a["request"] == "trace-me-12345" for a in asked)
    assert not re.search(r"Ann|Example|clinic|127\.0\.0\.1|assay_[0-9a-f]{16}", log.read_text())
