"""The command line. Depends inwards only; nothing here knows how media is judged.

Exit status: 0 analysed and nothing found; 1 at least one file is manipulated,
synthetic or suspicious; 2 wrong usage; 3 at least one file could not be analysed (named
with its cause; this outranks 1, since the answer is incomplete); 130 interrupted.
"""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """Entry point of the ``assay`` command."""
    from assay.cli.app import app

    app()
