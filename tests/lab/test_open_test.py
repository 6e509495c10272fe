"""Rows of an open test, and what they change in the card."""

from __future__ import annotations

import csv
import json
import shutil
import tomllib
from pathlib import Path

import numpy as np
import pytest

from assay.analyzers.image.face_scoring import MODEL
from assay.models import card
from assay.models.card import read_card
from assay_lab.benchmark import open_test


def test_rows_and_sentence_replace_those_of_the_card(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(card(MODEL).folder, tmp_path / MODEL)
    monkeypatch.setattr(open_test, "ZOO", tmp_path)
    before = read_card(tmp_path / MODEL)
    a = open_test.options("").parse_args(
        ["--test", "t", "--cache", "c", "--out", str(tmp_path / "b" / "r.json"), "--card",
         "--scores", str(tmp_path / "s.csv")]
    )  # fmt: skip
    y = np.repeat([0.0, 1.0], 50)
    assert before.points is not None
    s = np.r_[np.full(50, before.points.fpr_1pct - 1), np.full(50, before.points.fpr_1pct + 1)]
    rows = [open_test.row("x", "none", y, s, before, [str(i) for i in range(100)])]
    assert rows[0]["auc"] == 1
    assert rows[0]["flagged_real_at_point"] == 0
    assert rows[0]["caught_fake_at_point"] == 1
    for _ in range(2):  # a second run leaves nothing of the first
        open_test.write(a, before, rows, [["p", "none", "1"]], sentence="Measured on x.", more=1)
    after = tomllib.loads((tmp_path / MODEL / "card.toml").read_text("utf-8"))
    assert [m["source"] for m in after["metrics"] if m["set"] == "test"] == ["x"]
    kept = sum(m.set != "test" for m in before.metrics)
    assert len(after["metrics"]) == kept + 1
    sentences = after["limits"]["sentences"]
    assert sentences[0] == "Measured on x."
    assert sum(t.startswith("Measured on") for t in sentences) == 1
    result = json.loads((tmp_path / "b" / "r.json").read_text())
    assert result["more"] == 1
    assert result["rows"] == rows
    lines = (tmp_path / "s.csv").read_text().splitlines()
    assert list(csv.reader(lines)) == [["p", "none", "1"]]
