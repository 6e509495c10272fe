"""The operator's commands, on a server that really ran."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


def _admin(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "assay", "admin", *words],
        env={**os.environ, "ASSAY_DATA_DIR": str(folder), "ASSAY_DATABASE_URL": ""},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_backup_and_restore_take_a_server_along(
    houses: Any, tmp_path: Path, chelsea_png: Path
) -> None:
    user_key = ""
    old = houses.House(tmp_path / "old")
    try:
        with old.program("owner") as client:
            user_key = client.headers["authorization"]
            done = old.submit(client, chelsea_png)["id"]
            old.wait(client, done)
            with old.without():
                waiting = old.submit(client, chelsea_png)["id"]
                file = tmp_path / "a.tar"
                made = _admin(tmp_path / "old", "backup", str(file))
                assert made.returncode == 0, made.stderr
                assert "2 files of media" in made.stdout
                again = _admin(tmp_path / "old", "backup", str(file))
                assert (again.returncode, "exists" in again.stderr) == (2, True)
            whole = _admin(tmp_path / "old", "audit", "verify")
            assert whole.stdout.startswith("The audit log is whole: ")
            head = whole.stdout.rsplit("Head ", 1)[1].strip()
            same = _admin(tmp_path / "old", "audit", "verify", "--head", head)
            assert same.returncode == 0
            cut = _admin(tmp_path / "old", "audit", "verify", "--head", "999:" + head[-64:])
            assert (cut.returncode, "cut off" in cut.stderr) == (3, True)
            refused = _admin(tmp_path / "old", "restore", str(file))
            assert (refused.returncode, "users already" in refused.stderr) == (3, True)
    finally:
        old.close()
    restored = _admin(tmp_path / "new", "restore", str(file))
    assert restored.returncode == 0, restored.stderr
    new = houses.House(tmp_path / "new")
    try:
        import httpx

        headers = {"Authorization": user_key}
        with httpx.Client(base_url=new.url, headers=headers, timeout=60) as client:
            assert client.get(f"/api/v1/analyses/{done}/report").status_code == 200
            assert new.wait(client, waiting)["status"] == "done", "it was queued anew"
    finally:
        new.close()


def test_a_link_for_a_lost_password(house: Any) -> None:
    user = house.user("analyst")
    made = _admin(house.folder, "link", user.email.upper())
    assert made.returncode == 0, made.stderr
    assert "/password?token=" in made.stdout
    assert _admin(house.folder, "link", "nobody@example.org").returncode == 3


def test_retention_says_what_it_did(house: Any) -> None:
    done = _admin(house.folder, "retention")
    assert done.returncode == 0, done.stderr
    assert "0 media" in done.stdout


def test_a_changed_audit_log_is_noticed(houses: Any, tmp_path: Path) -> None:
    import sqlite3

    house = houses.House(tmp_path / "house", workers=0)
    try:
        with house.program() as client:
            client.post("/api/v1/analyses", files={"file": b"abc"})
            client.post("/api/v1/analyses", files={"file": b"abcd"})
        with sqlite3.connect(house.folder / "assay.db") as db:
            db.execute("UPDATE audit SET actor = 'somebody else' WHERE seq = 1")
        found = _admin(house.folder, "audit", "verify")
        assert (found.returncode, "at entry 1" in found.stderr) == (3, True)
    finally:
        house.close()


@pytest.mark.parametrize("words", [["retention"], ["audit", "verify"], ["link", "a@b.c"]])
def test_without_a_server_it_says_so(tmp_path: Path, words: list[str]) -> None:
    found = _admin(tmp_path, *words)
    assert found.returncode == 3
    assert "no server here" in found.stderr
    assert "Traceback" not in found.stderr
