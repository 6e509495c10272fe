"""Cursors of lists: opaque to the client, and only ours are accepted."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from assay.server.problems import Problem

__all__ = ["page", "read", "write"]


class Placed(Protocol):
    """What a list is ordered by."""

    @property
    def created_at(self) -> float: ...
    @property
    def id(self) -> str: ...


Row = TypeVar("Row", bound=Placed)


def page(
    key: bytes,
    cursor: str,
    limit: int,
    fetch: Callable[[int, tuple[float, str] | None], Sequence[Row]],
) -> tuple[list[Row], str | None]:
    """At most ``limit`` rows from ``cursor`` on (empty: from the first), and the cursor of
    the page that follows, if there is one.

    ``fetch(most, after)`` gives at most ``most`` rows in order, from behind the place ``after``.
    """
    rows = list(fetch(limit + 1, read(key, cursor) if cursor else None))
    more = len(rows) > limit
    rows = rows[:limit]
    return rows, write(key, rows[-1].created_at, rows[-1].id) if more else None


def write(key: bytes, at: float, ident: str) -> str:
    """The place after the item of this time and id."""
    body = json.dumps([at, ident]).encode()
    return base64.urlsafe_b64encode(_sign(key, body) + body).decode().rstrip("=")


def read(key: bytes, cursor: str) -> tuple[float, str]:
    """Raises :class:`Problem` for a cursor that is not ours."""
    try:
        raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    except (binascii.Error, ValueError):
        raise Problem("bad-request", "the cursor is not one of this server") from None
    mark, body = raw[:16], raw[16:]
    if not hmac.compare_digest(mark, _sign(key, body)):
        raise Problem("bad-request", "the cursor is not one of this server")
    at, ident = json.loads(body)
    return float(at), str(ident)


def _sign(key: bytes, body: bytes) -> bytes:
    return hmac.digest(key, b"cursor:" + body, hashlib.sha256)[:16]
