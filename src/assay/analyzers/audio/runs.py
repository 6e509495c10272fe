"""Runs of equal samples and clipping in a streamed sound."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from assay.analyzers.audio.windows import clean_blocks

__all__ = ["Run", "SampleFacts", "sample_facts"]

_MOST_RUNS = 1000
_FULL_SCALE = 0.9995


@dataclass(frozen=True, slots=True)
class Run:
    """``length`` samples from sample ``start`` on that do not change in any channel.

    ``value`` is the largest absolute value held (0 = digital silence); ``jump`` the
    largest step into or out of the run, in units of full scale; ``edge`` is true for a
    run at the beginning or end of the sound.
    """

    start: int
    length: int
    value: float
    jump: float
    edge: bool


@dataclass(slots=True)
class SampleFacts:
    """What the sample values alone say. Counts are in samples of one channel."""

    total: int = 0
    channels: int = 1
    peak: float = 0.0
    clipped: int = 0
    first_clip: int | None = None
    last_clip: int | None = None
    runs: list[Run] = field(default_factory=list)
    more_runs: int = 0
    """Runs found after the first thousand, counted and not kept."""


def sample_facts(blocks: Iterable[NDArray[np.float32]], shortest: int) -> SampleFacts:
    """One pass over [samples, channels] blocks: runs of at least ``shortest`` samples.

    Clipped are samples within 0.05 % of full scale that equal the one before.
    """
    facts = SampleFacts()
    last: NDArray[np.float32] | None = None
    start, jump = 0, 0.0  # of the run that holds the newest sample
    for raw in clean_blocks(blocks):
        x = raw[:, None] if raw.ndim == 1 else raw
        facts.channels = x.shape[1]
        joined = x if last is None else np.concatenate([last[None], x])
        offset = facts.total - (len(joined) - len(x))
        steps = np.abs(np.diff(joined, axis=0))
        _note_clipping(facts, joined, steps, offset)
        size = steps.max(axis=1)
        changes = np.flatnonzero(size > 0)  # a run ends at each of these samples
        if len(changes):
            ends = offset + changes + 1
            starts = np.concatenate([[start], ends[:-1]])
            for i in np.flatnonzero(ends - starts >= shortest):
                came = jump if i == 0 else float(size[changes[i - 1]])
                step = max(came, float(size[changes[i]]))
                _keep(facts, int(starts[i]), int(ends[i]), joined[changes[i]], step, False)
            start, jump = int(ends[-1]), float(size[changes[-1]])
        facts.total += len(x)
        facts.peak = max(facts.peak, float(np.abs(x).max()))
        last = x[-1].copy()
    if last is not None and facts.total - start >= shortest:
        _keep(facts, start, facts.total, last, jump, True)
    return facts


def _note_clipping(
    facts: SampleFacts, x: NDArray[np.float32], steps: NDArray[np.float32], offset: int
) -> None:
    flat = (steps == 0) & (np.abs(x[1:]) >= _FULL_SCALE)
    hits = np.flatnonzero(flat.any(axis=1))
    if len(hits):
        facts.clipped += int(flat.sum())
        if facts.first_clip is None:
            facts.first_clip = offset + int(hits[0])
        facts.last_clip = offset + int(hits[-1]) + 1


def _keep(
    facts: SampleFacts, start: int, end: int, held: NDArray[np.float32], jump: float, last: bool
) -> None:
    if len(facts.runs) >= _MOST_RUNS and not last:
        facts.more_runs += 1
        return
    value = float(np.abs(held).max())
    facts.runs.append(Run(start, end - start, value, jump, last or start == 0))
