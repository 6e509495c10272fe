"""The unit of extension: one analyzer, one question, one kind of media.

An analyzer never sees another analyzer, the network, a database or settings, and it
gives no verdict. It is deterministic and leaves its input alone.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Protocol, TypeAlias, runtime_checkable

from assay.findings import Finding, NotApplicable, Question
from assay.media import Media, MediaKind

__all__ = ["Analyzer", "AnalyzerInfo", "Answer", "ask"]

Answer: TypeAlias = tuple[Finding, ...] | NotApplicable


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalyzerInfo:
    """What an analyzer is, for the catalog, the report and the documentation."""

    name: str
    """Dotted and stable: ``image.copy_move``."""
    version: int
    question: str
    """The question it answers, as a sentence ending in a question mark."""
    media: frozenset[MediaKind]
    source: str
    """Paper or standard behind the method."""
    limitations: tuple[str, ...]
    bears_on: frozenset[Question] = frozenset()
    """Hypotheses its findings can bear on."""
    models: tuple[str, ...] = ()
    """Names of the models in the zoo that it needs."""


@runtime_checkable
class Analyzer(Protocol):
    """Answers one question about one kind of media."""

    @property
    def info(self) -> AnalyzerInfo: ...

    def analyze(self, media: Media) -> Answer:
        """Look at ``media``, whose kind is in ``info.media``.

        An empty tuple means: looked, and found nothing worth saying. Problems with the
        media that stop this analyzer alone are a ``NotApplicable``; anything else that
        is raised is caught by the pipeline and recorded in the report's coverage.
        """
        ...


def ask(analyzer: Analyzer, media: Media) -> Answer:
    """What ``analyzer`` says of ``media``, proven fit for a report.

    Raises:
        Exception: whatever the analyzer raises; TypeError or ValueError for data that is not
            JSON. One analyzer must not cost the report: the caller goes on without it.
    """
    answer = analyzer.analyze(media)
    if not isinstance(answer, NotApplicable):
        for finding in answer:
            json.dumps(finding.data, allow_nan=False)  # or it breaks the report
    return answer
