"""Calibration, operating points, logistic regression and the card writer."""

from __future__ import annotations

import datetime
import tomllib

import numpy as np
import pytest
from numpy.typing import NDArray

from assay_lab.benchmark import metrics as m
from assay_lab.benchmark.logistic import decision, fit_logistic
from assay_lab.export import calibration as cal
from assay_lab.export.card import dumps


def test_logistic_matches_scikit_learn() -> None:
    sk = pytest.importorskip("sklearn.linear_model")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 3))
    y = (x @ [1.0, -2.0, 0.5] + rng.normal(size=300) > 0.3).astype(int)
    w = rng.uniform(0.2, 2, 300)
    ours = fit_logistic(x, y, weights=w, ridge=1.0)
    theirs = sk.LogisticRegression(C=1.0, tol=1e-10, max_iter=1000).fit(x, y, sample_weight=w)
    np.testing.assert_allclose(ours[:3], theirs.coef_[0], atol=1e-4)
    assert ours[3] == pytest.approx(theirs.intercept_[0], abs=1e-4)
    np.testing.assert_allclose(decision(x, ours), theirs.decision_function(x), atol=1e-3)


def test_logistic_survives_separable_data_and_refuses_one_class() -> None:
    b = fit_logistic([[-1.0], [1.0]], [0, 1])
    assert np.isfinite(b).all()
    with pytest.raises(ValueError, match="classes"):
        fit_logistic([[1.0], [2.0]], [1, 1])


def test_calibrated_scores_have_small_error() -> None:
    rng = np.random.default_rng(1)
    real = {"a": rng.normal(-1, 1, 3000), "b": rng.normal(-1, 1, 500)}
    fake = {"c": rng.normal(1, 1, 4000)}
    knots = cal.calibrate(real, fake)
    assert np.all(np.diff(knots[0]) > 0)
    assert np.all(np.diff(knots[1]) >= 0)
    assert max(map(abs, knots[1])) <= np.log(3500 / 10) + 1e-4
    # for two unit Gaussians at -1 and 1 the true ratio is 2 s
    np.testing.assert_allclose(cal.to_llr(np.array([-1, 0, 1.0]), knots), [-2, 0, 2], atol=0.25)
    s = np.r_[rng.normal(-1, 1, 4000), rng.normal(1, 1, 4000)]
    y = np.repeat([0, 1], 4000)
    assert m.ece(y, cal.to_probability(cal.to_llr(s, knots))) < 0.03


def test_sources_that_differ_ask_for_a_flatter_line() -> None:
    rng = np.random.default_rng(3)
    real = {k: rng.normal(-1, 1, 800) for k in "ab"}
    alike = {k: rng.normal(1, 1, 800) for k in "cd"}
    apart = {"c": rng.normal(3, 1, 800), "d": rng.normal(-0.8, 1, 800)}
    assert cal.transfer(real, alike) >= 0.9
    flat = cal.transfer(real, apart)
    assert flat < 0.8
    steep, mild = (cal.calibrate(real, apart, temper=t) for t in (1.0, flat))
    middle = np.interp(0.0, steep[1], steep[0])
    assert np.interp(0.0, mild[1], mild[0]) == pytest.approx(middle, abs=1e-3)
    at = np.array([middle + 0.5])
    assert cal.to_llr(at, mild)[0] == pytest.approx(flat * cal.to_llr(at, steep)[0], abs=0.02)


def test_operating_points_hold_on_every_source() -> None:
    rng = np.random.default_rng(2)
    real = {"easy": rng.normal(-3, 1, 400), "hard": rng.normal(0, 1, 400), "tiny": np.array([9.0])}
    cut = cal.conservative_threshold({k: real[k] for k in ("easy", "hard")}, 0.01)
    assert all(m.rate_at(real[k], cut) <= 0.01 for k in ("easy", "hard"))
    assert cal.conservative_threshold(real, 0.01) > 8
    fake = {"x": np.arange(1000.0), "y": np.arange(1000.0)}
    assert cal.low_band(fake) == pytest.approx(19.5, abs=1.5)


