"""Bringing a database up to the tables of this program."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, func, select

from assay.storage.database import Database

__all__ = ["NewerDatabase", "head", "is_current", "make_revision", "revision_of", "upgrade"]

_FOLDER = Path(__file__).parent / "migrations"
_LOCK = 0x61737361795F6D69  # "assay_mi": a number of our own among PostgreSQL's locks


class NewerDatabase(RuntimeError):
    """The database was migrated by a newer program; this one would damage it."""


def head() -> str:
    """The revision that this program works with."""
    found = _scripts().get_current_head()
    assert found is not None
    return found


def revision_of(c: Connection) -> str | None:
    """The revision of a database, ``None`` when it is empty."""
    return MigrationContext.configure(c).get_current_revision()


def is_current(c: Connection) -> bool:
    return revision_of(c) == head()


def upgrade(database: Database) -> bool:
    """Run the migrations that are lacking, all or none; whether there were any.

    Several processes may call this at the same time: one works, the others wait.

    Raises:
        NewerDatabase: the database is of a revision that this program does not know.
    """
    with database.read() as c:
        if is_current(c):
            return False
    with database.write() as c:
        if c.dialect.name == "postgresql":
            c.execute(select(func.pg_advisory_xact_lock(_LOCK)))
        found = revision_of(c)
        if found == head():
            return False
        known = {script.revision for script in _scripts().walk_revisions()}
        if found is not None and found not in known:
            raise NewerDatabase(
                f"the database is of revision {found}, this program knows {head()} at most: "
                "install a newer version of Assay, or restore a backup"
            )
        command.upgrade(_config(c), "head")
    return True


def make_revision(database: Database, message: str, ident: str) -> Path:
    """Write the next migration, for a developer to check, from what ``tables`` has changed.

    ``database`` must be current before the change.
    """
    with database.read() as c:
        made = command.revision(_config(c), message, autogenerate=True, rev_id=ident)
    assert made is not None
    assert not isinstance(made, list)
    return Path(made.path)


def _config(c: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = c
    return config


def _scripts() -> ScriptDirectory:
    return ScriptDirectory(str(_FOLDER), version_locations=[str(_FOLDER / "versions")])
