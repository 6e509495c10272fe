"""Backups: nothing is lost between databases of either kind, and broken ones are refused."""

from __future__ import annotations

import io
import json
import tarfile
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, select

from assay.report.as_json import load
from assay.storage import accounts, analyses, audit, backup, migrate, reviews
from assay.storage.blobs import Blobs
from assay.storage.database import Database
from assay.storage.tables import metadata

NOW = time.time()
REPORT = Path(__file__).parents[1] / "golden" / "still-with-faces.json"


def _filled(url: str, folder: Path) -> tuple[Database, Blobs]:
    """A server's memory with a bit of everything in it."""
    database, blobs = Database(url), Blobs(folder / "media")
    migrate.upgrade(database)
    with database.write() as c:
        user = accounts.add_user(
            c, email="ada@example.org", name="Ada ü", role="owner", at=NOW, password="long enough 1"
        )
        accounts.make_key(c, user.id, name="k", scopes=["analyses:read"], at=NOW)
        accounts.open_session(c, user.id, NOW)
        for n in range(3):
            row = analyses.add(
                c,
                owner_id=user.id,
                name=f"picture {n}.png",
                size=7,
                sha256="ab" * 32,
                prior=0.1,
                at=NOW + n,
            )
            with blobs.write(row.id) as file:
                file.write(b"media %d" % n)
            audit.write(
                c, actor=user.id, action="analysis.create", subject=row.id, detail={"n": n}, at=NOW
            )
        analyses.finish(c, row.id, load(REPORT), NOW)
        done = analyses.get(c, row.id)
        assert done is not None
        reviews.add(c, done, user, "confirm", verdict=None, reason="I was there", at=NOW)
    return database, blobs


def _everything(c: Connection) -> dict[str, list[dict[str, Any]]]:
    left_out = {"sessions", "tickets", "workers", "uploads"}
    return {
        t.name: [dict(r) for r in c.execute(select(t).order_by(*t.primary_key.columns)).mappings()]
        for t in metadata.sorted_tables
        if t.name not in left_out
    }


@pytest.mark.parametrize("target", ["sqlite", "postgresql"])
def test_nothing_is_lost(
    database_url: str, target: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    database, blobs = _filled(database_url, tmp_path)
    made = backup.make(database, blobs, tmp_path / "a.tar", at=NOW)
    assert (made.media, made.rows["analyses"], made.rows["users"]) == (3, 3, 1)
    assert backup.check(tmp_path / "a.tar") == made
    assert (tmp_path / "a.tar").stat().st_mode & 0o077 == 0

    url = f"sqlite:///{tmp_path / 'new.db'}"
    if target == "postgresql":
        url = str(request.getfixturevalue("postgres").database())
    other, store = Database(url), Blobs(tmp_path / "new")
    entered: list[tuple[str, str]] = []
    backup.restore(
        other,
        store,
        tmp_path / "a.tar",
        at=NOW + 9,
        enter=lambda c, kind, ident: entered.append((kind, ident)),
    )
    with database.read() as c, other.read() as d:
        before, after = _everything(c), _everything(d)
        assert after["audit"].pop()["action"] == "server.restore"
        assert after == before
        assert audit.verify(d) is None
        for row in before["analyses"]:
            kept, copied = blobs.path(row["id"]), store.path(row["id"])
            assert kept is not None
            assert copied is not None
            assert copied.read_bytes() == kept.read_bytes()
        open_now = [r["id"] for r in before["analyses"] if r["status"] == "queued"]
        assert accounts.login(d, "ada@example.org", "long enough 1") is not None
    assert sorted(entered) == sorted(("analysis", i) for i in open_now)
    database.close()
    other.close()


def _nothing(c: Connection, kind: str, ident: str) -> None:
    raise AssertionError("nothing may be entered")


def _rewrite(path: Path, change: Any) -> None:
    members = []
    with tarfile.open(path) as tar:
        for member in tar:
            stream = tar.extractfile(member)
            assert stream is not None
            members.append((member.name, stream.read()))
    with tarfile.open(path, "w") as tar:
        for name, data in change(members):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda m: m[:-1], "manifest is missing"),
        (lambda m: m[1:], "differs from its manifest"),
        (lambda m: [(n, d.replace(b"Ada", b"Eve")) for n, d in m], "differs from its manifest"),
        (lambda m: [*m[:-1], ("../../etc/x", b"x"), m[-1]], "differs from its manifest"),
        (lambda m: [m[0], *m], "twice"),
        (lambda m: [*m, ("late", b"x")], "no backup"),
        (lambda m: [("manifest.json", b"[]")], "manifest is missing"),
        (lambda m: [("manifest.json", b"{")], "cannot be read"),
    ],
)
def test_broken_backups_change_nothing(tmp_path: Path, change: Any, why: str) -> None:
    database, blobs = _filled(f"sqlite:///{tmp_path / 'a.db'}", tmp_path)
    path = tmp_path / "a.tar"
    backup.make(database, blobs, path, at=NOW)
    _rewrite(path, change)
    other, store = Database(f"sqlite:///{tmp_path / 'b.db'}"), Blobs(tmp_path / "new")
    migrate.upgrade(other)
    with pytest.raises(backup.BackupError, match=why):
        backup.restore(other, store, path, at=NOW, enter=_nothing)
    with other.read() as c:
        assert accounts.count_users(c) == 0
    assert list(store.keys()) == []


def test_a_changed_audit_log_is_noticed_even_with_a_new_manifest(tmp_path: Path) -> None:
    import hashlib

    database, blobs = _filled(f"sqlite:///{tmp_path / 'a.db'}", tmp_path)
    path = tmp_path / "a.tar"
    backup.make(database, blobs, path, at=NOW)

    def forge(members: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
        changed = [
            (n, d.replace(b"analysis.create", b"analysis.delete") if "audit" in n else d)
            for n, d in members[:-1]
        ]
        manifest = json.loads(members[-1][1])
        manifest["sha256"] = {n: hashlib.sha256(d).hexdigest() for n, d in changed}
        return [*changed, ("manifest.json", json.dumps(manifest).encode())]

    _rewrite(path, forge)
    other, store = Database(f"sqlite:///{tmp_path / 'b.db'}"), Blobs(tmp_path / "new")
    with pytest.raises(backup.BackupError, match="audit log"):
        backup.restore(other, store, path, at=NOW, enter=_nothing)
    with other.read() as c:
        assert accounts.count_users(c) == 0
    assert list(store.keys()) == []


def test_a_server_in_use_is_not_overwritten(tmp_path: Path) -> None:
    database, blobs = _filled(f"sqlite:///{tmp_path / 'a.db'}", tmp_path)
    backup.make(database, blobs, tmp_path / "a.tar", at=NOW)
    with pytest.raises(backup.BackupError, match="users already"):
        backup.restore(database, blobs, tmp_path / "a.tar", at=NOW, enter=_nothing)


def test_text_is_no_backup(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_text("hello")
    with pytest.raises(backup.BackupError, match=r"a\.tar"):
        backup.check(path)
