"""Every exception Assay raises on purpose.

::

    AssayError
     ├── MediaError            the file is the problem; always names the file and the cause
     │    ├── NotMedia         not an image, video or sound recording
     │    ├── Unsupported      media, but of a kind this build cannot read
     │    ├── Corrupt          claims to be media but cannot be decoded
     │    └── TooLarge         beyond a bound of `Limits`
     ├── ModelError            a network or its card is missing, altered or unusable
     ├── AnalysisTimeout       the analysis did not end within its time
     ├── AnalysisCrashed       the analysing process died (killed, out of memory)
     └── ReportError           a stored report cannot be read, or not be rendered

Errors of foreign libraries are mapped to this tree where the library is called;
none reaches the caller of :func:`assay.analyze`.
"""

from __future__ import annotations

__all__ = [
    "AnalysisCrashed",
    "AnalysisTimeout",
    "AssayError",
    "Corrupt",
    "MediaError",
    "ModelError",
    "NotMedia",
    "ReportError",
    "TooLarge",
    "Unsupported",
]


class AssayError(Exception):
    """Base of all errors raised by Assay."""


class MediaError(AssayError):
    """A file cannot be analysed. ``str()`` reads ``<path>: <cause>``."""

    def __init__(self, path: object, cause: str) -> None:
        super().__init__(f"{path}: {cause}")
        self.path = str(path)
        self.cause = cause

    def __reduce__(self) -> tuple[type[MediaError], tuple[str, str]]:
        # Errors cross the process boundary of `assay.isolation`.
        return type(self), (self.path, self.cause)


class NotMedia(MediaError):
    """The content is not that of an image, a video or a sound recording."""


class Unsupported(MediaError):
    """Media of a kind this build cannot read."""


class Corrupt(MediaError):
    """The content contradicts its own format: truncated, damaged or lying."""


class TooLarge(MediaError):
    """Beyond a bound of :class:`assay.limits.Limits`."""


class ModelError(AssayError):
    """A model is missing, does not match its card, or fails to run."""


class AnalysisTimeout(AssayError):
    """The analysis was stopped because it exceeded its time."""


class AnalysisCrashed(AssayError):
    """The process that analysed the file ended without an answer."""


class ReportError(AssayError):
    """A stored report is not a valid report document."""
