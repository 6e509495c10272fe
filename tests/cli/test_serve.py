"""``assay serve`` as a user starts and stops it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx


def test_it_starts_says_where_and_stops_in_order(houses: Any, tmp_path: Path) -> None:
    port = houses.free_port()
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = houses.serve(tmp_path / "data", port, 1, **pipes)
    url = f"http://127.0.0.1:{port}"
    try:
        ready = _wait(f"{url}/readyz")
        answer = httpx.get(f"{url}/", headers={"Accept": "text/html"}) if ready else None
    finally:
        process.send_signal(signal.SIGTERM)
        said, logged = process.communicate(timeout=60)
    assert answer is not None, f"not ready after a minute: {logged}"
    assert (answer.status_code, answer.headers["location"]) == (303, "/login?next=/")
    assert process.returncode == 0, logged
    assert f"{url}/setup?token=" in said
    assert "worker stopped" in logged, "the worker ended before the server did"
    assert "Traceback" not in logged


def _wait(url: str) -> bool:
    """Whether ``url`` answers 200 within a minute."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(url).status_code == 200:
                return True
        time.sleep(0.1)
    return False


def test_a_wrong_setting_is_named(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "assay", "serve"],
        env={**os.environ, "ASSAY_DATA_DIR": str(tmp_path), "ASSAY_PORT": "many"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert "ASSAY_PORT" in done.stderr
    assert "Traceback" not in done.stderr
