"""A real browser on the real server: headless Chromium driven by selenium."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.common.exceptions import (
    NoSuchElementException,
    StaleElementReferenceException,
    WebDriverException,
)
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from assay.storage.accounts import User

AXE = (Path(__file__).parent / "axe" / "axe.min.js").read_text("utf-8")
PATIENCE = 120.0  # seconds; a busy machine is no failure
_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--force-prefers-reduced-motion",
    "--lang=en",
)


_STYLED = (
    "return document.readyState === 'complete' &&"
    " [...document.querySelectorAll('link[rel=stylesheet]')].every((l) => l.sheet)"
)
_WIDE = """
const root = document.documentElement;
if (root.scrollWidth <= root.clientWidth) return [];
const wide = [...document.querySelectorAll('body *')].filter(
  (e) => e.getBoundingClientRect().right > root.clientWidth && !e.closest('.wide, .toc'));
return [`${root.scrollWidth} px`, ...wide.slice(0, 8).map((e) => e.outerHTML.slice(0, 120))];
"""


def stale(error: WebDriverException) -> bool:
    """Whether the element belongs to a page that was left meanwhile.

    While a page is being exchanged, chromedriver says so in the words of its inspector
    (https://github.com/SeleniumHQ/selenium/issues/15401).
    """
    return isinstance(error, StaleElementReferenceException) or (
        "does not belong to the document" in str(error.msg)
    )


class Visitor:
    """Somebody at a browser. Every visit is checked for errors in the console at its end."""

    def __init__(self, driver: webdriver.Chrome, house: Any) -> None:
        self.driver, self.house = driver, house
        self.url: str = house.url

    def enter(self, user: User | None) -> None:
        """Be this user, or a stranger, from now on."""
        self.driver.get(f"{self.url}/login")
        self.driver.delete_all_cookies()
        self.driver.execute_script("localStorage.clear()")
        if user is not None:
            token, _ = self.house.session(user)
            self.driver.add_cookie({"name": "assay_session", "value": token})
        self.screen(1200)
        self.troubles()

    def visit(self, path: str) -> None:
        self.driver.get(self.url + path)

    def screen(self, width: int, *, dark: bool = False) -> None:
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False},
        )
        scheme = "dark" if dark else "light"
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def find(self, css: str) -> WebElement:
        """The element, once it is there."""
        return self.wait(lambda d: d.find_element(By.CSS_SELECTOR, css), css)

    def all(self, css: str) -> list[WebElement]:
        return list(self.driver.find_elements(By.CSS_SELECTOR, css))

    def wait(self, until: Callable[[Any], Any], what: str = "") -> Any:
        def tried(driver: Any) -> Any:
            try:
                return until(driver)
            except NoSuchElementException:
                return None
            except WebDriverException as error:
                if not stale(error):
                    raise
                return None

        waiting = WebDriverWait(self.driver, PATIENCE, poll_frequency=0.1)
        return waiting.until(tried, message=what or "it did not happen")

    def until_left(self, element: WebElement) -> None:
        """Wait until the page of ``element`` has made room for the next one."""

        def left(_driver: Any) -> bool:
            try:
                element.is_enabled()
            except WebDriverException as error:
                if stale(error):
                    return True
                raise
            return False

        self.wait(left, "the next page")

    def text(self, css: str = "main") -> str:
        return str(self.find(css).text)

    def click(self, css: str) -> None:
        element = self.find(css)
        self.driver.execute_script("arguments[0].scrollIntoView({block:'center'})", element)
        element.click()

    def keys(self, *keys: str) -> None:
        self.driver.switch_to.active_element.send_keys(*keys)

    def tab_to(self, css: str, most: int = 80) -> WebElement:
        """Reach an element by the Tab key alone."""
        for _ in range(most):
            self.keys(Keys.TAB)
            active = self.driver.switch_to.active_element
            if self.script("return arguments[0].matches(arguments[1])", active, css):
                return active
        raise AssertionError(f"{css} is not reached within {most} presses of Tab")

    def script(self, code: str, *values: Any) -> Any:
        return self.driver.execute_script(code, *values)

    def troubles(self) -> list[str]:
        """Errors in the console since the last call; breaches of the policy are among them."""
        log: list[dict[str, Any]] = self.driver.get_log("browser")  # type: ignore[no-untyped-call]
        return [x["message"] for x in log if x["level"] in ("SEVERE", "WARNING")]

    def barriers(self) -> list[str]:
        """Serious and critical findings of axe-core on the page that is open."""
        self.driver.execute_script(AXE)
        found = self.driver.execute_async_script(
            "const done = arguments[arguments.length - 1];"
            "axe.run({resultTypes: ['violations']}).then((r) => done("
            "{passes: r.passes.length, violations: r.violations}))"
        )
        assert found["passes"] > 5, "axe-core looked at nothing"
        return [
            f"{v['id']}: {v['nodes'][0]['html'][:200]}"
            for v in found["violations"]
            if v["impact"] in ("serious", "critical")
        ]

    def sideways(self) -> list[str]:
        """What makes the page wider than the window, once it is laid out; empty when nothing."""
        self.wait(lambda d: self.script(_STYLED), "the style sheets")
        found: list[str] = []
        for _ in range(20):
            found = self.script(_WIDE)
            if not found:
                break
            time.sleep(0.25)
        return found


@pytest.fixture(scope="session")
def chromium() -> Iterator[webdriver.Chrome]:
    options = Options()
    options.binary_location = "/usr/bin/chromium"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        for flag in (*_FLAGS, f"--user-data-dir={folder}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        driver = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
        driver.set_script_timeout(PATIENCE)
        yield driver
        driver.quit()


@pytest.fixture
def visitor(chromium: webdriver.Chrome, house: Any) -> Iterator[Visitor]:
    made = Visitor(chromium, house)
    made.enter(None)
    yield made
    assert made.troubles() == []


@pytest.fixture(scope="session")
def people(house: Any) -> dict[str, User]:
    roles = ("owner", "reviewer", "analyst", "viewer")
    return {**{r: house.user(r) for r in roles}, "other": house.user("analyst")}


@pytest.fixture(scope="session")
def examined(house: Any, people: dict[str, User], samples: Path) -> dict[str, str]:
    """Ids of a picture, a video, a sound and a file that is none, all of the analyst."""
    with house.browser(user=people["analyst"]) as client:
        names = ("astronaut.png", "portrait.mp4", "speech.flac", "MANIFEST.toml")
        folder = samples
        paths = [folder / n if n != "MANIFEST.toml" else folder.parent / n for n in names]
        idents = [house.submit(client, p)["id"] for p in paths]
        ended = [house.wait(client, i, 300)["status"] for i in idents]
    assert ended == ["done", "done", "done", "failed"]
    return dict(zip(("picture", "video", "sound", "failed"), idents, strict=True))
