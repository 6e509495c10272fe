"""Fit the heads that look for edited parts, on stored tokens.

    python -m assay_lab.train.edits --features DIR --out DIR [--only K ...]

The released head learns from all pictures. What is said of it comes from others, one a fold
(:mod:`assay_lab.train.folds`), each of which left out the groups (repositories) that it judges.
Of every batch two thirds are edits made in the lab beside their untouched twins, the rest comes
from pages and packs that show both. Untouched photographs without a twin are judged and never
learned as such: what tells those from the rest is the saving. ``--only`` trains some heads, for
processes side by side; ``FOLDS`` is the released one.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from assay_lab.benchmark.metrics import auc_between
from assay_lab.train.edit_features import Stored, read
from assay_lab.train.edit_net import EditHead
from assay_lab.train.folds import FOLDS, fold_of

Floats = NDArray[np.float64]
STEPS, PAIRS, OTHERS = 900, 12, 12
"""Of a batch: made pairs, and pictures of pages and the pack."""
SURE = 0.97
"""Target of an edited picture, and one less it that of an untouched one: labels err at times."""


def pairs_of(data: Stored) -> NDArray[np.int64]:
    """Where the untouched and the edited picture of each made pair stand, ``[n, 2]``."""
    at: dict[str, list[int]] = {}
    for i in np.flatnonzero(data.role == "made").tolist():
        at.setdefault(str(data.name[i]), []).append(i)
    return np.array(
        [sorted(v, key=lambda i: bool(data.fake[i])) for v in at.values() if len(v) == 2]
    )


def both_ways(data: Stored) -> tuple[NDArray[np.int64], Floats]:
    """Pictures of the pages and packs that show untouched and edited ones, and their chances.

    Groups by the root of their size, in each both classes alike: what else tells one page from
    the next must not tell the classes.
    """
    shown = np.isin(data.role, ("page", "pack"))
    both = set(data.group[shown & data.fake].tolist()) & set(
        data.group[shown & ~data.fake].tolist()
    )
    at = np.flatnonzero(shown & np.isin(data.group, sorted(both)))
    chance = np.zeros(len(at))
    for group in both:
        mine = data.group[at] == group
        for fake in (False, True):
            part = mine & (data.fake[at] == fake)
            chance[part] = np.sqrt(mine.sum()) / part.sum()
    return at, chance / chance.sum()


def train(data: Stored, steps: int, seed: int) -> EditHead:
    """A head that learned from ``data``."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    pairs = pairs_of(data)
    others, chance = both_ways(data)
    x, target = torch.from_numpy(data.x), torch.from_numpy(data.target.astype(np.float32))
    fake = torch.from_numpy(data.fake.astype(np.float32))
    head = EditHead()
    solver = torch.optim.AdamW(head.parameters(), 1e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(solver, 1e-3, steps)
    for step in range(steps):
        drawn = pairs[rng.integers(0, len(pairs), PAIRS)].ravel()
        at = torch.from_numpy(np.r_[drawn, rng.choice(others, OTHERS, p=chance)])
        seen, aim, y = x[at].float(), target[at], fake[at]
        if rng.random() < 0.5:
            seen, aim = seen.flip(3), aim.flip(2)
        places, pictures = head(seen)
        known = torch.isfinite(aim)
        aim = torch.where(known, aim, torch.zeros(()))
        of_places = F.binary_cross_entropy_with_logits(places, aim, reduction="none")
        of_places = (of_places * (1 + 3 * aim))[known].mean()
        of_pictures = F.binary_cross_entropy_with_logits(pictures, 1 - SURE + (2 * SURE - 1) * y)
        solver.zero_grad()
        (2 * of_places + of_pictures).backward()
        solver.step()
        schedule.step()
        if step % 250 == 249:
            print(json.dumps({"step": step + 1, "places": round(of_places.item(), 4),
                              "pictures": round(of_pictures.item(), 4)}), flush=True)  # fmt: skip
    return head.eval()


def judge(head: EditHead, data: Stored) -> tuple[Floats, NDArray[np.float32]]:
    """Logits of pictures [n] and of places [n, SIDE, SIDE]."""
    pictures, places = [], []
    with torch.inference_mode():
        for start in range(0, len(data.x), 64):
            at = torch.from_numpy(data.x[start : start + 64]).float()
            where, whole = head(at)
            pictures.append(whole.double().numpy())
            places.append(where.numpy())
    return np.concatenate(pictures), np.concatenate(places)


def apart(heads: Sequence[EditHead], data: Stored) -> tuple[Floats, NDArray[np.float32]]:
    """:func:`judge`, of each picture by the head that left its group out."""
    fold = fold_of(data.group)
    pictures = np.zeros(len(data.x))
    places = np.zeros(data.target.shape, np.float32)
    for k, head in enumerate(heads):
        if (fold == k).any():
            pictures[fold == k], places[fold == k] = judge(head, data.where(fold == k))
    return pictures, places


def grades(data: Stored, scores: Floats, places: NDArray[np.float32]) -> dict[str, list[float]]:
    """AUC of pictures by role and kind against the untouched ones of that role, and of places
    within edited pictures, with the number of edited pictures."""
    found = {}
    for role in ("made", "pack", "page"):
        mine = data.role == role
        if not (mine & data.fake).any():
            continue
        real = scores[mine & ~data.fake]
        if role == "page":
            real = np.r_[real, scores[(data.role == "judged") & (data.how == "none")]]
        for kind in ("all", *np.unique(data.kind[mine & data.fake]).tolist()):
            at = mine & data.fake & ((data.kind == kind) | (kind == "all"))
            inside = [
                auc_between(p[t <= 0.5], p[t > 0.5])
                for p, t in zip(places[at], data.target[at], strict=True)
                if 0 < (t > 0.5).sum() < t.size
            ]
            found[f"{role}: {kind}"] = [
                int(at.sum()), round(auc_between(real, scores[at]), 3),
                round(float(np.mean(inside)), 3) if inside else float("nan"),
            ]  # fmt: skip
    return found


def main(argv: list[str] | None = None) -> None:
    """Command line of the fit."""
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--features", type=Path, required=True)
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--only", type=int, nargs="*", default=range(FOLDS + 1))
    p.add_argument("--steps", type=int, default=STEPS)
    a = p.parse_args(argv)
    torch.set_num_threads(1)
    data = read(a.features)
    a.out.mkdir(parents=True, exist_ok=True)
    fold = fold_of(data.group)
    for k in a.only:
        learnt = (data.role != "judged") & (fold != k)
        head = train(data.where(learnt), a.steps, k)
        torch.save(head.state_dict(), a.out / f"head{k}.pt")
        print(json.dumps({"head": k, "of": int(learnt.sum())}), flush=True)
    heads = load(a.out)
    if len(heads) > FOLDS:
        print(json.dumps(grades(data, *apart(heads[:FOLDS], data)), indent=1))


def load(folder: Path) -> list[EditHead]:
    """The heads that are there, in the order of their folds, the released one last."""
    heads = []
    for path in sorted(folder.glob("head*.pt")):
        heads.append(EditHead().eval())
        heads[-1].load_state_dict(torch.load(path, weights_only=True))
    return heads


if __name__ == "__main__":
    main()
