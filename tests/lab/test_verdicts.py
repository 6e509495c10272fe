"""Verdicts of the whole product on a test: counted by class, ranked, calibrated."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest

from assay_lab.benchmark import verdicts
from assay_lab.benchmark.verdicts import Answer


def _answer(fake: bool, verdict: str, probability: float, source: str = "a") -> Answer:
    return Answer("faces", source, "g", fake, verdict, probability, None if fake else 0.02)


def test_shares_are_of_each_class_alone() -> None:
    answers = [
        _answer(False, "authentic", 0.05), _answer(False, "inconclusive", 0.3),
        _answer(False, "suspicious", 0.8), _answer(False, "manipulated", 0.9),
        _answer(True, "synthetic", 0.95), _answer(True, "authentic", 0.04),
    ]  # fmt: skip
    row = verdicts.row("faces", "a", answers)
    assert (row["real"], row["fake"]) == (4, 2)
    assert (row["real_flagged"], row["real_suspicious"], row["real_authentic"]) == (
        0.25,
        0.25,
        0.25,
    )
    assert (row["fake_flagged"], row["fake_suspicious"], row["fake_authentic"]) == (0.5, 0, 0.5)
    assert row["stated_fpr"] == 0.02
    assert row["auc"] == 0.5  # one fake above every real file, one below
    assert row["verdicts"]["authentic"] == 2


def test_the_probability_is_taken_to_the_prior_of_the_sample() -> None:
    """Three fakes to one real file: one half becomes three quarters, which is right here."""
    answers = [_answer(False, "inconclusive", 0.5)] + [_answer(True, "inconclusive", 0.5)] * 3
    assert verdicts.row("faces", "a", answers)["ece"] == pytest.approx(0)


def test_a_source_of_one_class_has_no_ranking() -> None:
    found = verdicts.rows(
        [_answer(False, "inconclusive", 0.4, "a"), _answer(True, "synthetic", 0.9, "b")]
    )
    assert [r["source"] for r in found] == ["a", "b", "all"]
    assert "auc" not in found[0]
    assert found[0]["fake_flagged"] is None
    assert found[2]["auc"] == 1


def test_as_many_of_each_source_and_class() -> None:
    given = [
        {"path": f"{source}{label}{n}", "source": source, "label": label}
        for source in "ab" for label in ("real", "fake") for n in range(5)
    ]  # fmt: skip
    kept = verdicts.some(given, 2)
    assert len(kept) == 8
    assert kept == verdicts.some(given[::-1], 2), "the order of the manifest does not matter"
    assert len(verdicts.some(given, 0)) == 20


def test_files_go_through_the_product(
    tmp_path: Path, astronaut_png: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "images" / "test"
    folder.mkdir(parents=True)
    names = ["one.png", "two.png"]
    for name in names:
        shutil.copy(astronaut_png, folder / name)
    with (folder / "manifest.csv").open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["path", "label", "source", "group"])
        writer.writerows([[names[0], "real", "s", "1"], [names[1], "fake", "s", "2"]])
    out_file = tmp_path / "verdicts.json"
    verdicts.main(["--data", str(tmp_path), "--packs", "images", "--out", str(out_file),
                   "--workers", "1"])  # fmt: skip
    result = json.loads(out_file.read_text())
    assert [r["source"] for r in result["rows"]] == ["s", "all"]
    assert result["rows"][0]["auc"] == 0.5  # one and the same picture
    assert "images s 1 1 0.5" in capsys.readouterr().out
