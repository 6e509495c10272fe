"""The file itself: immutable facts about its bytes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

__all__ = ["Source"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One file on disk, identified by its bytes and not by its name.

    ``format`` is the container found by content (``"jpeg"``, ``"mp4"``, ``"wav"`` ...),
    ``mime`` its media type, ``extension_matches`` whether the file name agrees.
    """

    path: Path
    sha256: str
    size: int
    format: str
    mime: str
    extension_matches: bool
    given_name: str = ""

    @property
    def name(self) -> str:
        """What its owner calls the file, which need not be where it lies."""
        return self.given_name or self.path.name

    def open(self) -> BinaryIO:
        """The bytes, read-only."""
        return self.path.open("rb")

    def head(self, count: int) -> bytes:
        """The first ``count`` bytes."""
        with self.open() as file:
            return file.read(count)
