from __future__ import annotations

import tomllib

import numpy as np
import pytest

from assay.models.card import read_card
from assay_lab.export.card import dumps
from assay_lab.train.audio_editing import (
    KINDS,
    Item,
    join,
    left_out_llr,
    make_card,
    quietest,
    score,
    splice,
    through_codec,
    within,
)


def _items(shift: float) -> list[Item]:
    rng = np.random.default_rng(0)
    return [
        Item(float(rng.normal(5 + shift * (kind != "real"), 2)), kind, f"s{k % 7}", "none")
        for kind in ("real", *KINDS)
        for k in range(60)
    ]


def test_join_keeps_both_ends_and_fades_between() -> None:
    x = join(np.ones(100, np.float32), np.zeros(100, np.float32), 20)
    assert len(x) == 180
    assert x[:80].tolist() == [1.0] * 80
    assert not x[100:].any()
    assert (np.diff(x[80:100]) < 0).all()


def test_quietest_finds_the_pause() -> None:
    x = np.ones(16_000, np.float32)
    x[7000:7400] = 0
    assert 7100 < quietest(x, 8000) < 7300


def test_splices_are_where_they_say() -> None:
    rng = np.random.default_rng(1)
    x, y = np.ones(48_000, np.float32), np.ones(48_000, np.float32)
    for donor in (None, y):
        made, at = splice(x, donor, rng)
        assert 0 < at < len(made)


def test_score_of_a_join_is_higher() -> None:
    rng = np.random.default_rng(2)
    x = 0.01 * rng.normal(0, 1, 48_000).astype(np.float32)
    y = x.copy()
    y[24_000:] = 0.01 * np.diff(rng.normal(0, 1, 24_001))
    plain, joined = score(x), score(y)
    assert plain is not None
    assert joined is not None
    assert joined > plain + 2
    assert score(x[:2000]) is None


@pytest.mark.parametrize("codec", ["none", "mp3", "opus"])
def test_codecs_keep_length_and_sound(codec: str) -> None:
    t = np.arange(32_000) / 16_000
    x = (0.3 * np.sin(2 * np.pi * 440 * t)).astype(np.float32)
    y = through_codec(x, codec)
    assert len(x) - 2000 <= len(y) <= len(x)
    peak = np.abs(np.fft.rfft(y[4000:20_000])).argmax() * 16_000 / 16_000
    assert peak == pytest.approx(440, abs=2)


def test_the_curve_ends_where_the_data_do() -> None:
    knots = within(([0.0, 10.0], [-2.0, 2.0]), 2.5, 7.5, 3)
    assert knots == ([2.5, 5.0, 7.5], [-1.0, 0.0, 1.0])


def test_a_useful_score_gets_a_curve_and_chance_none(tmp_path: object) -> None:
    from pathlib import Path

    folder = Path(str(tmp_path)) / "audio-editing-v1"
    folder.mkdir()
    other = {"elsewhere": np.array([3.0, 9.0])}
    (folder / "card.toml").write_text(dumps(make_card(_items(3.0), other)), "utf-8")
    card = read_card(folder)
    assert card.calibration is not None
    assert card.calibration.n_real == 62
    assert card.gates["claim_db"] >= 9.0
    assert "calibration" not in make_card(_items(0.0), {})
    assert tomllib.loads(dumps(make_card(_items(0.0), {})))["limits"]["sentences"]


def test_ratios_come_from_other_sources() -> None:
    items = _items(3.0)
    llr = left_out_llr(items)
    y = np.array([i.kind != "real" for i in items])
    assert llr[y].mean() > 0.2 > -0.2 > llr[~y].mean()
