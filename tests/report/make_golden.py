"""Writes the golden reports and their renderings into tests/golden.

    python tests/report/make_golden.py              text and HTML from the stored documents
    python tests/report/make_golden.py --documents  also the documents themselves

Look at the diff before you commit it: a change of a rendering is a change for readers, and
a change of a document may break stored reports.
"""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from pathlib import Path

from assay.findings import Claim, Grid, Kind, ModelRef, Question, Series, Strength, Where
from assay.fusion.calibration import posterior, spread
from assay.limits import Limits
from assay.media import Audio, Image, Video, decode
from assay.report import pictures
from assay.report.as_html import to_html
from assay.report.as_json import load, to_json
from assay.report.as_text import to_text
from assay.report.document import (
    SCHEMA_VERSION,
    Analysed,
    Attribution,
    Conflict,
    Coverage,
    Decision,
    Engine,
    Evidence,
    Face,
    Hypothesis,
    Interval,
    MediaFacts,
    Picture,
    ProvenanceSummary,
    Report,
    Scope,
    Skipped,
    Span,
    Verdict,
)

GOLDEN = Path(__file__).parents[1] / "golden"
SAMPLES = Path(__file__).parents[1] / "media" / "samples"

FACES = ModelRef(name="faces-example", version=1, sha256="a1" * 32, licence="Apache-2.0")
SPEECH = ModelRef(name="speech-example", version=2, sha256="b2" * 32, licence="MIT")
NETWORK_LIMIT = "Faces unlike those of the validation sources can be misjudged."


def _weighed(report: Report, *hypotheses: Hypothesis) -> Report:
    """``report`` with the probability that follows from ``hypotheses``."""
    return replace(
        report,
        hypotheses=hypotheses,
        probability=posterior(hypotheses, report.prior),
        interval=Interval(
            low=posterior(hypotheses, report.prior, shift=-spread(report.scope.ood_score)),
            high=posterior(hypotheses, report.prior, shift=spread(report.scope.ood_score)),
        ),
    )


def _report(name: str, media: MediaFacts, **given: object) -> Report:
    plain: dict[str, object] = {
        "schema_version": SCHEMA_VERSION,
        "analysis_id": f"{name:0<32.32}",
        "created_at": "2026-11-24T12:00:00+00:00",
        "media": media,
        "verdict": Verdict.INCONCLUSIVE,
        "headline": "The evidence is too weak to say.",
        "probability": None,
        "interval": None,
        "prior": 0.5,
        "decision": Decision(policy="assay-1", stated_fpr=None, stated_fnr=None),
        "reasons": (),
        "scope": Scope(in_scope=True),
        "coverage": Coverage(),
        "hypotheses": (),
        "evidence": (),
        "conflicts": (),
        "attribution": Attribution(),
        "timeline": (),
        "faces": (),
        "provenance": ProvenanceSummary(),
        "pictures": (),
        "engine": Engine(version="0.1.0", config_sha256="c0" * 32),
        "timing": {"decode": 0.021, "analyze": 1.84, "report": 0.033},
    }
    return Report(**{**plain, **given})  # type: ignore[arg-type]


def _bump(rows: int, columns: int, row: float, column: float, size: float) -> Grid:
    values = tuple(
        round(math.exp(-((r - row) ** 2 + (c - column) ** 2) / (2 * size**2)), 3)
        for r in range(rows)
        for c in range(columns)
    )
    meaning = "High values mark where the network found most of its evidence, not what was altered."
    return Grid(rows=rows, columns=columns, values=values, meaning=meaning)


