"""The contract suite accepts a good analyzer and names the fault of each bad one."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from assay.analyzers.check_samples import samples
from assay.analyzers.checks import check_analyzer
from assay.analyzers.protocol import AnalyzerInfo, Answer
from assay.findings import (
    Claim,
    Finding,
    Kind,
    NotApplicable,
    Question,
    Series,
    Strength,
    Where,
)
from assay.media import Audio, Image, Media, MediaKind

GOOD = AnalyzerInfo(
    name="plugin.example", version=1, question="Is it an example?",
    media=frozenset(MediaKind), source="None", limitations=("Made for a test.",),
)  # fmt: skip
FINDING = Finding(
    code="example.fact", kind=Kind.PROVENANCE, claim=Claim.NEUTRAL, because="This is an example."
)


class Example:
    def __init__(self, answer: Callable[[Media], Answer], info: AnalyzerInfo = GOOD) -> None:
        self._answer = answer
        self._info = info

    @property
    def info(self) -> AnalyzerInfo:
        return self._info

    def analyze(self, media: Media) -> Answer:
        return self._answer(media)


def test_good_analyzers_pass() -> None:
    check_analyzer(Example(lambda media: (FINDING,)))
    check_analyzer(Example(lambda media: NotApplicable(code="none", reason="Nothing to see.")))
    check_analyzer(Example(lambda media: ()))
    other = replace(FINDING, code="own.fact")
    check_analyzer(Example(lambda media: (other,)), prefixes=("own",))


def test_not_an_analyzer() -> None:
    with pytest.raises(AssertionError, match="not an Analyzer"):
        check_analyzer(object())


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"name": "Example"}, "dotted"),
        ({"version": 0}, "below 1"),
        ({"question": "It is an example."}, "does not end in"),
        ({"media": frozenset()}, "media is empty"),
        ({"source": " "}, "source is empty"),
        ({"limitations": ()}, "no limitations"),
    ],
)
def test_incomplete_info(change: dict[str, object], fault: str) -> None:
    info = replace(GOOD, **change)  # type: ignore[arg-type]
    with pytest.raises(AssertionError, match=fault):
        check_analyzer(Example(lambda media: (), info))


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"code": "other.fact"}, "does not begin with"),
        ({"code": "Example"}, "not dotted"),
        ({"because": "no sentence"}, "end like a sentence"),
        ({"claim": Claim.SYNTHETIC}, "states no limits"),
        ({"kind": Kind.STRUCTURE, "strength": Strength.WEAK}, "carry no strength"),
        ({"kind": Kind.MODEL}, "which model"),
        ({"question": Question.LOCAL_EDIT}, "missing from info.bears_on"),
        ({"data": {"a": np.float32(1)}}, "not JSON"),
        ({"data": {"a": float("nan")}}, "not a JSON number"),
        ({"data": {"a": b"bytes"}}, "not JSON"),
        ({"data": {"a": "x" * 600_000}}, "characters of JSON"),
        ({"where": Where(box=(0, 0, 5000, 5000))}, "leaves the picture|no places"),
        ({"where": Where(start=0.0, end=9999.0)}, "has no times|outside"),
        ({"series": Series(times=(9999.0,), values=(0.0,), meaning="x")}, "no times|outside"),
    ],
)
def test_bad_findings(change: dict[str, object], fault: str) -> None:
    finding = replace(FINDING, **change)  # type: ignore[arg-type]
    for kind in MediaKind:
        info = replace(GOOD, media=frozenset({kind}))
        with pytest.raises(AssertionError, match=fault):
            check_analyzer(Example(lambda media: (finding,), info))


def test_indeterminate_answers() -> None:
    count: Iterator[int] = itertools.count()
    with pytest.raises(AssertionError, match="two runs"):
        check_analyzer(Example(lambda media: (replace(FINDING, data={"n": next(count)}),)))


def test_altered_input() -> None:
    def scribble(media: Media) -> Answer:
        if isinstance(media, Image):
            media.pixels[0, 0] = 0
        return ()

    def touch(media: Media) -> Answer:
        with media.source.path.open("ab") as file:
            file.write(b"!")
        return ()

    with pytest.raises(AssertionError, match="read-only"):
        check_analyzer(Example(scribble))
    with pytest.raises(AssertionError, match="altered its input"):
        check_analyzer(Example(touch))


def test_exceptions_and_wrong_types() -> None:
    def fail(media: Media) -> Answer:
        raise KeyError("oops")

    with pytest.raises(AssertionError, match="raised KeyError"):
        check_analyzer(Example(fail))
    with pytest.raises(AssertionError, match="not a tuple"):
        check_analyzer(Example(lambda media: [FINDING]))  # type: ignore[arg-type, return-value]


def test_too_slow() -> None:
    with pytest.raises(AssertionError, match="took"):
        check_analyzer(Example(lambda media: ()), seconds=-1.0)


@pytest.mark.parametrize("kind", list(MediaKind))
def test_samples_are_the_same_each_time(kind: MediaKind, tmp_path: Path) -> None:
    first = [(s.name, s.media.source.sha256) for s in samples(kind, tmp_path)]
    again = [(s.name, s.media.source.sha256) for s in samples(kind, tmp_path)]
    assert first == again
    assert len({name for name, _ in first}) == len(first)


def test_samples_of_sound_resample(tmp_path: Path) -> None:
    for sample in samples(MediaKind.AUDIO, tmp_path):
        assert isinstance(sample.media, Audio)
        x = sample.media.samples(8000)
        assert len(x) == pytest.approx(8000 * sample.media.duration, abs=2)
