"""The recipe of the picture cache: fetched mirrors and the pack in, native crops out.

    python -m assay_lab.data.images --shared /work/shared --mirrors /work/.mirror --out DIR

``--share K N`` makes the part K of N of the cache, ``--join DIR ...`` puts parts together.

Training rows are a crop of at most 384 px at native resolution (``#0``), stored
as PPM so that reading costs nothing; camera originals are mostly reduced first,
as they are on their way to a reader. Beside them stands the whole picture, made small
(``#whole``). Validation rows are whole files: of the sources in ``JUDGED``, those named
``held_`` and those of ``MORE_2``, which are trained on as well (they are judged by heads that
left their ``group`` out), and of a fifth of ImageNet and of the camera originals, which no
head is trained on.
Pictures that are graphics by the product's own statistics are left out. What is no photograph
by its source (``NO_PHOTO``) is stored whole, for the scope gate alone. A mirror that was not
fetched is skipped and named in the output.

People save frames of films as pictures, and the compression of films is not that of pictures:
some frames of the clips of ``FILMS`` and of the pages of faces stand beside the pictures, as
they are decoded. Of these pages what is wholly real or wholly generated is taken, and nothing of
those by which faces are judged.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageOps

from assay.analyzers.image.picture_scope import measure, out_of_scope
from assay_lab.data.cache import Cache, CacheWriter
from assay_lab.data.face_sources import CLIPS, frames, panel
from assay_lab.data.face_sources import rows as face_rows
from assay_lab.data.gitmirror import AbsentBlob, GitMirror, mirror_of

Image = NDArray[np.uint8]

JUDGED = frozenset(
    {
        *("lab_ai", "lab_real", "songguo_nbpro", "songguo_grok", "gemimg", "kau_whisk"),
        *("kau_gpt", "kau_mj", "kolors", "sdxl_kolors", "mj_kolors", "kandinsky3", "fibo"),
        *("jcraigk_mj", "tt_openimages", "beau", "marina", "canchis", "sg3r", "sg3_ffhq"),
        *("superglue", "fercasti_real", "teen_nbpro", "teen_real", "mu4dian_ai", "mu4dian_real"),
        *("kaival_ai", "kaival_real", "justin_ai", "justin_real", "turing_ai", "turing_real"),
        *("kurlyto_ai", "kurlyto_real"),
    }
)
UNSEEN = ("Whisk", "Kolors", "Kandinsky", "FIBO", "Grok", "StyleGAN3")
"""Generators of which a head that judges them saw nothing: all their pictures are one group."""
MORE = Path(__file__).with_name("image_sources_more.tsv")
"""Sources found since, in the columns of the shared recipe; judged where named ``held_``."""
MORE_2 = Path(__file__).with_name("image_sources_more_2.tsv")
"""Sources found later; all are judged but ``dcsan_``, of whose page the pack has pictures."""
FILMS = Path(__file__).with_name("film_sources.tsv")
"""Pages with clips of cameras and of generators of films; judged where there are several.

