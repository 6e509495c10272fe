"""Pages, reviews and share links over HTTP, on a real server with a real worker."""

from __future__ import annotations

import json
import re
import time
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx
import pytest

from assay.storage import accounts, audit, reviews

HTML = {"Accept": "text/html"}


@pytest.fixture(scope="module")
def people(house: Any) -> dict[str, accounts.User]:
    roles = ("owner", "reviewer", "analyst", "viewer")
    return {**{r: house.user(r) for r in roles}, "other": house.user("analyst")}


@pytest.fixture(scope="module")
def done(house: Any, people: dict[str, accounts.User], speech_flac: Path) -> dict[str, Any]:
    """An examined sound of the analyst."""
    with house.browser(user=people["analyst"]) as client:
        found = house.wait(client, house.submit(client, speech_flac)["id"], 240)
    assert found["status"] == "done", found
    return found


def _csrf(client: httpx.Client) -> dict[str, str]:
    return {"csrf": client.headers["X-CSRF-Token"]}


def test_strangers_are_sent_to_the_login(house: Any, done: dict[str, Any]) -> None:
    with httpx.Client(base_url=house.url, timeout=60) as client:
        for path in ("/", "/history", f"/analyses/{done['id']}", "/settings/users", "/reviews"):
            answer = client.get(path, headers=HTML)
            assert answer.status_code == 303
            assert answer.headers["location"].startswith("/login?next=")
        assert client.get(f"/analyses/{done['id']}/media").status_code == 303


def test_login_and_out(house: Any, people: dict[str, accounts.User], houses: Any) -> None:
    email = people["viewer"].email
    with httpx.Client(base_url=house.url, timeout=60) as client:
        wrong = client.post("/login", data={"email": email, "password": "wrong password"})
        assert wrong.status_code == 401
        assert "do not match" in wrong.text
        right = {"email": email, "password": houses.PASSWORD, "next": "//evil.example/"}
        answer = client.post("/login", data=right)
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        assert "HttpOnly" in answer.headers["set-cookie"]
        assert "SameSite=lax" in answer.headers["set-cookie"]
        page = client.get("/").text
        assert "may look at results" in page, "a viewer submits nothing"
        assert client.post("/logout", data={"csrf": "forged"}).status_code == 403
        token = re.search(r'name="csrf" value="([^"]+)"', page)
        assert token
        assert client.post("/logout", data={"csrf": token[1]}).status_code == 303
        assert client.get("/").status_code == 303
        while not house.services.rates.take("login:x@example.org", 10):
            pass  # as many guesses as a minute has
        last = client.post("/login", data={"email": "x@example.org", "password": "guess"})
        assert last.status_code == 429


def test_media_are_never_a_document(
    house: Any, people: dict[str, accounts.User], done: dict[str, Any], speech_flac: Path
) -> None:
    whole = speech_flac.read_bytes()
    with house.browser(user=people["analyst"]) as client:
        answer = client.get(f"/analyses/{done['id']}/media")
        assert answer.content == whole
        assert answer.headers["content-type"] == "audio/flac"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-security-policy"] == "sandbox; default-src 'none'"
        assert answer.headers["content-disposition"].startswith("attachment")
        part = client.get(f"/analyses/{done['id']}/media", headers={"Range": "bytes=10-19"})
        assert (part.status_code, part.content) == (206, whole[10:20])
        assert part.headers["content-range"] == f"bytes 10-19/{len(whole)}"
        late = client.get(f"/analyses/{done['id']}/media", headers={"Range": "bytes=9999999-"})
        assert late.status_code == 416
    with house.browser(user=people["other"]) as client:
        assert client.get(f"/analyses/{done['id']}/media").status_code == 404


def test_an_analyst_sees_only_their_own(
    house: Any, people: dict[str, accounts.User], done: dict[str, Any]
) -> None:
    ident = done["id"]
    with house.browser(user=people["other"]) as client:
        assert client.get(f"/analyses/{ident}", headers=HTML).status_code == 404
        assert client.get(f"/analyses/{ident}/row").status_code == 404
        assert client.get(f"/analyses/{ident}/report.json").status_code == 404
        assert ident not in client.get("/history").text
        assert client.get("/compare", params={"id": [ident, "0" * 32]}).status_code == 404
        for path in (f"/analyses/{ident}/reviews", f"/analyses/{ident}/shares"):
            data = {**_csrf(client), "action": "request"}
            assert client.post(path, data=data).status_code == 404


def test_a_viewer_changes_nothing(
    house: Any, people: dict[str, accounts.User], done: dict[str, Any]
) -> None:
    ident = done["id"]
    with house.browser(user=people["viewer"]) as client:
        page = client.get(f"/analyses/{ident}", headers=HTML)
        assert page.status_code == 200
        assert 'class="danger"' not in page.text.partition("<dialog")[0]
        for path in ("cancel", "delete", "reviews", "shares"):
            data = {**_csrf(client), "action": "request"}
            answer = client.post(f"/analyses/{ident}/{path}", data=data)
            assert answer.status_code == 403, path
        for path in ("users", "server", "audit", "webhooks"):
            assert client.get(f"/settings/{path}", headers=HTML).status_code == 403, path


