from __future__ import annotations

import hashlib
import tomllib
from pathlib import Path

HERE = Path(__file__).parent


def test_the_manifest_names_every_sample_and_its_bytes() -> None:
    listed = tomllib.loads((HERE / "MANIFEST.toml").read_text())["file"]
    there = {f"samples/{p.name}": p for p in (HERE / "samples").iterdir()}
    assert {entry["path"] for entry in listed} == set(there)
    for entry in listed:
        digest = hashlib.sha256(there[entry["path"]].read_bytes()).hexdigest()
        assert digest == entry["sha256"], entry["path"]
        assert entry["origin"]
        assert entry["licence"]
    assert sum(p.stat().st_size for p in there.values()) < 3_000_000
