"""From fetched mirrors and packs to a labelled cache outside the repository.

Nothing here reads a test split, and no media ends up in the repository.
"""