def test_forms_need_the_token(
    house: Any, people: dict[str, accounts.User], done: dict[str, Any]
) -> None:
    with house.browser(user=people["owner"]) as client:
        del client.headers["X-CSRF-Token"]
        for path in (
            f"/analyses/{done['id']}/delete",
            f"/analyses/{done['id']}/reviews",
            "/settings/keys",
            "/settings/users",
            "/settings/server",
        ):
            given = {"action": "request", "keep": "ever", "sensitivity": "standard", "prior": "50"}
            answer = client.post(path, data={**given, "csrf": "forged"}, headers=HTML)
            assert answer.status_code == 403, path
            assert "out of date" in answer.text


def test_review_between_two_people(
    house: Any, people: dict[str, accounts.User], done: dict[str, Any]
) -> None:
    path = f"/api/v1/analyses/{done['id']}/reviews"
    with (
        house.browser(user=people["analyst"]) as ada,
        house.browser(user=people["reviewer"]) as rex,
        house.browser(user=people["owner"]) as olga,
    ):
        assert ada.post(path, json={"action": "confirm"}).status_code == 403
        assert ada.post(path, json={"action": "request", "reason": "mine"}).status_code == 201
        assert ada.post(path, json={"action": "request"}).status_code == 409
        queue = rex.get("/api/v1/reviews").json()["items"]
        assert done["id"] in [i["id"] for i in queue]
        assert ada.get("/api/v1/reviews").status_code == 403
        given = {"action": "overrule", "verdict": "authentic"}
        assert rex.post(path, json=given).status_code == 422, "without a reason"
        answer = rex.post(path, json={**given, "reason": "recorded by <b>us</b>"})
        assert answer.status_code == 201
        data = {**_csrf(rex), "action": "second_opinion", "reason": "to be sure"}
        assert rex.post(f"/analyses/{done['id']}/reviews", data=data).status_code == 303
        assert rex.post(path, json={"action": "confirm"}).status_code == 409
        assert olga.post(path, json={**given, "reason": "indeed"}).status_code == 201
        page = ada.get(f"/analyses/{done['id']}", headers=HTML).text
        assert "recorded by &lt;b&gt;us" in page
        kept = ada.get(f"/api/v1/analyses/{done['id']}").json()
        assert (kept["verdict"], kept["review_state"]) == (done["verdict"], "done")
        lines = rex.get("/api/v1/reviews/labels").text.splitlines()
        label = next(x for x in map(json.loads, lines) if x["analysis_id"] == done["id"])
        assert label["sha256"] == done["sha256"]
        assert (label["machine_verdict"], label["human_verdict"]) == (done["verdict"], "authentic")
        assert (label["reviewers"], label["agreed"], label["reason"]) == (2, True, "indeed")
    with house.browser(user=people["other"]) as stranger:
        assert done["id"] not in stranger.get("/api/v1/reviews/labels").text
    with house.services.database.read() as c:
        noted = [e.action for e in audit.entries(c, limit=50) if e.subject == done["id"]]
        assert next(s.action for s in reviews.of_analysis(c, done["id"])) == "request"
    assert noted.count("review.overrule") == 2


def test_a_share_link_is_for_everybody_until_it_is_not(
    house: Any, people: dict[str, accounts.User], done: dict[str, Any]
) -> None:
    with (
        house.browser(user=people["analyst"]) as client,
        httpx.Client(base_url=house.url, timeout=60) as anybody,
    ):
        made = client.post(
            f"/api/v1/analyses/{done['id']}/shares", json={"expires_in_days": 1}
        ).json()
        path = "/s/" + made["url"].rpartition("/s/")[2]
        page = anybody.get(path, headers=HTML)
        assert page.status_code == 200
        assert "speech.flac" in page.text
        assert "noindex" in page.headers["x-robots-tag"]
        assert page.headers["referrer-policy"] == "no-referrer"
        assert "/analyses/" not in page.text, "the file is not shared"
        assert people["analyst"].name not in page.text
        stored = anybody.get(f"{path}/report.json").json()
        assert stored["media"]["sha256"] == done["sha256"]
        assert client.delete(f"/api/v1/shares/{made['id']}").status_code == 204
        assert anybody.get(path, headers=HTML).status_code == 404
        assert anybody.get(f"{path}/report.json").status_code == 404
    with house.browser(user=people["reviewer"]) as client:
        refused = client.post(f"/api/v1/analyses/{done['id']}/shares", json={})
        assert refused.status_code == 403, "who neither submitted it nor owns the server"