def test_card_is_valid_toml() -> None:
    card = {
        "model": {"name": 'x\n"y"', "version": 1, "created": datetime.date(2026, 11, 24)},
        "points": {"a": 0.1, "b": 1e-9, "c": -3.0, "d": [1.0, 2.5], "e": True},
        "data": [{"name": "é"}, {"name": "b"}],
    }
    back = tomllib.loads(dumps(card))
    assert back["model"] == card["model"]
    assert back["data"] == card["data"]
    assert back["points"]["d"] == [1.0, 2.5]
    assert isinstance(back["points"]["c"], float)


def test_the_even_point_holds_on_the_average_and_on_each_source() -> None:
    rng = np.random.default_rng(0)
    real = {f"s{k}": rng.normal(k / 10, 1, 400 + 100 * k) for k in range(6)}
    point = cal.even_threshold(real, 0.01)
    flagged = [float((v >= point).mean()) for v in real.values()]
    assert np.mean(flagged) <= 0.011
    assert max(flagged) <= 0.03
    assert point < cal.conservative_threshold(real, 0.01)
    odd = {**real, "odd": rng.normal(4, 1, 300)}
    assert float((odd["odd"] >= cal.even_threshold(odd, 0.01)).mean()) <= 0.03


def test_an_even_quantile_weighs_sets_alike() -> None:
    sets = {"many": np.zeros(900), "few": np.arange(10.0)}
    # half of the mass is in ``few``: a twentieth of the whole is its largest value
    assert m.even_quantile(sets, 0.049) == 9.0
    assert m.even_quantile(sets, 0.051) == 8.0
    one = np.random.default_rng(0).normal(size=999)
    assert m.even_quantile({"one": one}, 0.01) == np.quantile(one, 0.99, method="higher")
    with pytest.raises(ValueError, match="no samples"):
        m.even_quantile({"none": np.zeros(0)}, 0.1)


def test_the_binomial_point_stands_above_sources_beyond_chance() -> None:
    rng = np.random.default_rng(3)
    many = {f"s{k}": rng.normal(size=30) for k in range(100)}
    plain = cal.binomial_threshold(many, 0.01)
    flagged = np.concatenate(list(many.values())) >= plain
    assert flagged.mean() == pytest.approx(0.01, abs=0.002)
    # A single clip of a small source is chance, a third of a source is not.
    few = np.array([50.0, 0.0, 0.0, 0.0, 0.0])
    assert cal.binomial_threshold(many | {"few": few}, 0.01) == pytest.approx(plain, abs=0.3)
    bad = np.r_[np.full(10, 9.0), np.zeros(20)]
    stern = cal.binomial_threshold(many | {"bad": bad}, 0.01)
    assert stern > 9.0
    assert cal.binomial_threshold(many | {"bad": bad[9:]}, 0.01) < 5.0


def test_the_sure_point_holds_on_sources_drawn_anew() -> None:
    """Sources differ; the plain quantile fails on half of the fresh ones, this on few."""
    rng = np.random.default_rng(4)

    def sources(count: int) -> dict[str, NDArray[np.float64]]:
        return {str(k): rng.normal(rng.normal(0, 1), 1, 25) for k in range(count)}

    def reached(point: float) -> float:
        return float(np.mean([(v >= point).mean() for v in fresh.values()]))

    fresh = sources(4000)
    held = {"plain": 0, "sure": 0}
    for _ in range(40):
        seen = sources(60)
        held["plain"] += reached(m.even_quantile(seen, 0.05)) <= 0.05
        held["sure"] += reached(cal.sure_threshold(seen, 0.05, rounds=200)) <= 0.05
    assert held["plain"] < 28
    assert held["sure"] >= 35
    one = {"one": rng.normal(size=500)}
    assert cal.sure_threshold(one, 0.01) == np.nextafter(m.even_quantile(one, 0.01), np.inf)


def test_the_sure_point_is_the_quantile_of_points_of_drawn_sources() -> None:
    """By its definition: each draw of sources has a point of its own."""
    rng = np.random.default_rng(8)
    sets = {str(k): rng.normal(k / 4, 1, int(rng.integers(1, 40))) for k in range(9)}
    draws, points = np.random.default_rng(0), []
    for _ in range(60):
        drawn = draws.integers(0, 9, 9)
        points.append(m.even_quantile({str(n): sets[str(k)] for n, k in enumerate(drawn)}, 0.03))
    expected = np.nextafter(np.quantile(points, 0.95), np.inf)
    assert cal.sure_threshold(sets, 0.03, rounds=60) == pytest.approx(expected, abs=1e-12)
