"""Resumable uploads: what has arrived is kept through broken connections and kill -9."""

from __future__ import annotations

import base64
import hashlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

_MIB = 1024 * 1024
_TYPE = {"Content-Type": "application/offset+octet-stream"}


def _create(client: httpx.Client, length: int, name: str = "film.mp4") -> str:
    made = client.post("/api/v1/uploads", json={"name": name, "length": length})
    assert made.status_code == 201, made.text
    assert made.headers["upload-offset"] == "0"
    assert made.headers["location"] == f"/api/v1/uploads/{made.json()['id']}"
    return made.headers["location"]


def _send(client: httpx.Client, where: str, offset: int, data: Any) -> httpx.Response:
    return client.patch(where, content=data, headers={**_TYPE, "Upload-Offset": str(offset)})


def test_pieces_become_an_analysis(house: Any, astronaut_png: Path) -> None:
    data = astronaut_png.read_bytes()
    with house.program() as client:
        where = _create(client, len(data), "Über/astronaut.png")
        early = client.post("/api/v1/analyses", json={"upload_id": where[-32:]})
        assert early.status_code == 422, "an upload that is not complete is not analysed"
        for start in range(0, len(data), 300_000):
            answer = _send(client, where, start, data[start : start + 300_000])
            assert answer.status_code == 204
            assert answer.headers["upload-offset"] == str(min(start + 300_000, len(data)))
        head = client.head(where)
        assert head.headers["upload-offset"] == head.headers["upload-length"] == str(len(data))
        assert client.get(where).json()["sha256"] == hashlib.sha256(data).hexdigest()
        asked = {"upload_id": where[-32:], "prior": 0.25}
        made = client.post("/api/v1/analyses", json=asked, headers={"Idempotency-Key": "k"})
        assert made.status_code == 201, made.text
        assert made.json()["name"] == "astronaut.png"
        assert made.json()["sha256"] == hashlib.sha256(data).hexdigest()
        again = client.post("/api/v1/analyses", json=asked, headers={"Idempotency-Key": "k"})
        assert (again.status_code, again.json()["id"]) == (200, made.json()["id"])
        twice = client.post("/api/v1/analyses", json=asked)
        assert twice.status_code == 409
        assert house.wait(client, made.json()["id"])["status"] == "done"
        assert client.delete(where).status_code == 204
        assert house.services.blobs.path(made.json()["id"]) is not None
        assert client.head(where).status_code == 404


def test_a_wrong_offset_is_refused_with_the_right_one(house: Any) -> None:
    with house.program() as client:
        where = _create(client, 10)
        assert _send(client, where, 0, b"abcd").status_code == 204
        for offset in (0, 3, 5):
            wrong = _send(client, where, offset, b"efgh")
            assert wrong.status_code == 409
            assert wrong.headers["upload-offset"] == "4"
        assert _send(client, where, 4, b"efghij").status_code == 204
        digest = hashlib.sha256(b"abcdefghij").hexdigest()
        assert client.get(where).json()["sha256"] == digest


def test_no_more_than_was_announced_is_stored(house: Any) -> None:
    with house.program() as client:
        where = _create(client, 10)
        assert _send(client, where, 0, b"0" * 11).status_code == 413

        def endless() -> Iterator[bytes]:
            for _ in range(4):
                yield b"0" * 4

        assert _send(client, where, 0, endless()).status_code == 413
        file = house.services.blobs.root / "uploads" / where[-32:]
        kept = client.head(where).headers["upload-offset"]
        assert file.stat().st_size == int(kept) <= 10
        plain = client.patch(where, content=b"00", headers={"Upload-Offset": kept})
        assert plain.status_code == 415
        assert file.stat().st_mode & 0o777 == 0o600
        assert client.delete(where).status_code == 204
        assert not file.exists()


def test_uploads_are_of_their_owner_alone(house: Any) -> None:
    with house.program() as mine, house.program("owner") as other, house.program("viewer") as v:
        where = _create(mine, 4)
        assert _send(mine, where, 0, b"abcd").status_code == 204
        assert other.head(where).status_code == 404
        assert _send(other, where, 4, b"").status_code == 404
        assert other.delete(where).status_code == 404
        taken = other.post("/api/v1/analyses", json={"upload_id": where[-32:]})
        assert taken.status_code == 422
        assert v.post("/api/v1/uploads", json={"length": 4}).status_code == 403


def test_bounds_hold_before_a_byte_is_sent(houses: Any, tmp_path: Path) -> None:
    house = houses.House(tmp_path / "h", workers=0, max_upload_bytes=1000, max_open_uploads=2)
    try:
        with house.program() as client:
            big = client.post("/api/v1/uploads", json={"length": 1001})
            assert (big.status_code, big.json()["max_bytes"]) == (413, 1000)
            for wrong in (
                {},
                {"length": 0},
                {"length": -1},
                {"length": "x"},
                {"length": 1, "a": 1},
            ):
                assert client.post("/api/v1/uploads", json=wrong).status_code == 422
            where = _create(client, 1000)
            _create(client, 1000)
            assert client.post("/api/v1/uploads", json={"length": 1}).status_code == 429
            client.delete(where)
            _create(client, 1)
            # Other tests use the same disk meanwhile, so no closer than this.
            house.settings.min_free_bytes = house.services.blobs.free_bytes() + 10**10
            with house.program() as second:
                full = second.post("/api/v1/uploads", json={"length": 1000})
                assert full.status_code == 507
    finally:
        house.close()


