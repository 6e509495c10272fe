from __future__ import annotations

import io
import struct
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow
from PIL import ImageCms

from assay.errors import Corrupt, TooLarge, Unsupported
from assay.limits import Limits
from assay.media import Image, decode

Save = Callable[[str, bytes], Path]


def picture(path: Path, limits: Limits | None = None) -> Image:
    media = decode(path, limits)
    assert isinstance(media, Image)
    assert media.pixels.dtype == np.uint8
    assert media.pixels.ndim == 3
    assert media.pixels.shape[2] == 3
    assert not media.pixels.flags.writeable
    if media.alpha is not None:
        assert media.alpha.shape == media.pixels.shape[:2]
    return media


def opencv(path: Path) -> np.ndarray:
    """As OpenCV decodes it, an implementation apart from Pillow's."""
    found = cv2.imdecode(
        np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    )
    return found[..., ::-1]


@pytest.mark.parametrize("name", ["png", "bmp", "tif", "webp"])
def test_lossless_pixels_are_those_of_opencv(name: str, tmp_path: Path, chelsea_png: Path) -> None:
    path = tmp_path / f"cat.{name}"
    options = {"lossless": True, "exact": True} if name == "webp" else {}
    with Pillow.open(chelsea_png) as im:
        im.convert("RGB").save(path, **options)
    got = picture(path)
    assert np.array_equal(got.pixels, opencv(path))
    assert (got.width, got.height) == (451, 300)
    assert (got.stored_width, got.stored_height) == (451, 300)
    assert got.notes == ()


def test_jpeg_pixels_are_close_to_those_of_opencv(astronaut_jpeg: Path) -> None:
    got = picture(astronaut_jpeg).pixels.astype(int)
    assert np.abs(got - opencv(astronaut_jpeg)).max() <= 2


@pytest.mark.parametrize("form", ["heic", "avif"])
def test_heif_pixels_are_close_to_the_original(
    form: str, tmp_path: Path, astronaut_png: Path
) -> None:
    import pillow_heif

    path = tmp_path / f"face.{form}"
    with Pillow.open(astronaut_png) as im:
        plain = im.convert("RGB").crop((128, 0, 320, 192))
    if form == "heic":
        pillow_heif.from_pillow(plain).save(path, quality=90)
    else:
        plain.save(path, quality=90)
    got = picture(path)
    assert got.source.format == form
    error = got.pixels.astype(float) - np.asarray(plain)
    assert np.sqrt((error**2).mean()) < 6


def test_sixteen_bits_keep_their_high_byte(tmp_path: Path) -> None:
    deep = np.random.default_rng(1).integers(0, 65536, (20, 30, 3)).astype(np.uint16)
    path = tmp_path / "deep.png"
    cv2.imwrite(str(path), deep)
    got = picture(path)
    assert got.bit_depth == 16
    assert np.array_equal(got.pixels, (deep >> 8)[..., ::-1])
    cv2.imwrite(str(path), deep[..., 0])
    got = picture(path)
    assert got.bit_depth == 16
    assert np.array_equal(got.pixels, np.repeat((deep[..., :1] >> 8), 3, axis=2))
    tiff = tmp_path / "deep.tif"
    Pillow.fromarray(deep[..., 0]).save(tiff)
    assert np.array_equal(picture(tiff).pixels[..., 0], deep[..., 0] >> 8)
    assert picture(tiff).bit_depth == 16


def test_floating_point_samples(tmp_path: Path) -> None:
    path = tmp_path / "f.tif"
    unit = np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16)
    Pillow.fromarray(unit).save(path)
    got = picture(path)
    assert np.array_equal(got.pixels[..., 1].reshape(-1), np.arange(256))
    assert got.notes == ()
    wild = unit * 1000 - 300
    wild[0, 0] = np.nan
    wild[0, 1] = np.inf
    Pillow.fromarray(wild).save(path)
    got = picture(path)
    assert any("scaled" in note for note in got.notes)
    assert got.pixels.max() == 255


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB"])
def test_every_colour_mode(mode: str, tmp_path: Path, chelsea_png: Path) -> None:
    path = tmp_path / "mode.tif"
    with Pillow.open(chelsea_png) as im:
        small = im.convert("RGB").resize((64, 48))
    if mode == "LAB":
        lab = ImageCms.createProfile("LAB")
        turned = ImageCms.profileToProfile(
            small, ImageCms.createProfile("sRGB"), lab, outputMode="LAB"
        )
        assert turned is not None
        turned.save(path)
    else:
        small.convert(mode).save(path)
    got = picture(path)
    assert got.mode == mode
    assert (got.alpha is not None) == (mode in ("LA", "RGBA"))
    rough = np.asarray(small, float)
    if mode in ("1", "L", "LA"):
        rough = np.repeat(np.asarray(small.convert("L"), float)[..., None], 3, axis=2)
    bound = {"1": 130, "P": 40}.get(mode, 4)
    assert np.sqrt(((got.pixels - rough) ** 2).mean()) < bound


