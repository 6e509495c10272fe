"""Webhooks on a real server with a real worker and a real peer on loopback."""

from __future__ import annotations

import hashlib
import hmac
import http.server
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest


class Peer:
    """Answers with the statuses of ``plan`` in turn, then with 204; notes what it heard."""

    def __init__(self) -> None:
        self.heard: list[tuple[dict[str, str], str]] = []
        self.plan: list[int] = []
        peer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                peer.heard.append(({k.lower(): v for k, v in self.headers.items()}, body))
                self.send_response(peer.plan.pop(0) if peer.plan else 204)
                self.end_headers()

            def log_message(self, *arguments: object) -> None: ...

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hook"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def wait(self, count: int, seconds: float = 40) -> None:
        deadline = time.monotonic() + seconds
        while len(self.heard) < count and time.monotonic() < deadline:
            time.sleep(0.05)
        assert len(self.heard) == count

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def peer() -> Iterator[Peer]:
    made = Peer()
    yield made
    made.close()


@pytest.fixture(scope="module")
def hooked(houses: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A server whose webhooks may go to loopback and are tried three times in quick succession."""
    made = houses.House(
        tmp_path_factory.mktemp("hooked"),
        workers=0,
        webhook_allow_http=True,
        webhook_allow_private=True,
    )
    quick = {"ASSAY_WEBHOOK_RETRY_SECONDS": "0.2", "ASSAY_WEBHOOK_TRIES": "3"}
    made.workers = [made.worker("w1", **quick)]
    yield made
    made.close()


@pytest.fixture
def letter(tmp_path: Path) -> Path:
    path = tmp_path / "letter.txt"
    path.write_text("no media at all")
    return path


def _settled(client: httpx.Client, hook: str, count: int) -> list[dict[str, Any]]:
    deadline = time.monotonic() + 40
    while time.monotonic() < deadline:
        items = client.get(f"/api/v1/webhooks/{hook}/deliveries").json()["items"]
        if len(items) == count and all(i["status"] != "waiting" for i in items):
            return items
        time.sleep(0.1)
    raise AssertionError(items)


def test_an_event_is_told_signed_and_once(hooked: Any, peer: Peer, letter: Path) -> None:
    with hooked.program() as client:
        asked = {"url": peer.url, "events": ["analysis.failed"]}
        made = client.post("/api/v1/webhooks", json=asked)
        assert made.status_code == 201, made.text
        hook = made.json()
        listed = client.get("/api/v1/webhooks")
        assert [h["id"] for h in listed.json()] == [hook["id"]]
        assert hook["secret"] not in listed.text
        ident = hooked.submit(client, letter)["id"]
        peer.wait(1)
        headers, body = peer.heard[0]
        told = json.loads(body)
        assert told["event"] == headers["assay-event"] == "analysis.failed"
        assert told["analysis"]["id"] == ident
        assert told["analysis"]["error"]["type"] == "NotMedia"
        stamp, mark = (part.split("=")[1] for part in headers["assay-signature"].split(","))
        expected = hmac.new(hook["secret"].encode(), f"{stamp}.{body}".encode(), hashlib.sha256)
        assert mark == expected.hexdigest()
        assert abs(time.time() - int(stamp)) < 60
        (entry,) = _settled(client, hook["id"], 1)
        assert (entry["status"], entry["response"], entry["attempts"]) == ("delivered", 204, 1)
        assert entry["analysis_id"] == ident
        again = client.post(f"/api/v1/webhooks/{hook['id']}/deliveries/{entry['id']}/redeliver")
        assert again.status_code == 201
        peer.wait(2)
        assert peer.heard[1][1] == body
        page = client.get(f"/api/v1/webhooks/{hook['id']}/deliveries", params={"limit": 1}).json()
        rest = client.get(
            f"/api/v1/webhooks/{hook['id']}/deliveries", params={"cursor": page["next"]}
        ).json()
        assert [page["items"][0]["id"], rest["items"][0]["id"]] == [again.json()["id"], entry["id"]]


def test_failures_are_tried_again_and_given_up(hooked: Any, peer: Peer, letter: Path) -> None:
    with hooked.program() as client:
        hook = client.post(
            "/api/v1/webhooks", json={"url": peer.url, "events": ["analysis.failed"]}
        ).json()["id"]
        peer.plan = [500, 302]
        hooked.submit(client, letter)
        peer.wait(3)
        (entry,) = _settled(client, hook, 1)
        assert (entry["status"], entry["attempts"]) == ("delivered", 3)
        peer.plan = [503] * 9
        hooked.submit(client, letter)
        latest = _settled(client, hook, 2)[0]
        assert (latest["status"], latest["attempts"]) == ("given_up", 3)
        assert (latest["response"], latest["error"]) == (503, "answered 503")
        time.sleep(1)
        assert len(peer.heard) == 6


def test_a_silent_peer_holds_up_nobody(hooked: Any, peer: Peer, letter: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0), backlog=50) as silent, hooked.program() as slow:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        for _ in range(3):
            slow.post("/api/v1/webhooks", json={"url": url, "events": ["analysis.failed"]})
        hooked.submit(slow, letter)
        with hooked.program() as client:
            client.post("/api/v1/webhooks", json={"url": peer.url, "events": ["analysis.failed"]})
            hooked.submit(client, letter)
            peer.wait(1, seconds=20)


def test_only_enabled_hooks_of_the_owner_hear(hooked: Any, peer: Peer, letter: Path) -> None:
    with hooked.program() as mine, hooked.program("owner") as other, hooked.program("viewer") as v:
        assert v.get("/api/v1/webhooks").status_code == 403
        hook = mine.post(
            "/api/v1/webhooks", json={"url": peer.url, "events": ["analysis.failed"]}
        ).json()["id"]
        here = f"/api/v1/webhooks/{hook}"
        for call in (other.get, other.delete, lambda u: other.patch(u, json={"enabled": False})):
            assert call(here).status_code == 404
        off = mine.patch(here, json={"enabled": False})
        assert off.json()["enabled"] is False
        hooked.wait(mine, hooked.submit(mine, letter)["id"])
        on = mine.patch(here, json={"enabled": True, "events": ["analysis.done"]})
        assert on.json()["events"] == ["analysis.done"]
        hooked.wait(mine, hooked.submit(mine, letter)["id"])
        hooked.wait(other, hooked.submit(other, letter)["id"])
        time.sleep(0.5)
        assert mine.get(here + "/deliveries").json()["items"] == []
        assert peer.heard == []
        assert mine.delete(here).status_code == 204
        assert mine.get(here).status_code == 404


def test_addresses_inside_are_refused(house: Any) -> None:
    """On a server as it comes."""
    with house.program() as client:
        for url in (
            "http://example.org/",
            "https://127.0.0.1/",
            "https://[::1]/",
            "https://169.254.169.254/latest",
            "https://user:pass@example.org/",
            "not a url",
        ):
            answer = client.post("/api/v1/webhooks", json={"url": url, "events": ["analysis.done"]})
            assert answer.status_code == 422, url
            assert answer.json()["detail"].startswith("url: ")
        # A name is judged by its addresses when it is called: here, at delivery.
        asked = {"url": "https://localhost/", "events": ["analysis.failed"]}
        hook = client.post("/api/v1/webhooks", json=asked).json()["id"]
        letter = house.folder / "letter.txt"
        letter.write_text("no media at all")
        house.submit(client, letter)
        (entry,) = _settled(client, hook, 1)
        assert (entry["status"], entry["attempts"]) == ("given_up", 1)
        assert "not an address of the Internet" in entry["error"]


def test_strange_events_and_too_many_hooks(house: Any) -> None:
    with house.program() as client:
        asked: dict[str, Any] = {"url": "https://example.org/", "events": ["analysis.started"]}
        assert client.post("/api/v1/webhooks", json=asked).status_code == 422
        asked["events"] = ["review.done"]
        for _ in range(20):
            assert client.post("/api/v1/webhooks", json=asked).status_code == 201
        assert client.post("/api/v1/webhooks", json=asked).status_code == 409
