"""``assay models`` and ``assay doctor``: what is installed, and is it sound."""

from __future__ import annotations

import json as jsonlib
import platform
import sys
from importlib.metadata import PackageNotFoundError, version

from rich.console import Console
from rich.table import Table

from assay import __version__
from assay.analyzers.catalog import analyzers
from assay.analyzers.provenance.trust import FOLDER, installed
from assay.errors import AssayError
from assay.models import available, card
from assay.models.golden import check_golden
from assay.models.store import verify

__all__ = ["doctor", "models"]

_LIBRARIES = (
    "numpy",
    "scipy",
    "Pillow",
    "pillow-heif",
    "av",
    "onnxruntime",
    "soxr",
    "opencv-python-headless",
    "c2pa-python",
    "defusedxml",
    "jinja2",
)


def models(*, json: bool) -> int:
    """Print the model cards. Returns the exit status."""
    if json:
        print(jsonlib.dumps([card(key).facts() for key in available()], indent=2))
        return 0
    console = Console(highlight=False)
    for key in available():
        found = card(key)
        console.print(f"[bold]{key}[/bold]  {found.task}, {found.licence}")
        if found.summary:
            console.print(f"  {found.summary}", markup=False)
        if found.metrics:
            table = Table(box=None, pad_edge=False, padding=(0, 2))
            for name in ("source", "change", "real", "fake", "AUC", "95 %", "TPR@1%FPR", "flagged"):
                table.add_column(name, justify="left" if name in ("source", "change") else "right")
            for m in found.metrics:
                low_high = (
                    ""
                    if m.auc_low is None or m.auc_high is None
                    else f"{m.auc_low:.3f}-{m.auc_high:.3f}"
                )
                table.add_row(
                    m.source,
                    m.corruption,
                    str(m.real),
                    str(m.fake),
                    _three(m.auc),
                    low_high,
                    _three(m.tpr_at_1fpr),
                    _three(m.flagged_real_at_point),
                )
            console.print(table)
        for sentence in found.limits:
            console.print(f"  limit: {sentence}", markup=False)
        console.print()
    return 0


def doctor() -> int:
    """Check the installation and print what was found. Returns 0, or 3 on any trouble."""
    trouble = 0
    print(f"assay {__version__}, Python {platform.python_version()}, {platform.platform()}")
    print(f"interpreter: {sys.executable}")
    print("\nlibraries")
    for name in _LIBRARIES:
        try:
            print(f"  ok    {name} {version(name)}")
        except PackageNotFoundError:
            trouble += 1
            print(f"  FAIL  {name} is not installed")
    try:
        trust = installed()
        print(
            f"\ntrust list\n  {'ok    ' + trust.title if trust.signers else 'none  ' + str(FOLDER)}"
        )
    except ValueError as error:
        trouble += 1
        print(f"\ntrust list\n  FAIL  {error}")
    print("\nanalyzers")
    try:
        for analyzer in analyzers():
            info = analyzer.info
            kinds = ", ".join(sorted(info.media))
            print(f"  ok    {info.name} v{info.version} ({kinds})")
            missing = [m for m in info.models if m not in available()]
            if missing:
                trouble += 1
                print(f"  FAIL  {info.name} needs {', '.join(missing)}")
    except (AssayError, ImportError, AttributeError, ValueError) as error:
        trouble += 1
        print(f"  FAIL  {error}")
    print("\nmodels")
    for key in available():
        try:
            found = card(key)
            if found.file:
                verify(key)
            checked = check_golden(key) if found.file else 0
        except AssayError as error:
            trouble += 1
            print(f"  FAIL  {error}")
        else:
            what = f"sha256 {found.sha256[:12]}" if found.file else "curve only"
            again = f", {checked} golden outputs reproduced" if checked else ""
            print(f"  ok    {key}: {what}{again}")
    print("\nall well" if not trouble else f"\n{trouble} problem(s)")
    return 3 if trouble else 0


def _three(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
