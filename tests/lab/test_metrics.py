"""The lab's metrics against independent implementations and hand-made cases."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay_lab.benchmark import metrics as m


def sample(n: int = 400, seed: int = 0, ties: bool = False) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    s = rng.normal(size=n) + y
    return y, np.round(s, 1) if ties else s


@pytest.mark.parametrize("ties", [False, True])
def test_auc_and_roc_match_scikit_learn(ties: bool) -> None:
    sk = pytest.importorskip("sklearn.metrics")
    for seed in range(5):
        y, s = sample(seed=seed, ties=ties)
        assert m.auc(y, s) == pytest.approx(sk.roc_auc_score(y, s), abs=1e-12)
        fpr, tpr, cut = m.roc_curve(y, s)
        f2, t2, c2 = sk.roc_curve(y, s, drop_intermediate=False)
        np.testing.assert_allclose(fpr, f2)
        np.testing.assert_allclose(tpr, t2)
        np.testing.assert_allclose(cut[1:], c2[1:])


def test_an_area_between_two_sets_is_that_of_their_labels() -> None:
    real, fake = np.array([0.0, 1.0, 1.0, 2.0]), np.array([1.0, 3.0])
    assert m.auc_between(real, fake) == m.auc([0, 0, 0, 0, 1, 1], np.r_[real, fake]) == 0.75


def test_brier_matches_scikit_learn() -> None:
    sk = pytest.importorskip("sklearn.metrics")
    y, s = sample()
    p = 1 / (1 + np.exp(-s))
    assert m.brier(y, p) == pytest.approx(sk.brier_score_loss(y, p))
    assert m.balanced_accuracy(y, s, 0.3) == pytest.approx(sk.balanced_accuracy_score(y, s >= 0.3))


def test_ece_matches_a_plain_loop_and_known_cases() -> None:
    y, s = sample(ties=True)
    p = np.clip((s + 2) / 5, 0, 1)
    total = 0.0
    for b in range(15):
        inside = (p >= b / 15) & ((p < (b + 1) / 15) | (b == 14))
        if inside.any():
            total += inside.sum() / p.size * abs(p[inside].mean() - y[inside].mean())
    assert m.ece(y, p) == pytest.approx(total, abs=0.02)
    assert m.ece([0, 1, 0, 1], [0.5] * 4) == 0.0
    assert m.ece([1, 1], [0.0, 0.0]) == 1.0


def test_eer_of_known_cases() -> None:
    assert m.eer([0, 0, 1, 1], [0, 1, 2, 3]) == 0.0
    assert m.eer([0, 0, 1, 1], [2, 3, 0, 1]) == 1.0
    assert m.eer([0, 1], [1, 1]) == 0.5
    rng = np.random.default_rng(1)
    y = np.repeat([0, 1], 20000)
    s = rng.normal(size=40000) + 2 * y
    assert m.eer(y, s) == pytest.approx(0.1587, abs=0.005)  # 1 - Phi(1)


@given(
    st.lists(st.integers(-20, 20), min_size=1, max_size=60),
    st.floats(0, 1),
)
@settings(max_examples=200, deadline=None)
def test_threshold_keeps_the_stated_rate(scores: list[int], fpr: float) -> None:
    cut = m.threshold_at_fpr(scores, fpr)
    assert m.rate_at(scores, cut) <= fpr + 1e-6
    lower = [s for s in scores if s < cut]
    if lower and fpr < 1:  # one score lower would break the promise
        assert m.rate_at(scores, max(lower)) > fpr - 1e-6


def test_tpr_at_fpr_by_hand() -> None:
    y = [0] * 100 + [1] * 4
    s = [*list(range(100)), 98, 99, 100, 101]
    assert m.tpr_at_fpr(y, s, 0.01) == 0.75
    assert m.tpr_at_fpr(y, s, 0.0) == 0.5


def test_bootstrap_is_seeded_and_groups_widen_it() -> None:
    y, s = sample(200)
    one = m.bootstrap(m.auc, y, s, rounds=100, seed=3)
    assert one == m.bootstrap(m.auc, y, s, rounds=100, seed=3)
    assert one.low < one.value < one.high
    copies = m.bootstrap(m.auc, np.tile(y, 5), np.tile(s, 5), rounds=100)
    grouped = m.bootstrap(
        m.auc, np.tile(y, 5), np.tile(s, 5), groups=np.tile(np.arange(200), 5), rounds=100
    )
    assert grouped.high - grouped.low > 1.5 * (copies.high - copies.low)


def test_summary_is_plain() -> None:
    y, s = sample()
    row = m.summary(y, s, probabilities=1 / (1 + np.exp(-s)), rounds=20)
    assert all(type(v) in (int, float) for v in row.values())
    assert row["real"] + row["fake"] == 400


@pytest.mark.parametrize(
    ("y", "s"),
    [([], []), ([1, 1], [0, 1]), ([0, 2], [0, 1]), ([0, 1], [0, float("nan")]), ([0], [0, 1])],
)
def test_bad_input_is_refused(y: list[int], s: list[float]) -> None:
    with pytest.raises(ValueError, match=r"labels|scores|classes"):
        m.auc(y, s)
