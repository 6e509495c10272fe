"""The cache file: round trip, repeats, a changed manifest."""

from __future__ import annotations

from pathlib import Path

import pytest

from assay_lab.data.cache import Cache, CacheWriter

FIXED = {
    "label": "real", "kind": "camera", "generator": "camera", "source": "s", "licence": "CC0",
    "group": "g", "use": "train",
}  # fmt: skip


def test_round_trip_and_repeats(tmp_path: Path) -> None:
    out = CacheWriter(tmp_path)
    assert out.add(b"one", name="1", box=(1, 2, 3, 4), points=range(10), **FIXED)
    assert not out.add(b"one", name="again", **FIXED)
    assert out.add(b"second", name="2", **{**FIXED, "label": "fake"}, pair="1")
    info = out.close("test")
    assert info["pictures"] == 2
    assert info["repeats_dropped"] == 1
    cache = Cache(tmp_path)
    assert [cache.data(i) for i in range(len(cache))] == [b"one", b"second"]
    assert cache.rows[0].box == "1.0 2.0 3.0 4.0"
    assert cache.rows[1].pair == "1"


def test_caches_are_joined(tmp_path: Path) -> None:
    for name, contents in (("a", (b"one", b"two", b"one")), ("b", (b"two", b"three"))):
        out = CacheWriter(tmp_path / name)
        for n, data in enumerate(contents):
            out.add(data, name=f"{name}{n}", box=(1, 2, 3.5, 4), points=(5, 6), **FIXED)
        out.close("test")
    both = CacheWriter(tmp_path / "both")
    for name in "ab":
        both.take_over(Cache(tmp_path / name))
    assert both.close("test")["repeats_dropped"] == 2
    cache = Cache(tmp_path / "both")
    assert [(r.name, cache.data(i)) for i, r in enumerate(cache.rows)] == [
        ("a0", b"one"), ("a1", b"two"), ("b1", b"three"),
    ]  # fmt: skip
    assert (cache.rows[2].box, cache.rows[2].points) == ("1.0 2.0 3.5 4.0", "5.0 6.0")


def test_bad_labels_and_changed_manifest(tmp_path: Path) -> None:
    out = CacheWriter(tmp_path)
    with pytest.raises(ValueError, match="use"):
        out.add(b"x", name="1", **{**FIXED, "use": "test"})
    out.add(b"x", name="1", **FIXED)
    out.close("test")
    with (tmp_path / "manifest.csv").open("a") as more:
        more.write("\n")
    with pytest.raises(ValueError, match="manifest"):
        Cache(tmp_path)
