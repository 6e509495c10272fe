"""Migrations lead to the tables, from several processes at once, and never backwards."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Column, Integer, Table, inspect, text

from assay.storage import migrate
from assay.storage.database import Database
from assay.storage.tables import metadata

_START = """
import sys
from assay.storage import migrate
from assay.storage.database import Database
print(migrate.upgrade(Database(sys.argv[1])))
"""


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    made = Database(database_url)
    yield made
    made.close()


def test_migrations_lead_to_the_tables(database: Database) -> None:
    assert migrate.upgrade(database) is True
    assert migrate.upgrade(database) is False
    with database.read() as c:
        assert compare_metadata(MigrationContext.configure(c), metadata) == []
        assert migrate.is_current(c)
        # What the comparison does not look at.
        made = inspect(c)
        for table in metadata.sorted_tables:
            assert made.get_pk_constraint(table.name)["constrained_columns"] == [
                column.name for column in table.primary_key
            ]
            rules = {k["referred_table"]: k["options"] for k in made.get_foreign_keys(table.name)}
            for key in table.foreign_keys:
                assert rules[key.column.table.name] == {"ondelete": "CASCADE"}


def test_a_newer_database_is_left_alone(database: Database) -> None:
    migrate.upgrade(database)
    with database.write() as c:
        c.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(migrate.NewerDatabase, match=r"revision 9999.*newer version of Assay"):
        migrate.upgrade(database)
    with database.read() as c:
        assert migrate.revision_of(c) == "9999"
        assert not migrate.is_current(c)


def test_programs_that_start_at_once_migrate_once(database: Database) -> None:
    database.close()
    crew = [
        subprocess.Popen(
            [sys.executable, "-c", _START, database.url], stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    said = [p.communicate(timeout=120)[0].strip() for p in crew]
    assert [p.returncode for p in crew] == [0] * 4
    assert sorted(said) == ["False", "False", "False", "True"]


def test_nothing_is_read_from_or_written_to_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "alembic.ini").write_text("not an ini file")
    database = Database(f"sqlite:///{tmp_path / 'data' / 'assay.db'}")
    migrate.upgrade(database)
    database.close()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["alembic.ini", "data"]


def test_the_next_migration_is_written_from_a_change_of_the_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The way CONTRIBUTING.md describes, on a copy of the migrations."""
    import shutil

    shutil.copytree(migrate._FOLDER, tmp_path / "migrations")
    monkeypatch.setattr(migrate, "_FOLDER", tmp_path / "migrations")
    database = Database(f"sqlite:///{tmp_path / 'assay.db'}")
    migrate.upgrade(database)
    extra = Table("extra", metadata, Column("id", Integer, primary_key=True))
    try:
        path = migrate.make_revision(database, "extra table", "0002")
        assert path.name == "0002_extra_table.py"
        assert migrate.upgrade(database) is True
        with database.read() as c:
            assert compare_metadata(MigrationContext.configure(c), metadata) == []
    finally:
        metadata.remove(extra)
        database.close()
