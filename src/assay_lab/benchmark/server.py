"""What a server bears: uploads a second, and how fast pages come while its workers are busy.

    python -m assay_lab.benchmark.server --media DIR --out benchmarks/server.json

Starts `assay serve` on loopback with SQLite and a temporary folder, sends the pictures of
DIR by several clients at once, and asks for pages until all analyses have ended.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx

from assay import __version__
from assay.server.access import COOKIE
from assay.storage import accounts
from assay.storage.database import Database

_PAGES = ("/", "/history", "/api/v1/analyses?limit=50", "/analyses/{done}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--media", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--uploads", type=int, default=60)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--note", default="", help="e.g. what else ran on the machine")
    args = parser.parse_args()
    files = sorted(p for p in args.media.iterdir() if p.suffix in (".png", ".jpg"))
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder), files, args.uploads, args.clients, args.workers)
    result["note"] = args.note
    args.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


def measure(
    folder: Path, files: list[Path], uploads: int, clients: int, workers: int
) -> dict[str, Any]:
    """Seconds everywhere; see the keys."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "ASSAY_DATA_DIR": str(folder), "ASSAY_RATE_PER_MINUTE": "1000000"}
    command = [sys.executable, "-m", "assay", "serve", "--port", str(port)]
    server = subprocess.Popen(  # noqa: S603 - our own program
        [*command, "--workers", str(workers)], env=environment, stdout=subprocess.DEVNULL
    )
    try:
        url = f"http://127.0.0.1:{port}"
        while True:
            try:
                httpx.get(f"{url}/healthz")
                break
            except httpx.TransportError:
                time.sleep(0.1)
        with Database(f"sqlite:///{folder / 'assay.db'}").write() as c:
            user = accounts.add_user(
                c, email="load@example.org", name="Load", role="owner", at=time.time()
            )
            token, session = accounts.open_session(c, user.id, time.time())
        browser = httpx.Client(
            base_url=url,
            cookies={COOKIE: token},
            headers={"X-CSRF-Token": session.csrf},
            timeout=60,
        )
        idle = _pages(browser, "", seconds=3.0)

        def send(number: int) -> str:
            path = files[number % len(files)]
            with path.open("rb") as file:
                answer = browser.post("/api/v1/analyses", files={"file": (path.name, file)})
            return str(answer.raise_for_status().json()["id"])

        began = time.monotonic()
        with ThreadPoolExecutor(clients) as pool:
            made = list(pool.map(send, range(uploads)))
        sent = time.monotonic() - began
        busy: dict[str, list[float]] = {}
        over = threading.Event()
        asking = threading.Thread(target=_ask, args=(browser, made[0], busy, over))
        asking.start()
        while any(a["status"] in ("queued", "running") for a in _newest(browser)):
            time.sleep(0.5)
        over.set()
        asking.join()
        ended = time.monotonic() - began
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(60)
    bytes_sent = sum(files[n % len(files)].stat().st_size for n in range(uploads))
    return {
        "version": __version__,
        "machine": {"cores": os.cpu_count(), "python": platform.python_version()},
        "workers": workers,
        "clients": clients,
        "uploads": uploads,
        "uploads_per_second": round(uploads / sent, 1),
        "megabytes_per_second": round(bytes_sent / sent / 1e6, 1),
        "analyses_per_minute": round(60 * uploads / ended, 1),
        "pages_idle": {k: _summary(v) for k, v in idle.items()},
        "pages_while_workers_are_busy": {k: _summary(v) for k, v in busy.items()},
    }


def _newest(browser: httpx.Client) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = browser.get("/api/v1/analyses?limit=200").json()["items"]
    return found


def _ask(
    browser: httpx.Client, first: str, into: dict[str, list[float]], over: threading.Event
) -> None:
    while not over.is_set():
        for page, times in _pages(browser, first, seconds=1.0).items():
            into.setdefault(page, []).extend(times)


def _pages(browser: httpx.Client, done: str, seconds: float) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {}
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for page in _PAGES:
            if "{done}" in page and not done:
                continue
            began = time.monotonic()
            browser.get(page.format(done=done)).raise_for_status()
            times.setdefault(page, []).append(time.monotonic() - began)
    return times


def _summary(times: list[float]) -> dict[str, float]:
    ordered = sorted(times)
    return {
        "requests": len(ordered),
        "median_ms": round(1000 * statistics.median(ordered), 1),
        "p95_ms": round(1000 * ordered[int(0.95 * (len(ordered) - 1))], 1),
    }


if __name__ == "__main__":
    main()
