"""Whether a webhook's call really comes from the server."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable

from assay.errors import AssayError

__all__ = ["BadSignature", "verify_webhook"]


class BadSignature(AssayError):
    """The call is forged, changed, or too old."""


def verify_webhook(
    body: bytes,
    header: str,
    secret: str,
    *,
    tolerance: float = 300.0,
    clock: Callable[[], float] = time.time,
) -> None:
    """Check the header ``Assay-Signature`` of a call.

    Args:
        body: the bytes as they came, before any parsing.
        header: ``t=<unix time>,v1=<hex HMAC-SHA-256 of "<t>.<body>" under the secret>``.
        secret: as it was shown when the webhook was made.
        tolerance: seconds that the call may be old (or early), against replays.

    Raises:
        BadSignature: otherwise.
    """
    parts = dict(part.strip().partition("=")[::2] for part in header.split(","))
    at, mark = parts.get("t", ""), parts.get("v1", "")
    if not (at.isascii() and at.isdigit()):
        raise BadSignature("the header Assay-Signature is missing or broken")
    right = hmac.new(secret.encode(), at.encode() + b"." + body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(right.encode(), mark.encode()):
        raise BadSignature("the signature is not that of this secret and body")
    if abs(clock() - int(at)) > tolerance:
        raise BadSignature("the call is too old")
