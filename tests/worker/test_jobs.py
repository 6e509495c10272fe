"""Jobs outlive their workers: none is lost, none counts twice, a poison file is set aside."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from sqlalchemy import func, select

from assay.storage import analyses
from assay.storage.tables import analyses as table
from assay.storage.tables import audit, reports
from assay.worker.jobs import MOST_TRIES


@pytest.fixture
def empty(houses: Any, tmp_path: Path) -> Iterator[Any]:
    """A server without a worker, whose leases are short."""
    made = houses.House(tmp_path / "house", workers=0)
    yield made
    made.close()


@pytest.fixture(params=[("sqlite", 500), ("postgresql", 200)], ids=["sqlite", "postgresql"])
def many(request: pytest.FixtureRequest, houses: Any, tmp_path: Path) -> Iterator[tuple[Any, int]]:
    """A server without a worker on each kind of database, and how many jobs to give it."""
    kind, count = request.param
    url = "" if kind == "sqlite" else str(request.getfixturevalue("postgres").database())
    made = houses.House(tmp_path / "house", workers=0, database_url=url)
    yield made, count
    made.close()


def _queue(house: Any, count: int, folder: Path) -> list[str]:
    """Analyses of ``count`` small pictures, entered as the server enters them."""
    from assay.server.access import Principal
    from assay.server.submit import Wish, submit
    from assay.storage.accounts import scopes_of

    user = house.user()
    who = Principal(user=user, scopes=scopes_of(user.role))
    made = []
    for n in range(count):
        picture = folder / f"{n}.png"
        Image.effect_noise((24, 24), 40 + n % 50).save(picture)
        data = picture.read_bytes()
        key = f"{random.getrandbits(128):032x}"
        with house.services.blobs.write(key) as file:
            file.write(data)
        wish = Wish(name=picture.name, size=len(data), sha256="0" * 64, key=key)
        row, _ = submit(house.services, who, wish)
        made.append(row.id)
    return made


def _left(house: Any) -> int:
    with house.services.database.read() as c:
        query = select(func.count()).where(table.c.status.in_(("queued", "running")))
        return int(c.execute(query).scalar_one())


def test_jobs_survive_workers_that_are_killed(many: tuple[Any, int], tmp_path: Path) -> None:
    """Kill -9 at random points; each job ends once, with one report and one entry."""
    empty, count = many
    made = _queue(empty, count, tmp_path)
    chance = random.Random(7)
    lease = {"ASSAY_AT_ONCE": "2", "ASSAY_LEASE_SECONDS": "6"}
    crew = {name: empty.worker(name, **lease) for name in ("w1", "w2")}
    empty.workers = list(crew.values())
    deadline = time.monotonic() + 240
    kills = 0
    while (left := _left(empty)) and time.monotonic() < deadline:
        time.sleep(chance.uniform(0.3, 3.0))
        if kills < 6 and left < count - 10:
            name = chance.choice(sorted(crew))
            crew[name].kill()
            crew[name].wait()
            kills += 1
            # Some come back under their name, others are replaced by a stranger.
            new = name if chance.random() < 0.5 else f"{name}x"
            del crew[name]
            crew[new] = empty.worker(new, **lease)
            empty.workers = list(crew.values())
    assert _left(empty) == 0, f"{_left(empty)} jobs have not ended"
    assert kills >= 4
    with empty.services.database.read() as c:
        rows = [analyses.get(c, ident) for ident in made]
        assert [r.status for r in rows if r] == ["done"] * count
        assert c.execute(select(func.count()).select_from(reports)).scalar_one() == count
        ended = select(audit.c.subject).where(audit.c.action == "analysis.done")
        assert sorted(c.execute(ended).scalars()) == sorted(made)


def test_a_file_that_kills_its_worker_is_set_aside(empty: Any, tmp_path: Path) -> None:
    """Each time the poison runs its worker dies; it fails with the reason, others are done."""
    (poison,) = _queue(empty, 1, tmp_path)
    others = _queue(empty, 3, tmp_path)
    process = empty.worker("w1")
    deaths = 0
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        with empty.services.database.read() as c:
            row = analyses.get(c, poison)
            assert row is not None
            done = [analyses.status_of(c, i) for i in others] == ["done"] * 3
        if row.status == "failed" and done:
            break
        if row.status == "running" and row.attempts == deaths + 1:
            process.send_signal(signal.SIGSTOP)  # it cannot finish while we look
            with empty.services.database.read() as c:
                again = analyses.get(c, poison)
            if again is not None and again.status == "running":
                deaths += 1
                process.kill()
                process.wait()
                process = empty.worker("w1")
            else:
                process.send_signal(signal.SIGCONT)
                pytest.skip("the picture was analysed before it could kill its worker")
        time.sleep(0.002)
    empty.workers = [process]
    assert row.status == "failed"
    assert deaths == MOST_TRIES
    assert row.error_cause is not None
    assert "set aside after 3 tries" in row.error_cause


def test_a_worker_told_to_stop_hands_its_job_back(
    empty: Any, tmp_path: Path, portrait_video: Path
) -> None:
    with empty.program() as client:
        first = empty.worker("w1")
        empty.workers = [first]
        ident = empty.submit(client, portrait_video)["id"]
        while client.get(f"/api/v1/analyses/{ident}").json()["status"] == "queued":
            time.sleep(0.02)
        first.terminate()
        assert first.wait(timeout=30) == 0
        now = client.get(f"/api/v1/analyses/{ident}").json()
        assert now["status"] in ("queued", "done")
        empty.workers = [empty.worker("w2")]
        done = empty.wait(client, ident)
        assert done["status"] == "done"
        assert done["attempts"] == 1, "stopping a worker is not the file's fault"


def test_urgent_jobs_go_first(empty: Any, tmp_path: Path) -> None:
    with empty.program() as client:
        path = tmp_path / "a.txt"
        path.write_text("no media at all")
        idents = [empty.submit(client, path, priority=p)["id"] for p in (9, 5, 1, 5, 9)]
        empty.workers = [empty.worker("w1")]
        for ident in idents:
            empty.wait(client, ident)
        with empty.services.database.read() as c:
            rows = [analyses.get(c, ident) for ident in idents]
        ran = sorted((r.started_at, r.priority) for r in rows if r and r.started_at)
        assert [p for _, p in ran] == [1, 5, 5, 9, 9]
