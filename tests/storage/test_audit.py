"""The audit log: its chain holds under concurrent writers and shows every meddling."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
from sqlalchemy import delete, func, select, update

from assay.storage import audit
from assay.storage.database import Database
from assay.storage.tables import audit as table
from assay.storage.tables import metadata

_WRITER = """
import sys
from assay.storage import audit
from assay.storage.database import Database
database = Database(sys.argv[1])
for n in range(int(sys.argv[3])):
    with database.write() as c:
        said = {"actor": sys.argv[2], "action": "test.write", "subject": str(n)}
        audit.write(c, **said, detail={"n": n}, at=n)
"""


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    made = Database(database_url)
    metadata.create_all(made.engine)
    yield made
    made.close()


def _fill(database: Database, count: int) -> None:
    for n in range(count):
        with database.write() as c:
            audit.write(
                c,
                actor="system",
                action="test.fill",
                subject=f"s{n}",
                detail={"z": 1, "a": [n, "ü"]},
                at=1_700_000_000.123456 + n / 7,
            )


def test_an_untouched_chain_holds(database: Database) -> None:
    with database.read() as c:
        assert audit.verify(c) is None
        assert audit.head(c) is None
    _fill(database, 5)
    with database.read() as c:
        assert audit.verify(c) is None
        newest = audit.entries(c, limit=2)
        assert [e.seq for e in newest] == [5, 4]
        assert audit.head(c) == (5, newest[0].hash)
        assert newest[0].prev_hash == newest[1].hash
        assert newest[0].detail == '{"a":[4,"ü"],"z":1}'
        assert [e.seq for e in audit.entries(c, before=3)] == [2, 1]


@pytest.mark.parametrize("column", ["at", "actor", "action", "subject", "detail", "hash"])
def test_a_changed_entry_is_found(database: Database, column: str) -> None:
    _fill(database, 5)
    with database.write() as c:
        value = 1.0 if column == "at" else "0" * 64 if column == "hash" else "other"
        c.execute(update(table).where(table.c.seq == 3).values({column: value}))
    with database.read() as c:
        assert audit.verify(c) == 3


def test_a_removed_entry_is_found(database: Database) -> None:
    _fill(database, 5)
    with database.write() as c:
        c.execute(delete(table).where(table.c.seq == 2))
    with database.read() as c:
        assert audit.verify(c) == 2


def test_a_removed_entry_is_found_even_when_the_rest_moves_up(database: Database) -> None:
    _fill(database, 4)
    with database.write() as c:
        c.execute(delete(table).where(table.c.seq == 2))
        for seq in (3, 4):
            c.execute(update(table).where(table.c.seq == seq).values(seq=seq - 1))
    with database.read() as c:
        assert audit.verify(c) == 2


def test_an_entry_that_is_rolled_back_leaves_no_gap(database: Database) -> None:
    _fill(database, 1)

    def fail_after_writing() -> None:
        with database.write() as c:
            audit.write(c, actor="a", action="b", subject="c", detail={}, at=0.0)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_after_writing()
    _fill(database, 1)
    with database.read() as c:
        assert audit.verify(c) is None
        assert audit.head(c) == (2, audit.entries(c)[0].hash)


def test_detail_must_be_json(database: Database) -> None:
    with pytest.raises(ValueError, match="JSON"), database.write() as c:
        audit.write(c, actor="a", action="b", subject="c", detail={"x": float("nan")}, at=0.0)


def test_processes_that_write_at_once_make_one_chain(database: Database) -> None:
    crew = [
        subprocess.Popen([sys.executable, "-c", _WRITER, database.url, f"p{n}", "40"])
        for n in range(4)
    ]
    assert [p.wait(timeout=120) for p in crew] == [0] * 4
    with database.read() as c:
        assert c.execute(select(func.count()).select_from(table)).scalar_one() == 160
        assert audit.verify(c) is None
        per_actor = select(table.c.actor, func.count()).group_by(table.c.actor)
        found = {row[0]: row[1] for row in c.execute(per_actor)}
        assert found == {f"p{n}": 40 for n in range(4)}