In the same columns, and the part of the frame that is used (to cut off marks) in ``crop``.
"""
FEW = {  # one scene, one prompt or one face over and over
    **dict.fromkeys(("seneca", "copr", "cards", "ptp_seq", "sg2lora", "inkjet"), 20),
    **dict.fromkeys(("breakinferno", "tryondiff", "held_ddstar_char", "kensaccord"), 20),
    **dict.fromkeys(("spsbh", "caritas", "bounenkai", "jdc_sd"), 20),
    **dict.fromkeys(("willscars", "estaticfear", "newts", "carstudio_cla", "reedit"), 20),
    **dict.fromkeys(("rmsandu_sdxl", "sketchguided", "flux2swift", "saudifashion"), 20),
    **dict.fromkeys(("chtseng_peppers", "yarjun_bears", "iceblokk_otters", "cooking_chicken"), 30),
    **dict.fromkeys(("asterhem_gptimg", "eudoxia_dalle2", "cogdiff"), 30),
    **dict.fromkeys(("screation_jewels", "tort_with_love", "gino_ale_photos"), 30),
    **dict.fromkeys(("kongu_gem", "gloryfoods_schnell", "farrislaw_gen"), 20),
    **dict.fromkeys(("harsh_modak_test", "kermit_puppet", "stellalu_cage"), 30),
    **dict.fromkeys(("monstree", "sceaux", "bundler", "lund", "sacre"), 10),
}
FACES = "140k"
"""Source of the pack of faces: StyleGAN and what it learned from."""
MANY = dict.fromkeys(
    ("teen_nbpro", "teen_real", "mu4dian_ai", "mu4dian_real", f"{FACES}_ai", f"{FACES}_real"), 200
)
"""Games whose two halves are of like topics and format."""
MOST, MOST_JUDGED = 80, 130
LEAST_CLIPS, MOST_FRAMES, MOST_OF_PAGE, FRAMES = 3, 40, 12, 2
"""Clips that make a row of ``FILMS`` worth judging by, frames of it, pictures of a row of the pages
of faces, frames of a clip."""
CROWD = 3
"""Pages of which more faces are taken from one picture mostly show grids of pictures."""
WHOLLY = frozenset({"photo", "video", "gan", "diffusion", "reenactment"})
"""Kinds of the pages of faces in which every pixel is real or every pixel is generated."""
SIDE, WHOLE = 384, 512
NO_PHOTO = frozenset({"document", "screenshot", "chart", "render", "drawing"})
"""Kinds that only the scope gate sees; paintings are judged, but against paintings."""
DRAWN = re.compile(r"mix|anime|anything|pastel|clam|niji|2D|orange|Bomb", re.I)
"""Merged checkpoints that draw: as fakes they would teach that drawings are fake."""
MAX_PIXELS = 60_000_000


class Item(NamedTuple):
    """One picture of the recipe, still encoded.

    ``group`` leaves training together. ``use`` is train, validation or both.
    """

    name: str
    label: str
    kind: str
    generator: str
    source: str
    licence: str
    group: str
    pair: str
    use: str
    data: bytes


def keep_order(name: str) -> str:
    """A stable pseudo-random key, so that a cap takes a fair and repeatable sample."""
    return hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()


def fair(
    items: Iterable[Any], name: Callable[[Any], str], kind: Callable[[Any], Any], most: int
) -> list[Any]:
    """At most ``most`` items of each ``kind``, in the order of the hash of their ``name``."""
    taken: Counter[Any] = Counter()
    kept = []
    for item in sorted(items, key=lambda item: keep_order(name(item))):
        taken[kind(item)] += 1
        if taken[kind(item)] <= most:
            kept.append(item)
    return kept


def source_rows(shared: Path) -> list[dict[str, str]]:
    """Rows of the recipes: photographs, paintings, wholly generated, no photographs.

    A column ``judged`` more says whether heads are judged by the source, ``film`` whether it
    stands in ``FILMS``.
    """
    csv.field_size_limit(10**7)
    rows: list[dict[str, str]] = []
    for recipe in (shared / "corpora/image_sources.tsv", MORE, MORE_2, FILMS):
        with recipe.open(newline="", encoding="utf-8") as lines:
            found = list(csv.DictReader(lines, delimiter="\t"))
        for row in found:
            held = row["source"] in JUDGED or row["source"].startswith("held_")
            later = recipe == MORE_2 and not row["source"].startswith("dcsan_")
            row["film"] = "yes" if recipe == FILMS else ""
            several = recipe == FILMS and int(row["count"]) >= LEAST_CLIPS
            row["judged"] = "yes" if held or later or several else ""
        rows += found
    kinds = {("fake", "generated"), ("real", "photo"), ("other", "painting")}
    kinds |= {("other", kind) for kind in NO_PHOTO}
    redrawn = {"imagic", "imagic_demo", "pnp"}  # edits in which every pixel is generated
    chosen = []
    for row in rows:
        if (row["label"], row["kind"]) not in kinds and row["source"] not in redrawn:
            continue
        if row["source"].startswith("wyrde_") and DRAWN.search(row["source"]):
            row = {**row, "kind": "drawing"}
        chosen.append(row)
    return chosen


def repositories(shared: Path) -> set[str]:
    """Those of the recipes."""
    return {row["repository"] for row in source_rows(shared)}


def excluded(shared: Path) -> set[tuple[str, str]]:
    """(repository, path) that must not be used."""
    with (shared / "corpora/image_sources_exclude.tsv").open(encoding="utf-8") as lines:
        return {(r["repository"], r["path"]) for r in csv.DictReader(lines, delimiter="\t")}


def stills(name: str, data: bytes, part: str = "") -> Iterator[tuple[str, bytes]]:
    """Name and file of the picture, or of some frames of a clip, of the ``part`` of a panel."""
    clip = CLIPS.search(name) is not None
    if not clip and not part:
        yield name, data
        return
    found = frames(data, FRAMES) if clip else [decode(data)]
    for n, whole in enumerate(f for f in found if f is not None):
        out = io.BytesIO()
        Pillow.fromarray(panel(whole, part)).save(out, "PNG", compress_level=1)
        yield f"{name}#{part}#{n}", out.getvalue()


def found_in(
    mirror: GitMirror, names: list[str], most: int, part: str = ""
) -> Iterator[tuple[str, bytes]]:
    """Name and file of at most ``most`` pictures, a fair sample of ``names``."""
    taken = 0
    with mirror:
        for name in sorted(names, key=keep_order):
            if taken >= most:
                return
            try:
                data = mirror.read(name)
            except AbsentBlob:
                continue
            for still in stills(name, data, part):
                taken += 1
                yield still


def from_table(
    shared: Path, mirrors: Path, absent: list[str], share: tuple[int, int]
) -> Iterator[Item]:
    """Pictures of the table of sources, capped a source."""
    banned = excluded(shared)
    for row in source_rows(shared)[share[0] :: share[1]]:
        repository, source = row["repository"], row["source"]
        # clips may have left the newest commit, or stand on a branch for the pages
        film = bool(row["film"])
        mirror = mirror_of(mirrors, repository, row["ref"] if film else "HEAD")
        if mirror is None:
            absent.append(repository)
            continue
        judged = bool(row["judged"])
        most = min(FEW.get(source, 10**6), MANY.get(source, MOST_JUDGED if judged else MOST))
        if film:
            most = MOST_FRAMES
        if source.startswith(("wyrde_", "furkan_")):
            most = 8
        pattern = re.compile(row["pattern"])
        names = [n for n in mirror.names if pattern.search(n) and (repository, n) not in banned]
        label = "fake" if row["label"] in ("fake", "edit") else "real"
        group = next((f for f in UNSEEN if f in row["generator"]), repository)
        for name, data in found_in(mirror, names, most, row.get("crop") or ""):
            yield Item(
                name, label, row["kind"], row["generator"], source, row["licence"],
                group, "", "both" if judged else "train", data,
            )  # fmt: skip


def from_pages(mirrors: Path, absent: list[str], share: tuple[int, int]) -> Iterator[Item]:
    """What is wholly real or wholly generated on the pages from which faces are learned."""
    for row in face_rows()[share[0] :: share[1]]:
        if row["role"] != "train" or row["kind"] not in WHOLLY:
            continue
        mirror = mirror_of(mirrors, row["repository"])
        if mirror is None:
            absent.append(row["repository"])
            continue
        pattern, real = re.compile(row["pattern"]), row["label"] == "real"
        grid = int(row["per_file"]) > CROWD
        names = [n for n in mirror.names if pattern.search(n) and (CLIPS.search(n) or not grid)]
        for name, data in found_in(mirror, names, MOST_OF_PAGE, row["crop"]):
            yield Item(
                name, row["label"], "photo" if real else "generated", row["generator"],
                f"page_{row['repository']}_{row['label']}", row["licence"], row["repository"], "",
                "both", data,
            )  # fmt: skip


def from_photos(shared: Path, mirrors: Path, absent: list[str]) -> Iterator[Item]:
    """ImageNet samples and camera originals named in ``photos_train.csv``; a fifth is held."""
    wanted: dict[str, set[str]] = {}
    with (shared / "corpora/photos_train.csv").open(newline="", encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            wanted.setdefault(row["repository"], set()).add(row["file"])
    twins = {r["group"] for r in pack_rows(shared) if r["kind"] == "reconstruction"}
    for repository, files in sorted(wanted.items()):
        mirror = mirror_of(mirrors, repository)
        if mirror is None:
            absent.append(repository)
            continue
        source = "imagenet" if "imagenet" in repository else "cameras"
        with mirror:
            for name in mirror.names:
                flat = re.sub(r"[^A-Za-z0-9.-]+", "_", name.rpartition("/")[2])
                if flat not in files and name.rpartition("/")[2] not in files:
                    continue
                try:
                    data = mirror.read(name)
                except AbsentBlob:
                    continue
                blob = hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False)
                held = keep_order(name)[0] in "012" and blob.hexdigest() not in twins
                yield Item(
                    name, "real", "photo", "camera", source + ("_held" if held else ""),
                    "research", blob.hexdigest(), "", "validation" if held else "train", data,
                )  # fmt: skip


def pack_rows(shared: Path) -> list[dict[str, str]]:
    """The manifest of the pack's training half."""
    with (shared / "data/images/train/manifest.csv").open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def from_pack(shared: Path) -> Iterator[Item]:
    """Generated pictures of the pack, and its reconstructions with their originals."""
    rows = pack_rows(shared)
    twins = {r["group"] for r in rows if r["kind"] == "reconstruction"}
    for r in rows:
        if r["label"] == "real" and r["group"] not in twins:
            continue
        source = "taef2_twin" if r["label"] == "real" else r["source"]
        data = (shared / "data/images/train" / r["path"]).read_bytes()
        pair = r["group"] if r["kind"] == "reconstruction" else ""
        kind = "photo" if r["label"] == "real" else r["kind"]
        yield Item(
            r["path"], r["label"], kind, r["generator"], source, r["licence"],
            r["group"], pair, "train", data,
        )  # fmt: skip


