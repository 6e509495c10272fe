"""How often somebody may ask: token buckets in the memory of this process."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

__all__ = ["Rates"]

_MOST_BUCKETS = 50_000


class Rates:
    """Buckets by name. Each holds ``per_minute`` tokens when full and refills evenly."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, name: str, per_minute: float) -> float:
        """Take one token: 0 when there was one, else the seconds until there is."""
        now = self._clock()
        with self._lock:
            left, at = self._buckets.pop(name, (float(per_minute), now))
            left = min(float(per_minute), left + (now - at) * per_minute / 60.0)
            wait = 0.0 if left >= 1.0 else (1.0 - left) * 60.0 / per_minute
            self._buckets[name] = (left - 1.0 if wait == 0.0 else left, now)
            # Whoever asked longest ago has a full bucket by now, or nearly.
            while len(self._buckets) > _MOST_BUCKETS:
                self._buckets.popitem(last=False)
        return wait
