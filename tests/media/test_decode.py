from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from assay.errors import MediaError, NotMedia, Unsupported
from assay.media import Audio, Image, Video, decode, kind_of
from assay.media.sniff import FORMATS

Save = Callable[[str, bytes], Path]


def test_the_door_is_light() -> None:
    code = (
        "import sys; from assay.media import decode; assert callable(decode); "
        "import assay.media.opening; "
        "print([m for m in ('av', 'PIL', 'cv2', 'scipy', 'soxr') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


def test_the_source(astronaut_png: Path) -> None:
    source = decode(astronaut_png).source
    data = astronaut_png.read_bytes()
    assert source.sha256 == hashlib.sha256(data).hexdigest()
    assert source.size == len(data)
    assert (source.format, source.mime, source.extension_matches) == ("png", "image/png", True)
    assert source.name == "astronaut.png"
    assert source.head(4) == b"\x89PNG"


@pytest.mark.parametrize("name", ["x.jpg", "x", "x.mp4", "x.PNG"])
def test_names_do_not_matter(name: str, save: Save, astronaut_png: Path) -> None:
    media = decode(save(name, astronaut_png.read_bytes()))
    assert media.source.format == "png"
    assert media.source.extension_matches == (name == "x.PNG")
    assert decode(os.fspath(save(name, astronaut_png.read_bytes()))).source.format == "png"


def test_the_three_kinds(astronaut_png: Path, portrait_video: Path, speech_wav: Path) -> None:
    for path, kind in ((astronaut_png, Image), (portrait_video, Video), (speech_wav, Audio)):
        media = decode(path)
        assert isinstance(media, kind)
        assert kind_of(media).value == kind.__name__.lower()


@pytest.mark.parametrize(
    ("name", "form", "codecs"),
    [
        ("v.mp4", "mp4", ("libx264", "aac")),
        ("v.mov", "mov", ("libx264", "aac")),
        ("v.3gp", "3gp", ("libx264", "aac")),
        ("v.mkv", "matroska", ("libx264", "aac")),
        ("v.webm", "webm", ("libvpx-vp9", "libopus")),
        ("v.avi", "avi", ("mpeg4", "libmp3lame")),
        ("v.ts", "mpegts", ("libx264", "aac")),
        ("v.mpg", "mpegps", ("mpeg2video", "mp2")),
        ("v.flv", "flv", ("flv", "aac")),
        ("v.wmv", "asf", ("wmv2", "aac")),
        ("v.ogv", "ogg", ("libtheora", "libopus")),
    ],
)
def test_video_containers(
    name: str, form: str, codecs: tuple[str, str], tmp_path: Path, make: ModuleType
) -> None:
    import av

    if codecs[0] not in av.codecs_available:
        pytest.skip(f"this FFmpeg has no encoder {codecs[0]}")
    path = make.video(
        tmp_path / name,
        make.pan(25, 96, 64),
        codec=codecs[0],
        sound=(make.tone(1, 48000), 48000),
        sound_codec=codecs[1],
    )
    media = decode(path)
    assert isinstance(media, Video)
    assert media.source.format == form
    assert media.source.extension_matches
    assert media.sound is not None
    assert len(list(media.frames())) == 25
    assert media.duration == pytest.approx(1.0, abs=0.1)
    assert media.sound.duration == pytest.approx(1.0, abs=0.15)


def test_every_error_names_the_file_and_a_cause(tmp_path: Path, save: Save) -> None:
    cases: dict[Path, str] = {
        tmp_path / "none.jpg": "no such file",
        tmp_path: "a folder",
        save("empty.png", b""): "empty",
        save("notes.txt", b"just words"): "a text",
        save("zero.bin", bytes(5000)): "zero bytes",
        save("doc.jpg", b"%PDF-1.7 and so on"): "PDF",
        save("x.jpg", b"\x7fELF" + bytes(100)): "program",
        save("junk", bytes(range(128, 256)) * 9): "no known format",
        Path("bad\0name"): "not a file name",
        tmp_path / ("n" * 300): "cannot be opened",
    }
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    cases[pipe] = "a pipe"
    cases[Path("/dev/zero")] = "device"
    a, b = tmp_path / "a", tmp_path / "b"
    a.symlink_to(b)
    b.symlink_to(a)
    cases[a] = "cannot be opened"
    for path, cause in cases.items():
        with pytest.raises(NotMedia, match=cause) as caught:
            decode(path)
        assert caught.value.path == str(path)


def test_a_link_to_media_is_media(tmp_path: Path, astronaut_png: Path) -> None:
    link = tmp_path / "link.png"
    link.symlink_to(astronaut_png)
    assert decode(link).source.path == link


@pytest.mark.parametrize(
    "data",
    [
        b"\x00\x00\x00\x0cjP  \r\n\x87\n" + bytes(40),
        b"\x00\x00\x00\x0cJXL \r\n\x87\n" + bytes(40),
        b"8BPS" + bytes(40),
        b"FUJIFILMCCD-RAW" + bytes(40),
        b"II*\x00\x10\x00\x00\x00CR\x02\x00" + bytes(40),
        b"\x00\x00\x00\x18ftypcrx \x00\x00\x00\x01crx isom" + bytes(40),
    ],
)
def test_media_of_other_kinds(data: bytes, save: Save) -> None:
    with pytest.raises((Unsupported, NotMedia)):
        decode(save("x", data))


def test_only_this_module_raises_for_formats_in_the_table() -> None:
    assert all(f.still or f.demuxer for f in FORMATS.values())
    assert all(f.extensions == tuple(e.lower() for e in f.extensions) for f in FORMATS.values())


def test_foreign_errors_are_mapped() -> None:
    from assay.errors import Corrupt, TooLarge
    from assay.media.foreign import mapped

    for error, kind in (
        (ValueError("x"), Corrupt),
        (SyntaxError("x"), Corrupt),
        (RecursionError(), Corrupt),
        (MemoryError(), TooLarge),
        (NotImplementedError("x"), Unsupported),
        (NotMedia("p", "stays"), NotMedia),
    ):
        with pytest.raises(kind) as caught, mapped(Path("p"), "do it"):
            raise error
        assert isinstance(caught.value, MediaError)
    with pytest.raises(KeyboardInterrupt), mapped(Path("p"), "do it"):
        raise KeyboardInterrupt
