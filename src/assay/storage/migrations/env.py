"""Run by alembic for every command; :mod:`assay.storage.migrate` hands it the connection."""

from __future__ import annotations

from alembic import context

from assay.storage.tables import metadata

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    render_as_batch=connection.dialect.name == "sqlite",
)
context.run_migrations()  # in the transaction of the caller, who holds the lock
