"""The bounds that keep hostile media from eating the machine."""

from __future__ import annotations

from dataclasses import dataclass, fields

__all__ = ["Limits"]

_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds on one analysis. Over a bound is an error or a declared truncation, never silence.

    Bounds marked *error* raise :class:`assay.errors.TooLarge`; bounds marked
    *truncation* shorten what is looked at and are declared in the report's coverage.
    """

    max_bytes: int = 8 * 1024 * _MIB
    """Size of the file, bytes (error)."""
    max_pixels: int = 200_000_000
    """Pixels of a still image or of one video frame (error)."""
    max_side: int = 65_535
    """Longest side of an image or frame, pixels (error)."""
    max_streams: int = 64
    """Streams in one container (error)."""
    max_metadata_bytes: int = 32 * _MIB
    """Bytes of embedded metadata read from one file (truncation)."""
    max_video_seconds: float = 4 * 3600.0
    """Length of a video that is looked at, seconds (truncation)."""
    max_audio_seconds: float = 4 * 3600.0
    """Length of a sound that is looked at, seconds (truncation)."""
    max_decoded_frames: int = 500_000
    """Frames decoded in all, looked at or skipped (truncation)."""
    sampled_frames: int = 48
    """Frames of a video put to the image and face questions (declared sampling)."""
    timeout_seconds: float = 900.0
    """Wall time of the analysis of one file in the child process (error)."""
    max_memory_bytes: int = 6 * 1024 * _MIB
    """Address space of the child process, bytes (error). Virtual, hence generous."""

    def __post_init__(self) -> None:
        for field in fields(self):
            if not getattr(self, field.name) > 0:
                raise ValueError(f"Limits.{field.name} must be positive")