def still_with_faces(image: Image) -> Report:
    left, right = (150.0, 40.0, 150.0, 150.0), (330.0, 250.0, 110.0, 110.0)
    evidence = (
        Evidence(
            id="e1", analyzer="provenance.metadata", code="metadata.camera", kind=Kind.PROVENANCE,
            claim=Claim.NEUTRAL, because="The file carries no camera data.",
            limits=("Most services remove camera data on upload.",),
        ),
        Evidence(
            id="e2", analyzer="image.jpeg", code="jpeg.ghost", kind=Kind.STRUCTURE,
            claim=Claim.MANIPULATED,
            because="One area was compressed at another quality than the rest of the picture.",
            question=Question.LOCAL_EDIT, raw_score=0.61,
            where=Where(box=(140.0, 30.0, 170.0, 180.0)),
            grid=_bump(24, 24, 6.0, 10.5, 3.0),
            limits=("Captions, logos and collages leave the same trace.",),
            data={"quality_outside": 92, "quality_inside": 71},
        ),
        Evidence(
            id="e3", analyzer="image.faces", code="faces.face", kind=Kind.MODEL,
            claim=Claim.MANIPULATED,
            because="Face 1 shows traces that the face network knows from swapped faces.",
            question=Question.FACE_MANIPULATION, group="faces", raw_score=4.21,
            curve="faces-example-v1", llr=4.6, where=Where(box=left, face=0), model=FACES,
            grid=_bump(14, 14, 8.0, 7.0, 2.4), limits=(NETWORK_LIMIT,),
            data={"detector_score": 0.9981, "faces_found": 2},
        ),
        Evidence(
            id="e4", analyzer="image.faces", code="faces.face", kind=Kind.MODEL,
            claim=Claim.NEUTRAL, because="Face 2 is too small to be judged: 31 pixels wide.",
            question=Question.FACE_MANIPULATION, group="faces",
            where=Where(box=right, face=1), model=FACES, limits=(NETWORK_LIMIT,),
            data={"not_applicable": "too_small", "faces_found": 2},
        ),
    )  # fmt: skip
    report = _report(
        "stillwithfaces",
        MediaFacts(
            name="minister-handshake.png", sha256=image.source.sha256, kind="image", format="png",
            mime="image/png", bytes=image.source.size, extension_matches=True,
            width=image.width, height=image.height, pdq="5e" * 32,
        ),
        verdict=Verdict.MANIPULATED,
        headline="Strong signs of a manipulated or generated face.",
        decision=Decision(policy="assay-1", stated_fpr=0.01, stated_fnr=0.42),
        reasons=(evidence[2].because, "Not tested: a picture or film made by a generator."),
        scope=Scope(in_scope=True, quality_flags=("Face 2 is small.",)),
        coverage=Coverage(
            analysed=(
                Analysed(analyzer="image.faces", version=1, seconds=0.412, findings=2,
                         question="Was a face replaced, re-enacted or generated?"),
                Analysed(analyzer="image.jpeg", version=1, seconds=0.731, findings=1,
                         question="Was the picture compressed more than once, and where?"),
            ),
            skipped=(
                Skipped(what="image.cfa", code="resampled",
                        why="The picture was resized, which removes the pattern of the sensor."),
            ),
        ),
        evidence=evidence,
        faces=(
            Face(id=0, evidence="e3", box=left, llr=4.6),
            Face(id=1, evidence="e4", box=right, reason=evidence[3].because),
        ),
        pictures=(pictures.preview(image, 360),),
        engine=Engine(version="0.1.0", config_sha256="c0" * 32, models=(FACES,)),
    )  # fmt: skip
    return _weighed(
        report,
        Hypothesis(question=Question.FACE_MANIPULATION, tested=True, share=1 / 3, llr=4.6),
        Hypothesis(question=Question.GENERATED_IMAGE, tested=False, share=4 / 9, llr=0.0),
        Hypothesis(question=Question.LOCAL_EDIT, tested=False, share=2 / 9, llr=0.0),
    )


def _shown(video: Video) -> tuple[Picture, ...]:
    assert video.sound is not None
    return (*pictures.frames(video, 4, 160), *pictures.sound(video.sound))