def test_the_first_owner_and_an_invitation(houses: Any, tmp_path: Path) -> None:
    from assay.server.app import setup_link

    with_nobody = houses.House(tmp_path, workers=0)
    try:
        link = setup_link(with_nobody.services)
        assert link
        token = link.partition("token=")[2]
        with httpx.Client(base_url=with_nobody.url, timeout=60) as client:
            assert "first owner" in client.get(f"/setup?token={token}").text
            assert client.get("/setup?token=guess").status_code == 410
            given = {"token": token, "name": "Olga", "email": "o@example.org"}
            for poor in ("short", ""):
                answer = client.post("/setup", data={**given, "password": poor})
                assert answer.status_code == 422
            answer = client.post("/setup", data={**given, "password": "long enough for us"})
            assert answer.status_code == 303
            home = client.get("/")
            assert home.status_code == 200
            assert client.post("/setup", data=given).status_code == 410
            csrf = re.search(r'name="csrf" value="([^"]+)"', home.text)
            assert csrf
            data = {"csrf": csrf[1], "name": "Rex", "email": "r@example.org", "role": "reviewer"}
            page = client.post("/settings/users", data=data).text
            found = re.search(r"/invite\?token=([\w-]+)", page)
            assert found
        with httpx.Client(base_url=with_nobody.url, timeout=60) as client:
            assert "r@example.org" in client.get(f"/invite?token={found[1]}").text
            data = {"token": found[1], "password": "another long one"}
            assert client.post("/invite", data=data).status_code == 303
            assert "Rex" in client.get("/").text
            assert client.post("/invite", data=data).status_code == 410
    finally:
        with_nobody.close()


def test_a_key_is_shown_once_and_works(house: Any, people: dict[str, accounts.User]) -> None:
    with house.browser(user=people["analyst"]) as client:
        data = {**_csrf(client), "name": "script", "scopes": ["analyses:read"], "days": "30"}
        page = client.post("/settings/keys", data=data).text
        found = re.search(r"assay_[0-9a-f]{16}_[0-9a-f]{48}", page)
        assert found
        assert found[0] not in client.get("/settings/keys").text
        wrong = client.post("/settings/keys", data={**_csrf(client), "name": "x"})
        assert wrong.status_code == 422
        with httpx.Client(base_url=house.url, timeout=60) as program:
            headers = {"Authorization": f"Bearer {found[0]}"}
            assert program.get("/api/v1/analyses", headers=headers).status_code == 200
            ident = found[0].split("_")[1]
            client.post(f"/settings/keys/{ident}/revoke", data=_csrf(client))
            assert program.get("/api/v1/analyses", headers=headers).status_code == 401


def test_settings_of_the_server(house: Any, people: dict[str, accounts.User]) -> None:
    from assay.storage import options

    with house.services.database.read() as c:
        before = options.load(c)
    with house.browser(user=people["owner"]) as client:
        given = {**_csrf(client), "keep": "days", "days": "7", "sensitivity": "high"}
        try:
            answer = client.post("/settings/server", data={**given, "prior": "20"})
            assert answer.status_code == 303
            with house.services.database.read() as c:
                now = options.load(c)
            assert (now.retention_days, now.prior, now.sensitivity) == (7.0, 0.2, "high")
            for wrong in ({"prior": "0"}, {"prior": "20", "days": "-1"}):
                assert client.post("/settings/server", data={**given, **wrong}).status_code == 422
        finally:
            with house.services.database.write() as c:
                options.change(
                    c,
                    by=people["owner"].id,
                    at=time.time(),
                    retention_days=before.retention_days,
                    prior=before.prior,
                    sensitivity=before.sensitivity,
                )


def _handlers(page: str) -> list[str]:
    """Attributes of the page that would run script; names of files may read like some."""
    found: list[str] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.extend(name for name, _ in attrs if name.startswith("on"))

    Reader().feed(page)
    return found


@pytest.mark.parametrize("language", ["en", "de"])
def test_every_page_in_every_language(
    house: Any, people: dict[str, accounts.User], done: dict[str, Any], language: str
) -> None:
    paths = ["/", "/history?q=speech", "/reviews", "/compare", f"/analyses/{done['id']}"]
    paths += [f"/settings/{p}" for p in ("keys", "webhooks", "users", "server", "audit?check=1")]
    with house.browser(user=people["owner"]) as client:
        client.cookies.set("assay_language", language)
        for path in paths:
            answer = client.get(path, headers=HTML)
            assert answer.status_code == 200, path
            assert f'<html lang="{language}">' in answer.text
            assert ("Abmelden" in answer.text) == (language == "de")
            assert "style=" not in answer.text
            assert not re.search(r"<script(?! (type=\"module\" )?src=)", answer.text)
            assert not _handlers(answer.text), "no inline handlers"
        lost = client.get("/nowhere", headers=HTML)
        assert lost.status_code == 404
        assert lost.headers["content-type"].startswith("text/html")