def from_faces(shared: Path) -> Iterator[Item]:
    """Faces of StyleGAN and the photographs it learned from, alike in format and size."""
    folder = shared / "data/faces/train"
    with (folder / "manifest.csv").open(newline="", encoding="utf-8") as lines:
        rows = [r for r in csv.DictReader(lines) if r["source"] == FACES]
    for r in sorted(rows, key=lambda r: keep_order(r["path"])):
        fake = r["label"] == "fake"
        yield Item(
            r["path"], r["label"], "generated" if fake else "photo", r["generator"],
            f"{FACES}_ai" if fake else f"{FACES}_real", r["licence"], FACES, "", "both",
            (folder / r["path"]).read_bytes(),
        )  # fmt: skip


def decode(data: bytes) -> Image | None:
    """Upright RGB, or None when it does not decode, is too large or transparent."""
    try:
        with Pillow.open(io.BytesIO(data)) as opened:
            if opened.width * opened.height > MAX_PIXELS:
                return None
            if opened.format == "JPEG" and max(opened.size) > 8000:
                return None
            upright = ImageOps.exif_transpose(opened)
            if "A" in upright.getbands() and np.asarray(upright.getchannel("A")).min() < 250:
                return None
            return np.asarray(upright.convert("RGB"), np.uint8)
    except Exception:  # noqa: BLE001 - Pillow raises many types; a picture that fails is left out
        return None


