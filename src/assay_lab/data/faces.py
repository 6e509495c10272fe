"""The recipe of the face cache: fetched mirrors and packs in, labelled crops out.

    python -m assay_lab.data.faces --shared /work/shared --mirrors /work/.mirror --out DIR

Parts can be made side by side (``--parts``) in caches of their own and be joined afterwards
(``--join A B --parts pages``).

Sources whose name stands in ``HELD_OUT`` are validation as a whole; of DFDC a
tenth of the identity clusters is, and of 140k a tenth by hash. A mirror that
was not fetched is skipped and named in the output.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np

from assay_lab.data.cache import Cache, CacheWriter
from assay_lab.data.face_crops import LEAST_BOX, Face, cut, decode, find_faces
from assay_lab.data.face_sources import add_pages
from assay_lab.data.gitmirror import AbsentBlob, GitMirror, mirror_of
from assay_lab.data.images import MORE, keep_order

HELD_OUT = frozenset(
    {
        *("sg3r", "sg3_ffhq", "mjprofile", "tt_openimages"),
        *("loopy", "omnihuman", "LivePortrait", "songguo"),
    }
)
PICTURES = (
    *("sg3", "sg2lora", "lab_", "mjprofile", "freestylefly", "evolink", "wanghao", "songguo"),
    *("wyrde", "ltdrdata", "jcraigk", "tt_coco", "tt_openimages", "kau_"),
    *("mu4dian", "teen_", "truman", "held_truman", "held_forreal", "seegma", "agegan", "sg2_lucid"),
    *("held_r3gan", "breakinferno", "portrait0", "aihuman", "paladinos_small", "rodeback"),
)
"""Beginnings of the names of listed sources in whose pictures faces are looked for."""
MOST = 200
"""Pictures of one source of our own table, at most."""
PARTS = ("swaps", "portraits", "pictures", "clips", "pages")
"""What the cache is made of, in this order."""


def _use(key: str, share: float = 0.1) -> str:
    part = int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big") / 2**32
    return "validation" if part < share else "train"


def _rows(path: Path, delimiter: str = ",") -> Iterator[dict[str, str]]:
    csv.field_size_limit(10**7)
    with path.open(newline="", encoding="utf-8") as lines:
        yield from csv.DictReader(lines, delimiter=delimiter)


def _whole_face(data: bytes) -> Face | None:
    """The largest face of a portrait."""
    rgb = decode(data)
    faces = [] if rgb is None else find_faces(rgb, least=0.5)
    return faces[0] if faces else None


def _pieces(data: bytes) -> list[tuple[bytes, list[float], list[float]]]:
    """Crops of at most four faces of at least LEAST_BOX px, with box and points."""
    rgb = decode(data)
    found = [] if rgb is None else find_faces(rgb, least=0.8)[:4]
    sides = [max(f.box[2] - f.box[0], f.box[3] - f.box[1]) for f in found]
    return [
        cut(rgb, f) for f, s in zip(found, sides, strict=True) if rgb is not None and s >= LEAST_BOX
    ]


def _contents(mirror: GitMirror, names: Iterable[str]) -> Iterator[bytes]:
    """Bytes of every file; none for one that the snapshot lacks."""
    for name in names:
        try:
            yield mirror.read(name)
        except AbsentBlob:
            yield b""


def add_dfdc(out: CacheWriter, shared: Path, git_dir: Path, least_px: int = 110) -> None:
    """DFDC faces of the allowed list whose source box had at least ``least_px`` px."""
    listed = [
        r
        for r in _rows(shared / "corpora" / "dfdc_faces_train.csv")
        if float(r["source_box_px"] or 0) >= least_px
    ]
    reals = {r["name"] for r in listed if r["label"] == "real"}
    with GitMirror(git_dir) as mirror:
        rows = [
            r for r in listed if r["original"] in reals and f"faces_224/{r['name']}.jpg" in mirror
        ]
        names = [f"faces_224/{r['name']}.jpg" for r in rows]
        for r, data in zip(rows, _contents(mirror, names), strict=True):
            real = r["label"] == "real"
            # a fake is cut at the place of its original, which alone is forged from
            face = _whole_face(data) if real else None
            out.add(
                data,
                name=r["name"],
                label=r["label"],
                kind="camera" if real else "face_swap",
                generator="camera" if real else "dfdc_mixed",
                source="dfdc",
                licence="DFDC terms (research)",
                group=r["id_cluster"],
                pair="" if real else r["original"],
                use=_use("dfdc" + r["id_cluster"]),
                box=face.box if face else (),
                points=face.points if face else (),
            )


def _with_face(data: bytes) -> tuple[bytes, Face | None]:
    return data, _whole_face(data)


def add_140k(out: CacheWriter, shared: Path, git_dir: Path) -> None:
    """FFHQ and StyleGAN1, 256 px, allowed names only."""
    with GitMirror(git_dir) as mirror:
        names = [
            r["path"]
            for r in _rows(shared / "corpora" / "140k_allowed_names.csv")
            if r["path"] in mirror
        ]
        found = map(_with_face, _contents(mirror, names))
        for name, (data, face) in zip(names, found, strict=True):
            if face is None:
                continue
            real = "/real/" in name
            out.add(
                data,
                name=name,
                label="real" if real else "fake",
                kind="camera" if real else "generated",
                generator="camera" if real else "StyleGAN1",
                source="140k",
                licence="none stated",
                group=name,
                use=_use(name),
                box=face.box,
                points=face.points,
            )


def add_expressions(out: CacheWriter, git_dir: Path, count: int = 3000) -> None:
    """Mostly grey web portraits, every n-th, at most ``count``."""
    with GitMirror(git_dir) as mirror:
        names = sorted(n for n in mirror.names if n.startswith("images/"))
        names = names[:: -(-len(names) // count)]
        found = map(_with_face, _contents(mirror, names))
        for name, (data, face) in zip(names, found, strict=True):
            if face is None or face.score < 0.8:
                continue
            person = re.sub(r"_\d+\.\w+$", "", name)
            out.add(
                data,
                name=name,
                label="real",
                kind="camera",
                generator="camera",
                source="expressions",
                licence="MIT (repository)",
                group=person,
                use=_use(person),
                box=face.box,
                points=face.points,
            )


def _picture_specs(
    shared: Path, wanted: tuple[str, ...]
) -> Iterator[tuple[dict[str, str], int | None]]:
    """Rows of both tables of pictures with how many are taken at most, and the listed ImageNet
    samples as one more."""
    for table, most in ((shared / "corpora" / "image_sources.tsv", None), (MORE, MOST)):
        for spec in _rows(table, "\t"):
            if spec["source"].startswith(wanted) and spec["label"] in ("real", "fake"):
                yield spec, most
    photos = "EliSchwartz/imagenet-sample-images"
    listed = _rows(shared / "corpora" / "photos_train.csv")
    files = [re.escape(r["file"]) for r in listed if r["repository"] == photos]
    samples = {
        "source": "imagenet",
        "repository": photos,
        "label": "real",
        "generator": "camera",
        "licence": "none stated",
        "pattern": "^(" + "|".join(files) + ")$",
    }
    yield samples, None


def add_pictures(
    out: CacheWriter, shared: Path, mirrors: Path, wanted: tuple[str, ...]
) -> list[str]:
    """Faces of at least LEAST_BOX px in listed pictures; returns sources not fetched."""
    barred = {
        (r["source"], r["path"])
        for r in _rows(shared / "corpora" / "image_sources_exclude.tsv", "\t")
    }
    missing = []
    for spec, most in _picture_specs(shared, wanted):
        mirror = mirror_of(mirrors, spec["repository"])
        if mirror is None:
            missing.append(spec["source"])
            continue
        source = spec["source"]
        for family in ("songguo", "wyrde", "ltdrdata"):
            source = family if source.startswith(family) else source
        held = source in HELD_OUT or source.startswith("held_")
        pattern = re.compile(spec["pattern"])
        with mirror:
            names = [
                n for n in mirror.names if pattern.search(n) and (spec["source"], n) not in barred
            ]
            if most is not None:
                names = sorted(names, key=keep_order)[:most]
            found = map(_pieces, _contents(mirror, names))
            for name, pieces in zip(names, found, strict=True):
                for i, (data, box, points) in enumerate(pieces):
                    out.add(
                        data,
                        name=f"{name}#{i}",
                        label=spec["label"],
                        kind="camera" if spec["label"] == "real" else "generated",
                        generator=spec["generator"],
                        source=source,
                        licence=spec["licence"],
                        group=f"{source}:{name}",
                        use="validation" if held else "train",
                        box=box,
                        points=points,
                    )
    return missing


def add_clips(out: CacheWriter, shared: Path, frames: int = 4) -> None:
    """A few frames of every clip of the video pack (train split only)."""
    import av

    folder = shared / "data" / "video" / "train"
    for r in _rows(folder / "manifest.csv"):
        if r["split"] != "train":
            continue
        with av.open(str(folder / r["path"])) as box:
            pictures = [f.to_ndarray(format="rgb24") for f in box.decode(video=0)]
        for i in np.linspace(0, len(pictures) - 1, frames).astype(int):
            rgb = np.ascontiguousarray(pictures[i]).astype(np.uint8)
            faces = find_faces(rgb)
            if not faces or faces[0].box[2] - faces[0].box[0] < LEAST_BOX * 0.7:
                continue
            data, found, points = cut(rgb, faces[0])
            out.add(
                data,
                name=f"{r['path']}#{i}",
                label=r["label"],
                kind="camera" if r["label"] == "real" else "reenactment",
                generator=r["method"],
                source=r["source"],
                licence="none stated",
                group=r["group"],
                use="validation" if r["source"] in HELD_OUT else "train",
                box=found,
                points=points,
            )


def main(argv: list[str] | None = None) -> None:
    """Command line: build the cache and print what it holds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, required=True)
    parser.add_argument("--mirrors", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument(
        "--join", type=Path, nargs="+", default=(), help="caches to take over first"
    )
    a = parser.parse_args(argv)
    cv2.setNumThreads(1)
    out = CacheWriter(a.out)
    for folder in a.join:
        out.take_over(Cache(folder))
    if "swaps" in a.parts:
        add_dfdc(out, a.shared, a.mirrors / "i-Shreyansh+DeepFake-Detection" / "repo")
    if "portraits" in a.parts:
        portraits = a.mirrors / "zoya2244+AI-Lab-Final-Project-FALL25" / "repo"
        add_140k(out, a.shared, portraits)
        add_expressions(out, a.mirrors / "muxspace+facial_expressions" / "repo")
    if "pictures" in a.parts:
        missing = add_pictures(out, a.shared, a.mirrors, PICTURES)
        print("pictures; not fetched:", missing, flush=True)
    if "clips" in a.parts:
        add_clips(out, a.shared)
    if "pages" in a.parts:
        print("project pages; not fetched:", add_pages(out, a.mirrors), flush=True)
    print(json.dumps(out.close("faces")))


if __name__ == "__main__":
    main()
