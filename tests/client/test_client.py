"""The Python client against a real server with a real worker."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from assay.client import (
    Analysis,
    AssayClient,
    AsyncAssayClient,
    BadSignature,
    ServerProblem,
    TooManyRequests,
    Unreachable,
    calls,
    verify_webhook,
)
from assay.errors import AnalysisTimeout
from assay.report.document import Report
from assay.storage import webhooks


@pytest.fixture(scope="module")
def key(house: Any) -> Iterator[str]:
    with house.program("analyst") as client:
        yield client.headers["authorization"].removeprefix("Bearer ")


@pytest.fixture
def server(house: Any, key: str) -> Iterator[AssayClient]:
    with AssayClient(house.url, key) as client:
        yield client


def test_from_file_to_report(server: AssayClient, astronaut_png: Path) -> None:
    made = server.submit(astronaut_png, prior=0.1, priority=1, idempotency_key="once")
    assert isinstance(made, Analysis)
    again = server.submit(astronaut_png, prior=0.1, priority=1, idempotency_key="once")
    assert again.id == made.id
    seen = list(server.events(made.id))
    assert seen[-1].status == "done"
    assert [a.progress for a in seen] == sorted(a.progress for a in seen)
    done = server.wait(made.id)
    assert done.ended
    report = server.report(made.id)
    assert isinstance(report, Report)
    assert (str(report.verdict), report.headline) == (done.verdict, done.headline)
    assert report.media.name == "astronaut.png"
    assert server.report_as(made.id, "html").startswith(b"<!doctype html>")
    server.delete(made.id)
    with pytest.raises(ServerProblem, match="404") as refused:
        server.get(made.id)
    assert (refused.value.status, refused.value.code) == (404, "not-found")


def test_the_same_with_asyncio(house: Any, key: str, astronaut_png: Path) -> None:
    async def run() -> None:
        async with AsyncAssayClient(house.url, key) as server:
            made = await server.submit(astronaut_png, zero_retention=True)
            seen = [a async for a in server.events(made.id)]
            assert seen[-1].status == "done"
            report = await server.report(made.id)
            assert report.pictures == ()
            listed = [a.id async for a in server.analyses(status="done")]
            assert made.id in listed
            with pytest.raises(ServerProblem) as refused:
                await server.cancel(made.id)
            assert refused.value.code == "conflict"
            assert "models" in await server.request("GET", "/models")
            await server.delete(made.id)

    asyncio.run(run())


def test_a_large_file_is_sent_in_pieces_and_survives_broken_connections(
    server: AssayClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "RESUMABLE_BYTES", 1000)
    monkeypatch.setattr(calls, "_PIECE", 400)
    path = tmp_path / "long.bin"
    path.write_bytes(bytes(range(256)) * 8)
    once = server._once
    broken: list[str] = []

    def fragile(ask: Any) -> Any:
        import httpx

        answer = once(ask)
        if ask.method == "PATCH" and len(broken) < 2:
            broken.append(ask.headers["Upload-Offset"])
            raise httpx.ReadError("connection reset")  # after the server has it
        return answer

    monkeypatch.setattr(server, "_once", fragile)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    made = server.submit(path)
    assert len(broken) == 2
    assert made.name == "long.bin"
    import hashlib

    assert made.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_lists_go_through_all_pages(server: AssayClient, tmp_path: Path) -> None:
    path = tmp_path / "paged.txt"
    path.write_text("no media at all")
    made = {server.submit(path).id for _ in range(3)}
    found = [a.id for a in server.analyses(q="paged.txt", limit=1)]
    assert set(found) == made
    assert len(found) == 3
    failed = server.wait(found[0])
    assert failed.status == "failed"
    assert failed.error is not None
    assert failed.error.startswith("NotMedia: ")


def test_waiting_has_an_end(server: AssayClient, portrait_video: Path) -> None:
    made = server.submit(portrait_video)
    with pytest.raises(AnalysisTimeout, match=r"portrait\.mp4"):
        server.wait(made.id, seconds=0)
    assert server.cancel(made.id).status == "cancelled"


def test_no_server_and_no_key(house: Any) -> None:
    with AssayClient("http://127.0.0.1:1", "assay_x_y") as nowhere, pytest.raises(Unreachable):
        nowhere.get("0" * 32)
    with AssayClient(house.url, "assay_x_y") as stranger:
        with pytest.raises(ServerProblem) as refused:
            stranger.get("0" * 32)
        assert refused.value.code == "unauthorized"
        with pytest.raises(ServerProblem):
            list(stranger.events("0" * 32))


def test_it_comes_back_when_told_to() -> None:
    class Busy(BaseHTTPRequestHandler):
        asked = 0

        def do_GET(self) -> None:
            Busy.asked += 1
            self.send_response(429 if Busy.asked < 3 else 200)
            self.send_header("Retry-After", "0")
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(b'{"items": [], "next": null}')

        def log_message(self, *args: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Busy) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{http.server_address[1]}"
        with AssayClient(url, "k") as client:
            assert list(client.analyses()) == []
        assert Busy.asked == 3
        Busy.asked = -9
        with AssayClient(url, "k", retries=2) as client, pytest.raises(TooManyRequests):
            list(client.analyses())
        http.shutdown()


def test_signatures_of_webhooks() -> None:
    body, secret, now = b'{"event": "analysis.done"}', "s3cret", 1_800_000_000.0
    header = webhooks.signature(secret, body.decode(), now)
    verify_webhook(body, header, secret, clock=lambda: now + 200)
    for wrong in (
        (body + b" ", header, secret, now),
        (body, header, "other", now),
        (body, header, secret, now + 301),
        (body, header.replace("t=18", "t=19"), secret, now),
        (body, "", secret, now),
        (body, "t=x,v1=y", secret, now),
        (body, header.replace("v1=", "v1=é"), secret, now),
    ):
        with pytest.raises(BadSignature):
            verify_webhook(wrong[0], wrong[1], wrong[2], clock=lambda at=wrong[3]: at)
