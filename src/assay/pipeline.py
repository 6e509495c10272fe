"""The whole way from file to report, as code on one screen."""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from assay import __version__
from assay.analyzers.catalog import for_kind
from assay.analyzers.protocol import Analyzer, ask
from assay.errors import AssayError
from assay.findings import Finding, NotApplicable, Question, Step
from assay.fusion import Sensitivity, fuse
from assay.limits import Limits
from assay.media import Media, MediaKind, Video, decode, kind_of
from assay.report import assemble
from assay.report.document import Analysed, Coverage, Engine, Report, Skipped
from assay.stability import stability as measure_stability

__all__ = ["analyze"]

Progress = Callable[[Step], None]


def analyze(
    path: str | Path,
    *,
    prior: float = 0.5,
    limits: Limits | None = None,
    analyzers: Sequence[Analyzer] | None = None,
    pictures: bool = True,
    progress: Progress | None = None,
    name: str = "",
    sensitivity: Sensitivity | str = Sensitivity.STANDARD,
    stability: bool = False,
) -> Report:
    """Analyse one file in this process. For files you do not trust see :mod:`assay.isolation`.

    Args:
        path: an image, a video or a sound recording; its name does not matter.
        prior: probability, before looking, that such a file is not authentic; in (0, 1).
        limits: bounds on size and time, default :class:`Limits`.
        analyzers: which to run, default all of the catalog that suit the media.
        pictures: keep small pictures of the media in the report for its renderings.
        progress: called as each stage begins.
        name: what the file is called, when it lies under another name.
        sensitivity: ``standard`` flags what 1 % of authentic items would reach, ``high``
            calls suspicious what 5 % would.
        stability: also measure whether the answer survives compression, scaling and the
            like (pictures, and sounds of at most five minutes); takes about five times
            as long.

    Raises:
        MediaError: the file cannot be read as media; names the file and the cause.
        ValueError: ``prior`` out of range, or no such ``sensitivity``.
    """
    if not 0.0 < prior < 1.0:
        raise ValueError(f"the prior must lie strictly between 0 and 1, got {prior!r}")
    sensitivity = Sensitivity(sensitivity)
    limits = limits or Limits()
    say = progress or (lambda step: None)
    clock = time.perf_counter
    started = clock()

    say(Step(stage="decode", share=0.0))
    media = decode(path, limits, name)
    decoded = clock()

    findings: list[tuple[str, Finding]] = []
    refusals: list[NotApplicable] = []
    analysed: list[Analysed] = []
    skipped: list[Skipped] = []
    asked: set[Question] = set()
    chosen = for_kind(kind_of(media)) if analyzers is None else tuple(analyzers)
    work: list[tuple[Analyzer, Media]] = [
        (a, media) for a in chosen if kind_of(media) in a.info.media
    ]
    if isinstance(media, Video) and media.sound is not None:
        heard = for_kind(MediaKind.AUDIO) if analyzers is None else chosen
        sound = media.sound
        # What looks at any kind of media has seen the file already, as a video.
        work += [
            (a, sound)
            for a in heard
            if MediaKind.AUDIO in a.info.media and MediaKind.VIDEO not in a.info.media
        ]
    last, told = "", 0
    for done, (analyzer, subject) in enumerate(work):
        info = analyzer.info
        say(_step(info.name, (done + 1) / (len(work) + 2), last, findings[told:]))
        last, told = info.name, len(findings)
        before = clock()
        try:
            answer = ask(analyzer, subject)
        except Exception as error:  # noqa: BLE001 - one analyzer must not cost the report
            cause = str(error) if isinstance(error, AssayError) else repr(error)
            skipped.append(Skipped(what=info.name, code="failed", why=cause[:500]))
            continue
        if isinstance(answer, NotApplicable):
            refusals.append(answer)
            skipped.append(Skipped(what=info.name, code=answer.code, why=answer.reason))
            continue
        findings += [(info.name, finding) for finding in answer]
        asked |= info.bears_on
        analysed.append(
            Analysed(
                analyzer=info.name,
                version=info.version,
                question=info.question,
                seconds=round(clock() - before, 4),
                findings=len(answer),
            )
        )
    steady = None
    if stability:
        say(_step("stability", (len(work) + 1) / (len(work) + 2), last, findings[told:]))
        last, told = "", len(findings)
        steady = measure_stability(
            media,
            findings,
            refusals,
            frozenset(asked),
            analyzers=chosen,
            prior=prior,
            sensitivity=sensitivity,
            limits=limits,
        )
    looked = clock()

    say(_step("report", (len(work) + 1) / (len(work) + 2), last, findings[told:]))
    outcome = fuse(
        kind_of(media), findings, refusals, asked=asked, prior=prior, sensitivity=sensitivity
    )
    shown = assemble.pictures_of(media, outcome.evidence) if pictures else ()
    notes = media.notes
    if isinstance(media, Video) and media.sound is not None:
        notes += media.sound.notes
    ended = clock()
    return assemble.report(
        outcome,
        media,
        analysis_id=uuid.uuid4().hex,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        coverage=Coverage(
            analysed=tuple(analysed), skipped=tuple(skipped), truncated=tuple(dict.fromkeys(notes))
        ),
        pictures=shown,
        stability=steady,
        engine=Engine(
            version=__version__,
            config_sha256=_config_hash(prior, limits, chosen, sensitivity),
            models=assemble.models_in(outcome.evidence),
        ),
        timing={
            "decode": round(decoded - started, 4),
            "analyze": round(looked - decoded, 4),
            "report": round(ended - looked, 4),
        },
    )


def _step(stage: str, share: float, analyzer: str, found: Sequence[tuple[str, Finding]]) -> Step:
    said = tuple(
        {"code": f.code, "kind": str(f.kind), "claim": str(f.claim), "because": f.because}
        for _, f in found[:50]
    )
    return Step(stage=stage, share=round(share, 3), analyzer=analyzer, found=said)


def _config_hash(
    prior: float, limits: Limits, chosen: Sequence[Analyzer], sensitivity: Sensitivity
) -> str:
    """Equal for two runs that would treat the same file the same way."""
    config = {
        "prior": prior,
        "sensitivity": sensitivity,
        "limits": asdict(limits),
        "analyzers": [[a.info.name, a.info.version, list(a.info.models)] for a in chosen],
        "engine": __version__,
    }
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()
