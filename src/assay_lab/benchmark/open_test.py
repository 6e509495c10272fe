"""What the benchmarks of pictures and faces on the open tests share: options, rows, files."""

from __future__ import annotations

import argparse
import csv
import json
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from assay.models import Card
from assay.models.store import ZOO
from assay_lab.benchmark import metrics as m
from assay_lab.export.calibration import to_llr, to_probability
from assay_lab.export.card import dumps

Floats = NDArray[np.float64]


def options(doc: str | None) -> argparse.ArgumentParser:
    """A parser with the options of every open test."""
    p = argparse.ArgumentParser(description=doc)
    p.add_argument("--test", type=Path, required=True)
    p.add_argument("--cache", type=Path, required=True, help="of the training mix")
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--card", action="store_true", help="write the rows into the model's card")
    p.add_argument("--scores", type=Path, help="also write every score to this CSV file")
    return p


def manifest(folder: Path) -> list[dict[str, str]]:
    """The rows of a test's manifest."""
    with (folder / "manifest.csv").open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def row(name: str, how: str, y: Floats, s: Floats, card: Card, groups: list[str]) -> dict[str, Any]:
    """One line of the result for labels ``y`` and scores ``s`` [n].

    The calibration error is taken at the prior of the sample.
    """
    assert card.calibration is not None
    assert card.points is not None
    llr = to_llr(s, (list(card.calibration.score), list(card.calibration.llr)))
    found = m.summary(y, s, probabilities=to_probability(llr, float(y.mean())), groups=groups)
    found.pop("brier")
    return {
        "set": "test",
        "source": name,
        "corruption": how,
        **{k: round(v, 4) for k, v in found.items()},
        "flagged_real_at_point": round(m.rate_at(s[y == 0], card.points.fpr_1pct), 4),
        "caught_fake_at_point": round(m.rate_at(s[y == 1], card.points.fpr_1pct), 4),
    }


def write(
    a: argparse.Namespace,
    card: Card,
    rows: list[dict[str, Any]],
    scores: list[list[str]],
    *,
    sentence: str = "",
    **more: Any,
) -> None:
    """Write the result, the scores and the card as the options ask, and print the rows.

    ``sentence`` becomes the first of the card's limits, in place of an earlier measurement.
    """
    result = {
        "model": {"key": card.key, "sha256": card.sha256},
        "operating_point": card.points.fpr_1pct if card.points else None,
        **more,
        "rows": rows,
    }
    a.out.parent.mkdir(parents=True, exist_ok=True)
    a.out.write_text(json.dumps(result, indent=1) + "\n")
    if a.scores:
        with a.scores.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(scores)
    if a.card:
        path = ZOO / card.key / "card.toml"
        raw = tomllib.loads(path.read_text("utf-8"))
        raw["metrics"] = [r for r in raw.get("metrics", []) if r["set"] != "test"] + rows
        if sentence:
            others = [t for t in raw["limits"]["sentences"] if not t.startswith("Measured on")]
            raw["limits"]["sentences"] = [sentence, *others]
        path.write_text(dumps(raw), encoding="utf-8")
    keys = ("source", "corruption", "real", "fake", "auc", "tpr_at_1fpr", "ece")
    for r in rows:
        print(*(r[k] for k in (*keys, "flagged_real_at_point")))
