"""Cursors of lists: opaque to the client, and only ours are accepted."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json

from assay.server.problems import Problem

__all__ = ["read", "write"]


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
