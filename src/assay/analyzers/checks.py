"""The contract every analyzer must pass, for built-ins and plugins alike.

A plugin's test needs one line: ``check_analyzer(MyAnalyzer())``.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from assay.analyzers.check_samples import Sample, samples
from assay.analyzers.protocol import Analyzer, AnalyzerInfo, Answer
from assay.findings import Claim, Finding, Kind, NotApplicable, Question, Strength
from assay.media import Audio, Image, Media, MediaKind, Video

__all__ = ["check_analyzer", "check_answer"]

_NAME = re.compile(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)+")
_CODE = re.compile(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)+")
_WORD = re.compile(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)*")
_MOST_DATA = 512 * 1024  # characters of JSON in one finding
_SLACK = 1.0  # pixels and frames: rounding at the border is no fault


def check_analyzer(
    analyzer: object, *, prefixes: Sequence[str] = (), seconds: float = 60.0
) -> None:
    """Put ``analyzer`` through its contract on small awkward media of every kind it takes.

    Checked: ``info`` is complete and constant; the answer is deterministic, within
    ``seconds`` each, and leaves pixels and file as they were; codes begin with the name
    of the analyzer, its last part, or one of ``prefixes``, followed by a dot; places and times lie
    within the media; ``data`` is JSON; only facts carry a strength; every directed
    finding states its limits.

    Media: one pixel, grey, CMYK, 16 bits, alpha, one colour, extreme shapes, truncated;
    silence, no sample, one sample; one frame, no frame that decodes.

    Raises:
        AssertionError: with the analyzer, the sample and the fault.
    """
    if not isinstance(analyzer, Analyzer):
        raise AssertionError(f"{analyzer!r} is not an Analyzer: it needs `info` and `analyze`")
    info = analyzer.info
    _check_info(info)
    _require(analyzer.info == info, f"{info.name}: info changes from one call to the next")
    with tempfile.TemporaryDirectory(prefix="assay-check-") as folder:
        for kind in sorted(info.media):
            for sample in samples(kind, Path(folder)):
                _check_sample(analyzer, sample, prefixes, seconds)


def check_answer(
    info: AnalyzerInfo, media: Media, answer: Answer, *, prefixes: Sequence[str] = (),
    sample: str = "media",
) -> None:  # fmt: skip
    """Check one ``answer`` of the analyzer described by ``info`` about ``media``.

    Raises:
        AssertionError: with the analyzer, the sample and the fault.
    """
    at = f"{info.name} on {sample}"
    if isinstance(answer, NotApplicable):
        _require(bool(_WORD.fullmatch(answer.code)), f"{at}: bad code {answer.code!r}")
        _sentence(answer.reason, f"{at}: reason")
        _question(info, answer.question, at)
        return
    _require(isinstance(answer, tuple), f"{at}: answered {type(answer).__name__}, not a tuple")
    for finding in answer:
        _require(isinstance(finding, Finding), f"{at}: {finding!r} is not a Finding")
        _check_finding(info, media, finding, (info.name, info.name.split(".")[-1], *prefixes), at)


def _require(condition: bool, fault: str) -> None:
    if not condition:
        raise AssertionError(fault)


def _sentence(text: str, what: str) -> None:
    _require(isinstance(text, str) and len(text) >= 8, f"{what} is not a sentence: {text!r}")
    _require("\n" not in text, f"{what} holds a line break: {text!r}")
    _require(text[-1] in ".?!", f"{what} does not end like a sentence: {text!r}")


def _check_info(info: AnalyzerInfo) -> None:
    _require(isinstance(info, AnalyzerInfo), "info is not an AnalyzerInfo")
    name = info.name
    _require(bool(_NAME.fullmatch(name)), f"name {name!r} is not dotted lower case")
    _require(info.version >= 1, f"{name}: version {info.version} is below 1")
    _sentence(info.question, f"{name}: question")
    _require(info.question.endswith("?"), f"{name}: question does not end in '?'")
    _require(bool(info.media), f"{name}: media is empty")
    _require(all(isinstance(m, MediaKind) for m in info.media), f"{name}: media holds no kinds")
    _require(bool(info.source.strip()), f"{name}: source is empty")
    _require(bool(info.limitations), f"{name}: states no limitations")
    for text in info.limitations:
        _sentence(text, f"{name}: limitation")


def _digest(media: Media) -> str:
    """Hash of the file and of the decoded pixels."""
    hashed = hashlib.sha256(media.source.path.read_bytes())
    if isinstance(media, Image):
        hashed.update(media.pixels.tobytes())
        if media.alpha is not None:
            hashed.update(media.alpha.tobytes())
    return hashed.hexdigest()


def _check_sample(
    analyzer: Analyzer, sample: Sample, prefixes: Sequence[str], seconds: float
) -> None:
    at = f"{analyzer.info.name} on {sample.name}"
    before = _digest(sample.media)
    answers = []
    for _ in range(2):
        started = time.perf_counter()
        try:
            answers.append(analyzer.analyze(sample.media))
        except Exception as error:
            raise AssertionError(f"{at}: raised {type(error).__name__}: {error}") from error
        took = time.perf_counter() - started
        _require(took <= seconds, f"{at}: took {took:.1f} s, more than {seconds:g} s")
    _require(_digest(sample.media) == before, f"{at}: altered its input")
    check_answer(analyzer.info, sample.media, answers[0], prefixes=prefixes, sample=sample.name)
    _require(answers[0] == answers[1], f"{at}: two runs gave different answers")


def _question(info: AnalyzerInfo, question: Question | None, at: str) -> None:
    _require(
        question is None or question in info.bears_on,
        f"{at}: question {question} is missing from info.bears_on",
    )


def _check_finding(
    info: AnalyzerInfo, media: Media, finding: Finding, prefixes: Sequence[str], at: str
) -> None:
    at = f"{at}: {finding.code}"
    _require(bool(_CODE.fullmatch(finding.code)), f"{at}: the code is not dotted lower case")
    _require(
        any(finding.code.startswith(f"{p}.") for p in prefixes),
        f"{at}: the code does not begin with one of {', '.join(prefixes)}",
    )
    _sentence(finding.because, f"{at}: because")
    _require(isinstance(finding.limits, tuple), f"{at}: limits is not a tuple")
    for text in finding.limits:
        _sentence(text, f"{at}: limit")
    _require(
        finding.claim is Claim.NEUTRAL or bool(finding.limits),
        f"{at}: points somewhere and states no limits",
    )
    if finding.kind in (Kind.STRUCTURE, Kind.MODEL):
        _require(
            finding.strength is Strength.NONE,
            f"{at}: estimates carry no strength; a curve weighs them",
        )
    if finding.kind is Kind.MODEL:
        _require(finding.model is not None, f"{at}: does not say which model spoke")
    _question(info, finding.question, at)
    _check_where(media, finding, at)
    _check_json(finding.data, f"{at}: data")
    text = json.dumps(_plain(finding.data), allow_nan=False)
    _require(len(text) <= _MOST_DATA, f"{at}: data has {len(text)} characters of JSON")


def _check_where(media: Media, finding: Finding, at: str) -> None:
    where = finding.where
    if where.box is not None:
        _require(not isinstance(media, Audio), f"{at}: a sound has no places")
        if isinstance(media, Image | Video):
            left, top, width, height = where.box
            _require(
                left >= -_SLACK and top >= -_SLACK
                and left + width <= media.width + _SLACK
                and top + height <= media.height + _SLACK,
                f"{at}: box {where.box} leaves the picture ({media.width} x {media.height})",
            )  # fmt: skip
    times = [t for t in (where.start, where.end) if t is not None]
    if finding.series is not None:
        times += list(finding.series.times)
    if isinstance(media, Image):
        _require(not times or media.time is not None, f"{at}: a still picture has no times")
        return
    rate = media.frame_rate if isinstance(media, Video) else 10.0
    last = media.duration + _SLACK / (rate or 10.0)
    for t in times:
        _require(
            -1e-6 <= t <= last,
            f"{at}: time {t:.3f} s lies outside the media (0 to {media.duration:.3f} s)",
        )


def _check_json(value: object, at: str, depth: int = 0) -> None:
    """Only what ``json`` writes and reads back the same; numpy numbers are refused."""
    _require(depth <= 20, f"{at}: nested too deeply")
    if value is None or type(value) in (bool, int, str):
        return
    if type(value) is float:
        _require(math.isfinite(value), f"{at}: {value!r} is not a JSON number")
        return
    if isinstance(value, str):  # enumerations of strings write as strings
        return
    if isinstance(value, Mapping):
        for key, item in value.items():
            _require(isinstance(key, str), f"{at}: key {key!r} is not a string")
            _check_json(item, f"{at}[{key!r}]", depth + 1)
        return
    if isinstance(value, list | tuple):
        for i, item in enumerate(value):
            _check_json(item, f"{at}[{i}]", depth + 1)
        return
    raise AssertionError(f"{at}: {type(value).__name__} is not JSON")


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value
