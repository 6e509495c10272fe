"""Labelled speech cache: fetched mirrors in, one int16 file with offsets and a manifest out.

A *recipe* is a tab-separated file of ordered rules per repository; the first rule whose
regular expression matches a path labels the clip (``bona fide``, ``spoof`` or ``skip``).
The cache is a pair of files in a folder outside the repository:

``audio.i16``     all clips one after the other, 16 kHz mono, little-endian int16
``manifest.csv``  one row a clip (see :data:`COLUMNS`), ``offset`` and ``length`` in samples

Command: ``python -m assay_lab.data.speech --mirrors DIR --recipe A.tsv --recipe B.tsv
--exclude EXCLUDE.txt --reserved RESERVED.txt --out CACHE``
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from assay_lab.data.gitmirror import GitMirror, MirrorError

RATE = 16_000
AUDIO_NAMES = re.compile(r"\.(wav|flac|mp3|m4a|ogg|opus|aac|mp4|webm)$", re.IGNORECASE)
COLUMNS = (
    "offset", "length", "label", "source", "system", "type", "year", "language", "licence",
    "repository", "path", "segment", "original_rate", "sha256", "group",
)  # fmt: skip
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of a recipe."""

    pattern: re.Pattern[str]
    label: str
    system: str
    type: str
    year: str


@dataclass(frozen=True, slots=True)
class Page:
    """A repository and its ordered rules."""

    source: str
    repository: str
    ref: str
    licence: str
    language: str
    rules: tuple[Rule, ...]

    def match(self, path: str) -> Rule | None:
        """The first rule that fits, or None when it says ``skip`` or no rule fits."""
        for rule in self.rules:
            if rule.pattern.search(path):
                return None if rule.label == "skip" else rule
        return None


@dataclass(frozen=True, slots=True)
class Caps:
    """How much of one page goes into the cache, so that no page or system dominates."""

    per_class: int = 400
    per_system: int = 120
    seconds: float = 8.0
    min_seconds: float = 1.0
    segments: int = 3


def read_recipe(
    paths: Iterable[str | Path], roles: Sequence[str] = ("train", "held", "hard-real")
) -> list[Page]:
    """Read recipe files; pages of other roles are left out."""
    pages: dict[str, Page] = {}
    for path in paths:
        with open(path, newline="", encoding="utf-8") as file:
            rows = [r for r in csv.DictReader(file, delimiter="\t") if r["role"] in roles]
        grouped: dict[str, list[dict[str, str]]] = defaultdict(list)
        for row in rows:
            grouped[row["source"]].append(row)
        for source, lines in grouped.items():
            lines.sort(key=lambda r: int(r["order"]))
            first = lines[0]
            pages[source] = Page(
                source, first["repository"], first["ref"], first["licence"], first["language"],
                tuple(
                    Rule(re.compile(r["pattern"]), r["label"], r["system"], r["type"], r["year"])
                    for r in lines
                ),
            )  # fmt: skip
    return list(pages.values())


def read_excluded(path: str | Path) -> set[tuple[str, str]]:
    """(repository, path) pairs that must not be used, from a tab-separated file."""
    pairs = set()
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            repository, name, *_ = line.split("\t")
            pairs.add((repository, name))
    return pairs


def decode(data: bytes, max_seconds: float = 60.0) -> tuple[Floats, int]:
    """Decode sound to (16 kHz mono float32, original rate); raises ValueError if it cannot."""
    import soundfile
    import soxr

    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            rate = file.samplerate
            x = file.read(int(max_seconds * rate), dtype="float32", always_2d=True).mean(axis=1)
    except (soundfile.LibsndfileError, RuntimeError):
        x, rate = _decode_av(data, max_seconds)
    if x.size == 0 or not np.isfinite(x).all() or not 4_000 <= rate <= 384_000:
        raise ValueError("no usable sound")
    if rate != RATE:
        x = soxr.resample(x, rate, RATE, quality="HQ")
    return np.ascontiguousarray(x, np.float32), rate


