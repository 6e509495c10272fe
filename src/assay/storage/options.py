"""Settings that an owner changes on the pages, with their defaults and bounds."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from assay.fusion.outcome import Sensitivity
from assay.storage.tables import options

__all__ = ["Options", "change", "load"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What applies to the whole server.

    ``retention_days``: media are deleted so many days after the upload, 0 = at once when
    the analysis ends, ``None`` = kept. ``prior``: base rate where a request names none.
    ``sensitivity``: operating point, see :class:`assay.fusion.Sensitivity`.
    ``stability``: measure whether answers survive compression and the like; slow.
    ``review_above``: probability from which a result is put before a human, ``None`` =
    only on request.
    """

    retention_days: float | None = 30.0
    prior: float = 0.5
    review_above: float | None = None
    zero_retention: bool = False
    sensitivity: str = "standard"
    stability: bool = False

    def __post_init__(self) -> None:
        if self.retention_days is not None and not 0 <= self.retention_days <= 36500:
            raise ValueError("retention_days must lie between 0 and 36500")
        Sensitivity(self.sensitivity)
        if not 0.0001 <= self.prior <= 0.9999:
            raise ValueError("prior must lie between 0.0001 and 0.9999")
        if self.review_above is not None and not 0 < self.review_above < 1:
            raise ValueError("review_above must lie between 0 and 1")


def load(c: Connection) -> Options:
    """The options in force."""
    known = {f.name for f in fields(Options)}
    stored = {row.name: row.value for row in c.execute(select(options)) if row.name in known}
    return Options(**stored)


def change(c: Connection, *, by: str, at: float, **values: Any) -> Options:
    """Change some.

    Raises:
        ValueError: an unknown name or a value out of bounds; nothing is changed.
    """
    now = asdict(load(c))
    strange = set(values) - set(now)
    if strange:
        raise ValueError(f"no such option: {', '.join(sorted(strange))}")
    made = Options(**{**now, **values})
    for name in values:
        c.execute(delete(options).where(options.c.name == name))
        c.execute(
            insert(options).values(
                name=name, value=getattr(made, name), changed_at=at, changed_by=by
            )
        )
    return made
