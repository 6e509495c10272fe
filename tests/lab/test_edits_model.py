"""Tokens of pictures and heads that look for edited parts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from assay_lab.benchmark.metrics import auc_between  # noqa: E402
from assay_lab.train.edit_features import Stored, read  # noqa: E402
from assay_lab.train.edit_net import (  # noqa: E402
    KEPT,
    SIDE,
    SIZE,
    TAPS,
    EditHead,
    principal,
    shares,
)
from assay_lab.train.edits import apart, judge, pairs_of, train  # noqa: E402
from assay_lab.train.folds import FOLDS, fold_of  # noqa: E402


def stored(seed: int = 0, pairs: int = 60, pages: int = 40) -> Stored:
    """Tokens of noise; where a picture was edited, the first channels are raised."""
    rng = np.random.default_rng(seed)
    facts: list[tuple[str, str, str, str, str, bool]] = []
    for n in range(pairs):
        kind = ("splice", "removal")[n % 2]
        facts += [(f"made:{n}", f"s{n % 9}", f"a/{n % 9}", kind, "made", f) for f in (False, True)]
    for n in range(pages):
        facts.append((f"p{n}", f"edit_{n % 5}", f"b/{n % 5}", "splice", "page", n % 2 == 0))
    facts += [(f"j{n}", f"s{n % 9}", f"a/{n % 9}", "photo", "judged", False) for n in range(90)]
    x = rng.normal(size=(len(facts), len(TAPS) * KEPT, SIDE, SIDE)).astype(np.float16)
    target = np.zeros((len(facts), SIDE, SIDE), np.float16)
    for i, fact in enumerate(facts):
        if fact[5]:
            top, left = rng.integers(0, SIDE - 6, 2)
            target[i, top : top + 6, left : left + 6] = 1
            x[i, :8] += 3 * target[i]
            if fact[4] == "page":
                target[i] = np.nan
    name, source, group, kind, role, fake = (np.array(v) for v in zip(*facts, strict=True))
    return Stored(x, target, name, source, group, kind, role, np.full(len(facts), "none"), fake)


def test_mask_becomes_the_share_of_each_place() -> None:
    mask = np.zeros((SIZE * 2, SIZE), np.bool_)
    mask[: SIZE // 2, : SIZE // 4] = True
    found = shares(mask)
    assert found.shape == (SIDE, SIDE)
    assert found[: SIDE // 4, : SIDE // 4].min() > 0.9
    assert found.sum() == pytest.approx(SIDE * SIDE / 16, rel=0.02)


def test_principal_components_are_white() -> None:
    tokens = torch.randn(4000, 768) @ torch.diag(torch.linspace(0.1, 3, 768)) + 5
    basis, middle = principal([tokens])
    seen = (tokens - middle[0]) @ basis[0]
    assert seen.mean(0).abs().max() < 1e-2
    assert (torch.cov(seen.T) - torch.eye(KEPT)).abs().max() < 0.05


def test_pairs_are_found_untouched_first() -> None:
    data = stored()
    pairs = pairs_of(data)
    assert len(pairs) == 60
    assert not data.fake[pairs[:, 0]].any()
    assert data.fake[pairs[:, 1]].all()
    assert (data.name[pairs[:, 0]] == data.name[pairs[:, 1]]).all()


def test_head_learns_where_and_whether() -> None:
    data, other = stored(), stored(1)
    head = train(data.where(data.role != "judged"), 60, 0)
    scores, places = judge(head, other)
    assert auc_between(scores[~other.fake], scores[other.fake]) > 0.95
    at = other.fake & (other.role == "made")
    inside = other.target[at] > 0.5
    assert places[at][inside].mean() > places[at][~inside].mean() + 1


def test_every_group_is_judged_by_the_head_that_left_it_out() -> None:
    data = stored()
    heads = [EditHead().eval() for _ in range(FOLDS)]
    for k, head in enumerate(heads):
        torch.nn.init.zeros_(head.picture.weight)
        torch.nn.init.constant_(head.picture.bias, 100.0 * k)
        torch.nn.init.zeros_(head.place.weight)
        torch.nn.init.zeros_(head.place.bias)
    scores, _ = apart(heads, data)
    assert np.allclose(scores, 100 * fold_of(data.group), atol=10)


def test_parts_are_read_together(tmp_path: Path) -> None:
    data = stored(pairs=4, pages=4)
    for k in range(2):
        part = data.where(np.arange(len(data.name)) % 2 == k)
        np.savez(tmp_path / f"part{k}.npz", **{f: getattr(part, f) for f in Stored.__slots__})
    found = read(tmp_path)
    assert sorted(found.name.tolist()) == sorted(data.name.tolist())
    assert found.x.shape == data.x.shape
