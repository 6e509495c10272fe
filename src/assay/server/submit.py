"""From a file that has arrived to a queued analysis, in one transaction."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.exc import IntegrityError

from assay.server.access import Principal
from assay.server.problems import Problem
from assay.server.services import Services
from assay.storage import analyses, audit, options
from assay.storage.analyses import Analysis

__all__ = ["Wish", "allowed_file", "submit"]

_DAY = 86400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is asked for, of a file of which name, size and hash are known.

    ``key``: where an uploaded file lies in the blobs, which is also the analysis's id;
    ``source_path``: instead, a file of the server's own. ``prior``: ``None`` = the
    server's.
    """

    name: str
    size: int
    sha256: str
    key: str | None = None
    source_path: str | None = None
    prior: float | None = None
    priority: int = 5
    zero_retention: bool = False

    def digest(self) -> str:
        """Equal for two requests that ask for the same."""
        said = [
            self.name,
            self.size,
            self.sha256,
            self.source_path,
            self.prior,
            self.priority,
            self.zero_retention,
        ]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()


def submit(
    here: Services, who: Principal, wish: Wish, *, idempotency_key: str = ""
) -> tuple[Analysis, bool]:
    """The analysis, and whether this call made it (or an Idempotency-Key recalled it).

    The caller deletes the blob when this raises or recalls.
    """
    at = here.clock()
    try:
        with here.database.write() as c:
            if idempotency_key:
                before = analyses.recall(c, who.user.id, idempotency_key)
                if before is not None:
                    return _recalled(analyses.get(c, before[1]), before[0], wish), False
            if analyses.queued_by(c, who.user.id) >= here.settings.max_queued:
                raise Problem("queue-full", headers={"Retry-After": "60"})
            chosen = options.load(c)
            nothing_kept = (
                wish.zero_retention or chosen.zero_retention or here.settings.zero_retention
            )
            days = 0.0 if nothing_kept else chosen.retention_days
            row = analyses.add(
                c,
                ident=wish.key,
                owner_id=who.user.id,
                name=wish.name,
                size=wish.size,
                sha256=wish.sha256,
                prior=chosen.prior if wish.prior is None else wish.prior,
                priority=wish.priority,
                zero_retention=nothing_kept,
                source_path=wish.source_path,
                media_expires_at=None if days is None else at + days * _DAY,
                at=at,
            )
            if idempotency_key:
                analyses.remember(
                    c,
                    who.user.id,
                    idempotency_key,
                    request_hash=wish.digest(),
                    analysis_id=row.id,
                    at=at,
                )
            detail = {"bytes": row.bytes, "sha256": row.sha256}
            audit.write(
                c, actor=who.actor, action="analysis.create", subject=row.id, detail=detail, at=at
            )
            here.jobs.analyze(c, row)
            return row, True
    except IntegrityError:
        if wish.key is not None and not idempotency_key:
            raise Problem(
                "conflict", "this upload has been analysed already", analysis_id=wish.key
            ) from None
        if not idempotency_key:
            raise
        # Two requests with one key at the same moment: the other was first.
        with here.database.read() as c:
            before = analyses.recall(c, who.user.id, idempotency_key)
            if before is None:
                raise
            return _recalled(analyses.get(c, before[1]), before[0], wish), False


def allowed_file(here: Services, path: str) -> Wish:
    """A file of the server's own, if it lies in an allowed folder; links are followed first."""
    folders = [p.resolve() for p in here.settings.allowed_paths]
    if not folders:
        raise Problem("forbidden", "this server analyses no files of its own")
    try:
        real = Path(path).resolve(strict=True)
        # One answer for what is absent and what is forbidden: a path is not to be probed.
        if not any(real.is_relative_to(folder) for folder in folders):
            raise FileNotFoundError
        with real.open("rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise FileNotFoundError
            if status.st_size > here.settings.max_upload_bytes:
                raise Problem("too-large", max_bytes=here.settings.max_upload_bytes)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError):
        raise Problem("invalid", "there is no such file in the allowed folders") from None
    return Wish(name=real.name, size=status.st_size, sha256=digest, source_path=str(real))


def _recalled(row: Analysis | None, request_hash: str, wish: Wish) -> Analysis:
    if request_hash != wish.digest():
        raise Problem("idempotency-key-reused")
    if row is None:
        raise Problem("gone", "the analysis that this key made was deleted")
    return row
