"""Retention: what is due is really gone, from files, tables and the bytes of the database."""

from __future__ import annotations

import os
import signal
import time
import uuid
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from assay import analyze
from assay.report.document import Report
from assay.storage import accounts, analyses, audit, fleet, migrate, retention, uploads, webhooks
from assay.storage.analyses import Analysis
from assay.storage.blobs import Blobs
from assay.storage.database import Database
from assay.storage.tables import audit as audit_table
from assay.storage.tables import deliveries, idempotency, metadata, reports, sessions, tickets

NOW = time.time()
DAY = 86400.0


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    made = Database(database_url)
    migrate.upgrade(made)
    yield made
    made.close()


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path / "media")


@pytest.fixture(scope="module")
def report(rocket_jpeg: Path) -> Report:
    made = analyze(rocket_jpeg)
    assert made.pictures
    return made


@pytest.fixture
def owner(database: Database) -> accounts.User:
    with database.write() as c:
        return accounts.add_user(c, email="a@example.org", name="A", role="owner", at=NOW)


def _add(
    database: Database, blobs: Blobs, owner: accounts.User, *, due: float | None, **more: Any
) -> Analysis:
    ident = uuid.uuid4().hex
    if "source_path" not in more:
        with blobs.write(ident) as file:
            file.write(b"media")
    with database.write() as c:
        return analyses.add(
            c, ident=ident, owner_id=owner.id, name="n", size=5, sha256="0" * 64, prior=0.5,
            at=NOW, media_expires_at=due, **more,
        )  # fmt: skip


def _finish(database: Database, row: Analysis, report: Report) -> bytes:
    with database.write() as c:
        analyses.begin(c, row.id, worker="w", at=NOW)
        assert analyses.finish(c, row.id, report, NOW)
        query = select(reports.c.document).where(reports.c.analysis_id == row.id)
        return bytes(c.execute(query).scalar_one())


def test_media_and_pictures_go_when_due_and_not_before(
    database: Database, blobs: Blobs, owner: accounts.User, report: Report
) -> None:
    due = _add(database, blobs, owner, due=NOW + DAY)
    later = _add(database, blobs, owner, due=NOW + 3 * DAY)
    kept = _add(database, blobs, owner, due=None)
    waiting = _add(database, blobs, owner, due=NOW)
    for row in (due, later, kept):
        _finish(database, row, report)
    assert retention.sweep(database, blobs, NOW).media == 0
    assert retention.sweep(database, blobs, NOW + 2 * DAY).media == 1
    assert retention.sweep(database, blobs, NOW + 2 * DAY).media == 0
    assert blobs.path(due.id) is None
    for row in (later, kept, waiting):
        assert blobs.path(row.id) is not None, "media of what has not ended are needed"
    with database.read() as c:
        bare = analyses.report(c, due.id)
        assert bare is not None
        assert bare.pictures == ()
        assert (bare.headline, bare.evidence) == (report.headline, report.evidence)
        full = analyses.report(c, later.id)
        assert full is not None
        assert full.pictures == report.pictures
        row = analyses.get(c, due.id)
        assert row is not None
        assert row.media_deleted_at == NOW + 2 * DAY
        (entry,) = [e for e in audit.entries(c) if e.action == "media.delete"]
        assert (entry.actor, entry.subject) == ("system", due.id)
        assert f'"pictures":{len(report.pictures)}' in entry.detail
        assert audit.verify(c) is None


def test_pictures_of_the_servers_own_files_go_but_not_the_files(
    database: Database, blobs: Blobs, owner: accounts.User, report: Report, tmp_path: Path
) -> None:
    own = tmp_path / "own.jpg"
    own.write_bytes(b"x")
    row = _add(database, blobs, owner, due=NOW, source_path=str(own))
    _finish(database, row, report)
    retention.sweep(database, blobs, NOW)
    assert own.exists()
    with database.read() as c:
        bare = analyses.report(c, row.id)
    assert bare is not None
    assert bare.pictures == ()


