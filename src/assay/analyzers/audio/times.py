"""Times as the sentences of the audio analyzers give them."""

from __future__ import annotations

import math

__all__ = ["clock"]


def clock(seconds: float) -> str:
    """``75.25`` as ``1:15.2``."""
    tenths = math.floor(seconds * 10)
    return f"{tenths // 600}:{tenths // 10 % 60:02d}.{tenths % 10}"
