from __future__ import annotations

import csv
import subprocess
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as Pillow

from assay_lab.data import images
from assay_lab.data.cache import Cache
from assay_lab.forge.aligned import blend, energy, match_sharpness, resampled

Pixels = NDArray[np.uint8]


def textured(seed: int, side: int = 200) -> Pixels:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (side // 8, side // 8, 3)).astype(np.uint8)
    smooth = np.asarray(Pillow.fromarray(coarse).resize((side, side), Pillow.Resampling.BICUBIC))
    noisy = smooth.astype(float) + rng.normal(0, 6, smooth.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)


def test_match_sharpness_blurs_down_to_the_target_and_not_further() -> None:
    rgb = textured(1)
    target = energy(rgb) * 0.6
    softer = match_sharpness(rgb, target)
    assert energy(softer) <= target
    assert energy(softer) > 0.3 * target
    assert match_sharpness(rgb, energy(rgb) + 1) is rgb


@pytest.mark.parametrize("seed", range(12))
def test_blend_stays_between_what_it_mixes(seed: int) -> None:
    real = textured(2)
    fake = match_sharpness(real, 0.0)
    mixed = blend(real, fake, np.random.default_rng(seed))
    assert mixed.shape == real.shape
    assert mixed.dtype == np.uint8
    apart = np.abs(mixed.astype(int) - real).mean()
    assert apart <= np.abs(fake.astype(int) - real).mean() * 1.05 + 0.5


def test_resampling_leaves_a_trace_of_period_two() -> None:
    def uneven(rgb: Pixels) -> float:
        """Spread over the four places of a 2 x 2 grid of the strength of fine detail."""
        x = rgb[..., 1].astype(float)
        fine = (
            x - 0.25 * (x + np.roll(x, 1, 0) + np.roll(x, 1, 1) + np.roll(x, (1, 1), (0, 1)))
        ) ** 2
        phases = [fine[a::2, b::2].mean() for a in (0, 1) for b in (0, 1)]
        return float(np.std(phases) / np.mean(phases))

    before, after = [], []
    for seed in range(8):
        rgb = textured(seed)
        out = resampled(rgb, np.random.default_rng(seed))
        before.append(uneven(rgb))
        after.append(uneven(out))
        assert np.abs(out.astype(float) - rgb).mean() < 20
    assert np.mean(after) > 2 * np.mean(before)


def test_crops_and_reduction_keep_their_bounds() -> None:
    rng = np.random.default_rng(0)
    large = np.zeros((2500, 1200, 3), np.uint8)
    large[:] = np.arange(1200)[None, :, None] % 251
    reduced = images.reduce(large, rng, chance=1.0)
    assert 640 <= max(reduced.shape[:2]) <= 1600
    assert images.reduce(reduced, rng, chance=1.0) is reduced
    assert images.crop(large, rng).shape == (images.SIDE, images.SIDE, 3)
    assert images.crop(large[:100, :150], rng).shape == (100, 150, 3)


def test_transparent_and_broken_pictures_are_left_out(tmp_path: Path) -> None:
    clear = np.zeros((50, 50, 4), np.uint8)
    Pillow.fromarray(clear).save(tmp_path / "clear.png")
    assert images.decode((tmp_path / "clear.png").read_bytes()) is None
    assert images.decode(b"not a picture") is None


def test_recipe_from_mirror_to_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shared, mirrors = tmp_path / "shared", tmp_path / "mirrors"
    (shared / "corpora").mkdir(parents=True)
    (shared / "data/images/train").mkdir(parents=True)
    work = tmp_path / "work"
    work.mkdir()
    names = (
        "fake1.png",
        "fake2.png",
        "banned.png",
        "held.png",
        "more.png",
        "drawn.png",
        "grok.png",
    )
    for n, name in enumerate(names):
        Pillow.fromarray(textured(n)).save(work / name)
    with av.open(str(work / "walk.mp4"), "w") as box:
        stream = box.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 200, 160, "yuv420p"
        for n in range(20):
            frame = av.VideoFrame.from_ndarray(textured(30 + n)[:160], format="rgb24")
            box.mux(stream.encode(frame))
        box.mux(stream.encode())
    white = np.full((200, 200, 3), 255, np.uint8)
    white[90:110, 90:110] = 0
    Pillow.fromarray(white).save(work / "fake_poster.png")

    def git(*words: str) -> None:
        who = ("-c", "user.name=t", "-c", "user.email=t@example.org")
        subprocess.run(["git", *who, *words], cwd=work, check=True, capture_output=True)

    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "x")
    git("rm", "-q", "walk.mp4")  # clips are read at the commit that the table names
    git("commit", "-qm", "y")
    (mirrors / "a+b").mkdir(parents=True)
    (mirrors / "a+b/repo").symlink_to(work / ".git")
    columns = ("source", "repository", "licence", "label", "kind", "generator", "pattern")
    rows = [
        ("gen", "a/b", "MIT", "fake", "generated", "G1", r"^(fake.*|banned)\.png$"),
        ("lab_ai", "a/b", "MIT", "fake", "generated", "G2", r"^held\.png$"),
        ("gone", "c/d", "MIT", "real", "photo", "", r".*"),
        ("grk", "a/b", "MIT", "fake", "generated", "Grok 9", r"^grok\.png$"),
    ]
    with (shared / "corpora/image_sources.tsv").open("w", newline="") as out:
        csv.writer(out, delimiter="\t").writerows([columns, *rows])
    more = [
        ("held_new", "a/b", "MIT", "fake", "generated", "G3", r"^more\.png$"),
        ("ink", "a/b", "MIT", "other", "drawing", "", r"^drawn\.png$"),
    ]
    with (tmp_path / "more.tsv").open("w", newline="") as out:
        csv.writer(out, delimiter="\t").writerows([columns, *more])
    (tmp_path / "more_2.tsv").write_text("\t".join(columns) + "\n")
    clip = ("film_walk", "a/b", "MIT", "real", "photo", "camera", r"^walk\.mp4$")
    with (tmp_path / "films.tsv").open("w", newline="") as out:
        csv.writer(out, delimiter="\t").writerows(
            [(*columns, "ref", "count"), (*clip, "HEAD~1", "3")]
        )
    monkeypatch.setattr(images, "FILMS", tmp_path / "films.tsv")
    page = dict(zip(columns, clip, strict=True)) | {
        "source": "a",
        "kind": "video",
        "crop": "",
        "per_file": "1",
    }
    pages = [
        page | {"pattern": r"^more\.png$", "crop": "[0, 0, 0.6, 1]", "role": "train"},
        page | {"pattern": r"^grok\.png$", "role": "held"},
        page | {"pattern": r"^fake1\.png$", "role": "train", "per_file": "9"},
        page | {"pattern": r"^held\.png$", "role": "train", "kind": "swap"},
    ]
    monkeypatch.setattr(images, "face_rows", lambda: pages)
    monkeypatch.setattr(images, "MORE", tmp_path / "more.tsv")
    monkeypatch.setattr(images, "MORE_2", tmp_path / "more_2.tsv")
    (shared / "corpora/image_sources_exclude.tsv").write_text(
        "source\trepository\tpath\treason\tother\ngen\ta/b\tbanned.png\tx\t\n"
    )
    (shared / "corpora/photos_train.csv").write_text("repository,file\n")
    (shared / "data/images/train/manifest.csv").write_text(
        "path,label,kind,generator,source,licence,group\n"
    )
    faces = shared / "data/faces/train"
    faces.mkdir(parents=True)
    for n in (20, 21, 22):
        Pillow.fromarray(textured(n)).save(faces / f"face{n}.png")
    (faces / "manifest.csv").write_text(
        "path,label,kind,generator,source,licence,group\n"
        "face20.png,fake,generated,StyleGAN1,140k,none,1\n"
        "face21.png,real,camera,camera,140k,none,2\n"
        "face22.png,real,camera,camera,dfdc,none,3\n"
    )
    info = images.build(shared, mirrors, tmp_path / "cache")
    assert info["absent"] == ["c/d"]
    assert info["dropped"]["out of scope"] == 1
    cache = Cache(tmp_path / "cache")
    assert sorted((r.name, r.use) for r in cache.rows) == [
        ("drawn.png#whole", "train"),
        ("face20.png", "validation"),
        ("face20.png#0", "train"),
        ("face20.png#whole", "train"),
        ("face21.png", "validation"),
        ("face21.png#0", "train"),
        ("face21.png#whole", "train"),
        ("fake1.png#0", "train"),
        ("fake1.png#whole", "train"),
        ("fake2.png#0", "train"),
        ("fake2.png#whole", "train"),
        ("grok.png#0", "train"),
        ("grok.png#whole", "train"),
        ("held.png", "validation"),
        ("held.png#0", "train"),
        ("held.png#whole", "train"),
        ("more.png", "validation"),
        ("more.png#0", "train"),
        ("more.png#[0, 0, 0.6, 1]#0", "validation"),
        ("more.png#[0, 0, 0.6, 1]#0#0", "train"),
        ("more.png#[0, 0, 0.6, 1]#0#whole", "train"),
        ("more.png#whole", "train"),
        ("walk.mp4##0", "validation"),
        ("walk.mp4##0#0", "train"),
        ("walk.mp4##0#whole", "train"),
        ("walk.mp4##1", "validation"),
        ("walk.mp4##1#0", "train"),
        ("walk.mp4##1#whole", "train"),
    ]
    # all pictures of some generators leave training together, whatever page shows them
    groups = {(r.source.removesuffix("_ai").removesuffix("_real"), r.group) for r in cache.rows}
    assert groups >= {("grk", "Grok"), ("gen", "a/b"), ("lab", "a/b"), ("140k", "140k")}
    assert len({g for s, g in groups if s != "grk"}) == 2
    first = next(i for i, r in enumerate(cache.rows) if r.name == "fake1.png#0")
    assert np.array_equal(images.picture(cache, first), textured(0))
    part = next(i for i, r in enumerate(cache.rows) if r.name.endswith("1]#0#0"))
    assert np.array_equal(images.picture(cache, part), textured(4)[:, :120])
    halves = [tmp_path / "half0", tmp_path / "half1"]
    for k, half in enumerate(halves):
        images.build(shared, mirrors, half, (k, 2))
    images.build(shared, mirrors, tmp_path / "joined", join=halves)
    joined = Cache(tmp_path / "joined")
    assert {r.sha256 for r in joined.rows} == {r.sha256 for r in cache.rows}


def test_recipes_of_the_repository_are_sound() -> None:
    """Every row has a pattern that compiles, a known label and a repository that may be used."""
    import re

    csv.field_size_limit(10**7)
    rows = []
    for recipe in (images.MORE, images.MORE_2, images.FILMS):
        with recipe.open(newline="", encoding="utf-8") as lines:
            rows += list(csv.DictReader(lines, delimiter="\t"))
    assert len({r["source"] for r in rows}) == len(rows) > 300
    for row in rows:
        re.compile(row["pattern"])
        assert (row["label"], row["kind"]) in {("fake", "generated"), ("real", "photo")} or row[
            "label"
        ] == "other", row
        assert row["licence"]
