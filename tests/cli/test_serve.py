"""``assay serve`` as a user starts and stops it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx


def test_it_starts_says_where_and_stops_in_order(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "assay", "serve", "--port", str(port), "--workers", "1"],
        env={**os.environ, "ASSAY_DATA_DIR": str(tmp_path / "data")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    url = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{url}/readyz").status_code == 200:
                break
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    else:
        raise AssertionError("the server is not ready after a minute")
    answer = httpx.get(f"{url}/", headers={"Accept": "text/html"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/login?next=/")
    process.send_signal(signal.SIGTERM)
    said, logged = process.communicate(timeout=60)
    assert process.returncode == 0, logged
    assert f"{url}/setup?token=" in said
    assert "worker stopped" in logged, "the worker ended before the server did"
    assert "Traceback" not in logged


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
