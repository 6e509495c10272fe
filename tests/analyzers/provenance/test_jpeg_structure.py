"""Tables against those that Pillow and OpenCV write; structure against tags."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

from assay.analyzers.checks import check_analyzer, check_answer
from assay.analyzers.provenance.jpeg_segments import read_jpeg, standard_quality
from assay.analyzers.provenance.jpeg_structure import JpegStructure
from assay.findings import Claim, Finding, NotApplicable
from assay.media import decode

from .conftest import encoded, scene

pytestmark = pytest.mark.disable_socket

Write = Callable[[bytes, str], Path]


def findings(path: Path) -> dict[str, Finding]:
    analyzer = JpegStructure()
    media = decode(path)
    answer = analyzer.analyze(media)
    check_answer(analyzer.info, media, answer)
    assert isinstance(answer, tuple)
    assert all(f.claim is Claim.NEUTRAL for f in answer)
    return {f.code.removeprefix("jpeg.structure."): f for f in answer}


def test_the_contract() -> None:
    check_analyzer(JpegStructure())


@pytest.mark.parametrize("quality", [1, 10, 49, 50, 51, 75, 88, 95, 99, 100])
def test_quality_as_pillow_and_opencv_write_it(quality: int) -> None:
    ours = read_jpeg(encoded(scene(), quality=quality))
    assert ours is not None
    assert standard_quality(ours.tables) == quality
    done, data = cv2.imencode(".jpg", np.asarray(scene()), [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done
    theirs = read_jpeg(data.tobytes())
    assert theirs is not None
    assert standard_quality(theirs.tables) == quality


def test_tables_agree_with_pillow() -> None:
    data = encoded(scene(), quality=83)
    ours = read_jpeg(data)
    assert ours is not None
    with Pillow.open(io.BytesIO(data)) as picture:
        tables = picture.quantization  # type: ignore[attr-defined]
    assert {n: list(t) for n, t in ours.tables.items()} == {n: list(t) for n, t in tables.items()}


@pytest.mark.parametrize(("number", "name"), [(0, "4:4:4"), (1, "4:2:2"), (2, "4:2:0")])
def test_subsampling(number: int, name: str) -> None:
    found = read_jpeg(encoded(scene(), subsampling=number))
    assert found is not None
    assert found.subsampling == name


def test_grey_progressive_restart(write: Write) -> None:
    data = encoded(scene().convert("L"), progressive=True, restart_marker_blocks=4)
    data_of = findings(write(data, "a.jpg"))["encoder"].data
    assert (data_of["process"], data_of["subsampling"]) == ("progressive", "grey")
    assert data_of["restart_interval"] == 4
    assert isinstance(data_of["scans"], int)
    assert data_of["scans"] > 1


def test_own_tables_have_no_quality(write: Write) -> None:
    data = encoded(scene(), qtables=[[7] * 64, [9] * 64])
    found = findings(write(data, "a.jpg"))["encoder"]
    assert found.data["ijg_quality"] is None
    assert "tables of its own" in found.because


def test_camera_tags_in_a_file_of_software(write: Write) -> None:
    exif = Pillow.Exif()
    exif[0x010F], exif[0x0110] = "Examplecam", "X1"
    found = findings(write(encoded(scene(), exif=exif.tobytes(), quality=90), "a.jpg"))
    assert "saved again by software" in found["resaved"].because
    assert "resaved" not in findings(write(encoded(scene()), "b.jpg"))


def test_as_a_camera_writes_it_is_not_called_saved_again(write: Write) -> None:
    """Exif first, tables of its own, a maker note."""
    exif = Pillow.Exif()
    exif[0x010F], exif[0x0110] = "Examplecam", "X1"
    exif.get_ifd(0x8769)[0x927C] = b"maker's own notes"
    data = encoded(scene(), exif=exif.tobytes(), qtables=[[7] * 64, [9] * 64])
    jfif = data.find(b"\xff\xe0")
    length = int.from_bytes(data[jfif + 2 : jfif + 4], "big")
    data = data[:jfif] + data[jfif + 2 + length :]
    assert "resaved" not in findings(write(data, "a.jpg"))


@pytest.mark.parametrize(
    ("tail", "what"),
    [
        (b"\0\0\0\x18ftypmp42" + bytes(40), "video"),
        (encoded(scene(32, 32)), "further JPEG"),
        (b"PK\x03\x04" + bytes(40), "archive"),
        (b"hello, this is something else", "other data"),
    ],
)
def test_what_follows_the_picture(write: Write, tail: bytes, what: str) -> None:
    found = findings(write(encoded(scene()) + tail, "a.jpg"))["trailing"]
    assert what in found.because
    assert found.data["bytes"] == len(tail)


def test_incomplete(write: Write) -> None:
    data = encoded(scene(400, 300))
    assert "incomplete" in findings(write(data[:-200], "a.jpg"))
    assert "incomplete" not in findings(write(data, "b.jpg"))


def test_other_formats(write: Write) -> None:
    answer = JpegStructure().analyze(decode(write(encoded(scene(), "PNG"), "a.png")))
    assert isinstance(answer, NotApplicable)
