"""What a trace without a network may claim: as much as its calibration supports."""

from __future__ import annotations

from functools import cache

from assay.findings import Claim
from assay.models import Card, available, card

__all__ = ["claim_of", "curve_of"]

_POINTS = 1.1  # log-likelihood ratio (3 to 1) from which a trace is called a sign of editing


@cache
def _card(key: str) -> Card | None:
    return card(key) if key in available() else None


def curve_of(key: str) -> str | None:
    """``key`` if a calibration of that name is installed, else ``None``: shown, weighs nothing."""
    found = _card(key)
    return key if found is not None and found.calibration is not None else None


def claim_of(score: float, key: str, claim: Claim = Claim.MANIPULATED) -> Claim:
    """``claim`` where the calibration gives at least 3 to 1 for it, else neutral."""
    found = _card(key)
    if found is None or found.calibration is None:
        return Claim.NEUTRAL
    return claim if found.calibration(score) >= _POINTS else Claim.NEUTRAL
