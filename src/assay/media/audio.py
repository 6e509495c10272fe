"""A sound recording, or the sound of a video."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from assay.media.source import Source

__all__ = ["Audio"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Audio:
    """A sound, decoded on demand so that length costs no memory.

    ``rate`` is the sample rate of the file in Hz, ``duration`` in seconds what was
    decoded or declared (after truncation to the limits), ``codec`` as FFmpeg names it
    (``"pcm_s16le"``, ``"aac"`` ...), ``bit_rate`` in bits a second (0 = unknown).
    """

    source: Source
    rate: int
    channels: int
    duration: float
    codec: str
    bit_rate: int = 0
    sample_format: str = ""
    encoder: str = ""
    notes: tuple[str, ...] = ()
    _decode: Callable[[int | None, bool, float], Iterator[NDArray[np.float32]]] = field(repr=False)

    def blocks(
        self, rate: int | None = None, *, mono: bool = True, seconds: float = 10.0
    ) -> Iterator[NDArray[np.float32]]:
        """The sound in order, in blocks of about ``seconds``.

        float32 in -1..1, [samples] when ``mono`` (mean of the channels), else
        [samples, channels]; resampled with an anti-alias filter when ``rate`` (Hz)
        differs from the file's. Every call decodes from the beginning.
        """
        return self._decode(rate, mono, seconds)

    def samples(
        self, rate: int | None = None, *, mono: bool = True, max_seconds: float = 600.0
    ) -> NDArray[np.float32]:
        """The first ``max_seconds`` as one array; see :meth:`blocks`."""
        wanted = round(max_seconds * (rate or self.rate))
        parts: list[NDArray[np.float32]] = []
        have = 0
        for block in self.blocks(rate, mono=mono):
            parts.append(block[: wanted - have])
            have += len(parts[-1])
            if have >= wanted:
                break
        if not parts:
            shape = (0,) if mono else (0, self.channels)
            return np.zeros(shape, np.float32)
        return np.concatenate(parts)
