"""Ways through the pages, as people go them."""

from __future__ import annotations

import hashlib
import os
import wave
from pathlib import Path
from typing import Any

import httpx
import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select

from assay.server.app import setup_link
from assay.storage.accounts import User


def test_from_the_first_start_to_a_report(
    visitor: Any, houses: Any, tmp_path: Path, rocket_jpeg: Path
) -> None:
    """Set up, give a file, watch it, read the result, give the result on."""
    fresh = houses.House(tmp_path, workers=0)
    try:
        visitor.url = fresh.url
        link = setup_link(fresh.services)
        visitor.driver.get(link.replace("http://127.0.0.1:1/", fresh.url + "/"))
        visitor.find("#name").send_keys("Olga Owner")
        visitor.find("#email").send_keys("olga@example.org")
        visitor.find("#password").send_keys("a sentence that is long")
        visitor.click("button.primary")
        visitor.find("#drop")
        assert visitor.text("#none-yet") == "Nothing has been examined yet."

        visitor.find("#files").send_keys(str(rocket_jpeg))
        row = "#queue .item"
        assert "rocket.jpg" in visitor.text(row)
        visitor.wait(lambda d: "Waiting" in d.find_element(By.CSS_SELECTOR, row).text, "queued")
        assert visitor.all(f"{row} progress")
        fresh.workers.append(fresh.worker("w1"))
        # Live: nobody loads the page again.
        visitor.script("document.body.dataset.same = 'yes'")
        visitor.wait(
            lambda d: d.find_element(By.CSS_SELECTOR, row).get_attribute("data-status") == "running"
        )
        visitor.click(f"{row} a")
        visitor.wait(lambda d: d.find_elements(By.CSS_SELECTOR, "#evidence"), "the result")
        assert visitor.text("h1")
        assert "authentic items" in visitor.text(".rate")
        assert visitor.text("#base-rate-answer").startswith("At a base rate of 50 %")

        visitor.click("#share-panel form button")
        shared = visitor.find("#new-link").get_attribute("value")
        path = "/s/" + shared.rpartition("/s/")[2]
        assert httpx.get(fresh.url + path, timeout=60).status_code == 200
        visitor.click("#share-panel table button")
        visitor.wait(lambda d: not d.find_elements(By.CSS_SELECTOR, "#share-panel table"))
        assert httpx.get(fresh.url + path, timeout=60).status_code == 404
    finally:
        fresh.close()


def test_a_row_follows_without_loading_again(
    visitor: Any, house: Any, people: dict[str, User], chelsea_png: Path
) -> None:
    visitor.enter(people["other"])
    visitor.visit("/")
    visitor.script("document.body.dataset.same = 'yes'")
    with house.browser(user=people["other"]) as client:
        ident = house.submit(client, chelsea_png)["id"]
    row = f"#row-{ident}"
    visitor.wait(
        lambda d: d.find_element(By.CSS_SELECTOR, f"{row} .stamp").is_displayed(), "the verdict"
    )
    assert visitor.script("return document.body.dataset.same") == "yes"


def test_pasted_and_dropped_files(
    visitor: Any, house: Any, people: dict[str, User], chelsea_png: Path
) -> None:
    visitor.enter(people["other"])
    visitor.visit("/")
    visitor.find("#drop")
    visitor.script(
        """
        const file = (name) => new File(['not media'], name, {type: 'image/png'});
        const data = (file) => { const t = new DataTransfer(); t.items.add(file); return t; };
        const drop = (file) => dispatchEvent(
          new DragEvent('drop', {dataTransfer: data(file), cancelable: true}));
        dispatchEvent(new ClipboardEvent('paste', {clipboardData: data(file('image.png'))}));
        drop(file('dropped.png'));
        drop(new File([], 'empty.png'));
        """
    )
    visitor.wait(lambda d: "the file is empty" in d.find_element(By.ID, "sending").text)
    names = visitor.wait(
        lambda d: (
            {n for n in _names(visitor) if n.startswith(("pasted-", "dropped"))}
            if len({n for n in _names(visitor) if n.startswith(("pasted-", "dropped"))}) == 2
            else None
        )
    )
    assert any(n.startswith("pasted-20") and n.endswith(".png") for n in names)


def _names(visitor: Any) -> list[str]:
    return [e.text for e in visitor.all("#queue .item-name")]