def video_with_tracks(video: Video) -> Report:
    length = video.duration
    shown = _shown(video)
    seen = shown[1].time
    box = (112.0, 2.0, 78.0, 78.0)
    times = tuple(round(0.2 + 0.3 * i, 2) for i in range(12))
    first = tuple(round(2.5 + math.sin(t * 2), 3) for t in times)
    second = tuple(round(-2.0 + 0.4 * math.cos(t * 3), 3) for t in times)
    meaning = "Score of the face network at each judged frame; above 0 leans to manipulated."
    evidence = (
        Evidence(
            id="e1", analyzer="video.editing", code="editing.repeat", kind=Kind.STRUCTURE,
            claim=Claim.MANIPULATED, because="The picture stands still for half a second.",
            question=Question.VIDEO_EDIT, raw_score=0.5, where=Where(start=1.5, end=2.0),
            limits=("Screen recordings stand still too.",),
        ),
        Evidence(
            id="e2", analyzer="video.faces", code="faces.track", kind=Kind.MODEL,
            claim=Claim.MANIPULATED,
            because="Person 1 shows traces of a swapped face in most of the frames looked at.",
            question=Question.FACE_MANIPULATION, group="faces", raw_score=2.61,
            curve="faces-example-v1", llr=2.1,
            where=Where(box=box, start=0.2, end=round(length - 0.3, 2), track=0), model=FACES,
            grid=_bump(14, 14, 9.0, 6.0, 3.0),
            series=Series(times=times, values=first, meaning=meaning),
            limits=(NETWORK_LIMIT,), data={"box_time": seen, "frames": 12},
        ),
        Evidence(
            id="e3", analyzer="video.faces", code="faces.track", kind=Kind.MODEL,
            claim=Claim.AUTHENTIC, because="Nothing unusual was found in the face of person 2.",
            question=Question.FACE_MANIPULATION, group="faces", raw_score=-2.0,
            curve="faces-example-v1", llr=-1.9,
            where=Where(box=(220.0, 70.0, 60.0, 60.0), start=0.2, end=2.5, track=1), model=FACES,
            series=Series(times=times, values=second, meaning=meaning), limits=(NETWORK_LIMIT,),
            data={"box_time": 0.72, "frames": 12},
        ),
    )  # fmt: skip
    report = _report(
        "videowithtracks",
        MediaFacts(
            name="interview.mp4", sha256=video.source.sha256, kind="video", format="mp4",
            mime="video/mp4", bytes=video.source.size, extension_matches=True, codec=video.codec,
            width=video.width, height=video.height, duration=length,
            frame_rate=video.frame_rate, sample_rate=16_000, channels=1,
        ),
        verdict=Verdict.SUSPICIOUS,
        headline="Signs of a manipulated or generated face, not enough for a verdict.",
        prior=0.2,
        decision=Decision(policy="assay-1", stated_fpr=0.02, stated_fnr=0.55),
        reasons=(evidence[1].because, "Not tested: cut or joined sound."),
        coverage=Coverage(
            analysed=(
                Analysed(analyzer="video.faces", version=1, seconds=4.02, findings=2,
                         question="Was a face in the video replaced, re-enacted or generated?"),
            ),
            skipped=(
                Skipped(what="audio.synthetic", code="too_little_speech",
                        why="There is less than two seconds of speech."),
            ),
            truncated=("12 of 120 frames were put to the face network.",),
        ),
        evidence=evidence,
        timeline=(
            Span(start=0.2, end=round(length - 0.3, 2), evidence="e2", label="faces.track"),
            Span(start=1.5, end=2.0, evidence="e1", label="editing.repeat"),
        ),
        faces=(
            Face(id=0, evidence="e2", box=box, time=seen, llr=2.1),
            Face(id=1, evidence="e3", box=(220.0, 70.0, 60.0, 60.0), time=0.72, llr=-1.9),
        ),
        pictures=shown,
        engine=Engine(version="0.1.0", config_sha256="c0" * 32, models=(FACES,)),
    )  # fmt: skip
    return _weighed(
        report,
        Hypothesis(question=Question.AUDIO_EDIT, tested=False, share=0.1, llr=0.0),
        Hypothesis(question=Question.FACE_MANIPULATION, tested=True, share=0.3, llr=1.42),
        Hypothesis(question=Question.GENERATED_IMAGE, tested=False, share=0.4, llr=0.0),
        Hypothesis(question=Question.SYNTHETIC_SPEECH, tested=False, share=0.1, llr=0.0),
        Hypothesis(question=Question.VIDEO_EDIT, tested=False, share=0.1, llr=0.0),
    )


