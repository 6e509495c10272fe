from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image as Pillow
from PIL import ImageCms
from PIL.PngImagePlugin import PngInfo

from assay.limits import Limits
from assay.media import Image, decode

Save = Callable[[str, bytes], Path]
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a/></x:xmpmeta>'
IIM = b"\x1c\x02\x05\x00\x05title"


def picture(path: Path, limits: Limits | None = None) -> Image:
    media = decode(path, limits)
    assert isinstance(media, Image)
    return media


def exif() -> bytes:
    block = Pillow.Exif()
    block[271] = "Maker"
    return block.tobytes()  # with the prefix


ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.mark.parametrize("name", ["jpg", "png", "webp", "avif", "heic"])
def test_blocks_come_out_as_they_went_in(name: str, tmp_path: Path) -> None:
    path = tmp_path / f"m.{name}"
    plain = Pillow.new("RGB", (64, 64), (1, 2, 3))
    if name == "heic":
        import pillow_heif

        pillow_heif.from_pillow(plain).save(path, exif=exif(), xmp=XMP)
    else:
        info = PngInfo()
        info.add_itxt("XML:com.adobe.xmp", XMP.decode())
        extra = {"pnginfo": info} if name == "png" else {"xmp": XMP}
        plain.save(path, exif=exif(), icc_profile=ICC, **extra)
    got = picture(path)
    assert got.exif == exif().removeprefix(b"Exif\0\0")
    assert got.xmp == XMP
    if name != "heic":
        assert got.icc == ICC


def test_real_pictures(astronaut_png: Path, chelsea_png: Path, rocket_jpeg: Path) -> None:
    got = picture(astronaut_png)
    assert (got.exif, got.xmp, got.iptc) == (b"", b"", b"")
    assert got.icc[36:40] == b"acsp"
    assert len(got.texts) == 1
    assert "Photoshop" in got.texts[0][1]
    assert b"<exif:FocalLength>55/1</exif:FocalLength>" in picture(chelsea_png).xmp
    assert picture(rocket_jpeg).icc[36:40] == b"acsp"


def segment(marker: int, data: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data


def with_segments(path: Path, *segments: bytes) -> bytes:
    data = path.read_bytes()
    return data[:2] + b"".join(segments) + data[2:]


def test_jpeg_blocks_in_pieces(save: Save, astronaut_jpeg: Path) -> None:
    resource = b"8BIM\x04\x04\x00\x00" + struct.pack(">I", len(IIM)) + IIM + b"\0" * (len(IIM) % 2)
    other = b"8BIM\x03\xed\x03abc" + struct.pack(">I", 3) + b"xyz\0"
    data = with_segments(
        astronaut_jpeg,
        segment(0xE2, b"ICC_PROFILE\0\x02\x02" + ICC[300:]),
        segment(0xE2, b"ICC_PROFILE\0\x01\x02" + ICC[:300]),
        segment(0xED, b"Photoshop 3.0\0" + other + resource),
        segment(0xFE, "by Zoë".encode()),
        b"\xff\xff" + segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP)[1:],
    )
    got = picture(save("m.jpg", data))
    assert got.icc == ICC
    assert got.iptc == IIM
    assert got.xmp == XMP
    assert got.texts == (("comment", "by Zoë"),)


def test_png_texts(tmp_path: Path) -> None:
    info = PngInfo()
    info.add_text("parameters", "a cat\nSteps: 20")
    info.add_text("Packed", "x" * 5000, zip=True)
    info.add_itxt("Title", "猫", lang="zh", tkey="标题", zip=True)
    info.add_itxt("XML:com.adobe.xmp", XMP.decode())
    path = tmp_path / "t.png"
    Pillow.new("L", (4, 4)).save(path, pnginfo=info)
    got = picture(path)
    assert got.texts == (
        ("parameters", "a cat\nSteps: 20"),
        ("Packed", "x" * 5000),
        ("Title", "猫"),
    )
    assert got.xmp == XMP


def test_png_raw_profiles(save: Save) -> None:
    def raw(name: bytes, data: bytes) -> bytes:
        text = b"\n" + name + b"\n%8d\n" % len(data) + data.hex().encode() + b"\n"
        body = b"Raw profile type " + name + b"\0\0" + zlib.compress(text)
        return (
            struct.pack(">I", len(body))
            + b"zTXt"
            + body
            + struct.pack(">I", zlib.crc32(b"zTXt" + body))
        )

    out = io.BytesIO()
    Pillow.new("L", (4, 4)).save(out, "PNG")
    png = out.getvalue()
    resource = b"8BIM\x04\x04\x00\x00" + struct.pack(">I", len(IIM)) + IIM
    data = png[:33] + raw(b"exif", exif()) + raw(b"iptc", resource) + raw(b"xmp", XMP) + png[33:]
    got = picture(save("r.png", data))
    assert got.exif == exif()[6:]
    assert got.iptc == IIM
    assert got.xmp == XMP


def test_tiff_tags(tmp_path: Path) -> None:
    path = tmp_path / "t.tif"
    Pillow.new("RGB", (4, 4)).save(
        path, tiffinfo={305: "Some Editor 1", 700: XMP, 33723: IIM}, icc_profile=ICC
    )
    got = picture(path)
    assert got.xmp == XMP
    assert got.icc == ICC
    assert got.iptc.startswith(IIM)
    assert ("Software", "Some Editor 1") in got.texts


def test_metadata_beyond_the_limit_is_left_out_and_declared(tmp_path: Path) -> None:
    info = PngInfo()
    info.add_text("a", "1" * 600)
    info.add_text("b", "2" * 600)
    path = tmp_path / "big.png"
    Pillow.new("L", (4, 4)).save(path, pnginfo=info)
    got = picture(path, Limits(max_metadata_bytes=1000))
    assert [key for key, _ in got.texts] == ["a"]
    assert any("metadata" in note for note in got.notes)
