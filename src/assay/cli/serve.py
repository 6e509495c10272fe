"""``assay serve`` and ``assay worker``."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace

from assay.limits import Limits

__all__ = ["explain", "serve", "worker"]

_STOP_SECONDS = 20.0


def serve(*, host: str | None, port: int | None, workers: int | None) -> int:
    """Run server and workers until told to stop. Returns the exit status."""
    import uvicorn
    from pydantic import ValidationError

    from assay.server import logs
    from assay.server.app import make_app, make_services, setup_link
    from assay.server.settings import Settings

    given = {"host": host, "port": port, "workers": workers}
    try:
        settings = Settings.model_validate({k: v for k, v in given.items() if v is not None})
    except ValidationError as error:
        print(explain(error), file=sys.stderr)
        return 2
    # Workers read the environment; what the command line said must reach them too.
    os.environ["ASSAY_DATA_DIR"] = str(settings.data_dir.absolute())
    logs.set_up()
    services = make_services(settings)
    link = setup_link(services)
    if link:
        print(f"\nTo make the first account, open within a day:\n\n    {link}\n", flush=True)
    else:
        print(f"Assay is served at {settings.base_url}", flush=True)
    crew = _Crew(settings.workers)
    server = uvicorn.Server(
        uvicorn.Config(
            make_app(services),
            host=settings.host,
            port=settings.port,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=bool(settings.trusted_proxies),
            forwarded_allow_ips=settings.trusted_proxies or None,
            timeout_graceful_shutdown=5,
        )
    )
    # The server raises the signal that ended it once more, which would end this process
    # before its workers have put back what they were doing.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: None)
    crew.start()
    try:
        server.run()
    finally:
        crew.stop()
    return 0 if server.started else 3


def worker(*, name: str | None, at_once: int | None, with_parent: bool) -> int:
    """Run one worker until told to stop. Returns the exit status."""
    from pydantic import ValidationError

    from assay.server import logs
    from assay.server.settings import Settings
    from assay.storage import migrate, retention
    from assay.storage.blobs import Blobs
    from assay.storage.database import Database
    from assay.worker import queue
    from assay.worker.run import Worker

    try:
        settings = Settings()
    except ValidationError as error:
        print(explain(error), file=sys.stderr)
        return 2
    logs.set_up()
    database = Database(settings.url_of_database)
    migrate.upgrade(database)
    queue.prepare(database)
    if with_parent:
        threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    name = name or f"{socket.gethostname()[:60]}-{os.getpid()}"
    blobs = Blobs(settings.folder_of_media)
    # Copies of media that its children make must not outlive a crash.
    os.environ["TMPDIR"] = str(retention.scratch(blobs, name))
    Worker(
        database=database,
        blobs=blobs,
        name=name,
        at_once=at_once or settings.at_once,
        limits=replace(
            Limits(), timeout_seconds=settings.timeout_seconds, max_bytes=settings.max_upload_bytes
        ),
        lease_seconds=settings.lease_seconds,
        webhooks=settings.outbound(),
    ).run()
    return 0


class _Crew:
    """Worker processes; one that ends is started again."""

    def __init__(self, count: int) -> None:
        self._names = [f"{socket.gethostname()[:60]}-{n}" for n in range(1, count + 1)]
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._begun: dict[str, float] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._thread.join(timeout=5)
        for process in self._processes.values():
            process.terminate()
        deadline = time.monotonic() + _STOP_SECONDS
        for process in self._processes.values():
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()

    def _watch(self) -> None:
        while not self._over.is_set():
            for name in self._names:
                process = self._processes.get(name)
                if process is not None and process.poll() is None:
                    continue
                if process is not None:
                    logging.getLogger("assay.serve").warning(
                        "worker ended", extra={"worker": name, "status": process.returncode}
                    )
                # One that dies at once must not spin.
                if time.monotonic() - self._begun.get(name, -60.0) < 5.0:
                    continue
                self._begun[name] = time.monotonic()
                self._processes[name] = subprocess.Popen(  # noqa: S603 - our own program
                    [sys.executable, "-m", "assay", "worker", "--name", name, "--with-parent"],
                    stdin=subprocess.DEVNULL,
                    start_new_session=True,  # Ctrl-C is for the server, which stops its crew
                )
            self._over.wait(0.5)


def _end_with(parent: int) -> None:
    """A worker of a server that was killed must not live on unseen."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os.kill(os.getpid(), signal.SIGTERM)


def explain(error: object) -> str:
    """Which setting is wrong, by its name in the environment."""
    lines = ["The settings are not valid:"]
    for item in error.errors():  # type: ignore[attr-defined]
        name = "_".join(str(part) for part in item["loc"]).upper()
        lines.append(f"  ASSAY_{name}: {item['msg']}")
    return "\n".join(lines)