def sound_with_spans(audio: Audio) -> Report:
    evidence = (
        Evidence(
            id="e1", analyzer="audio.editing", code="audio.digital_silence", kind=Kind.STRUCTURE,
            claim=Claim.MANIPULATED,
            because="A quarter of a second of exact zeros lies within the recording.",
            question=Question.AUDIO_EDIT, raw_score=0.25, where=Where(start=1.1, end=1.35),
            limits=("Voice mail and conference systems insert exact zeros as well.",),
        ),
        Evidence(
            id="e2", analyzer="audio.synthetic", code="audio.synthetic", kind=Kind.MODEL,
            claim=Claim.NEUTRAL,
            because="The speech network finds the speech neither clearly natural nor clearly made.",
            question=Question.SYNTHETIC_SPEECH, group="speech", raw_score=0.31,
            curve="speech-example-v2", llr=0.35, where=Where(start=0.0, end=2.8), model=SPEECH,
            series=Series(
                times=(0.4, 0.9, 1.4, 1.9, 2.4), values=(-0.4, 0.2, 1.1, 0.6, -0.1),
                meaning="Score of the network around this time; higher is more like a machine.",
            ),
            limits=("Telephone sound hides what the network looks for.",),
        ),
        Evidence(
            id="e3", analyzer="audio.synthetic", code="audio.synthetic.segment", kind=Kind.MODEL,
            claim=Claim.NEUTRAL, because="The highest score of the recording lies here.",
            where=Where(start=1.2, end=2.1), model=SPEECH,
        ),
    )  # fmt: skip
    report = _report(
        "soundwithspans",
        MediaFacts(
            name="voice-message.flac", sha256=audio.source.sha256, kind="audio", format="flac",
            mime="audio/flac", bytes=audio.source.size, extension_matches=True, codec="flac",
            duration=audio.duration, sample_rate=audio.rate, channels=audio.channels,
        ),
        decision=Decision(policy="assay-1", stated_fpr=0.01, stated_fnr=0.35),
        reasons=("The tests that ran are not strong enough to vouch for it.",),
        scope=Scope(in_scope=False, ood_score=0.97, quality_flags=("Narrow band: up to 3.4 kHz.",)),
        coverage=Coverage(
            analysed=(
                Analysed(analyzer="audio.synthetic", version=1, seconds=0.93, findings=2,
                         question="Was the speech made or converted by a machine?"),
            ),
        ),
        evidence=evidence,
        timeline=(
            Span(start=0.0, end=2.8, evidence="e2", label="audio.synthetic"),
            Span(start=1.1, end=1.35, evidence="e1", label="audio.digital_silence"),
            Span(start=1.2, end=2.1, evidence="e3", label="audio.synthetic.segment"),
        ),
        pictures=pictures.sound(audio),
        engine=Engine(version="0.1.0", config_sha256="c0" * 32, models=(SPEECH,)),
    )  # fmt: skip
    return _weighed(
        report,
        Hypothesis(question=Question.AUDIO_EDIT, tested=False, share=0.2, llr=0.0),
        Hypothesis(question=Question.SYNTHETIC_SPEECH, tested=True, share=0.8, llr=0.35),
    )