def _decode_av(data: bytes, max_seconds: float) -> tuple[Floats, int]:
    import av

    parts: list[Floats] = []
    have = 0
    try:
        with av.open(io.BytesIO(data), "r") as box:
            stream = box.streams.audio[0]
            rate = int(stream.rate)
            mixer = av.AudioResampler(format="flt", layout="mono", rate=rate)
            for frame in box.decode(stream):
                for out in mixer.resample(frame):
                    parts.append(out.to_ndarray()[0].astype(np.float32))
                    have += parts[-1].size
                if have >= max_seconds * rate:
                    break
    except (av.FFmpegError, IndexError, ValueError, OSError) as error:
        raise ValueError(f"cannot decode: {error}") from error
    return (np.concatenate(parts) if parts else np.zeros(0, np.float32)), rate


def trim(x: Floats, pad: float = 0.1, below_db: float = 35.0) -> Floats:
    """Cut leading and trailing parts more than ``below_db`` under the loud level.

    Frames of 20 ms; the loud level is the 95th percentile; ``pad`` seconds are kept on
    either side. Silence at the ends differs between pages and would give the label away.
    """
    n = x.size // 320
    if n < 3:
        return x
    power = 10 * np.log10(np.square(x[: n * 320].reshape(n, 320)).mean(axis=1) + 1e-10)
    loud = np.flatnonzero(power > np.percentile(power, 95) - below_db)
    if loud.size == 0:
        return x
    margin = int(pad * RATE)
    return x[max(0, int(loud[0]) * 320 - margin) : (int(loud[-1]) + 1) * 320 + margin]


def segments(x: Floats, caps: Caps) -> Iterator[Floats]:
    """Up to ``caps.segments`` stretches of at most ``caps.seconds``, spread over the clip."""
    size = int(caps.seconds * RATE)
    count = max(1, min(caps.segments, int(np.ceil(x.size / size))))
    if x.size <= size:
        yield x
        return
    for start in np.linspace(0, x.size - size, count).astype(int):
        yield x[start : start + size]


def to_int16(x: Floats, peak: float = 0.6) -> NDArray[np.int16]:
    """Peak-normalised int16 without an offset; loudness differs between pages."""
    x = x - x.mean()
    top = float(np.abs(x).max())
    if top < 1e-4:
        raise ValueError("silent")
    return np.round(x * (peak / top * 32767)).astype(np.int16)


def harvest(
    page: Page, mirror: Path, excluded: set[tuple[str, str]], drop: frozenset[str], caps: Caps
) -> list[tuple[dict[str, str], NDArray[np.int16]]]:
    """All clips of one page within ``caps``: (row without offset, samples), seeded by name."""
    try:
        store = GitMirror(mirror, page.ref)
    except MirrorError:
        store = GitMirror(mirror)
    by_class: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    rules: dict[str, Rule] = {}
    for name in store.names:
        if not AUDIO_NAMES.search(name) or (page.repository, name) in excluded:
            continue
        rule = page.match(name)
        if rule is None or rule.system in drop:
            continue
        rules[name] = rule
        by_class[rule.label][rule.system].append(name)
    rng = np.random.default_rng(int(hashlib.sha256(page.source.encode()).hexdigest()[:8], 16))
    out: list[tuple[dict[str, str], NDArray[np.int16]]] = []
    with store:
        for label, systems in sorted(by_class.items()):
            share = max(1, int(np.ceil(caps.per_class / len(systems))))
            limit = max(share, min(caps.per_system, caps.per_class)) if label == "spoof" else share
            taken = 0
            for system in sorted(systems):
                names = systems[system]
                rng.shuffle(names)
                count = 0
                for name in names:
                    if count >= limit or taken >= caps.per_class * 2:
                        break
                    for row, pcm in _clips(store, page, rules[name], name, caps):
                        out.append((row, pcm))
                        count += 1
                        taken += 1
    return out


def _clips(
    store: GitMirror, page: Page, rule: Rule, name: str, caps: Caps
) -> Iterator[tuple[dict[str, str], NDArray[np.int16]]]:
    try:
        x, rate = decode(store.read(name))
        x = trim(x)
        if x.size < caps.min_seconds * RATE:
            return
        parts = [to_int16(p) for p in segments(x, caps)]
    except (MirrorError, ValueError):
        return
    for index, pcm in enumerate(parts):
        yield {
            "label": "fake" if rule.label == "spoof" else "real",
            "source": page.source, "system": rule.system, "type": rule.type, "year": rule.year,
            "language": page.language, "licence": page.licence, "repository": page.repository,
            "path": name, "segment": str(index), "original_rate": str(rate),
            "sha256": hashlib.sha256(pcm.tobytes()).hexdigest(), "group": page.source,
        }, pcm  # fmt: skip