def picture(cache: Cache, index: int) -> Image:
    """RGB of a training row."""
    import cv2

    bgr = cv2.imdecode(np.frombuffer(cache.data(index), np.uint8), cv2.IMREAD_COLOR)
    if bgr is None:
        raise ValueError(f"row {index} of the cache does not decode")
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


def reduce(rgb: Image, rng: np.random.Generator, *, chance: float = 0.75) -> Image:
    """Large pictures mostly to a long side of 640-1600 px, as sites do; others unchanged."""
    long_side = max(rgb.shape[:2])
    if long_side <= 1700 or rng.random() > chance:
        return rgb
    factor = float(rng.uniform(640, 1600)) / long_side
    size = (max(1, round(rgb.shape[1] * factor)), max(1, round(rgb.shape[0] * factor)))
    kernels = (Pillow.Resampling.BOX, Pillow.Resampling.BILINEAR, Pillow.Resampling.BICUBIC,
               Pillow.Resampling.LANCZOS)  # fmt: skip
    kernel = kernels[int(rng.integers(len(kernels)))]
    return np.asarray(Pillow.fromarray(rgb).resize(size, kernel), np.uint8)


def crop(rgb: Image, rng: np.random.Generator) -> Image:
    """A crop of at most SIDE px, anywhere."""
    h, w = rgb.shape[:2]
    if max(h, w) <= SIDE * 1.15:
        return np.ascontiguousarray(rgb[:SIDE, :SIDE])
    y = int(rng.integers(0, max(1, h - SIDE + 1)))
    x = int(rng.integers(0, max(1, w - SIDE + 1)))
    return np.ascontiguousarray(rgb[y : y + SIDE, x : x + SIDE])


