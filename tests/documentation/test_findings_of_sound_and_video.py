"""Every code of the structure analyzers is documented, and every documented code exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CODE = r"(?:audio|video)\.\w+\.\w+"


def _said(*modules: str) -> set[str]:
    """Codes and reasons written in the source of analyzers."""
    text = "".join((ROOT / "src/assay/analyzers" / f"{m}.py").read_text("utf-8") for m in modules)
    codes = set(re.findall(rf'"({CODE})"', text))
    reasons = set(re.findall(r'NotApplicable\(\s*code="(\w+)"', text))
    return codes | reasons | set(re.findall(r'_none\(\s*"(\w+)"', text))


@pytest.mark.parametrize(("page", "modules"), [
    ("findings-audio", ("audio/editing", "audio/bandwidth", "audio/mains_hum")),
    ("findings-video", ("video/structure", "video/editing", "video/frames")),
])  # fmt: skip
def test_codes_are_documented(page: str, modules: tuple[str, ...]) -> None:
    text = (ROOT / "docs/reference" / f"{page}.md").read_text("utf-8")
    said = _said(*modules)
    assert len(said) >= 10
    assert {c for c in said if f"`{c}`" not in text} == set()
    listed = set(re.findall(rf"^\| `({CODE})` \|", text, re.M))
    assert {c for c in listed - said if not c.startswith("video.frames.")} == set()
