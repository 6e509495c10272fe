"""Every code in the source stands in the reference, and the reference names no other."""

from __future__ import annotations

import re
from pathlib import Path

from assay.analyzers.provenance.source_types import source_type

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs/reference/findings-provenance.md"
FOLDER = ROOT / "src/assay/analyzers/provenance"
_PREFIX = r"(?:credentials|metadata|generators|jpeg\.structure|container)"


def used() -> set[str]:
    text = "".join(p.read_text("utf-8") for p in FOLDER.glob("*.py"))
    codes = set(re.findall(rf'"({_PREFIX}\.[a-z_]+)"', text))
    kinds = ("trainedAlgorithmicMedia", "compositeSynthetic", "print", "composite", "digitalArt")
    for kind in kinds:
        term = source_type(kind)
        assert term is not None
        codes |= {f"{p}.{term.suffix}" for p in ("credentials", "metadata")}
    return codes


def test_codes_and_reference_agree() -> None:
    documented = set(re.findall(rf"^\| `({_PREFIX}\.[a-z_]+)`", PAGE.read_text("utf-8"), re.M))
    assert used() == documented


def test_every_suffix_of_the_vocabulary_is_among_them() -> None:
    text = (FOLDER / "source_types.py").read_text("utf-8")
    suffixes = set(re.findall(r'_[AMNS], "(\w+)"', text))
    assert suffixes == {"generated", "composite", "capture", "edited", "drawn"}