def write_cache(
    batches: Iterable[list[tuple[dict[str, str], NDArray[np.int16]]]], out: Path
) -> dict[str, int]:
    """Write the cache; of equal samples one stays, and none if they carry both labels."""
    out.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, str]] = []
    offset = 0
    seen: dict[str, str] = {}
    both: set[str] = set()
    with open(out / "audio.i16", "wb") as file:
        for batch in batches:
            for row, pcm in batch:
                known = seen.get(row["sha256"])
                if known is not None:
                    if known != row["label"]:
                        both.add(row["sha256"])
                    continue
                seen[row["sha256"]] = row["label"]
                file.write(pcm.astype("<i2").tobytes())
                rows.append({**row, "offset": str(offset), "length": str(pcm.size)})
                offset += pcm.size
    rows = [r for r in rows if r["sha256"] not in both]
    with open(out / "manifest.csv", "w", newline="", encoding="utf-8") as text:
        writer = csv.DictWriter(text, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    real = sum(r["label"] == "real" for r in rows)
    return {"real": real, "fake": len(rows) - real, "samples": offset, "conflicts": len(both)}


class SpeechCache:
    """Read access to a cache folder: ``len``, ``rows[i]`` and ``clip(i)``."""

    def __init__(self, folder: str | Path) -> None:
        folder = Path(folder)
        with open(folder / "manifest.csv", newline="", encoding="utf-8") as file:
            self.rows = list(csv.DictReader(file))
        self.audio = np.memmap(folder / "audio.i16", dtype="<i2", mode="r")
        self.offsets = np.array([int(r["offset"]) for r in self.rows])
        self.lengths = np.array([int(r["length"]) for r in self.rows])
        self.labels = np.array([r["label"] == "fake" for r in self.rows], np.int64)

    def __len__(self) -> int:
        return len(self.rows)

    def clip(self, index: int, start: int = 0, size: int | None = None) -> NDArray[np.int16]:
        """Samples of one clip, from ``start``, at most ``size`` of them."""
        first = int(self.offsets[index]) + start
        last = int(self.offsets[index]) + int(self.lengths[index])
        return np.asarray(self.audio[first : last if size is None else min(last, first + size)])


def _job(args: tuple[Page, Path, set[tuple[str, str]], frozenset[str], Caps]):  # type: ignore[no-untyped-def]
    try:
        return args[0].source, harvest(*args)
    except MirrorError as error:
        print(f"{args[0].source}: {error}", flush=True)
        return args[0].source, []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--mirrors", type=Path, required=True)
    parser.add_argument("--recipe", type=Path, action="append", required=True)
    parser.add_argument("--exclude", type=Path, required=True)
    parser.add_argument("--reserved", type=Path, required=True)
    parser.add_argument("--drop-systems", default="", help="comma-separated: systems of the tests")
    parser.add_argument("--only", default="", help="comma-separated sources")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    reserved = {
        line for line in args.reserved.read_text(encoding="utf-8").splitlines() if "/" in line
    }
    excluded = read_excluded(args.exclude)
    drop = frozenset(s for s in args.drop_systems.split(",") if s)
    only = {s for s in args.only.split(",") if s}
    jobs = []
    for page in read_recipe(args.recipe):
        if page.repository in reserved:
            raise SystemExit(f"{page.repository} is reserved for tests")
        mirror = args.mirrors / page.repository.replace("/", "+") / "repo"
        if (mirror / ".git").is_dir():
            mirror = mirror / ".git"
        if not mirror.is_dir():
            print(f"absent: {page.repository}", flush=True)
        elif not only or page.source in only:
            jobs.append((page, mirror, excluded, drop, Caps()))

    def batches() -> Iterator[list[tuple[dict[str, str], NDArray[np.int16]]]]:
        with ProcessPoolExecutor(args.workers) as pool:
            for source, batch in pool.map(_job, jobs):
                real = sum(r["label"] == "real" for r, _ in batch)
                print(f"{source}: {real} real, {len(batch) - real} fake", flush=True)
                yield batch

    print(write_cache(batches(), args.out))


if __name__ == "__main__":
    main()