def test_a_large_file_goes_on_where_it_broke_off(
    visitor: Any, house: Any, people: dict[str, User], tmp_path: Path
) -> None:
    path = tmp_path / "large.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 48000, 0, "NONE", ""))
        file.writeframes(os.urandom(1 << 20) + bytes(34 << 20))
    whole = path.read_bytes()
    visitor.enter(people["other"])
    with house.browser(user=people["other"]) as client:
        begun = client.post("/api/v1/uploads", json={"name": path.name, "length": len(whole)})
        ident = begun.json()["id"]
        headers = {"Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
        sent = client.patch(f"/api/v1/uploads/{ident}", content=whole[: 20 << 20], headers=headers)
        assert sent.status_code == 204
    visitor.visit("/")
    modified = int(path.stat().st_mtime * 1000)
    visitor.script(
        "localStorage.setItem(arguments[0], arguments[1])",
        f"upload:{path.name}:{len(whole)}:{modified}",
        ident,
    )
    visitor.find("#files").send_keys(str(path))
    visitor.wait(lambda d: path.name in _names(visitor), "it is in the queue")
    pieces = visitor.script(
        "return performance.getEntriesByType('resource')"
        ".filter((e) => e.name.includes('/uploads/') && e.initiatorType === 'fetch').length"
    )
    assert pieces == 3, "asked once, then two pieces of 8 MiB that were missing"
    with house.browser(user=people["other"]) as client:
        found = client.get("/api/v1/analyses", params={"q": path.name}).json()["items"]
        assert found[0]["sha256"] == hashlib.sha256(whole).hexdigest()
        client.post(f"/api/v1/analyses/{found[0]['id']}/cancel")
    assert visitor.script("return localStorage.length") == 0


def test_review_by_two_people(
    visitor: Any, people: dict[str, User], examined: dict[str, str]
) -> None:
    page = f"/analyses/{examined['picture']}"

    def step(action: str, verdict: str = "", reason: str = "") -> None:
        form = f"details:has([value='{action}'])"
        if not visitor.find(form).get_attribute("open"):
            visitor.click(f"{form} summary")
        if verdict:
            Select(visitor.find(f"#verdict-{action}")).select_by_value(verdict)
        if reason:
            visitor.find(f"#reason-{action}").send_keys(reason)
        before = visitor.find("#human")
        visitor.click(f"{form} button")
        visitor.until_left(before)

    visitor.enter(people["analyst"])
    visitor.visit(page)
    machine = visitor.text(".said .stamp")
    step("request", reason="Is the astronaut real?")
    assert "Waits for a reviewer" in visitor.text("#human")

    visitor.enter(people["reviewer"])
    visitor.visit("/reviews")
    assert "Is the astronaut real?" in visitor.text()
    visitor.click(f"a.button[href^='{page}']")
    step("overrule", "authentic", "Portrait of Eileen Collins by NASA, 1999.")
    assert "overruled the verdict: authentic" in visitor.text("#human")
    assert visitor.text(".said .stamp") == machine, "the machine's verdict stays"
    step("second_opinion", reason="I know the source too well.")
    assert "the next word is for somebody else" in visitor.text("#human")
    assert not visitor.all("#reason-confirm")

    visitor.enter(people["owner"])
    visitor.visit(f"{page}#human")
    step("overrule", "authentic", "Found in the archive.")
    visitor.enter(people["analyst"])
    visitor.visit(page)
    said = visitor.text("#human")
    assert said.index("NASA") < said.index("archive")
    step("appeal", reason="Please look at the hands.")
    assert "appealed" in visitor.text("#human")
    assert not visitor.all("#reason-answer"), "nobody answers their own appeal"


def test_roles(visitor: Any, people: dict[str, User], examined: dict[str, str]) -> None:
    visitor.enter(people["viewer"])
    visitor.visit("/")
    assert not visitor.all("#drop")
    visitor.visit(f"/analyses/{examined['sound']}")
    assert visitor.find("#evidence")
    assert not visitor.all("main form"), "nothing to change"
    assert not visitor.all("#share-panel")
    visitor.visit("/settings")
    assert [e.text for e in visitor.all(".side a")] == ["Keys"]
    visitor.enter(people["other"])
    visitor.visit(f"/analyses/{examined['sound']}")
    assert "nothing at this address" in visitor.text("h1")
    refused = [t for t in visitor.troubles() if "404" not in t]
    assert refused == []


def test_by_keyboard_alone(
    visitor: Any, people: dict[str, User], examined: dict[str, str], houses: Any
) -> None:
    visitor.visit(f"/login?next=/analyses/{examined['picture']}")
    visitor.keys(people["analyst"].email, Keys.TAB, houses.PASSWORD, Keys.ENTER)
    visitor.find("#evidence")
    visitor.keys(Keys.TAB)
    assert visitor.driver.switch_to.active_element.text == "Skip to the content"
    visitor.keys(Keys.ENTER)
    assert visitor.script("return document.activeElement.id") == "main"

    heat = visitor.tab_to("[data-toggle=heat]")
    before = heat.get_attribute("aria-pressed")
    visitor.keys(Keys.SPACE)
    assert heat.get_attribute("aria-pressed") != before
    visible = visitor.script(
        "return getComputedStyle(document.querySelector('#still .pixels')).display !== 'none'"
    )
    assert visible == (before == "false")
    visitor.visit(f"/analyses/{examined['picture']}#sure")
    slider = visitor.tab_to("#base-rate")
    before = visitor.text("#base-rate-answer")
    slider.send_keys(*[Keys.ARROW_LEFT] * 40)
    after = visitor.text("#base-rate-answer")
    assert after != before
    assert slider.get_attribute("aria-valuetext") == after
    summary = visitor.tab_to("#evidence summary")
    summary.send_keys(Keys.ENTER)
    assert visitor.all("#evidence details[open]")

    visitor.tab_to("form[data-confirm] button", 120).send_keys(Keys.ENTER)
    assert visitor.find("#ask").get_attribute("open") is not None
    assert visitor.script("return document.activeElement.id") == "ask-no", "the safe answer"
    visitor.keys(Keys.ESCAPE)
    visitor.wait(lambda d: d.find_element(By.ID, "ask").get_attribute("open") is None)
    assert visitor.find("#evidence"), "nothing was deleted"


@pytest.mark.parametrize("kind", ["video", "sound"])
def test_the_player_moves_with_the_timeline(
    visitor: Any, people: dict[str, User], examined: dict[str, str], kind: str
) -> None:
    visitor.enter(people["analyst"])
    visitor.visit(f"/analyses/{examined[kind]}")
    visitor.wait(lambda d: d.find_elements(By.CSS_SELECTOR, ".timed.plays"), "it can be played")
    strip = visitor.find("[data-scrub]")
    visitor.script("arguments[0].scrollIntoView({block:'center'})", strip)
    visitor.driver.execute_script(
        "const b = arguments[0].getBoundingClientRect();"
        "arguments[0].dispatchEvent(new MouseEvent('click', {bubbles: true,"
        " clientX: b.left + b.width / 2, clientY: b.top + 5}))",
        strip,
    )
    length = float(visitor.find(".timed").get_attribute("data-length"))
    at = visitor.wait(
        lambda d: visitor.script("return document.getElementById('player').currentTime")
    )
    assert at == pytest.approx(length / 2, abs=0.1)
    head = visitor.find(".head").get_attribute("x1")
    assert float(head.rstrip("%")) == pytest.approx(50, abs=2)
    button = visitor.find("[data-seek]")
    visitor.script("arguments[0].click()", button)
    wanted = float(button.get_attribute("data-seek"))
    visitor.wait(
        lambda d: (
            abs(visitor.script("return document.getElementById('player').currentTime") - wanted)
            < 0.1
        )
    )


def test_search_follows_what_is_typed(
    visitor: Any, people: dict[str, User], examined: dict[str, str]
) -> None:
    visitor.enter(people["analyst"])
    visitor.visit("/history")
    assert len(visitor.all("#found .item")) >= 4
    visitor.find("#q").send_keys("SPEECH")
    visitor.wait(lambda d: [e.text for e in visitor.all("#found .item-name")] == ["speech.flac"])
    assert "q=SPEECH" in visitor.driver.current_url
    visitor.visit("/history")
    for ident in (examined["picture"], examined["video"]):
        visitor.click(f"input.tick[value='{ident}']")
    visitor.click("#compare-button")
    assert "astronaut.png" in visitor.text("table.versus")
    assert "portrait.mp4" in visitor.text("table.versus")