def test_palette_and_alpha(tmp_path: Path) -> None:
    colours = np.zeros((8, 8, 4), np.uint8)
    colours[..., 0] = 200
    colours[..., 3] = np.arange(64).reshape(8, 8) * 4
    path = tmp_path / "a.png"
    Pillow.fromarray(colours).save(path)
    got = picture(path)
    assert got.alpha is not None
    assert np.array_equal(got.alpha, colours[..., 3])
    assert np.array_equal(got.pixels, colours[..., :3]), "colours are not composited"
    keyed = Pillow.fromarray(np.array([[0, 1], [1, 0]], np.uint8), "P")
    keyed.putpalette([255, 0, 0, 0, 0, 255])
    keyed.save(path, transparency=1)
    got = picture(path)
    assert got.pixels[0, 0].tolist() == [255, 0, 0]
    assert got.alpha is not None
    assert got.alpha.tolist() == [[255, 0], [0, 255]]


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("name", ["jpg", "tif", "webp", "png", "avif"])
def test_orientation(turn: int, name: str, tmp_path: Path) -> None:
    """Against Pillow's own exif_transpose."""
    from PIL import ImageOps

    ramp = np.zeros((48, 80, 3), np.uint8)
    ramp[:24, :, 0] = 220
    ramp[:, :40, 1] = 220
    exif = Pillow.Exif()
    exif[274] = turn
    path = tmp_path / f"t.{name}"
    options = {"quality": 95} if name in ("jpg", "webp", "avif") else {}
    Pillow.fromarray(ramp).save(path, exif=exif, **options)
    got = picture(path)
    with Pillow.open(path) as im:
        wanted = np.asarray(ImageOps.exif_transpose(im).convert("RGB"))
    assert got.pixels.shape == wanted.shape
    assert np.array_equal(got.pixels, wanted)
    assert got.orientation == turn
    assert (got.stored_width, got.stored_height) == (80, 48)


