"""One file of image bytes plus a manifest: the form in which training reads data.

``images.bin`` holds encoded pictures one after another; ``manifest.csv`` has
one row each (columns of ``Row``); ``cache.json`` names the recipe and the
SHA-256 of the manifest. Byte-identical repeats are stored once and dropped.
"""

from __future__ import annotations

import csv
import hashlib
import json
import mmap
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Row:
    """One picture of a cache.

    ``pair`` names the original a fake was made from (a ``name`` of the same
    source) or is empty. ``box`` is x0 y0 x1 y1 and ``points`` five x y pairs
    (eyes, nose, mouth corners) in pixels of the stored picture, separated by
    spaces; both may be empty. ``use`` is train or validation.
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
    box: str
    points: str
    sha256: str
    offset: int
    length: int


class CacheWriter:
    """Append pictures, then ``close`` to write the manifest."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._file = (self.folder / "images.bin").open("wb")
        self._seen: set[str] = set()
        self._rows: list[Row] = []
        self._at = 0
        self.repeats = 0

    def add(
        self,
        data: bytes,
        *,
        name: str,
        label: str,
        kind: str,
        generator: str,
        source: str,
        licence: str,
        group: str,
        use: str,
        pair: str = "",
        box: Iterable[float] = (),
        points: Iterable[float] = (),
    ) -> bool:
        """Store one picture; False when the same bytes are already there."""
        if label not in ("real", "fake") or use not in ("train", "validation"):
            raise ValueError(f"label {label!r}, use {use!r}")
        digest = hashlib.sha256(data).hexdigest()
        if digest in self._seen:
            self.repeats += 1
            return False
        self._seen.add(digest)
        self._file.write(data)
        numbers = [" ".join(f"{v:.1f}" for v in vs) for vs in (box, points)]
        self._rows.append(
            Row(
                name, label, kind, generator, source, licence, group, pair, use,
                numbers[0], numbers[1], digest, self._at, len(data),
            )
        )  # fmt: skip
        self._at += len(data)
        return True

    def take_over(self, other: Cache) -> None:
        """Append every picture of another cache; the repeats dropped there are counted here."""
        self.repeats += int(other.info["repeats_dropped"])
        for i, row in enumerate(other.rows):
            values = asdict(row)
            for found in ("sha256", "offset", "length"):
                del values[found]
            for numbers in ("box", "points"):
                values[numbers] = [float(v) for v in values[numbers].split()]
            self.add(other.data(i), **values)

    def close(self, recipe: str) -> dict[str, object]:
        """Write ``manifest.csv`` and ``cache.json``; return what the latter says."""
        self._file.close()
        path = self.folder / "manifest.csv"
        with path.open("w", newline="", encoding="utf-8") as out:
            writer = csv.DictWriter(out, [f.name for f in fields(Row)])
            writer.writeheader()
            writer.writerows(asdict(r) for r in self._rows)
        info: dict[str, object] = {
            "recipe": recipe,
            "pictures": len(self._rows),
            "repeats_dropped": self.repeats,
            "bytes": self._at,
            "manifest_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
        (self.folder / "cache.json").write_text(json.dumps(info, indent=1) + "\n")
        return info


class Cache:
    """Read access: ``rows`` and ``data(i)``. Safe to open in several processes."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.info = json.loads((self.folder / "cache.json").read_text())
        text = (self.folder / "manifest.csv").read_bytes()
        if hashlib.sha256(text).hexdigest() != self.info["manifest_sha256"]:
            raise ValueError("the manifest is not the one that cache.json names")
        with (self.folder / "manifest.csv").open(newline="", encoding="utf-8") as lines:
            self.rows = [
                Row(**{**r, "offset": int(r["offset"]), "length": int(r["length"])})  # type: ignore[arg-type]
                for r in csv.DictReader(lines)
            ]
        with (self.folder / "images.bin").open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def __len__(self) -> int:
        return len(self.rows)

    def data(self, index: int) -> bytes:
        """Encoded bytes of row ``index``."""
        row = self.rows[index]
        return self._map[row.offset : row.offset + row.length]
