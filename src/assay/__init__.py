"""Assay says whether an image, a video or a sound recording is authentic.

>>> import assay
>>> report = assay.analyze("photo.jpg")        # doctest: +SKIP
>>> print(report.verdict, report.probability)  # doctest: +SKIP

Importing this package is cheap; the libraries that decode media and run networks are
loaded by the first analysis.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from assay.errors import AssayError
from assay.limits import Limits

if TYPE_CHECKING:
    from assay.findings import Finding
    from assay.pipeline import analyze
    from assay.report.document import Report, Verdict

__version__ = "0.1.0"

__all__ = ["AssayError", "Finding", "Limits", "Report", "Verdict", "__version__", "analyze"]

_LAZY = {
    "analyze": "assay.pipeline",
    "Finding": "assay.findings",
    "Report": "assay.report.document",
    "Verdict": "assay.report.document",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        from importlib import import_module

        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