def small_copy(rgb: Image) -> bytes:
    """The whole picture at a long side of at most ``WHOLE`` px, as a good JPEG."""
    small = Pillow.fromarray(rgb)
    small.thumbnail((WHOLE, WHOLE), Pillow.Resampling.LANCZOS, reducing_gap=3.0)
    out = io.BytesIO()
    small.save(out, "JPEG", quality=92, subsampling=0)
    return out.getvalue()


def ppm(rgb: Image) -> bytes:
    """Uncompressed, any decoder reads it."""
    return b"P6 %d %d 255\n" % (rgb.shape[1], rgb.shape[0]) + rgb.tobytes()


def build(
    shared: Path,
    mirrors: Path,
    out: Path,
    share: tuple[int, int] = (0, 1),
    join: Sequence[Path] = (),
) -> dict[str, Any]:
    """Write the cache, or a part of it; returns what ``cache.json`` says plus what was left out."""
    writer = CacheWriter(out)
    if join:
        for folder in join:
            writer.take_over(Cache(folder))
        return writer.close("assay_lab.data.images")
    absent: list[str] = []
    dropped: dict[str, int] = {"undecodable": 0, "small": 0, "out of scope": 0}

    def items() -> Iterator[Item]:
        if share[0] == 0:
            yield from from_pack(shared)
            yield from from_faces(shared)
            yield from from_photos(shared, mirrors, absent)
        yield from from_table(shared, mirrors, absent, share)
        yield from from_pages(mirrors, absent, share)

    for item in items():
        rgb = decode(item.data)
        if rgb is None:
            dropped["undecodable"] += 1
            continue
        if min(rgb.shape[:2]) < 96:
            dropped["small"] += 1
            continue
        whole = item.kind in NO_PHOTO
        if not whole and out_of_scope(measure(rgb)) is not None:
            dropped["out of scope"] += 1
            continue
        fields = item._asdict()
        data, name, use = (fields.pop(k) for k in ("data", "name", "use"))
        if whole or use != "validation":
            writer.add(small_copy(rgb), name=f"{name}#whole", use="train", **fields)
        if whole:
            continue
        if use != "train":
            writer.add(data, name=name, use="validation", **fields)
        if use != "validation":
            rng = np.random.default_rng(int(keep_order(item.source + name)[:12], 16))
            piece = crop(reduce(rgb, rng), rng)
            writer.add(ppm(piece), name=f"{name}#0", use="train", **fields)
    info = writer.close("assay_lab.data.images")
    return {**info, "absent": sorted(set(absent)), "dropped": dropped}


def main(argv: list[str] | None = None) -> None:
    """Command line of the recipe."""
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--shared", type=Path, required=True)
    p.add_argument("--mirrors", type=Path, required=True)
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--share", type=int, nargs=2, default=(0, 1), metavar=("K", "N"))
    p.add_argument("--join", type=Path, nargs="+", default=())
    a = p.parse_args(argv)
    k, n = a.share
    if not 0 <= k < n:
        p.error("--share needs 0 <= K < N")
    print(json.dumps(build(a.shared, a.mirrors, a.out, (k, n), a.join), indent=1))


if __name__ == "__main__":
    main()