def display_p3() -> bytes:
    """A small matrix profile with the primaries of Display P3 (ICC.1:2022, 8.3), gamma 2.2."""

    def xyz(values: tuple[float, float, float]) -> bytes:
        return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(v * 65536) for v in values))

    tags = {
        b"rXYZ": xyz((0.5151, 0.2412, -0.0011)),
        b"gXYZ": xyz((0.2920, 0.6922, 0.0419)),
        b"bXYZ": xyz((0.1571, 0.0666, 0.7841)),
        b"wtpt": xyz((0.9642, 1.0, 0.8249)),
        **dict.fromkeys(
            (b"rTRC", b"gTRC", b"bTRC"),
            b"curv\0\0\0\0" + struct.pack(">IH", 1, round(2.2 * 256)) + b"\0\0",
        ),
    }
    body, table = b"", b""
    start = 128 + 4 + 12 * len(tags)
    for name, data in tags.items():
        table += name + struct.pack(">II", start + len(body), len(data))
        body += data
    head = struct.pack(">I4sI4s4s4s", start + len(body), b"lcms", 0x02400000, b"mntr", b"RGB ",
                       b"XYZ ") + b"\0" * 12 + b"acsp"  # fmt: skip
    head = head.ljust(68, b"\0") + struct.pack(">3i", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def test_colour_profiles_become_srgb(tmp_path: Path) -> None:
    flat = np.zeros((8, 8, 3), np.uint8)
    flat[:] = (200, 100, 60)
    path = tmp_path / "p3.png"
    Pillow.fromarray(flat).save(path, icc_profile=display_p3())
    got = picture(path)
    assert got.icc == display_p3()
    # the matrices of both spaces by hand, white point D50, sRGB's own curve
    p3 = np.array([[0.5151, 0.2920, 0.1571], [0.2412, 0.6922, 0.0666], [-0.0011, 0.0419, 0.7841]])
    srgb = np.array([[0.4361, 0.3851, 0.1431], [0.2225, 0.7169, 0.0606], [0.0139, 0.0971, 0.7141]])
    linear = np.linalg.inv(srgb) @ p3 @ ((flat[0, 0] / 255) ** 2.2)
    linear = np.clip(linear, 0, 1)
    wanted = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    assert np.abs(got.pixels[0, 0] - 255 * wanted).max() <= 2.5
    assert got.pixels[0, 0, 0] > 203


def test_an_srgb_profile_changes_no_pixel(tmp_path: Path, chelsea_png: Path) -> None:
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    path = tmp_path / "s.png"
    with Pillow.open(chelsea_png) as im:
        plain = im.convert("RGB")
    plain.save(path, icc_profile=icc)
    got = picture(path)
    assert np.array_equal(got.pixels, np.asarray(plain))
    assert got.icc == icc


def test_a_broken_profile_is_ignored_and_declared(tmp_path: Path) -> None:
    path = tmp_path / "b.png"
    Pillow.new("RGB", (8, 8), (9, 99, 199)).save(path, icc_profile=b"nonsense" * 20)
    got = picture(path)
    assert got.pixels[0, 0].tolist() == [9, 99, 199]
    assert any("profile" in note for note in got.notes)


def test_a_jpeg_that_breaks_off(save: Save, astronaut_jpeg: Path) -> None:
    data = astronaut_jpeg.read_bytes()
    whole = picture(astronaut_jpeg)
    got = picture(save("a.jpg", data[: len(data) * 3 // 4]))
    assert got.pixels.shape == whole.pixels.shape
    (note,) = got.notes
    assert "breaks off" in note
    missing = int(note.split("last ")[1].split(" of")[0])
    assert 50 < missing < 256
    same = len(whole.pixels) - missing - 40  # the row of blocks where it breaks, and upsampling
    assert np.array_equal(got.pixels[:same], whole.pixels[:same])
    again = picture(save("b.jpg", data[: len(data) * 3 // 4]))
    assert np.array_equal(again.pixels, got.pixels)
    with pytest.raises(Corrupt, match="breaks off"):
        decode(save("c.jpg", data[: len(data) // 4]))


def test_a_progressive_jpeg_that_breaks_off(save: Save, astronaut_png: Path) -> None:
    out = io.BytesIO()
    with Pillow.open(astronaut_png) as im:
        im.convert("RGB").save(out, "JPEG", quality=90, progressive=True)
    data = out.getvalue()
    got = picture(save("p.jpg", data[: len(data) * 3 // 4]))
    assert any("breaks off" in note for note in got.notes)


def test_the_first_of_several_pictures(tmp_path: Path, chelsea_png: Path) -> None:
    with Pillow.open(chelsea_png) as im:
        cat = im.convert("RGB")
    other = Pillow.new("RGB", cat.size, (0, 0, 255))
    for name, form, options in (
        ("two.jpg", "MPO", {"quality": 95}),
        ("two.tif", "TIFF", {}),
        ("two.webp", "WEBP", {"lossless": True, "duration": 100}),
        ("two.png", "PNG", {"duration": 100}),
        ("two.avif", "AVIF", {"quality": 95, "duration": 100}),
    ):
        path = tmp_path / name
        cat.copy().save(path, form, save_all=True, append_images=[other.copy()], **options)
        got = picture(path)
        assert any("first" in note for note in got.notes), name
        error = got.pixels.astype(float) - np.asarray(cat)
        assert np.sqrt((error**2).mean()) < 8, name


def test_limits_hold_before_pixels_exist(save: Save, chelsea_png: Path) -> None:
    assert picture(chelsea_png, Limits(max_pixels=451 * 300)).width == 451
    for limits in (Limits(max_pixels=451 * 300 - 1), Limits(max_side=450)):
        with pytest.raises(TooLarge, match="451 x 300"):
            decode(chelsea_png, limits)
    with pytest.raises(TooLarge, match="bytes"):
        decode(chelsea_png, Limits(max_bytes=1000))


def test_pictures_beyond_pillows_own_warning(tmp_path: Path) -> None:
    """Pillow warns above 89 million pixels; the limits say 200."""
    path = tmp_path / "wide.png"
    Pillow.new("1", (10_000, 9_000)).save(path)
    assert picture(path).pixels.shape == (9000, 10000, 3)


def test_camera_raw_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "raw.dng"
    info = {50706: b"\x01\x04\x00\x00"}
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    tags = ImageFileDirectory_v2()
    tags.tagtype[50706] = 1
    tags[50706] = info[50706]
    Pillow.new("RGB", (8, 8)).save(path, format="TIFF", tiffinfo=tags)
    with pytest.raises(Unsupported, match="raw"):
        decode(path)
