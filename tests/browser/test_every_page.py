"""Every page: no barrier, no sideways scrolling at 360 px, no breach of the policy, dark too."""

from __future__ import annotations

from typing import Any

import pytest

from assay.storage.accounts import User

PAGES = {
    "login": ("", "/login"),
    "setup": ("", "/setup?token=used"),
    "home": ("analyst", "/"),
    "history": ("analyst", "/history"),
    "picture": ("analyst", "/analyses/{picture}"),
    "video": ("analyst", "/analyses/{video}"),
    "sound": ("analyst", "/analyses/{sound}"),
    "failed": ("analyst", "/analyses/{failed}"),
    "compare": ("analyst", "/compare?id={picture}&id={video}"),
    "review": ("reviewer", "/reviews"),
    "judging": ("reviewer", "/analyses/{video}"),
    "keys": ("owner", "/settings/keys"),
    "webhooks": ("owner", "/settings/webhooks"),
    "users": ("owner", "/settings/users"),
    "server": ("owner", "/settings/server"),
    "audit": ("owner", "/settings/audit?check=1"),
}


@pytest.mark.parametrize("name", PAGES)
def test_page(visitor: Any, people: dict[str, User], examined: dict[str, str], name: str) -> None:
    role, path = PAGES[name]
    visitor.enter(people[role] if role else None)
    visitor.visit(path.format(**examined))
    if name == "setup":
        visitor.troubles()  # a used link is answered with 410, which the console notes
    assert visitor.barriers() == [], "light"
    visitor.screen(360, dark=True)
    assert visitor.sideways() == []
    assert visitor.barriers() == [], "dark"
    paper = visitor.script("return getComputedStyle(document.body).backgroundColor")
    assert max(int(x) for x in paper[4:-1].split(",")) < 60, "dark is dark"
    assert visitor.find("h1").is_displayed()
    visitor.driver.add_cookie({"name": "assay_language", "value": "de"})
    visitor.visit(path.format(**examined))
    assert visitor.sideways() == [], "in German, whose words are longer"
    visitor.driver.delete_cookie("assay_language")
    if name == "setup":
        visitor.troubles()


def test_errors_and_shared_reports(
    visitor: Any, house: Any, people: dict[str, User], examined: dict[str, str]
) -> None:
    with house.browser(user=people["analyst"]) as client:
        made = client.post(f"/api/v1/analyses/{examined['picture']}/shares", json={}).json()
    visitor.visit("/s/" + made["url"].rpartition("/s/")[2])
    assert visitor.find("meta[name=robots][content*=noindex]")
    assert not visitor.all("main form")
    assert visitor.barriers() == []
    assert visitor.troubles() == []
    visitor.visit("/nowhere-at-all")
    assert visitor.barriers() == []
    assert [t for t in visitor.troubles() if "404" not in t] == []


def test_an_untrusted_name_stays_text(visitor: Any, house: Any, people: dict[str, User]) -> None:
    """A file may be called anything."""
    hostile = '"><img src=x onerror=alert(1)>\u202egpj.exe'
    with house.browser(user=people["analyst"]) as client:
        answer = client.post("/api/v1/analyses", files={"file": (hostile, b"not media")})
        house.wait(client, answer.json()["id"], 120)
    visitor.enter(people["analyst"])
    for path in ("/", "/history", f"/analyses/{answer.json()['id']}"):
        visitor.visit(path)
        assert "onerror=alert(1)" in visitor.text()
        assert not visitor.all("main img")
        assert "\u202e" not in visitor.driver.page_source