def test_clients_of_the_tus_protocol_are_understood(house: Any) -> None:
    with house.program() as client:
        told = client.options("/api/v1/uploads")
        assert told.headers["tus-version"] == "1.0.0"
        name = base64.b64encode(b"mond.jpg").decode()
        made = client.post(
            "/api/v1/uploads",
            headers={"Upload-Length": "4", "Upload-Metadata": f"filename {name},type aW1n"},
        )
        assert made.status_code == 201
        assert made.json()["name"] == "mond.jpg"
        assert made.headers["tus-resumable"] == "1.0.0"
        assert "upload-expires" in made.headers
        bad = client.post("/api/v1/uploads", headers={"Upload-Length": "four"})
        assert bad.status_code == 422


def test_two_senders_do_not_mix(house: Any) -> None:
    with house.program() as client:
        where = _create(client, 8)

        def slowly() -> Iterator[bytes]:
            yield b"abcd"
            with house.program(user=None) as stranger:
                assert stranger.head(where).status_code == 404
            other = httpx.Client(base_url=house.url, headers=client.headers)
            answer = _send(other, where, 0, b"XXXX")
            assert answer.status_code == 409
            assert "another request" in answer.json()["detail"]
            other.close()
            yield b"efgh"

        assert _send(client, where, 0, slowly()).status_code == 204
        assert client.get(where).json()["sha256"] == hashlib.sha256(b"abcdefgh").hexdigest()


def test_a_broken_connection_keeps_what_arrived(house: Any) -> None:
    with house.program() as client:
        where = _create(client, 100_000)
        host, port = house.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as line:
            line.sendall(
                f"PATCH {where} HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n"
                f"Authorization: {client.headers['authorization']}\r\nUpload-Offset: 0\r\n"
                "Content-Type: application/offset+octet-stream\r\n\r\n".encode()
                + b"a" * 60_000
            )
            time.sleep(0.5)
        for _ in range(100):
            if (offset := int(client.head(where).headers["upload-offset"])) == 60_000:
                break
            time.sleep(0.05)
        assert offset == 60_000
        assert _send(client, where, offset, b"a" * 40_000).status_code == 204
        assert client.get(where).json()["sha256"] == hashlib.sha256(b"a" * 100_000).hexdigest()


def test_kill_9_loses_no_more_than_the_last_piece(houses: Any, tmp_path: Path) -> None:
    house = houses.House(tmp_path / "house", workers=0)
    data = os.urandom(20 * _MIB)
    port = houses.free_port()

    def serve() -> subprocess.Popen[bytes]:
        process: subprocess.Popen[bytes] = houses.serve(house.folder, port, 0)
        for _ in range(600):
            try:
                socket.create_connection(("127.0.0.1", port)).close()
            except ConnectionRefusedError:
                time.sleep(0.05)
            else:
                return process
        raise AssertionError("the server does not start")

    with house.program() as owner:
        headers = owner.headers
    process = serve()
    try:
        url = f"http://127.0.0.1:{port}"
        with httpx.Client(base_url=url, headers=headers, timeout=60) as client:
            where = _create(client, len(data))

            def killed_midway() -> Iterator[bytes]:
                yield data[: 18 * _MIB]
                time.sleep(1.0)
                process.send_signal(signal.SIGKILL)
                process.wait()
                yield data[18 * _MIB :]

            with pytest.raises(httpx.TransportError):
                _send(client, where, 0, killed_midway())
        process = serve()
        with httpx.Client(base_url=url, headers=headers, timeout=60) as client:
            offset = int(client.head(where).headers["upload-offset"])
            assert 8 * _MIB <= offset <= 18 * _MIB
            assert _send(client, where, offset, data[offset:]).status_code == 204
            assert client.get(where).json()["sha256"] == hashlib.sha256(data).hexdigest()
            made = client.post("/api/v1/analyses", json={"upload_id": where[-32:]})
            assert made.json()["sha256"] == hashlib.sha256(data).hexdigest()
    finally:
        process.kill()
        process.wait()
        house.close()


def test_expired_uploads_are_gone(houses: Any, tmp_path: Path) -> None:
    house = houses.House(tmp_path / "house", workers=0)
    try:
        with house.program() as client:
            where = _create(client, 4)
            _send(client, where, 0, b"ab")
            now = time.time()
            house.services.clock = lambda: now + 25 * 3600
            assert client.head(where).status_code == 404
            assert _send(client, where, 2, b"cd").status_code == 404
    finally:
        house.close()
