"""Export the generated-image network: graph, parity, calibration, card, golden outputs.

    python -m assay_lab.export.images --cache DIR --weights FILE --features DIR \
        --heads heads.pt --out src/assay/models/zoo/image-v6 --commit SHA --date 2026-11-30

The matrices of the tower are stored in four bits. Validation pictures, plain and corrupted,
are scored from their stored features by the heads that left their groups out. The choosing folds
say how much the whole picture counts beside its patches, the others how good that is; points and
curve come from all. Refuses to write a card when the lower bound of the AUC on pairs of like size
does not clear ``WORTH_SHIPPING``.
"""

from __future__ import annotations

import argparse
import datetime
import io
import json
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as Pillow
from torch import Tensor, nn

from assay.analyzers.image.patches import native_patches
from assay.analyzers.image.synthetic import look, mix
from assay.models.card import Card, read_card
from assay_lab.benchmark import metrics as m
from assay_lab.data.cache import Cache
from assay_lab.data.images import NO_PHOTO, UNSEEN, decode
from assay_lab.export import calibration as cal
from assay_lab.export import four_bits
from assay_lab.export.card import dumps, metric
from assay_lab.export.golden import write_golden
from assay_lab.export.onnx_graph import check_parity, sha256
from assay_lab.train.folds import CHOOSING, FOLDS, fold_of
from assay_lab.train.image_attribution import Attribution, family_of, fit_attribution
from assay_lab.train.image_features import TAPS, VERSION, VERSIONS, Stored, read
from assay_lab.train.image_known import Familiarity, remember
from assay_lab.train.image_net import MEAN, SIZE, STD, Features, PictureNet, load_tower
from assay_lab.train.image_scope import KINDS, Scope, fit_scope
from assay_lab.train.images import (
    SEEN,
    Head,
    apart,
    game_of,
    grade,
    pooled,
    within_games,
)

Floats = NDArray[np.float64]
Strings = NDArray[np.str_]
Coded = tuple[Tensor, Tensor]
"""Codes and steps of a matrix."""
WORTH_SHIPPING = 0.70
SHARES = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0)
LIMITS = [
    "Two small heads on features of a network that was not trained for this task. Many "
    "generated pictures pass, above all those of generators it has not met and small or "
    "strongly compressed copies.",
    "It looks at the whole picture made small and at up to four patches of 160 px at native "
    "resolution.",
    "A low score is no proof of authenticity.",
]


class Heads(NamedTuple):
    """The heads for one kind of view: the released one, and those that left a fold out."""

    released: Head
    judges: list[Head]
    coarse: Coded


def load_heads(path: Path) -> dict[str, Heads]:
    """What :mod:`assay_lab.train.images` saved, released weights rounded as they are stored."""
    found = {}
    for what, states in torch.load(path, map_location="cpu", weights_only=True).items():
        codes, step = four_bits.eight_bits(states[0]["first.weight"])
        own = {k: rounded(v) for k, v in states[0].items()}
        heads = []
        for state in (own | {"first.weight": codes.float() * step}, *states[1:]):
            heads.append(Head(state["columns"].numpy(), len(codes)))
            heads[-1].load_state_dict(state)
        found[what] = Heads(heads[0].eval(), [h.eval() for h in heads[1:]], (codes, step))
    return found


def network(
    heads: dict[str, Heads], weights: Path, scope: Scope, family: Attribution,
    known: Familiarity,
) -> tuple[PictureNet, list[Coded], list[Coded]]:  # fmt: skip
    """The heads on their tower; also codes and steps of its matrices and of theirs."""
    features = Features(TAPS)
    matrices = load_tower(features, weights)
    net = PictureNet(
        features, heads["native"].released, heads["whole"].released,
        Linear(scope.weight, scope.bias), Linear(family.weight, family.bias), known.memory,
    )  # fmt: skip
    return net.eval(), matrices, [h.coarse for h in heads.values()]


