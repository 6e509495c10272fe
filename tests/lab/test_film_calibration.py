"""Clips of the picture cache and the card that comes of them."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from assay.models.card import read_card
from assay_lab.export.card import dumps
from assay_lab.export.films import card_of, clips
from assay_lab.export.images import Seen


def seen(rows: list[tuple[str, str, bool, str]]) -> Seen:
    """Rows of name, source, generated or not, version."""
    name, source, fake, how = (np.array(v) for v in zip(*rows, strict=True))
    zeros = np.zeros(len(rows))
    return Seen(np.char.add(np.char.add(source, ":"), name), source, source, fake, how,
                zeros.astype(np.int64), zeros, zeros)  # fmt: skip


def test_frames_of_a_clip_count_once_and_pictures_not_at_all() -> None:
    rows = [
        ("a/walk.mp4##0", "film_a", False, "none"),
        ("a/walk.mp4##1", "film_a", False, "none"),
        ("a/walk.mp4##1", "film_a", False, "jpeg70"),
        ("a/walk.mp4#[0, 0, 1, 0.8]#0", "film_a", False, "none"),
        ("b/walk.webm##0", "film_b", True, "none"),
        ("still.png", "film_b", True, "none"),
        ("still.png#[0, 0, 1, 0.8]#0", "film_b", True, "none"),
    ]
    found = clips(seen(rows), np.array([1.0, 2.0, 9.0, 6.0, 5.0, 9.0, 9.0]))
    assert found.source.tolist() == ["film_a", "film_b"]
    assert found.fake.tolist() == [False, True]
    assert found.score.tolist() == [3.0, 5.0]


def test_the_card_is_read_back_with_points_and_curve(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = [(f"{n}.mp4##0", f"film_{'fr'[n % 2]}{n % 10}", n % 2 == 0, "none") for n in range(600)]
    scores = np.array([rng.normal(1.5 if fake else -1.5) for _, _, fake, _ in rows])
    a = argparse.Namespace(out=tmp_path / "film-v1", commit="abc", date="2026-12-01")
    a.out.mkdir()
    (a.out / "card.toml").write_text(dumps(card_of(clips(seen(rows), scores), "image-v7", a)))
    card = read_card(a.out)
    assert card.points is not None
    assert card.calibration is not None
    assert card.points.low_band < card.points.fpr_5pct < card.points.fpr_1pct
    assert card.calibration(2.0) > 1 > -1 > card.calibration(-2.0)
    # two Gaussians three deviations apart: the ratio is 3 times the score
    assert card.calibration(0.5) == pytest.approx(1.5, abs=0.5)
    assert card.metrics[0].auc == pytest.approx(0.983, abs=0.02)
