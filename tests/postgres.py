"""A private PostgreSQL server for tests, started from Debian's binaries.

Loaded by ``tests/conftest.py``, which offers databases of it as the fixtures ``postgres``
and ``database``. It is never skipped silently: without the binaries the tests fail, unless
``ASSAY_TESTS_WITHOUT_POSTGRES=1`` says that this is meant.
"""

from __future__ import annotations

import itertools
import os
import shutil
import socket
import subprocess
from pathlib import Path

_numbers = itertools.count(1)
SKIP = "ASSAY_TESTS_WITHOUT_POSTGRES"


def binaries() -> Path:
    """The newest ``/usr/lib/postgresql/*/bin``.

    Raises:
        RuntimeError: there is none.
    """
    found = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda p: int(p.parts[-3])
    )
    if not found:
        raise RuntimeError(
            "no PostgreSQL in /usr/lib/postgresql: install the Debian package postgresql, or set "
            f"{SKIP}=1 to run the tests without it"
        )
    return found[-1].parent


class Server:
    """A server of its own in ``folder``; durability is off, for it dies with the tests."""

    def __init__(self, folder: Path) -> None:
        self._bin = binaries()
        self._data = folder / "data"
        self._sockets = folder
        self.bin = self._bin
        # PostgreSQL refuses to run as root.
        self._user = "postgres" if os.geteuid() == 0 else None
        if self._user:
            for part in (folder, *folder.parents):
                if str(part) in ("/", "/tmp"):
                    break
                os.chmod(part, part.stat().st_mode | 0o011)
            shutil.chown(folder, self._user)
        self._run("initdb", "-D", self._data, "-U", "assay", "--auth=trust", "-E", "UTF8", "-N")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        options = (
            f"-p {self.port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off "
            "-c synchronous_commit=off -c full_page_writes=off -c max_connections=200"
        )
        self._run("pg_ctl", "-D", self._data, "-w", "-l", folder / "log", "-o", options, "start")

    def database(self) -> str:
        """The URL of a new, empty database."""
        name = f"assay_{os.getpid()}_{next(_numbers)}"
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "assay", name)
        return f"postgresql://assay@127.0.0.1:{self.port}/{name}"

    def stop(self) -> None:
        self._run("pg_ctl", "-D", self._data, "-m", "immediate", "stop")

    def _run(self, program: str, *arguments: object) -> None:
        done = subprocess.run(
            [self._bin / program, *map(str, arguments)],
            user=self._user,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if program != "pg_ctl" else subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
            timeout=120,
        )
        if done.returncode:
            said = (done.stdout or b"").decode(errors="replace")
            log = self._sockets / "log"
            raise RuntimeError(
                f"{program} failed: {said} {log.read_text() if log.exists() else ''}"
            )
