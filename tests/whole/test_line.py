"""The whole line, file to report, on real media: true to the file, blind to its name, offline."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

import assay
from assay.analyzers.catalog import analyzers
from assay.findings import Kind
from assay.report.as_html import to_html
from assay.report.as_json import from_json, to_json
from assay.report.as_text import to_text
from assay.report.document import Report

MEDIA = Path(__file__).parents[1] / "media"
SAMPLES = sorted(
    p
    for p in (MEDIA / "samples").rglob("*")
    if p.is_file() and p.suffix.lower() not in {".md", ".txt", ".toml"}
)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole analysis must work with sockets forbidden."""
    import socket

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("the analysis asked for the network")

    for method in ("connect", "connect_ex", "bind", "sendto"):
        monkeypatch.setattr(socket.socket, method, refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def _numbers(report: Report) -> Iterator[float]:
    for item in report.evidence:
        yield from (v for v in (item.raw_score, item.llr) if v is not None)


@pytest.mark.parametrize("path", SAMPLES, ids=lambda p: p.name)
def test_every_sample_gets_a_whole_report(path: Path) -> None:
    report = assay.analyze(path)
    assert [s for s in report.coverage.skipped if s.code == "failed"] == []
    assert report.coverage.analysed
    assert all(math.isfinite(v) for v in _numbers(report))
    assert from_json(to_json(report)) == report
    assert report.headline in " ".join(to_text(report, width=400).split())
    assert to_html(report).rstrip().endswith("</html>")
    ids = {e.id for e in report.evidence}
    assert {s.evidence for s in report.timeline} <= ids
    assert {f.evidence for f in report.faces} <= ids
    for item in report.evidence:
        where = item.where
        if where.box is not None and report.media.width and report.media.height:
            left, top, width, height = where.box
            assert left >= -0.5
            assert top >= -0.5
            assert left + width <= report.media.width + 0.5
            assert top + height <= report.media.height + 0.5
        if where.end is not None and report.media.duration:
            assert where.end <= report.media.duration + 0.5
        if item.kind is Kind.MODEL and item.raw_score is not None:
            assert item.model is not None


def test_there_are_samples_of_every_kind() -> None:
    kinds = {assay.analyze(p, analyzers=[]).media.kind for p in SAMPLES}
    assert kinds == {"image", "video", "audio"}


@pytest.fixture
def portrait() -> Path:
    return MEDIA / "samples" / "astronaut.png"


def test_a_face_is_found_and_judged(portrait: Path) -> None:
    report = assay.analyze(portrait)
    assert len(report.faces) == 1
    left, top, width, height = report.faces[0].box
    assert left < 225 < left + width  # her nose is near (225, 115)
    assert top < 115 < top + height
    assert report.faces[0].llr is not None


def test_a_real_portrait_is_not_accused(portrait: Path) -> None:
    assert assay.analyze(portrait).verdict not in {"manipulated", "synthetic"}


def test_lossless_re_encoding_changes_no_verdict(portrait: Path, tmp_path: Path) -> None:
    pixels = PillowImage.open(portrait)
    reports = [assay.analyze(portrait)]
    for name, options in {
        "again.png": {"compress_level": 1},
        "same.webp": {"lossless": True},
        "same.bmp": {},
        "same.tiff": {"compression": "tiff_lzw"},
    }.items():
        path = tmp_path / name
        pixels.save(path, **options)
        reports.append(assay.analyze(path))
    assert len({r.verdict for r in reports}) == 1
    probabilities = [r.probability for r in reports if r.probability is not None]
    assert len(probabilities) == len(reports)
    assert np.ptp(probabilities) < 1e-6


def test_the_name_says_nothing(portrait: Path, tmp_path: Path) -> None:
    disguised = tmp_path / "deepfake swapped generated.mp3"
    disguised.write_bytes(portrait.read_bytes())
    plain, other = assay.analyze(portrait), assay.analyze(disguised)
    assert other.media.kind == "image"
    assert not other.media.extension_matches
    assert other.verdict == plain.verdict
    assert [e.raw_score for e in other.evidence] == [e.raw_score for e in plain.evidence]


def test_analysis_is_repeatable(portrait: Path) -> None:
    first, second = assay.analyze(portrait), assay.analyze(portrait)
    assert first.evidence == second.evidence
    assert first.probability == second.probability
    assert first.engine.config_sha256 == second.engine.config_sha256
    assert first.analysis_id != second.analysis_id


def test_one_failing_analyzer_costs_its_own_answer_only(portrait: Path) -> None:
    class Broken:
        info = next(a for a in analyzers() if a.info.name == "image.noise").info

        def analyze(self, media: object) -> tuple[()]:
            raise RuntimeError("out of luck")

    others = [a for a in analyzers() if a.info.name == "provenance.generators"]
    report = assay.analyze(portrait, analyzers=[Broken(), *others])
    assert [(s.what, s.code) for s in report.coverage.skipped] == [("image.noise", "failed")]
    assert "out of luck" in report.coverage.skipped[0].why
    assert [a.analyzer for a in report.coverage.analysed] == ["provenance.generators"]


def test_public_names() -> None:
    assert sorted(assay.__all__) == [
        "AssayError",
        "Finding",
        "Limits",
        "Report",
        "Verdict",
        "__version__",
        "analyze",
    ]
    for name in assay.__all__:
        assert getattr(assay, name) is not None
    with pytest.raises(AttributeError, match="nonsense"):
        assay.nonsense  # noqa: B018
