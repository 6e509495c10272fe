"""Stage 3: from findings to a verdict.

Raw scores become likelihood ratios through calibration curves that are model data,
related findings count once, and the verdict follows from a stated policy. Facts
(provenance, watermarks, matches, people) are weighed by rule and never averaged with
estimates. Not in here: reading media, rendering.
"""

from __future__ import annotations

from assay.fusion.fuse import fuse
from assay.fusion.outcome import (
    Conflict,
    Decision,
    Evidence,
    Hypothesis,
    Interval,
    Outcome,
    Scope,
    Sensitivity,
    Verdict,
)

__all__ = [
    "Conflict",
    "Decision",
    "Evidence",
    "Hypothesis",
    "Interval",
    "Outcome",
    "Scope",
    "Sensitivity",
    "Verdict",
    "fuse",
]
