"""Alembic migrations: one file a step in ``versions/``, never changed once released.

A step imports nothing of :mod:`assay`: the tables of today are not those of its day. Run by
:func:`assay.storage.migrate.upgrade`; there is no ini file.
"""
