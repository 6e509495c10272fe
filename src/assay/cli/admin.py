"""``assay admin``: for the operator of a server, at its console and with its settings."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from assay.server.settings import Settings
    from assay.storage.database import Database

__all__ = ["app"]

_LINK_SECONDS = 86400.0

app = typer.Typer(
    name="admin", help="Look after a server.", no_args_is_help=True, rich_markup_mode=None
)
audit_app = typer.Typer(help="The audit log.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(audit_app, name="audit")


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(help="Where to; must not exist.", show_default=False)],
) -> None:
    """Write everything worth keeping into one file, while the server runs or not."""
    from assay.storage import backup as backups
    from assay.storage.blobs import Blobs

    if file.exists():
        raise _fail(f"{file}: exists already", 2)
    database, settings = _open()
    try:
        done = backups.make(database, Blobs(settings.folder_of_media), file, at=time.time())
    except OSError as error:
        raise _fail(error) from None
    print(f"{file}: {sum(done.rows.values())} rows, {done.media} files of media.")


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(help="A backup.", show_default=False)],
) -> None:
    """Fill an empty server from a backup, on either kind of database."""
    from assay.storage import analyses
    from assay.storage import backup as backups
    from assay.storage.blobs import Blobs
    from assay.worker import queue

    database, settings = _open(new=True)
    queue.prepare(database)
    jobs = queue.Jobs(database)

    def enter(c: Connection, kind: str, ident: str) -> None:
        if kind == "delivery":
            jobs.deliver(c, ident)
            return
        row = analyses.get(c, ident)
        assert row is not None
        jobs.analyze(c, row)

    try:
        blobs = Blobs(settings.folder_of_media)
        done = backups.restore(database, blobs, file, at=time.time(), enter=enter)
    except (backups.BackupError, OSError) as error:
        raise _fail(error) from None
    finally:
        jobs.close()
    print(
        f"Restored {sum(done.rows.values())} rows, {done.media} files of media. "
        "Everybody logs in anew."
    )


@app.command()
def link(email: Annotated[str, typer.Argument(help="Address of the account.")]) -> None:
    """Print a link by which somebody who lost a password sets a new one; good for a day."""
    from assay.storage import accounts, audit

    database, settings = _open()
    now = time.time()
    with database.write() as c:
        user = accounts.user_by_email(c, email)
        if user is None:
            raise _fail(f"{email}: no such account")
        token = accounts.make_ticket(c, "password", at=now, seconds=_LINK_SECONDS, user_id=user.id)
        audit.write(c, actor="system", action="user.link", subject=user.id, detail={}, at=now)
    print(f"{settings.base_url}/password?token={token}")


@app.command()
def retention() -> None:
    """Delete now what is due, and every file that no row knows; workers do it by themselves."""
    from assay.storage import retention as sweeping
    from assay.storage.blobs import Blobs

    database, settings = _open()
    blobs = Blobs(settings.folder_of_media)
    done = sweeping.sweep(database, blobs, time.time(), thorough=True)
    print(", ".join(f"{count} {what}" for what, count in done.counts().items()))


@app.command()
def migrate() -> None:
    """Bring the database up to this program; `assay serve` does it at its start, too."""
    from assay.storage import migrate as migrations
    from assay.worker import queue

    database, _ = _open(new=True)
    try:
        changed = migrations.upgrade(database)
    except migrations.NewerDatabase as error:
        raise _fail(error) from None
    queue.prepare(database)
    print(f"{'Migrated to' if changed else 'Already at'} revision {migrations.head()}.")


@audit_app.command("verify")
def audit_verify(
    head: Annotated[
        str | None,
        typer.Option(
            help="NUMBER:HASH that an earlier run printed, kept elsewhere; it must be there."
        ),
    ] = None,
) -> None:
    """Check the chain of the audit log; status 3 when it is broken."""
    from assay.storage import audit

    database, _ = _open()
    with database.read() as c:
        broken = audit.verify(c)
        newest = audit.head(c)
        if broken is not None:
            raise _fail(f"the audit log is broken at entry {broken}")
        if head is not None:
            number, _, noted = head.partition(":")
            found = audit.hash_of(c, int(number)) if number.isdigit() else None
            if found != noted or not noted:
                raise _fail(f"the audit log does not hold {head}: it was cut off or rewritten")
    if newest is None:
        print("The audit log is empty.")
    else:
        print(f"The audit log is whole: {newest[0]} entries.\nHead {newest[0]}:{newest[1]}")


def _open(*, new: bool = False) -> tuple[Database, Settings]:
    """The database that the settings name; unless ``new``, there must be one."""
    try:
        from pydantic import ValidationError
        from sqlalchemy import make_url
        from sqlalchemy.exc import SQLAlchemyError

        from assay.cli.serve import explain
        from assay.server.settings import Settings
        from assay.storage import migrate as migrations
        from assay.storage.database import Database
    except ImportError as error:
        message = f"this needs the extra `server` (pip install 'assay[server]'): {error}"
        raise _fail(message) from None
    try:
        settings = Settings()
        url = make_url(settings.url_of_database)
    except ValidationError as error:
        raise _fail(explain(error), 2) from None
    except (ValueError, SQLAlchemyError) as error:
        raise _fail(f"ASSAY_DATABASE_URL: {error}", 2) from None
    # Looking for a server must not make one.
    local = url.get_backend_name() == "sqlite"
    if local and not new and not (url.database and Path(url.database).is_file()):
        raise _fail(f"there is no server here: {url.database} does not exist")
    try:
        database = Database(settings.url_of_database)
        with database.read() as c:
            found = migrations.revision_of(c)
    except (ValueError, SQLAlchemyError) as error:
        raise _fail(f"the database cannot be reached: {error}") from None
    if not new and found is None:
        raise _fail("there is no server here: the database is empty")
    if not new and found != migrations.head():
        raise _fail("the database is of another version; run `assay admin migrate`")
    return database, settings


def _fail(said: object, status: int = 3) -> typer.Exit:
    print(said, file=sys.stderr)
    return typer.Exit(status)
