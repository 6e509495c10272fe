"""The API of analyses, on a real server with a real worker and real media."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from assay.report.as_json import from_json


def test_from_upload_to_report(house: Any, astronaut_png: Path) -> None:
    with house.program() as client:
        made = house.submit(client, astronaut_png, prior=0.1, priority=2)
        assert made["status"] == "queued"
        assert made["sha256"] == hashlib.sha256(astronaut_png.read_bytes()).hexdigest()
        assert (made["prior"], made["priority"]) == (0.1, 2)
        done = house.wait(client, made["id"])
        assert done["status"] == "done", done
        assert done["kind"] == "image"
        assert done["progress"] == 1.0
        answer = client.get(done["links"]["report"])
        report = from_json(answer.text)
        assert report.media.name == "astronaut.png"
        assert report.media.sha256 == made["sha256"]
        assert report.prior == 0.1
        assert str(report.verdict) == done["verdict"]
        assert report.headline == done["headline"]
        page = client.get(done["links"]["report"], headers={"Accept": "text/html"})
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert page.headers["content-security-policy"].startswith("sandbox ")
        assert report.headline in page.text


def test_events_tell_the_progress_and_end(house: Any, astronaut_png: Path) -> None:
    with house.program() as client:
        ident = house.submit(client, astronaut_png)["id"]
        seen = []
        with client.stream("GET", f"/api/v1/analyses/{ident}/events") as stream:
            assert stream.headers["content-type"].startswith("text/event-stream")
            for line in stream.iter_lines():
                if line.startswith("data: "):
                    seen.append(json.loads(line[6:]))
        assert seen[-1]["status"] == "done"
        shares = [s["progress"] for s in seen]
        assert shares == sorted(shares)
        running = [s for s in seen if s["status"] == "running" and s["stage"]]
        assert running, "the stages of a running analysis are told"
        found = [f for s in seen for p in s["partial"] for f in p["findings"]]
        assert all(f["because"] for f in found)


def test_a_file_that_is_no_media_fails_with_its_reason(house: Any, tmp_path: Path) -> None:
    letter = tmp_path / "letter.jpg"
    letter.write_text("Dear Sir or Madam, this is no picture. " * 9)
    with house.program() as client:
        ident = house.submit(client, letter)["id"]
        failed = house.wait(client, ident)
        assert failed["status"] == "failed"
        assert failed["error"]["type"] == "NotMedia"
        assert "text" in failed["error"]["cause"]
        assert str(house.folder) not in json.dumps(failed)
        problem = client.get(f"/api/v1/analyses/{ident}/report")
        assert problem.status_code == 409
        assert problem.json()["analysis_status"] == "failed"


def test_a_repeated_request_makes_one_analysis(house: Any, astronaut_png: Path) -> None:
    data = astronaut_png.read_bytes()
    with house.program() as client, house.program() as other:

        def send(who: httpx.Client, content: bytes = data) -> httpx.Response:
            return who.post(
                "/api/v1/analyses",
                files={"file": ("a.png", content)},
                headers={"Idempotency-Key": "order-1"},
            )

        first, again = send(client), send(client)
        assert (first.status_code, again.status_code) == (201, 200)
        assert first.json()["id"] == again.json()["id"]
        assert again.headers["idempotency-replayed"] == "true"
        assert send(other).json()["id"] != first.json()["id"], "keys are per user"
        changed = send(client, data + b"\0")
        assert changed.status_code == 422
        assert changed.json()["type"] == "/problems/idempotency-key-reused"
        assert len(client.get("/api/v1/analyses").json()["items"]) == 1
    # What was sent again was not kept again.
    kept = set(house.services.blobs.keys())
    assert {first.json()["id"]} == kept & {first.json()["id"], changed.headers.get("x", "")}


def test_pages_of_a_list_hold_everything_once(house: Any, tmp_path: Path) -> None:
    with house.program() as client:
        names = []
        for n in range(5):
            path = tmp_path / f"Note {n}.txt"
            path.write_text("no media " * (n + 1))
            names.append(path.name)
            house.submit(client, path)
        found, cursor = [], ""
        while True:
            page = client.get("/api/v1/analyses", params={"limit": 2, "cursor": cursor}).json()
            found += [a["name"] for a in page["items"]]
            if page["next"] is None:
                break
            cursor = page["next"]
        assert found == names[::-1]
        hit = client.get("/api/v1/analyses", params={"q": "NOTE 3"}).json()["items"]
        assert [a["name"] for a in hit] == ["Note 3.txt"]
        nothing = client.get("/api/v1/analyses", params={"q": "%"}).json()["items"]
        assert nothing == [], "a wildcard is a character like others"
        assert client.get("/api/v1/analyses", params={"cursor": "x" * 40}).status_code == 400


def test_etags(house: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("no media at all")
    with house.program() as client:
        ident = house.submit(client, path)["id"]
        house.wait(client, ident)
        here = f"/api/v1/analyses/{ident}"
        tag = client.get(here).headers["etag"]
        assert client.get(here, headers={"If-None-Match": tag}).status_code == 304
        assert client.delete(here, headers={"If-Match": '"0"'}).status_code == 412
        assert client.delete(here, headers={"If-Match": tag}).status_code == 204
        assert client.get(here).status_code == 404


def test_deleting_deletes_the_media_and_the_report(house: Any, astronaut_png: Path) -> None:
    with house.program() as client:
        ident = house.submit(client, astronaut_png)["id"]
        house.wait(client, ident)
        blobs = house.services.blobs
        assert blobs.path(ident) is not None
        assert client.delete(f"/api/v1/analyses/{ident}").status_code == 204
        assert blobs.path(ident) is None
        assert client.get(f"/api/v1/analyses/{ident}/report").status_code == 404


def test_cancelling_a_queued_and_a_running_analysis(house: Any, portrait_video: Path) -> None:
    with house.program() as client:
        first = house.submit(client, portrait_video)["id"]
        second = house.submit(client, portrait_video)["id"]
        for ident in (second, first):
            answer = client.post(f"/api/v1/analyses/{ident}/cancel")
            assert answer.status_code == 200, answer.text
            assert answer.json()["status"] == "cancelled"
        assert client.post(f"/api/v1/analyses/{first}/cancel").status_code == 200
        third = house.submit(client, portrait_video)["id"]
        assert house.wait(client, third)["status"] == "done", "the worker lives on"
        assert client.post(f"/api/v1/analyses/{third}/cancel").status_code == 409
        assert client.get(f"/api/v1/analyses/{first}").json()["status"] == "cancelled"


def test_zero_retention_keeps_the_report_and_nothing_else(house: Any, astronaut_png: Path) -> None:
    with house.program() as client:
        ident = house.submit(client, astronaut_png, zero_retention=True)["id"]
        done = house.wait(client, ident)
        assert done["status"] == "done"
        assert done["zero_retention"] is True
        report = client.get(f"/api/v1/analyses/{ident}/report").json()
        assert report["pictures"] == []
    assert house.services.blobs.path(ident) is None


def test_who_sees_what(house: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("no media at all")
    with (
        house.program("analyst") as mine,
        house.program("analyst") as stranger,
        house.program("viewer") as viewer,
        house.program("owner") as owner,
    ):
        ident = house.submit(mine, path)["id"]
        here = f"/api/v1/analyses/{ident}"
        for who, status in ((mine, 200), (stranger, 404), (viewer, 200), (owner, 200)):
            assert who.get(here).status_code == status
        assert stranger.get("/api/v1/analyses").json()["items"] == []
        for call in (stranger.delete, lambda u: stranger.post(u + "/cancel")):
            assert call(here).status_code == 404
        assert stranger.get(here + "/events").status_code == 404
        assert viewer.delete(here).status_code == 403
        with path.open("rb") as file:
            assert viewer.post("/api/v1/analyses", files={"file": file}).status_code == 403
        assert owner.delete(here).status_code == 204


def test_a_key_does_no_more_than_its_scopes(house: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("no media at all")
    user = house.user("owner")
    with house.program(user=user, scopes=["analyses:read"]) as reader, path.open("rb") as file:
        answer = reader.post("/api/v1/analyses", files={"file": file})
        assert answer.status_code == 403
        assert answer.json()["needs"] == ["analyses:write"]
        assert reader.get("/api/v1/analyses").status_code == 200
        asked = {"name": "more", "scopes": ["admin"]}
        assert reader.post("/api/v1/keys", json=asked).status_code == 403


def test_keys_are_shown_once_and_can_be_revoked(house: Any) -> None:
    with house.browser("analyst") as browser:
        asked = {"name": "script", "scopes": ["analyses:read"], "expires_in_days": 1}
        made = browser.post("/api/v1/keys", json=asked).json()
        assert made["secret"].startswith(f"assay_{made['id']}_")
        listed = browser.get("/api/v1/keys")
        assert [k["id"] for k in listed.json()] == [made["id"]]
        assert made["secret"] not in listed.text
        assert (
            browser.post("/api/v1/keys", json={"name": "x", "scopes": ["admin"]}).status_code == 422
        )
        with httpx.Client(
            base_url=house.url, headers={"Authorization": f"Bearer {made['secret']}"}
        ) as program:
            assert program.get("/api/v1/analyses").status_code == 200
            assert browser.delete(f"/api/v1/keys/{made['id']}").status_code == 204
            assert program.get("/api/v1/analyses").status_code == 401
        stored = (house.folder / "assay.db").read_bytes()
        assert made["secret"].rsplit("_", 1)[1].encode() not in stored


def test_a_session_changes_nothing_without_its_token(house: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("no media at all")
    with house.browser() as browser:
        ident = house.submit(browser, path)["id"]
        del browser.headers["X-CSRF-Token"]
        for headers in ({}, {"X-CSRF-Token": "x"}):
            answer = browser.delete(f"/api/v1/analyses/{ident}", headers=headers)
            assert answer.status_code == 403
            assert answer.json()["type"] == "/problems/csrf"
        assert browser.get(f"/api/v1/analyses/{ident}").status_code == 200
        answer = browser.post("/api/v1/keys", json={}, headers={"Origin": "https://evil.example"})
        assert answer.json()["type"] == "/problems/csrf"


@pytest.mark.parametrize(
    ("content", "kind", "status", "code"),
    [
        (b"abc", "text/plain", 415, "unsupported-media-type"),
        (b"abc", "multipart/form-data", 415, "unsupported-media-type"),
        (b"abc", "multipart/form-data; boundary=x", 400, "bad-request"),
        (b"--x\r\n", "multipart/form-data; boundary=x", 400, "bad-request"),
        (b"--x--\r\n", "multipart/form-data; boundary=x", 422, "invalid"),
        (
            b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nab',
            "multipart/form-data; boundary=x",
            400,
            "bad-request",
        ),
        (
            b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n\r\n--x--',
            "multipart/form-data; boundary=x",
            422,
            "invalid",
        ),
        (b"{", "application/json", 422, "invalid"),
        (b"{}", "application/json", 422, "invalid"),
        (b'{"path": "/etc/passwd"}', "application/json", 403, "forbidden"),
        (b'{"upload_id": "' + b"0" * 32 + b'"}', "application/json", 422, "invalid"),
    ],
)
def test_broken_requests_are_named_and_leave_nothing(
    house: Any, content: bytes, kind: str, status: int, code: str
) -> None:
    before = set(house.services.blobs.keys())
    with house.program() as client:
        answer = client.post("/api/v1/analyses", content=content, headers={"Content-Type": kind})
        assert (answer.status_code, answer.json()["type"]) == (status, f"/problems/{code}")
        assert answer.headers["content-type"] == "application/problem+json"
        assert client.get("/api/v1/analyses").json()["items"] == []
    assert set(house.services.blobs.keys()) == before


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\temp\\x.jpg", "x.jpg"),
        ("\x1b[31mred\u202e.png", "[31mred.png"),
        ("", "unnamed"),
        ("ü" * 400, "ü" * 255),
    ],
)
def test_names_from_outside_are_only_names(sent: str, kept: str) -> None:
    from assay.server.intake import clean_name

    assert clean_name(sent) == kept


def test_uploads_are_bounded_before_they_are_stored(
    houses: Any, tmp_path: Path, astronaut_png: Path
) -> None:
    house = houses.House(tmp_path / "small", workers=0, max_upload_bytes=100_000, max_queued=2)
    try:
        with house.program() as client:
            with astronaut_png.open("rb") as file:
                refused = client.post("/api/v1/analyses", files={"file": file})
            assert refused.status_code == 413
            assert refused.json()["max_bytes"] == 100_000

            def endless() -> Any:
                yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
                for _ in range(50):
                    yield b"\0" * 10_000

            kind = {"Content-Type": "multipart/form-data; boundary=x"}
            refused = client.post("/api/v1/analyses", content=endless(), headers=kind)
            assert refused.status_code == 413
            assert list(house.services.blobs.keys()) == []
            assert list((house.folder / "media" / "parts").iterdir()) == []
            for _ in range(2):
                assert client.post("/api/v1/analyses", files={"file": b"abc"}).status_code == 201
            full = client.post("/api/v1/analyses", files={"file": b"abc"})
            assert full.status_code == 429
            assert full.json()["type"] == "/problems/queue-full"
            assert int(full.headers["retry-after"]) > 0
    finally:
        house.close()


def test_only_files_in_allowed_folders_are_analysed_by_path(
    houses: Any, tmp_path: Path, astronaut_png: Path
) -> None:
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    (allowed / "a.png").write_bytes(astronaut_png.read_bytes())
    (allowed / "out").symlink_to("/etc")
    house = houses.House(tmp_path / "paths", allowed_paths=[allowed])
    try:
        with house.program() as client:

            def ask(path: str) -> httpx.Response:
                return client.post("/api/v1/analyses", json={"path": path})

            made = ask(str(allowed / "a.png"))
            assert made.status_code == 201
            done = house.wait(client, made.json()["id"])
            assert done["status"] == "done"
            assert client.delete(f"/api/v1/analyses/{done['id']}").status_code == 204
            assert (allowed / "a.png").is_file(), "the server's own files are never deleted"
            answers = [
                ask(path)
                for path in (
                    "/etc/passwd",
                    f"{allowed}/../allowed/../../etc/passwd",
                    f"{allowed}/out/passwd",
                    f"{allowed}/absent",
                    str(allowed),
                )
            ]
            assert {a.status_code for a in answers} == {422}
            assert len({a.json()["detail"] for a in answers}) == 1, "paths cannot be probed"
    finally:
        house.close()


def test_too_many_requests_are_told_when_to_come_back(houses: Any, tmp_path: Path) -> None:
    house = houses.House(tmp_path / "slow", workers=0, rate_per_minute=5)
    try:
        with house.program() as client, house.program() as other:
            codes = [client.get("/api/v1/analyses").status_code for _ in range(7)]
            assert codes[:5] == [200] * 5
            assert 429 in codes[5:]
            assert int(client.get("/api/v1/analyses").headers["retry-after"]) >= 1
            assert other.get("/api/v1/analyses").status_code == 200
    finally:
        house.close()
