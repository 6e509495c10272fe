"""Projected tokens of edited and untouched pictures, stored once for the fits on them.

    python -m assay_lab.train.edit_features --shared DIR --mirrors DIR --cache DIR \
        --weights FILE --out DIR --pairs 3500 [--share K N]

``--share K N`` computes every N-th picture, from the K-th on, for processes side by side.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from assay.models.prepare import whole_picture
from assay_lab.data.cache import Cache
from assay_lab.data.edits import Example, judged, made, pack, shown
from assay_lab.data.images import keep_order
from assay_lab.train.edit_net import SIDE, SIZE, Tokens, load_tower, principal, shares
from assay_lab.train.image_features import VERSIONS, version
from assay_lab.train.image_net import to_input

OF_BASIS = 160
"""Photographs from which the principal components are computed."""
OF_SOURCE = 8


@dataclass(frozen=True, slots=True)
class Stored:
    """Tokens ``x [n, c, SIDE, SIDE]`` and what is known of the pictures.

    ``target [n, SIDE, SIDE]``: edited share of each place, NaN where unknown. ``role``: made,
    page, pack or judged; ``how``: one of ``VERSIONS``; ``kind`` of the edit, also of the untouched
    twin of a made one.
    """

    x: NDArray[np.float16]
    target: NDArray[np.float16]
    name: NDArray[np.str_]
    source: NDArray[np.str_]
    group: NDArray[np.str_]
    kind: NDArray[np.str_]
    role: NDArray[np.str_]
    how: NDArray[np.str_]
    fake: NDArray[np.bool_]

    def where(self, at: NDArray[np.bool_]) -> Stored:
        """Those at which ``at`` holds."""
        return Stored(*(getattr(self, k)[at] for k in self.__slots__))


def read(folder: Path) -> Stored:
    """All parts in a folder."""
    parts = [np.load(f) for f in sorted(folder.glob("part*.npz"))]
    return Stored(*(np.concatenate([p[k] for p in parts]) for k in Stored.__slots__))


def examples(
    shared: Path, mirrors: Path, cache: Cache, pairs: int, share: tuple[int, int]
) -> Iterator[tuple[str, str, Example]]:
    """Role, version and example of all that is looked at, of this share."""
    first, step = share
    absent: list[str] = []
    others = chain(
        (("page", e) for e in shown(mirrors, absent)),
        (("pack", e) for e in pack(shared)),
        (("judged", e) for e in judged(cache, OF_SOURCE)),
    )
    for n, (role, example) in enumerate(others):
        if n % step != first:
            continue
        yield role, VERSIONS[0], example
        chance = int(keep_order(example.name)[:8], 16)
        if role == "page" or chance % 4 == 0:
            yield role, VERSIONS[1 + chance // 4 % 2], example
    if absent:
        print("not fetched:", *sorted(set(absent)))
    for example in made(cache, first, step, pairs):
        yield "made", VERSIONS[0], example


def fit_basis(net: Tokens, cache: Cache, out: Path) -> None:
    """Principal components of tokens of photographs, made once."""
    if not out.exists():
        found: list[list[torch.Tensor]] = []
        for batch in _batched(e.pixels for e in islice(judged(cache, 1), OF_BASIS)):
            found.append([t[:, ::3].reshape(-1, t.shape[2]) for t in net.taps_of(batch)])
        basis, middle = principal([torch.cat(tap) for tap in zip(*found, strict=True)])
        part = out.with_suffix(f".{os.getpid()}")
        torch.save({"basis": basis.half(), "middle": middle.half()}, part)
        part.replace(out)  # another share may look at it
    net.project_on(out)


def _batched(pictures: Iterator[NDArray[np.uint8]]) -> Iterator[torch.Tensor]:
    while batch := [whole_picture(p, SIZE) for p in islice(pictures, 8)]:
        yield to_input(torch.from_numpy(np.stack(batch))).contiguous()


def main(argv: list[str] | None = None) -> None:
    """Command line of the extraction."""
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--shared", type=Path, required=True)
    p.add_argument("--mirrors", type=Path, required=True)
    p.add_argument("--cache", type=Path, required=True, help="the cache of pictures")
    p.add_argument("--weights", type=Path, required=True, help="ONNX file of the tower")
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--pairs", type=int, default=3500)
    p.add_argument("--share", type=int, nargs=2, default=(0, 1), metavar=("K", "N"))
    a = p.parse_args(argv)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    a.out.mkdir(parents=True, exist_ok=True)
    cache, net = Cache(a.cache), load_tower(a.weights)
    sixteen: bool = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=sixteen):
        fit_basis(net, cache, a.out / "basis.pt")
        found: list[NDArray[np.float16]] = []
        facts: list[dict[str, str]] = []
        fakes: list[bool] = []
        targets: list[NDArray[np.float16]] = []
        unknown = np.full((SIDE, SIDE), np.nan, np.float32)

        def looked() -> Iterator[NDArray[np.uint8]]:
            share = (a.share[0], a.share[1])
            for role, how, e in examples(a.shared, a.mirrors, cache, a.pairs, share):
                names = {k: str(getattr(e, k)) for k in ("name", "source", "group", "kind")}
                facts.append({**names, "role": role, "how": how})
                fakes.append(e.fake)
                covered = unknown if e.mask is None else shares(e.mask)
                targets.append(covered.astype(np.float16))
                yield version(e.pixels, how)

        for batch in _batched(looked()):
            found.append(net(batch).half().numpy())
            if len(found) % 64 == 0:
                print(json.dumps({"views": len(facts)}), flush=True)
    np.savez(
        a.out / f"part{a.share[0]}.npz",
        x=np.concatenate(found), target=np.stack(targets), fake=np.array(fakes),
        **{k: np.array([f[k] for f in facts]) for k in facts[0]},
    )  # fmt: skip
    print(json.dumps({"views": len(facts)}))


if __name__ == "__main__":
    main()