class Linear(nn.Module):
    """A linear head on the features that it uses, exact in 16 bits but for its bias."""

    used: Tensor

    def __init__(self, weight: Floats, bias: Floats) -> None:
        super().__init__()
        used = np.flatnonzero(weight.any(0))
        self.register_buffer("used", torch.from_numpy(used))
        self.layer = nn.Linear(len(used), len(bias))
        with torch.no_grad():
            self.layer.weight.copy_(rounded(torch.from_numpy(weight[:, used])))
            self.layer.bias.copy_(torch.from_numpy(bias))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(x[:, self.used])
        return out


def rounded(values: Tensor) -> Tensor:
    """Floats that 16 bits hold, whole numbers as they are."""
    return values.half().float() if values.is_floating_point() else values


class Seen(NamedTuple):
    """Validation pictures in their versions: what the network says of patches and whole."""

    name: Strings
    source: Strings
    group: Strings
    fake: NDArray[np.bool_]
    how: Strings
    side: NDArray[np.int64]
    patches: Floats
    whole: Floats

    def where(self, at: NDArray[np.bool_]) -> Seen:
        return Seen(*(v[at] for v in self))

    def by_source(self, scores: Floats, *, fake: bool, how: str | None = None) -> dict[str, Floats]:
        """Scores of one class by source, of one version or of all."""
        at = (self.fake == fake) & ((self.how == how) if how else True)
        return {str(s): scores[at & (self.source == s)] for s in np.unique(self.source[at])}


def score(cache: Cache, heads: dict[str, Heads], features: Path, model: Path) -> Seen:
    """The stored validation views, each judged by the head that left its group out."""
    card = read_card(model)
    row_of = {f"{r.source}:{r.name}": i for i, r in enumerate(cache.rows)
              if r.use == "validation" and r.kind in SEEN}  # fmt: skip
    sides = {}
    for name, i in row_of.items():
        with Pillow.open(io.BytesIO(cache.data(i))) as opened:
            if min(opened.size) >= card.gates["min_side_px"]:
                sides[name] = max(opened.size)
    judged: dict[str, dict[str, float]] = {}
    released: dict[str, dict[str, float]] = {}
    for what, head in heads.items():
        data = read(features / f"{what}.npz", cache)
        data = data.where((data.use == "validation") & np.isin(data.name, list(sides)))
        keys = np.char.add(np.array([f"{v // VERSION}:" for v in data.view]), data.name)
        judged[what] = by_key(keys, apart(head.judges, data))
        plain = data.where(data.view < VERSION)
        with torch.no_grad():
            logits = head.released(torch.from_numpy(plain.x))[:, 0].numpy().astype(np.float64)
        released[what] = by_key(plain.name, logits)
    check(released["native"], released["whole"], cache, row_of, card)
    rows = []
    for key in sorted(judged["native"].keys() & judged["whole"].keys()):
        place, _, name = key.partition(":")
        row = cache.rows[row_of[name]]
        rows.append((name, row.source, row.group, row.label == "fake", VERSIONS[int(place)],
                     sides[name], judged["native"][key], judged["whole"][key]))  # fmt: skip
    return Seen(*(np.array(v) for v in zip(*rows, strict=True)))


def by_key(keys: Strings, logits: Floats) -> dict[str, float]:
    """Mean logit of the views of each key."""
    values, first = pooled(keys, logits)
    return dict(zip(keys[first].tolist(), values.tolist(), strict=True))


