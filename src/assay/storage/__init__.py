"""The server's memory: tables, repositories, blobs, migrations. SQLite or PostgreSQL.

Not in here: HTTP, pages, queues, settings, analysis.
"""
