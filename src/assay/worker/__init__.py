"""Durable jobs: what is queued gets done once, whatever dies. DBOS workflows.

Not in here: HTTP, settings, tables.
"""
