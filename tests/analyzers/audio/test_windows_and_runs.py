from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.analyzers.audio.runs import sample_facts
from assay.analyzers.audio.windows import clean_blocks, windows


@given(st.integers(0, 60), st.integers(1, 12), st.integers(1, 15), st.integers(1, 9))
def test_windows_are_slices_and_reach_the_end(n: int, size: int, hop: int, block: int) -> None:
    x = np.arange(n, dtype=np.float32) / 8
    got = [
        (at, w.copy())
        for at, w in windows((x[i : i + block] for i in range(0, n, block)), size, hop)
    ]
    clean = np.clip(x, -8, 8)
    for at, w in got:
        assert np.array_equal(w, clean[at : at + len(w)])
        assert len(w) == min(size, n)
    assert bool(got) == (n > 0)
    if n:
        assert got[0][0] == 0
        if hop <= size:
            assert got[-1][0] + len(got[-1][1]) == n


def test_windows_refuse_nonsense() -> None:
    with pytest.raises(ValueError, match="positive"):
        list(windows([], 0, 1))


def test_damage_in_float_files_is_replaced() -> None:
    bad = np.array([np.nan, np.inf, -np.inf, 1e30, 0.5], np.float32)
    assert np.concatenate(list(clean_blocks([bad]))).tolist() == [0.0, 8.0, -8.0, 8.0, 0.5]


def _by_hand(x: np.ndarray, shortest: int) -> list[tuple[int, int]]:
    runs, start = [], 0
    for i in range(1, len(x) + 1):
        if i == len(x) or (x[i] != x[i - 1]).any():
            if i - start >= shortest:
                runs.append((start, i - start))
            start = i
    return runs


@given(
    st.lists(st.integers(0, 1), min_size=1, max_size=80), st.integers(1, 9), st.integers(1, 2),
    st.integers(2, 5),
)  # fmt: skip
def test_runs_agree_with_a_plain_loop(
    bits: list[int], block: int, channels: int, shortest: int
) -> None:
    x = np.repeat(np.array(bits, np.float32)[:, None] / 4, channels, axis=1)
    facts = sample_facts((x[i : i + block] for i in range(0, len(x), block)), shortest)
    assert [(r.start, r.length) for r in facts.runs] == _by_hand(x, shortest)
    assert facts.total == len(x)
    for run in facts.runs:
        assert run.edge == (run.start == 0 or run.start + run.length == len(x))


def test_a_channel_that_moves_is_no_silence() -> None:
    x = np.zeros((100, 2), np.float32)
    x[:, 1] = np.arange(100) / 100
    assert sample_facts([x], 10).runs == []


def test_clipping_is_counted_in_every_channel() -> None:
    x = np.zeros((10, 2), np.float32)
    x[2:6, 0] = 1.0
    x[3:5, 1] = -1.0
    facts = sample_facts([x[:4], x[4:]], 2)
    assert facts.clipped == 3 + 1
    assert (facts.first_clip, facts.last_clip) == (2, 5)


def test_no_more_than_a_thousand_runs_are_kept() -> None:
    x = np.repeat(np.arange(3000) % 2, 5).astype(np.float32)
    facts = sample_facts([x], 5)
    assert len(facts.runs) == 1001  # with the one at the end
    assert facts.more_runs == 1999
