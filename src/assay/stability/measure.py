"""The same tests on variants of the file, and how far apart their answers lie."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from assay.analyzers.protocol import Analyzer, ask
from assay.errors import AssayError
from assay.findings import Finding, NotApplicable, Question, Strength
from assay.fusion import Outcome, Sensitivity, fuse
from assay.limits import Limits
from assay.media import Audio, Image, Media, decode, kind_of
from assay.report.document import Stability, Variant
from assay.stability.variants import LONGEST_SECONDS, variants

__all__ = ["stability"]


def stability(
    media: Media,
    findings: Sequence[tuple[str, Finding]],
    refusals: Sequence[NotApplicable],
    asked: frozenset[Question],
    *,
    analyzers: Sequence[Analyzer],
    prior: float,
    sensitivity: Sensitivity,
    limits: Limits,
) -> Stability | None:
    """How the estimates for ``media`` change when it is compressed, scaled, cropped, sent.

    Facts about the origin are left out on both sides: no variant carries them. ``None``
    where it is not measured: videos, and sounds longer than ``LONGEST_SECONDS``.

    Args:
        findings, refusals, asked: what was said of ``media`` itself.
        analyzers: those that looked; only such as bear on a question look again.
        prior, sensitivity, limits: as for the analysis.
    """
    if not isinstance(media, Image | Audio):
        return None
    if isinstance(media, Audio) and media.duration > LONGEST_SECONDS:
        return None
    kind = kind_of(media)

    def weigh(
        said: Sequence[tuple[str, Finding]],
        no: Sequence[NotApplicable],
        into: frozenset[Question],
    ) -> Outcome:
        bare = [(a, replace(f, strength=Strength.NONE)) for a, f in said]
        return fuse(kind, bare, no, asked=into, prior=prior, sensitivity=sensitivity)

    own = weigh(findings, refusals, asked)
    if own.probability is None:
        return None
    found = []
    with tempfile.TemporaryDirectory(prefix="assay-") as folder:
        for code, words, path in variants(media, Path(folder)):
            try:
                other = weigh(*_look(decode(path, limits), analyzers))
            except AssayError:
                continue  # the variant is beyond the limits, or its encoder is missing
            finally:
                path.unlink(missing_ok=True)
            found.append(
                Variant(
                    code=code,
                    what=words,
                    verdict=other.verdict,
                    probability=other.probability,
                )
            )
    chances = [own.probability, *(v.probability for v in found if v.probability is not None)]
    return Stability(
        verdict=own.verdict,
        low=min(chances),
        high=max(chances),
        flips=tuple(v.code for v in found if v.verdict is not own.verdict),
        variants=tuple(found),
    )


def _look(
    media: Media, analyzers: Sequence[Analyzer]
) -> tuple[list[tuple[str, Finding]], list[NotApplicable], frozenset[Question]]:
    findings: list[tuple[str, Finding]] = []
    refusals: list[NotApplicable] = []
    asked: set[Question] = set()
    for analyzer in analyzers:
        info = analyzer.info
        if kind_of(media) not in info.media or not info.bears_on:
            continue
        try:
            answer = ask(analyzer, media)
        except Exception:  # noqa: BLE001, S112 - as in the pipeline, it costs only itself
            continue
        if isinstance(answer, NotApplicable):
            refusals.append(answer)
            continue
        findings += [(info.name, finding) for finding in answer]
        asked |= info.bears_on
    return findings, refusals, frozenset(asked)