def test_nothing_of_a_picture_stays_in_the_bytes_of_the_database(
    tmp_path: Path, report: Report
) -> None:
    database = Database(f"sqlite:///{tmp_path / 'assay.db'}")
    blobs = Blobs(tmp_path / "media")
    migrate.upgrade(database)
    with database.write() as c:
        owner = accounts.add_user(c, email="a@example.org", name="A", role="owner", at=NOW)
    row = _add(database, blobs, owner, due=NOW)
    stored = _finish(database, row, report)
    piece = stored[len(stored) // 2 :][:200]

    def found() -> bool:
        return any(piece in p.read_bytes() for p in tmp_path.glob("assay.db*"))

    assert zlib.decompress(stored)
    assert found()
    retention.sweep(database, blobs, NOW)
    assert not found()
    database.close()


def test_rows_that_have_had_their_time_go(
    database: Database, blobs: Blobs, owner: accounts.User
) -> None:
    row = _add(database, blobs, owner, due=None)
    with database.write() as c:
        accounts.open_session(c, owner.id, NOW)
        accounts.make_ticket(c, "invite", at=NOW, seconds=DAY)
        analyses.remember(c, owner.id, "k", request_hash="0", analysis_id=row.id, at=NOW)
        webhooks.add(c, owner_id=owner.id, url="https://x.org/", events=["analysis.done"], at=NOW)
        assert len(webhooks.tell(c, event="analysis.done", analysis=row, at=NOW)) == 1

    def counts() -> list[int]:
        with database.read() as c:
            return [
                c.execute(select(func.count()).select_from(t)).scalar_one()
                for t in (sessions, tickets, idempotency, deliveries)
            ]

    retention.sweep(database, blobs, NOW + 3600)
    assert counts() == [1, 1, 1, 1]
    retention.sweep(database, blobs, NOW + 2 * DAY)
    assert counts() == [1, 0, 1, 1]
    with database.write() as c:
        analyses.remove(c, row.id)
    retention.sweep(database, blobs, NOW + 3 * DAY)
    assert counts() == [1, 0, 1, 0], "what was told of a deleted analysis goes with it"
    retention.sweep(database, blobs, NOW + 40 * DAY)
    assert counts() == [0, 0, 0, 0]


def test_expired_uploads_and_files_that_no_row_knows_go(
    database: Database, blobs: Blobs, owner: accounts.User
) -> None:
    with database.write() as c:
        made = uploads.create(
            c, owner_id=owner.id, name="n", length=9, at=NOW, expires_at=NOW + DAY
        )
    with uploads.locked(blobs, made.id) as file:
        file.write(b"part")
    kept = _add(database, blobs, owner, due=None)
    orphan = uuid.uuid4().hex
    with blobs.write(orphan) as file:
        file.write(b"lost")
    stray = uploads.part(blobs, uuid.uuid4().hex)
    stray.write_bytes(b"lost")
    idle = blobs.root / "parts" / "broken-off"
    idle.write_bytes(b"half a film")
    busy = retention.sweep(database, blobs, NOW + 60, thorough=True)
    assert (busy.parts, busy.orphans, busy.uploads) == (0, 0, 0)
    done = retention.sweep(database, blobs, NOW + 7200, thorough=True)
    assert (done.parts, done.orphans, done.uploads) == (1, 2, 0)
    assert uploads.part(blobs, made.id).exists()
    assert retention.sweep(database, blobs, NOW + 2 * DAY).uploads == 1
    assert not uploads.part(blobs, made.id).exists()
    assert blobs.path(kept.id) is not None
    assert blobs.path(orphan) is None
    assert not stray.exists()
    assert not idle.exists()


def test_all_files_are_listed_once_an_hour_only(
    database: Database, blobs: Blobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    monkeypatch.setattr(retention, "_orphans", lambda *a: seen.append(a[2]) or 0)
    for minute in range(0, 180, 10):
        retention.sweep(database, blobs, NOW + minute * 60)
    assert [round((t - NOW) / 60) for t in seen] == [0, 60, 120]


def test_temporary_files_of_lost_workers_go(database: Database, blobs: Blobs) -> None:
    with database.write() as c:
        for name in ("alive", "dead/../x", "left"):
            fleet.join(c, name, host="h", pid=1, at=NOW)
    folders = {n: retention.scratch(blobs, n) for n in ("alive", "dead/../x", "left")}
    for folder in folders.values():
        assert folder.parent == blobs.root / "scratch", "a name is no path"
        (folder / "assay-x").mkdir()
        (folder / "assay-x" / "variant.png").write_bytes(b"media")
    later = NOW + 1000
    with database.write() as c:
        fleet.renew(c, "alive", later)
        fleet.leave(c, "left", NOW)
    assert retention.sweep(database, blobs, later).scratch == 2
    assert [n for n, f in folders.items() if f.exists()] == ["alive"]
    assert list(retention.scratch(blobs, "alive").iterdir()) == [], "a start begins empty"


def test_zero_retention_leaves_nothing_behind_after_kill_9(
    houses: Any, tmp_path: Path, portrait_video: Path
) -> None:
    """The worker is killed while it holds the media; the next one finishes and cleans up."""
    house = houses.House(tmp_path / "house", workers=0)
    try:
        with house.program() as client:
            ident = house.submit(client, portrait_video, zero_retention=True)["id"]
            first = house.worker("w1")
            house.workers = [first]
            here = f"/api/v1/analyses/{ident}"
            while not client.get(here).json()["stage"]:
                time.sleep(0.02)
            scratch = house.folder / "media" / "scratch" / "w1"
            (scratch / "assay-left").mkdir()
            (scratch / "assay-left" / "variant.png").write_bytes(b"media")
            first.send_signal(signal.SIGKILL)
            first.wait()
            assert house.services.blobs.path(ident) is not None
            house.workers = [house.worker("w1")]
            assert house.wait(client, ident, seconds=200)["status"] == "done"
            deadline = time.monotonic() + 10
            while house.services.blobs.path(ident) and time.monotonic() < deadline:
                time.sleep(0.05)
            left = [p for p in (house.folder / "media").rglob("*") if p.is_file()]
            # .ses: a number that onnxruntime leaves in the folder for temporary files.
            assert [p.name for p in left if p.name not in ("swept", ".ses")] == []
            assert client.get(here + "/report").json()["pictures"] == []
            # The server is killed while a file comes in.
            part = house.services.blobs.root / "parts" / f"{uuid.uuid4().hex}.x"
            part.write_bytes(b"half a film")
            os.utime(part, (NOW - 1000, NOW - 1000))
            retention.sweep(house.services.database, house.services.blobs, time.time())
            assert not part.exists()
            # What is cancelled before a worker has it goes with the next sweep.
            house.workers[0].kill()
            house.workers[0].wait()
            ident = house.submit(client, portrait_video, zero_retention=True)["id"]
            client.post(f"/api/v1/analyses/{ident}/cancel")
            retention.sweep(house.services.database, house.services.blobs, time.time())
            assert house.services.blobs.path(ident) is None
    finally:
        house.close()


def test_media_kept_for_no_time_leave_no_pictures_either(
    houses: Any, tmp_path: Path, rocket_jpeg: Path
) -> None:
    from assay.storage import options

    house = houses.House(tmp_path / "house", workers=1)
    try:
        with house.services.database.write() as c:
            options.change(c, by="x", at=NOW, retention_days=0.0)
        with house.program() as client:
            made = house.submit(client, rocket_jpeg)
            assert made["zero_retention"] is False
            house.wait(client, made["id"])
            deadline = time.monotonic() + 10
            report = client.get(f"/api/v1/analyses/{made['id']}/report").json()
            while report["pictures"] and time.monotonic() < deadline:
                time.sleep(0.05)
                report = client.get(f"/api/v1/analyses/{made['id']}/report").json()
            assert report["pictures"] == []
            assert house.services.blobs.path(made["id"]) is None
            with house.services.database.read() as c:
                actors = select(audit_table.c.actor).where(audit_table.c.action == "media.delete")
                assert c.execute(actors).scalars().all() == ["worker:w0"]
    finally:
        house.close()


def test_every_table_is_thought_of() -> None:
    """A new table must be swept, or be named here as kept."""
    kept = {"users", "api_keys", "analyses", "reports", "reviews", "webhooks", "audit", "options"}
    swept = {"tickets", "sessions", "shares", "idempotency", "uploads", "deliveries", "workers"}
    assert set(metadata.tables) == kept | swept
