"""Fit the heads of the generated-image model on stored features.

    python -m assay_lab.train.images --cache DIR --features DIR --out heads.pt

Two small perceptrons, one for the whole picture and one for patches, on the mean and class
tokens of two middle blocks (``PARTS``). Sources weigh by the root of their size, both classes
alike. The released heads learn from all training pictures. What is said of them comes from
others, one a fold (:mod:`assay_lab.train.folds`), each of which left out the groups (repositories,
and generators of ``UNSEEN``) that it judges: the choosing folds grade a fit.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from assay_lab.benchmark.metrics import auc, auc_between, tpr_at_fpr
from assay_lab.data.cache import Cache
from assay_lab.train.folds import CHOOSING, FOLDS, fold_of
from assay_lab.train.image_features import VERSION, Stored, read
from assay_lab.train.weighting import root_weights

Floats = NDArray[np.float64]
Strings = NDArray[np.str_]
SEEN = ("photo", "painting", "generated", "edit", "reconstruction")
"""Kinds of pictures that are judged."""
UNLIKE = ("kurlyto", "sdrecreate", "viviashilah")
"""Pairs of sources, ``_ai`` and ``_real``, whose topics or formats differ: no games."""
PARTS = ("mean6", "cls6", "mean7", "cls7")
HIDDEN, SEEDS = 64, 3
STEPS = {"whole": 1200, "native": 1600}


def weights_of(data: Stored) -> Floats:
    """Both classes alike; inside a class sources by the root of their size."""
    return root_weights(data.label, data.source)


class Head(nn.Module):
    """Whitening of the columns that are used and a perceptron: ``[n, features]`` to ``[n, 1]``."""

    columns: Tensor
    mean: Tensor
    deviation: Tensor

    def __init__(self, columns: NDArray[np.int64], hidden: int) -> None:
        super().__init__()
        self.register_buffer("columns", torch.from_numpy(columns))
        self.register_buffer("mean", torch.zeros(len(columns)))
        self.register_buffer("deviation", torch.ones(len(columns)))
        self.first, self.last = nn.Linear(len(columns), hidden), nn.Linear(hidden, 1)

    def forward(self, x: Tensor) -> Tensor:
        z = (x[:, self.columns] - self.mean) / self.deviation
        out: Tensor = self.last(F.gelu(self.first(z)))
        return out


def columns_of(parts: dict[str, slice], names: tuple[str, ...]) -> NDArray[np.int64]:
    """Columns of the named parts in the stored features."""
    return np.concatenate([np.arange(parts[n].start, parts[n].stop) for n in names])


def train(data: Stored, steps: int) -> Head:
    """``SEEDS`` perceptrons, trained apart with dropout, as one that gives their mean."""
    columns = columns_of(data.parts, PARTS)
    x = torch.from_numpy(data.x[:, columns])
    mean, deviation = x.mean(0), x.std(0) + 1e-2
    z, y = (x - mean) / deviation, torch.from_numpy(data.fake.astype(np.float32))
    chance = torch.from_numpy(weights_of(data))
    joined = Head(columns, HIDDEN * SEEDS)
    with torch.no_grad():
        joined.mean.copy_(mean)
        joined.deviation.copy_(deviation)
        joined.last.bias.zero_()
    for seed in range(SEEDS):
        torch.manual_seed(seed)
        first, last = nn.Linear(len(columns), HIDDEN), nn.Linear(HIDDEN, 1)
        net = nn.Sequential(nn.Dropout(0.3), first, nn.GELU(), nn.Dropout(0.3), last)
        solver = torch.optim.AdamW(net.parameters(), lr=5e-4, weight_decay=1.0)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(solver, steps)
        for _ in range(steps):
            at = torch.multinomial(chance, 128, replacement=True)
            loss = F.binary_cross_entropy_with_logits(net(z[at])[:, 0], 0.03 + 0.94 * y[at])
            solver.zero_grad()
            loss.backward()
            solver.step()
            schedule.step()
        part = slice(seed * HIDDEN, (seed + 1) * HIDDEN)
        with torch.no_grad():
            joined.first.weight[part] = first.weight
            joined.first.bias[part] = first.bias
            joined.last.weight[:, part] = last.weight / SEEDS
            joined.last.bias += last.bias / SEEDS
    return joined.eval()


def by_source(fake: NDArray[np.bool_], source: Strings, scores: Floats) -> float:
    """Mean over the generated sources of their AUC against all real pictures."""
    real = scores[~fake]
    areas = [
        auc_between(real, mine)
        for s in np.unique(source[fake])
        if len(mine := scores[fake & (source == s)]) >= 4
    ]
    return float(np.mean(areas))


def game_of(source: Strings) -> Strings:
    """The game of each picture, or nothing: sources ``NAME_ai`` and ``NAME_real``, alike else."""
    names = set(source.tolist())
    stems = np.array([s.rpartition("_")[0] for s in source.tolist()])
    games = [g for g in set(stems.tolist()) - set(UNLIKE) if {f"{g}_ai", f"{g}_real"} <= names]
    half = np.array([s.endswith(("_ai", "_real")) for s in source.tolist()])
    return np.where(np.isin(stems, games) & half, stems, "")


def within_games(fake: NDArray[np.bool_], game: Strings, scores: Floats) -> float:
    """Mean AUC of the generated pictures of a game against the real ones of the same.

    Games weigh by the size of their smaller half. Raises ValueError when none has both.
    """
    areas, sizes = [], []
    for name in np.unique(game[game != ""]):
        mine = game == name
        size = min(int(fake[mine].sum()), int((~fake[mine]).sum()))
        if size:
            areas.append(auc(fake[mine], scores[mine]))
            sizes.append(size)
    if not sizes:
        raise ValueError("no game has real and generated pictures")
    return float(np.average(areas, weights=sizes))


def grade(fake: NDArray[np.bool_], source: Strings, scores: Floats) -> dict[str, float]:
    """AUC of the pictures of matched topics, of all, its mean over generators; TPR at 5 and 1 %."""
    found = {
        "matched": within_games(fake, game_of(source), scores),
        "all": auc(fake, scores),
        "by_source": by_source(fake, source, scores),
        "tpr_at_5fpr": tpr_at_fpr(fake, scores, 0.05),
        "tpr_at_1fpr": tpr_at_fpr(fake, scores, 0.01),
    }
    return {k: round(float(v), 4) for k, v in found.items()}


def pooled(names: Strings, scores: Floats) -> tuple[Floats, NDArray[np.int64]]:
    """Mean score of each picture, and where its first view stands."""
    _, first, index = np.unique(names, return_index=True, return_inverse=True)
    return np.bincount(index, scores) / np.bincount(index), first


def apart(judges: Sequence[nn.Module], data: Stored) -> Floats:
    """Logits of ``data``, of each picture by the head that left its group out."""
    fold, out = fold_of(data.group), np.zeros(len(data.name))
    for k, judge in enumerate(judges):
        with torch.no_grad():
            out[fold == k] = judge(torch.from_numpy(data.x[fold == k]))[:, 0].numpy()
    return out


def fit(data: Stored, steps: int) -> tuple[Head, list[Head], dict[str, Any]]:
    """The released head, those that left a fold out, and grades of the choosing folds."""
    data = data.where(np.isin(data.kind, SEEN))
    learnt, held = data.where(data.use == "train"), data.where(data.use == "validation")
    # a group that nobody is judged by need not be left out
    away = np.where(np.isin(learnt.group, held.group), fold_of(learnt.group), -1)
    judges = [train(learnt.where(away != k), steps) for k in range(FOLDS)]
    held = held.where((held.view < VERSION) & np.isin(fold_of(held.group), CHOOSING))
    values, first = pooled(held.name, apart(judges, held))
    grades = grade(held.fake[first], held.source[first], values)
    return train(learnt, steps), judges, {"views": len(learnt.name), **grades}


def main(argv: list[str] | None = None) -> None:
    """Command line of the fit."""
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--cache", type=Path, required=True)
    p.add_argument("--features", type=Path, required=True, help="holds whole.npz and native.npz")
    p.add_argument("--out", type=Path, required=True)
    a = p.parse_args(argv)
    torch.set_num_threads(1)
    cache, state = Cache(a.cache), {}
    for what, steps in STEPS.items():
        head, judges, found = fit(read(a.features / f"{what}.npz", cache), steps)
        print(json.dumps({what: found}), flush=True)
        state[what] = [h.state_dict() for h in (head, *judges)]
    torch.save(state, a.out)


if __name__ == "__main__":
    main()
