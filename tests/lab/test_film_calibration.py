"""Clips of the picture cache and the card that comes of them."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest

from assay.models.card import read_card
from assay_lab.data.cache import Row
from assay_lab.export.card import dumps
from assay_lab.export.films import card_of, clips, first


def row(name: str, source: str, *, fake: bool, use: str = "validation") -> Row:
    """A row of the cache."""
    label = "fake" if fake else "real"
    return Row(name, label, "", "", source, "", "", "", use, "", "", "", 0, 0)


def test_frames_of_a_clip_count_once_and_pictures_not_at_all() -> None:
    rows = [
        (row("a/walk.mp4##0", "film_a", fake=False), 1.0),
        (row("a/walk.mp4##1", "film_a", fake=False), 2.0),
        (row("a/walk.mp4##1#0", "film_a", fake=False, use="train"), 9.0),
        (row("a/walk.mp4#[0, 0, 1, 0.8]#0", "film_a", fake=False), 6.0),
        (row("b/walk.webm##0", "film_b", fake=True), 5.0),
        (row("b/walk.webm##1", "film_b", fake=True), None),
        (row("b/title.webm##0", "film_b", fake=True), None),
        (row("still.png", "film_b", fake=True), 9.0),
        (row("still.png#[0, 0, 1, 0.8]#0", "film_b", fake=True), 9.0),
    ]
    found = clips(*zip(*rows, strict=True))
    assert found.source.tolist() == ["film_a", "film_b"]
    assert found.fake.tolist() == [False, True]
    assert found.score.tolist() == [3.0, 5.0]


def test_the_first_judged_rows_of_each_source_are_looked_at() -> None:
    rows = [row(f"{n}.mp4##0", f"film_{n % 2}", fake=False) for n in range(40)]
    rows += [row(f"{n}.png", "film_1", fake=False) for n in range(40)]
    rows += [row("x.mp4##0#whole", "film_0", fake=False, use="train")]
    found = [rows[i].source for i in first(rows, 10)]
    assert found.count("film_0") == 10
    assert 0 < found.count("film_1") < 10  # stills take up places of their source
    assert len(first(rows, 100)) == 40


def test_the_card_is_read_back_with_points_and_curve(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = [row(f"{n}.mp4##0", f"film_{'fr'[n % 2]}{n % 10}", fake=n % 2 == 0) for n in range(600)]
    scores = [float(rng.normal(1.5 if r.label == "fake" else -1.5)) for r in rows]
    a = argparse.Namespace(out=tmp_path / "film-v1", commit="abc", date="2026-12-01")
    a.out.mkdir()
    (a.out / "card.toml").write_text(dumps(card_of(clips(rows, scores), "image-v6", a)))
    card = read_card(a.out)
    assert card.points is not None
    assert card.calibration is not None
    assert card.points.low_band < card.points.fpr_5pct < card.points.fpr_1pct
    assert card.calibration(2.0) > 1 > -1 > card.calibration(-2.0)
    # two Gaussians three deviations apart: the ratio is 3 times the score
    assert card.calibration(0.5) == pytest.approx(1.5, abs=0.5)
    assert card.metrics[0].auc == pytest.approx(0.983, abs=0.02)