def check(
    patches: dict[str, float], whole: dict[str, float], cache: Cache, row_of: dict[str, int],
    card: Card,
) -> None:  # fmt: skip
    """Print how far the product's own answers lie from those of the stored features.

    These are computed in 16 bits; fifty plain pictures are compared.
    """
    names, off = sorted(patches.keys() & whole.keys()), []
    for name in names[:: max(1, len(names) // 50)]:
        rgb = decode(cache.data(row_of[name]))
        assert rgb is not None
        seen = look(rgb, native_patches(rgb, SIZE).pixels, card)
        own = float(np.mean(seen.patches.astype(np.float64)))
        off.append((abs(own - patches[name]), abs(seen.whole - whole[name])))
    print("product less stored: mean", np.mean(off, 0), "most", np.max(off, 0))


def matched(seen: Seen, scores: Floats) -> tuple[Floats, Floats]:
    """Labels and scores of pairs of one real and one generated picture of like long side.

    Every generated picture is paired, once, with the unused real one whose long side is
    nearest, if within a fifth.
    """
    reals = [(int(s), float(v)) for s, v in zip(seen.side[~seen.fake], scores[~seen.fake],
                                                strict=True)]  # fmt: skip
    fakes = [(int(s), float(v)) for s, v in zip(seen.side[seen.fake], scores[seen.fake],
                                                strict=True)]  # fmt: skip
    labels: list[float] = []
    values: list[float] = []
    for n in np.random.default_rng(0).permutation(len(fakes)).tolist():
        side, s = fakes[n]
        if not reals:
            break
        best = min(range(len(reals)), key=lambda j: abs(np.log(reals[j][0] / side)))
        if abs(np.log(reals[best][0] / side)) > np.log(1.2):
            continue
        labels += [0.0, 1.0]
        values += [reals.pop(best)[1], s]
    return np.array(labels), np.array(values)


def games(seen: Seen, scores: Floats, strict: float, rounds: int = 500) -> dict[str, Any]:
    """The row of all games: pictures of like topics and format, see :func:`within_games`."""
    game = game_of(seen.source)
    at = game != ""
    fake, s, game = seen.fake[at], scores[at], game[at]
    pools = [np.flatnonzero((game == g) & (fake == f)) for g in np.unique(game) for f in (0, 1)]
    rng, areas = np.random.default_rng(0), []
    for _ in range(rounds):
        drawn = np.concatenate([rng.choice(p, len(p)) for p in pools if len(p)])
        areas.append(within_games(fake[drawn], game[drawn], s[drawn]))
    low, high = np.quantile(areas, (0.025, 0.975))
    row = metric("games (matched topics)", "none", s[~fake], s[fake], strict, loose=True)
    area = within_games(fake, game, s)
    return row | {
        "auc": round(area, 4), "auc_low": round(float(low), 4), "auc_high": round(float(high), 4)
    }  # fmt: skip


def bounded(
    knots: tuple[list[float], list[float]], real: Floats, fake: Floats, low: float, high: float
) -> tuple[list[float], list[float]]:
    """The curve cut where it would say more than the tails show.

    Above ``high`` and below ``low`` the ratio of the shares of the classes (with half a
    picture added to each count) is what was seen; a logistic curve runs on past it.
    """

    def seen(a: int, b: int) -> float:
        return float(np.log((b + 0.5) / len(fake)) - np.log((a + 0.5) / len(real)))

    most = seen(int((real >= high).sum()), int((fake >= high).sum()))
    least = seen(int((real <= low).sum()), int((fake <= low).sum()))
    ends = np.interp([least, most], knots[1], knots[0])
    at = np.linspace(*ends, len(knots[0]))
    llr = np.interp(at, *knots)
    return [round(float(v), 5) for v in at], [round(float(v), 5) for v in llr]


def from_films(seen: Seen) -> NDArray[np.bool_]:
    """Which pictures are frames of films. These have a curve and points of their own."""
    return np.char.startswith(seen.source, "film_")


def surest(seen: Seen, scores: Floats, fpr: float) -> float:
    """The point that is sure over sources for pictures, and for those of pages of faces.

    Together the easier of both would lower it for the other.
    """
    real = seen.by_source(scores, fake=False, how="none")
    # in the order of the sources: the draws of sources depend on it
    pages = {k: v for k, v in real.items() if k.startswith("page_")}
    others = {k: v for k, v in real.items() if k not in pages}
    return max(cal.sure_threshold(sets, fpr) for sets in (pages, others) if sets)


def left_out(seen: Seen, scores: Floats, fpr: float) -> dict[str, list[float]]:
    """For each fold: its real pictures, and the shares of them, flat and sources alike, above a
    point set without it."""
    found, fold = {}, fold_of(seen.group)
    for k in range(FOLDS):
        mine = seen.where(fold == k).by_source(scores[fold == k], fake=False, how="none")
        point = surest(seen.where(fold != k), scores[fold != k], fpr)
        flat = np.concatenate(list(mine.values()))
        even = float(np.mean([m.rate_at(v, point) for v in mine.values()]))
        found[str(k)] = [len(flat), round(m.rate_at(flat, point), 4), round(even, 4)]
    return found


def mixed(seen: Seen, share: float) -> Floats:
    """Scores of the pictures."""
    return np.array([mix(p, w, share) for p, w in zip(seen.patches, seen.whole, strict=True)])


def choose_share(seen: Seen) -> tuple[float, dict[str, Any]]:
    """The share of the whole with the best sum of grades, and the grades of all tried."""
    plain, table = seen.where(seen.how == "none"), {}
    for share in SHARES:
        s = mixed(plain, share)
        table[str(share)] = grade(plain.fake, plain.source, s)
    best = max(SHARES, key=lambda k: sum(table[str(k)].values()))
    return best, table


def validation(seen: Seen) -> dict[str, Any]:
    """Share from the choosing folds; rows from the others; points and curve from all."""
    fold = fold_of(seen.group)
    chooses = np.isin(fold, CHOOSING)
    share, shares = choose_share(seen.where(chooses))
    scores = mixed(seen, share)
    real = seen.by_source(scores, fake=False, how="none")
    strict, loose = surest(seen, scores, 0.01), surest(seen, scores, 0.05)
    low = cal.low_band(seen.by_source(scores, fake=True, how="none"))
    knots = cal.calibrate(
        seen.by_source(scores, fake=False), seen.by_source(scores, fake=True), copies=1
    )
    keeps, s = seen.where(~chooses), scores[~chooses]
    plain = keeps.how == "none"
    y, v = matched(keeps.where(plain), s[plain])
    rows = [metric("matched by size", "none", v[y == 0], v[y == 1], strict)]
    rows.append(games(keeps.where(plain), s[plain], strict))
    for how in VERSIONS:
        at = keeps.how == how
        rows.append(metric("all", how, s[at & ~keeps.fake], s[at & keeps.fake], strict))
    all_real, all_fake = s[plain & ~keeps.fake], s[plain & keeps.fake]
    fake = keeps.by_source(s, fake=True, how="none")
    rows += [metric(k, "none", all_real, v, strict, loose=True) for k, v in fake.items()]
    at = seen.how == "none"
    return {
        "share": share, "shares": shares, "rows": rows,
        "points": {
            "fpr_1pct": strict, "fpr_5pct": loose, "low_band": low,
            "tpr_at_fpr_1pct": m.rate_at(all_fake, strict),
            "fnr_at_fpr_1pct": 1 - m.rate_at(all_fake, strict),
        },
        "knots": bounded(knots, scores[~seen.fake], scores[seen.fake], low, strict),
        "n_real": int((at & ~seen.fake).sum()), "n_fake": int((at & seen.fake).sum()),
        "flagged, fold left out": left_out(seen, scores, 0.01),
        "flagged by source": {k: [len(v), round(m.rate_at(v, strict), 4)] for k, v in real.items()},
        "sources": sorted(set(seen.source.tolist())),
    }  # fmt: skip


def data_table(cache: Cache) -> list[dict[str, Any]]:
    """Pictures by source, for the card; those that heads are judged by may be learned too."""
    count: Counter[tuple[str, str, str, str]] = Counter()
    for r in cache.rows:
        if not r.name.endswith("#whole") or r.kind in NO_PHOTO:
            count[(r.use, r.source, r.licence, r.label)] += 1
    keys = sorted({k[:3] for k in count})
    return [
        {
            "name": source, "licence": licence, "use": use,
            "real": count[use, source, licence, "real"],
            "fake": count[use, source, licence, "fake"],
        }
        for use, source, licence in keys
    ]  # fmt: skip


def attribution(cache: Cache, data: Stored) -> Attribution:
    """Fit the families on the generated pictures whose generator is known, held ones too."""
    generators = {f"{r.source}:{r.name}": r.generator for r in cache.rows}
    data = data.where((data.label == "fake") & (data.kind == "generated"))
    families = np.array([family_of(generators[n]) for n in data.name.tolist()])
    data, families = data.where(families != "?"), families[families != "?"]
    # pack and camera pictures have groups of their own
    sites = np.where(["/" in g for g in data.group.tolist()], data.group, data.source)
    return fit_attribution(data, families, sites)


def card_of(
    taps: int,
    scope: Scope,
    family: Attribution,
    known: Familiarity,
    cache: Cache,
    found: dict[str, Any] | None,
    a: argparse.Namespace,
) -> dict[str, Any]:
    """The card of the model file; before validation (``found`` None) enough to run it."""
    model = a.out / "model.npz"
    name, _, number = a.out.name.partition("-v")
    card: dict[str, Any] = {
        "model": {
            "name": name,
            "version": int(number),
            "task": "generated pictures",
            "question": "generated_image",
            "licence": "MIT",
            "created": a.date,
            "commit": a.commit,
            "origin": f"first {taps} blocks of CLIP ViT-B/16 (OpenAI, MIT), matrices rounded to "
            "four bits, not retrained; heads trained in assay_lab",
            "file": model.name,
            "sha256": sha256(model),
            "bytes": model.stat().st_size,
            "summary": "Scores the whole picture and patches of it for traces of generation, and "
            "says what kind of picture it is.",
        },
        "input": {
            "name": "input", "kind": "image", "height": SIZE, "width": SIZE,
            "mean": list(MEAN), "std": list(STD), "scale": 255.0,
        },
        "output": {
            "logit": "patch", "whole": "whole", "positive": "generated", "scope": "scope",
            "scope_kinds": " ".join(KINDS), "family": "family", "distance": "distance",
            "neighbours": "neighbours",
        },
        "families": [
            {"name": n, "least": round(v, 4) if np.isfinite(v) else None}
            for n, v in zip(family.names, family.least, strict=True)
        ],
        "familiarity": {
            "distance": known.distance, "share": list(known.share),
            "pictures": known.pictures, "generated": known.generated,
        },
        "gates": {
            "min_side_px": 128, "scope_threshold": round(scope.threshold, 5),
            "share_of_the_whole": found["share"] if found else 0.5,
        },
    }  # fmt: skip
    if found is None:
        return card
    size, topics = found["rows"][0], found["rows"][1]
    caught = found["points"]["tpr_at_fpr_1pct"]
    gated = "; ".join(f"{k} {100 * v[1]:.0f} % of {v[0]}" for k, v in scope.report.items()
                      if k not in ("photographs", "photographs by source"))  # fmt: skip
    photographs = scope.report["photographs"]
    return {
        **card,
        "calibration": {
            "kind": "piecewise_linear", "score": found["knots"][0], "llr": found["knots"][1],
            "n_real": found["n_real"], "n_fake": found["n_fake"],
            "source": "pictures judged by heads that left their repositories out, "
            "plain, JPEG 70 and half size: " + ", ".join(found["sources"]),
            "applies_to": "the mean logit of the patches, mixed with that of the whole picture",
        },
        "operating_points": found["points"],
        "data": data_table(cache),
        "metrics": found["rows"],
        "limits": {
            "sentences": [
                *LIMITS,
                "Validation, by heads that left the repositories judged out, apart from ImageNet "
                "and the camera set, of which other pictures were learned (generators of "
                + ", ".join(UNSEEN)
                + f" altogether unseen): AUC {size['auc']:.2f} (95 % {size['auc_low']:.2f} to "
                f"{size['auc_high']:.2f}) on pairs of like size; at the 1 % point it finds "
                f"{100 * caught:.0f} % of the generated pictures. Where topics and format match "
                f"too ({topics['fake']} and {topics['real']} pictures of games): "
                f"{topics['auc']:.2f} ({topics['auc_low']:.2f} to {topics['auc_high']:.2f}).",
                "Scope, by sources left out in training: "
                f"{100 * photographs[1]:.1f} % of {photographs[0]} photographs "
                f"are wrongly not judged; recognised are: {gated}.",
                families_said(family),
            ]
        },
    }  # fmt: skip


def families_said(family: Attribution) -> str:
    """How well families are named, as a sentence."""
    report = family.report
    named = "; ".join(
        f"{n}: {report[n]['found']:.0%} of {report[n]['pictures']} so named, "
        f"{report[n]['right']:.0%} of {report[n]['named']} named rightly"
        for n in family.names
        if report[n]["named"]
    )
    never = ", ".join(n for n in family.names if not report[n]["named"])
    return (
        f"Family of generators, by sites left out: {named}. Never named: {never or 'none'}. Of "
        f"{report['other']} pictures of other generators {report['other_named']:.0%} are wrongly "
        f"named; AUC of known against other {report['known_against_unknown_auc']:.2f}."
    )


def main(argv: list[str] | None = None) -> None:
    """Command line of the export."""
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--cache", type=Path, required=True)
    p.add_argument("--weights", type=Path, required=True, help="ONNX file of the tower")
    p.add_argument("--features", type=Path, required=True, help="holds whole.npz and native.npz")
    p.add_argument("--heads", type=Path, required=True, help="heads.pt of assay_lab.train.images")
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--commit", required=True)
    p.add_argument("--date", type=datetime.date.fromisoformat, required=True)
    a = p.parse_args(argv)
    torch.set_num_threads(1)
    cache, tap = Cache(a.cache), max(TAPS)
    data = read(a.features / "whole.npz", cache)
    once = data.once()
    scope = fit_scope(once, (f"cls{tap}", f"mean{tap}"))
    family, known = attribution(cache, once), remember(data)
    print(json.dumps([scope.report, family.report], indent=1), flush=True)

    a.out.mkdir(parents=True, exist_ok=True)
    model = a.out / "model.npz"
    heads = load_heads(a.heads)
    net, matrices, coarse = network(heads, a.weights, scope, family, known)
    names = ("patch", "whole", "scope", "family", "distance", "neighbours")
    four_bits.write(net, torch.zeros(2, 3, SIZE, SIZE), model, names, matrices, coarse)
    noise = np.random.default_rng(0).normal(size=(3, 3, SIZE, SIZE)).astype(np.float32)
    print("parity", check_parity(net, model, noise, 0.02, outputs=2), model.stat().st_size)
    (a.out / "card.toml").write_text(dumps(card_of(tap, scope, family, known, cache, None, a)))
    seen = score(cache, heads, a.features, a.out)
    found = validation(seen.where(~from_films(seen)))
    print(json.dumps(found, indent=1))
    worth = found["rows"][0]
    if worth["auc_low"] <= WORTH_SHIPPING:
        raise SystemExit(f"not shipped: matched AUC {worth['auc']}, lower {worth['auc_low']}")
    (a.out / "card.toml").write_text(dumps(card_of(tap, scope, family, known, cache, found, a)))
    write_golden(model, SIZE, 0.01)


if __name__ == "__main__":
    main()
