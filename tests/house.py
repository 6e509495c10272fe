"""A real server on loopback with a real worker process, for tests of every layer above it.

Loaded by ``tests/conftest.py``, which offers it as the fixture ``house``.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from assay.server import access
from assay.server.app import make_app, make_services
from assay.server.services import Services
from assay.server.settings import Settings
from assay.storage import accounts

_numbers = itertools.count(1)
PASSWORD = "correct horse battery staple"


def free_port() -> int:
    """A port of loopback on which nobody listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def serve(folder: Path, port: int, workers: int, **streams: Any) -> subprocess.Popen[Any]:
    """``assay serve`` with its data in ``folder``; ``streams`` and the like go to Popen."""
    # A full disk is a reason not to be ready, and not what any test of it is about.
    own = {"ASSAY_DATA_DIR": str(folder), "ASSAY_MIN_FREE_BYTES": "0"}
    return subprocess.Popen(
        [sys.executable, "-m", "assay", "serve", "--port", str(port), "--workers", str(workers)],
        env={**os.environ, **own},
        **{"stdout": subprocess.DEVNULL, **streams},
    )


class House:
    """A server: ``url``, ``services``, and ways in for people and programs."""

    def __init__(self, folder: Path, *, workers: int = 1, **settings: Any) -> None:
        self.folder = folder
        self.settings = Settings.model_validate(
            {"data_dir": folder, "port": 1, "min_free_bytes": 0, "rate_per_minute": 100_000}
            | settings
        )
        self.services: Services = make_services(self.settings)
        self._server = uvicorn.Server(
            uvicorn.Config(
                make_app(self.services),
                port=0,
                log_config=None,
                access_log=False,
                timeout_graceful_shutdown=1,
            )
        )
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        while not self._server.started:
            time.sleep(0.01)
        port = self._server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.workers = [self.worker(f"w{n}") for n in range(workers)]

    def worker(self, name: str, **environment: str) -> subprocess.Popen[bytes]:
        """A worker process of this server."""
        given = {
            "ASSAY_DATA_DIR": str(self.folder),
            "ASSAY_DATABASE_URL": self.settings.database_url,
            "ASSAY_WEBHOOK_ALLOW_HTTP": str(self.settings.webhook_allow_http),
            "ASSAY_WEBHOOK_ALLOW_PRIVATE": str(self.settings.webhook_allow_private),
        }
        return subprocess.Popen(
            [sys.executable, "-m", "assay", "worker", "--name", name, "--with-parent"],
            env={**os.environ, **given, **environment},
            stdin=subprocess.DEVNULL,
        )

    def close(self) -> None:
        for process in self.workers:
            process.kill()
            process.wait()
        self._server.should_exit = True
        self._thread.join(timeout=10)

    def user(self, role: str = "analyst") -> accounts.User:
        """A new account with :data:`PASSWORD`."""
        number = next(_numbers)
        with self.services.database.write() as c:
            return accounts.add_user(
                c,
                email=f"{role}{number}@example.org",
                name=f"{role.title()} {number}",
                role=role,
                at=time.time(),
                password=PASSWORD,
            )

    @contextmanager
    def program(
        self, role: str = "analyst", *, user: accounts.User | None = None, scopes: Any = None
    ) -> Iterator[httpx.Client]:
        """A client with a key of ``user``, or of a new one."""
        user = user or self.user(role)
        with self.services.database.write() as c:
            made = accounts.make_key(
                c,
                user.id,
                name="test",
                scopes=scopes or accounts.scopes_of(user.role),
                at=time.time(),
            )
        headers = {"Authorization": f"Bearer {made.secret}"}
        with httpx.Client(base_url=self.url, headers=headers, timeout=60) as client:
            yield client

    @contextmanager
    def browser(
        self, role: str = "analyst", *, user: accounts.User | None = None
    ) -> Iterator[httpx.Client]:
        """A client with a session of ``user``, which sends its CSRF token with everything."""
        token, csrf = self.session(user or self.user(role))
        with httpx.Client(
            base_url=self.url,
            cookies={access.COOKIE: token},
            headers={"X-CSRF-Token": csrf},
            timeout=60,
        ) as client:
            yield client

    def session(self, user: accounts.User) -> tuple[str, str]:
        """Cookie and CSRF token of a new session."""
        with self.services.database.write() as c:
            token, made = accounts.open_session(c, user.id, time.time())
        return token, made.csrf

    def submit(self, client: httpx.Client, path: Path, **fields: Any) -> dict[str, Any]:
        """Queue an analysis of a file."""
        with path.open("rb") as file:
            data = {k: str(v) for k, v in fields.items()}
            answer = client.post("/api/v1/analyses", files={"file": (path.name, file)}, data=data)
        assert answer.status_code == 201, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def wait(self, client: httpx.Client, ident: str, seconds: float = 60) -> dict[str, Any]:
        """The analysis once it has ended."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found: dict[str, Any] = client.get(f"/api/v1/analyses/{ident}").json()
            if found["status"] in ("done", "failed", "cancelled"):
                return found
            time.sleep(0.1)
        raise AssertionError(f"{ident} has not ended after {seconds} s: {found}")

    @contextlib.contextmanager
    def without(self) -> Iterator[None]:
        """For as long as the block runs, no worker takes jobs."""
        for process in self.workers:
            process.terminate()
            process.wait()
        try:
            yield
        finally:
            self.workers = [self.worker(f"w{n}") for n in range(len(self.workers))]