def conflicting_credentials(image: Image) -> Report:
    limit = "A credential says what its signer claims; it does not show what happened."
    evidence = (
        Evidence(
            id="e1", analyzer="provenance.credentials", code="credentials.captured",
            kind=Kind.PROVENANCE, claim=Claim.AUTHENTIC, strength=Strength.DECISIVE,
            because="The trusted signer says that the content was captured by a camera "
            "(by Example Camera 3).",
            group="declared_source", limits=(limit,),
            data={"digital_source_type": "digitalCapture", "signer": "Example Camera Maker"},
        ),
        Evidence(
            id="e2", analyzer="provenance.metadata", code="metadata.generator",
            kind=Kind.PROVENANCE, claim=Claim.SYNTHETIC, strength=Strength.STRONG,
            because="The file holds the prompt and settings of an image generator.",
            limits=("Anybody can write such a text into a file.",),
            data={"generator": "Example Diffusion 2", "place": "PNG text",
                  "text": "a rocket on its launch pad, photo, 35 mm"},
        ),
        Evidence(
            id="e3", analyzer="provenance.credentials", code="credentials.state",
            kind=Kind.PROVENANCE, claim=Claim.NEUTRAL,
            because="The file is signed by 'Example Camera Maker'. The signature and the content "
            "hash hold, and the signer's certificate leads to an authority on the trust list of "
            "2026-10-01.",
            limits=(limit,),
            data={"c2pa_state": "trusted", "signature_holds": True, "content_hash_holds": True,
                  "signer": "Example Camera Maker", "failures": [],
                  "trust_list": {"name": "example", "date": "2026-10-01"}},
        ),
    )  # fmt: skip
    return _report(
        "conflictingcredentials",
        MediaFacts(
            name="launch.jpg", sha256=image.source.sha256, kind="image", format="jpeg",
            mime="image/jpeg", bytes=image.source.size, extension_matches=False,
            width=image.width, height=image.height,
        ),
        headline="The evidence contradicts itself; a person has to decide.",
        reasons=(
            evidence[0].because,
            "Two statements about the origin of the file contradict each other.",
        ),
        evidence=evidence,
        conflicts=(
            Conflict(
                between=("e1", "e2"),
                because="Two statements about the origin of the file contradict each other.",
            ),
        ),
        attribution=Attribution(top=("Example Diffusion 2",), unknown=False),
        hypotheses=(
            Hypothesis(question=Question.GENERATED_IMAGE, tested=False, share=2 / 3, llr=0.0),
            Hypothesis(question=Question.LOCAL_EDIT, tested=False, share=1 / 3, llr=0.0),
        ),
        provenance=ProvenanceSummary(
            c2pa_state="trusted", signer="Example Camera Maker",
            digital_source_type="digitalCapture",
        ),
        pictures=(pictures.preview(image, 360),),
    )  # fmt: skip


def not_applicable(image: Image) -> Report:
    return _report(
        "notapplicable",
        MediaFacts(
            name="icon.png", sha256=image.source.sha256, kind="image", format="png",
            mime="image/png", bytes=image.source.size, extension_matches=True,
            width=image.width, height=image.height,
        ),
        verdict=Verdict.NOT_APPLICABLE,
        headline="No test of this program applies to this file.",
        reasons=("No face was found.", "The picture is too small to be tested."),
        coverage=Coverage(
            skipped=(
                Skipped(what="image.faces", code="no_face", why="No face was found."),
                Skipped(what="image.jpeg", code="not_jpeg",
                        why="The picture was never compressed as JPEG, as far as one can tell."),
            ),
        ),
        pictures=(pictures.preview(image, 120),),
    )  # fmt: skip


def documents() -> dict[str, Report]:
    """The golden reports by name, made anew from the sample media."""
    media = {
        name: decode(SAMPLES / name, Limits())
        for name in ("astronaut.png", "portrait.mp4", "speech.flac", "rocket.jpg", "chelsea.png")
    }
    astronaut, rocket, chelsea = media["astronaut.png"], media["rocket.jpg"], media["chelsea.png"]
    assert isinstance(astronaut, Image)
    assert isinstance(rocket, Image)
    assert isinstance(chelsea, Image)
    video, audio = media["portrait.mp4"], media["speech.flac"]
    assert isinstance(video, Video)
    assert isinstance(audio, Audio)
    return {
        "still-with-faces": still_with_faces(astronaut),
        "video-with-tracks": video_with_tracks(video),
        "sound-with-spans": sound_with_spans(audio),
        "conflicting-credentials": conflicting_credentials(rocket),
        "not-applicable": not_applicable(chelsea),
    }


def main() -> None:
    if "--documents" in sys.argv[1:]:
        for name, report in documents().items():
            (GOLDEN / f"{name}.json").write_text(to_json(report, indent=1) + "\n", "utf-8")
    for path in sorted(GOLDEN.glob("*.json")):
        report = load(path)
        path.with_suffix(".txt").write_text(to_text(report, explain=True), "utf-8")
        path.with_suffix(".html").write_text(to_html(report), "utf-8")


if __name__ == "__main__":
    main()
