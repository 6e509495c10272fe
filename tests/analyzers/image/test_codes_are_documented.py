from __future__ import annotations

import re
from pathlib import Path

from assay.analyzers.image.face_quality import REASONS

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/reference/findings-image.md").read_text("utf-8")
MODULES = [
    *(
        ROOT / f"src/assay/analyzers/image/{name}.py"
        for name in ("faces", "jpeg", "noise", "cfa", "copy_move", "spectrum", "synthetic")
    ),
    ROOT / "src/assay/analyzers/video/faces.py",
    ROOT / "src/assay/analyzers/video/synthetic.py",
]
SOURCE = "\n".join(path.read_text("utf-8") for path in MODULES)
WRITTEN = set(re.findall(r'\bcode="([^"]+)"', SOURCE))


def test_every_code_is_documented() -> None:
    assert len(WRITTEN) > 12
    missing = {code for code in (*WRITTEN, *REASONS) if f"`{code}`" not in PAGE}
    assert not missing


def test_every_documented_code_exists() -> None:
    listed = set(re.findall(r"^\| `([a-z_]+\.[a-z_]+)`", PAGE, flags=re.MULTILINE))
    assert listed == {code for code in WRITTEN if "." in code}
