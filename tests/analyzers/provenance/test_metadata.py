"""Tags written by Pillow, read by our own reader; contradictions made on purpose."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image as Pillow

from assay.analyzers.checks import check_analyzer, check_answer
from assay.analyzers.provenance.exif import read_exif
from assay.analyzers.provenance.metadata import Metadata
from assay.analyzers.provenance.xmp import read_iptc, read_xmp
from assay.findings import Claim, Finding, NotApplicable, Strength
from assay.media import decode

from .conftest import IPTC, encoded, scene

pytestmark = pytest.mark.disable_socket

Write = Callable[[bytes, str], Path]

XMP = """<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF
 xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""
 xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
 xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/" xmlns:xmp="http://ns.adobe.com/xap/1.0/"
 xmlns:xmpMM="http://ns.adobe.com/xap/1.0/mm/" xmlns:TC260="http://www.tc260.org.cn/ns/AIGC/1.0/"
 xmlns:stEvt="http://ns.adobe.com/xap/1.0/sType/ResourceEvent#"{}>{}</rdf:Description></rdf:RDF>
</x:xmpmeta><?xpacket end="w"?>"""


def findings(path: Path) -> dict[str, Finding]:
    analyzer = Metadata()
    media = decode(path)
    answer = analyzer.analyze(media)
    check_answer(analyzer.info, media, answer)
    assert isinstance(answer, tuple)
    return {f.code: f for f in answer}


def with_xmp(write: Write, attributes: str = "", inside: str = "") -> dict[str, Finding]:
    packet = XMP.format(" " + attributes, inside).encode()
    return findings(write(encoded(scene(), xmp=packet), "a.jpg"))


def camera(**extra: object) -> Pillow.Exif:
    exif = Pillow.Exif()
    exif[0x010F], exif[0x0110] = "Examplecam", "Examplecam X1"
    sub = exif.get_ifd(0x8769)
    sub[0x829A], sub[0x829D], sub[0x8827] = 0.01, 2.8, 200
    sub.update({int(k[1:], 16): v for k, v in extra.items() if k.startswith("x")})
    return exif


def with_exif(write: Write, exif: Pillow.Exif) -> dict[str, Finding]:
    return findings(write(encoded(scene(), exif=exif.tobytes()), "a.jpg"))


def test_the_contract() -> None:
    check_analyzer(Metadata())


def test_without_tags_there_is_nothing_to_say(write: Write) -> None:
    answer = Metadata().analyze(decode(write(encoded(scene(), "PNG"), "a.png")))
    assert isinstance(answer, NotApplicable)
    assert answer.code == "no_metadata"


@pytest.mark.parametrize("as_element", [True, False])
@pytest.mark.parametrize(
    ("key", "code", "claim", "strength"),
    [
        ("trainedAlgorithmicMedia", "metadata.generated", Claim.SYNTHETIC, Strength.STRONG),
        (
            "compositeWithTrainedAlgorithmicMedia",
            "metadata.composite",
            Claim.MANIPULATED,
            Strength.STRONG,
        ),
        ("digitalCapture", "metadata.capture", Claim.AUTHENTIC, Strength.WEAK),
        ("screenCapture", "metadata.drawn", Claim.NEUTRAL, Strength.NONE),
        ("humanEdits", "metadata.edited", Claim.NEUTRAL, Strength.NONE),
    ],
)
def test_declared_source(
    write: Write, key: str, code: str, claim: Claim, strength: Strength, as_element: bool
) -> None:
    name = "Iptc4xmpExt:DigitalSourceType"
    if as_element:
        found = with_xmp(write, "", f"<{name}>{IPTC}{key}</{name}>")
    else:
        found = with_xmp(write, f'{name}="{IPTC}{key}"')
    assert (found[code].claim, found[code].strength) == (claim, strength)
    assert found[code].data["digital_source_type"] == key


def test_generator_fields(write: Write) -> None:
    found = with_xmp(write, 'Iptc4xmpExt:AISystemUsed="Example Model 3"')
    assert found["metadata.generator_fields"].data["generator"] == "Example Model 3"


def test_credit_line(write: Write) -> None:
    found = with_xmp(write, 'photoshop:Credit="Made with Google AI"')["metadata.credit"]
    assert (found.claim, found.data["generator"]) == (Claim.SYNTHETIC, "Google AI")
    assert with_xmp(write, 'photoshop:Credit="Courtesy of OpenAI"') == {}


def test_label_of_generated_content(write: Write) -> None:
    text = "{&quot;Label&quot;:&quot;1&quot;,&quot;ContentProducer&quot;:&quot;p&quot;}"
    assert with_xmp(write, f'TC260:AIGC="{text}"')["metadata.label"].claim is Claim.SYNTHETIC
    maybe = text.replace("1", "2")
    assert with_xmp(write, f'TC260:AIGC="{maybe}"')["metadata.label"].claim is Claim.NEUTRAL


def test_software_and_history(write: Write) -> None:
    history = (
        '<xmpMM:History><rdf:Seq><rdf:li stEvt:action="saved" '
        'stEvt:softwareAgent="Adobe Photoshop 26.1"/></rdf:Seq></xmpMM:History>'
    )
    found = with_xmp(write, 'xmp:CreatorTool="Adobe Photoshop 26.1"', history)["metadata.software"]
    assert found.claim is Claim.NEUTRAL
    assert found.data["programs"] == ["Adobe Photoshop 26.1"]
    assert found.data["steps"] == ["saved"]


def test_camera_is_weak(write: Write) -> None:
    found = with_exif(write, camera())["metadata.camera"]
    assert (found.claim, found.strength) == (Claim.AUTHENTIC, Strength.WEAK)
    assert "Examplecam X1" in found.because


def test_dimensions(write: Write) -> None:
    found = with_exif(write, camera(xA002=4000, xA003=3000))["metadata.dimensions"]
    assert found.data["stored"] == [160, 120]
    assert "metadata.dimensions" not in with_exif(write, camera(xA002=160, xA003=120))


@pytest.mark.parametrize(
    ("original", "changed", "word"),
    [
        ("2095:01:01 10:00:00", "", "future"),
        ("2020:05:05 10:00:00", "2019:05:05 10:00:00", "before the capture"),
        ("2020:15:05 10:00:00", "", "not a date"),
        ("1970:01:01 00:00:00", "", "before digital cameras"),
    ],
)
def test_dates(write: Write, original: str, changed: str, word: str) -> None:
    exif = camera(x9003=original)
    if changed:
        exif[0x0132] = changed
    assert word in with_exif(write, exif)["metadata.dates"].because


def test_good_dates_are_silent(write: Write) -> None:
    exif = camera(x9003="2020:05:05 10:00:00")
    exif[0x0132] = "2021:05:05 10:00:00"
    assert "metadata.dates" not in with_exif(write, exif)
    assert "metadata.dates" not in with_exif(write, camera(x9003="0000:00:00 00:00:00"))


@pytest.mark.parametrize(
    ("latitude", "says"), [((95.0, 0.0, 0.0), "not on the globe"), ((0.0, 0.0, 0.0), "0, 0")]
)
def test_position(write: Write, latitude: tuple[float, ...], says: str) -> None:
    exif = camera()
    exif.get_ifd(0x8825).update({1: "N", 2: latitude, 3: "E", 4: (0.0, 0.0, 0.0)})
    assert says in with_exif(write, exif)["metadata.position"].because


def _with_thumbnail(preview: Pillow.Image) -> bytes:
    """An EXIF block with a preview in its second directory, built by hand."""
    data = encoded(preview, quality=80)
    second = 8 + 2 + 12 + 4
    start = second + 2 + 24 + 4
    head = b"II*\0" + struct.pack("<I", 8)
    first = struct.pack("<HHHIII", 1, 0x0112, 4, 1, 1, second)
    ifd1 = struct.pack("<HHHIIHHIII", 2, 0x0201, 4, 1, start, 0x0202, 4, 1, len(data), 0)
    return b"Exif\0\0" + head + first + ifd1 + data


def test_thumbnail_of_another_picture(write: Write) -> None:
    picture = scene(640, 480, seed=0)
    same = findings(write(encoded(picture, exif=_with_thumbnail(scene())), "a.jpg"))
    assert "metadata.thumbnail" not in same
    other = findings(write(encoded(picture, exif=_with_thumbnail(scene(seed=5))), "b.jpg"))
    found = other["metadata.thumbnail"]
    assert (found.claim, found.strength) == (Claim.MANIPULATED, Strength.WEAK)


def test_thumbnail_turned_or_letterboxed_is_no_contradiction(write: Write) -> None:
    turned = scene(640, 480).transpose(Pillow.Transpose.ROTATE_90)
    assert "metadata.thumbnail" not in findings(
        write(encoded(turned, exif=_with_thumbnail(scene())), "a.jpg")
    )
    barred = Pillow.new("RGB", (160, 120))
    barred.paste(scene(160, 106), (0, 7))
    assert "metadata.thumbnail" not in findings(
        write(encoded(scene(600, 400), exif=_with_thumbnail(barred)), "b.jpg")
    )


def test_exif_agrees_with_pillow() -> None:
    exif = camera(x9003="2020:05:05 10:00:00", xA002=4000)
    exif[0x0131] = "Some Software"
    ours = read_exif(exif.tobytes())
    assert ours.text("Make") == exif[0x010F]
    assert ours.text("Software") == exif[0x0131]
    assert ours.text("DateTimeOriginal") == exif.get_ifd(0x8769)[0x9003]
    assert ours.number("PixelXDimension") == exif.get_ifd(0x8769)[0xA002]
    assert ours.number("FNumber") == pytest.approx(2.8)
    assert not ours.damaged


def test_circle_of_directories_ends() -> None:
    block = b"II*\0\x08\0\0\0" + b"\0\0" + b"\x08\0\0\0" + bytes(8)
    assert read_exif(block).tags == {}


def test_entities_are_not_expanded() -> None:
    bomb = b'<!DOCTYPE a [<!ENTITY b "bbbb">]><a xmlns="urn:x">&b;</a>'
    assert read_xmp(bomb) == {}


def test_iptc() -> None:
    text = b"FBMD0001"
    block = b"\x1c\x02\x28" + len(text).to_bytes(2, "big") + text
    assert read_iptc(block) == {"instructions": "FBMD0001"}
    assert read_iptc(block[:-3]) == {"instructions": "FBMD0"}
