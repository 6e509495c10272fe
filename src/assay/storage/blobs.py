"""Media as files under one folder, which a fleet shares by mounting it."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

__all__ = ["Blobs"]

_KEY = re.compile(r"[0-9a-f]{32}")


class Blobs:
    """Files by key (32 hex digits). A file is there whole or not at all.

    Keys are ours, never a user's: no name from outside becomes a path. Files get no
    execute bit and no extension.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._parts = root / "parts"
        self._parts.mkdir(parents=True, exist_ok=True, mode=0o700)

    @contextmanager
    def write(self, key: str) -> Iterator[BinaryIO]:
        """A file to write; it appears under ``key`` when the block ends without exception."""
        target = self._path(key)
        part = self._parts / f"{key}.{uuid.uuid4().hex}"
        try:
            with part.open("xb") as file:
                os.fchmod(file.fileno(), 0o600)
                yield file
                file.flush()
                os.fsync(file.fileno())
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)

    def adopt(self, key: str, file: Path) -> None:
        """Move ``file`` (on the same file system) under ``key``."""
        target = self._path(key)
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        file.replace(target)

    def path(self, key: str) -> Path | None:
        """Where the file lies, or ``None`` when there is none."""
        path = self._path(key)
        return path if path.is_file() else None

    def delete(self, key: str) -> bool:
        """Whether there was one."""
        try:
            self._path(key).unlink()
        except FileNotFoundError:
            return False
        return True

    def keys(self) -> Iterator[str]:
        """Every key there is, in no order."""
        for folder in self.root.iterdir():
            if len(folder.name) == 2:
                with contextlib.suppress(FileNotFoundError):
                    yield from (p.name for p in folder.iterdir() if _KEY.fullmatch(p.name))

    def stale_parts(self, before: float) -> Iterator[Path]:
        """Unfinished files last written before the POSIX time ``before``."""
        for part in self._parts.iterdir():
            with contextlib.suppress(FileNotFoundError):
                if part.stat().st_mtime < before:
                    yield part

    def free_bytes(self) -> int:
        return shutil.disk_usage(self.root).free

    def _path(self, key: str) -> Path:
        if not _KEY.fullmatch(key):
            raise ValueError(f"{key!r} is no key")
        return self.root / key[:2] / key
