"""A gallery of attacks on the decoder, each with what must come of it.

Run as a program it writes the files into a folder (argument) and prints what comes of each.
An entry is (name, bytes, expected): a :class:`MediaError` class, or ``None`` where the file
must decode (with a note where it lies).
"""

from __future__ import annotations

import io
import struct
import sys
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from PIL import Image as Pillow

from assay.errors import Corrupt, MediaError, NotMedia, TooLarge, Unsupported

SAMPLES = Path(__file__).parents[1] / "media" / "samples"

Attack = tuple[str, bytes, tuple[type[MediaError], ...] | None]


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, body: bytes, *extra: bytes, depth: int = 8) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + b"".join(extra)
        + chunk(b"IDAT", body)
        + chunk(b"IEND", b"")
    )


def box(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data) + 8) + kind + data


def saved(form: str, picture: Pillow.Image, **options: object) -> bytes:
    out = io.BytesIO()
    picture.save(out, form, **options)
    return out.getvalue()


FTYP = box(b"ftyp", b"isom\0\0\2\0isomiso2avc1mp41")


def pictures() -> Iterator[Attack]:
    small = Pillow.new("RGB", (16, 16), (10, 200, 30))
    jpeg, plain = saved("JPEG", small), saved("PNG", small)
    packed = zlib.compress(bytes(20_000_000), 1)
    yield "png-bomb", png(60_000, 60_000, packed), (TooLarge,)
    yield "png-4-billion-wide", png(0xFFFFFFFF, 1, packed), (TooLarge, Corrupt)
    yield "png-2-billion-wide", png(0x7FFFFFFF, 1, packed), (TooLarge,)
    yield "png-no-pixels", png(0, 0, packed[:100]), (Corrupt,)
    yield "png-too-little-data", png(5000, 5000, zlib.compress(bytes(100))), (Corrupt,)
    yield "png-too-much-data", png(4, 4, packed), None
    bomb = chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(20_000_000), 1))
    yield "png-text-bomb", png(4, 4, zlib.compress(bytes(52)), bomb), (Corrupt,)
    bomb = chunk(b"iCCP", b"k\0\0" + zlib.compress(bytes(20_000_000), 1))
    yield "png-profile-bomb", png(4, 4, zlib.compress(bytes(52)), bomb), (Corrupt,)
    many = chunk(b"tEXt", b"k\0v") * 30_000
    yield "png-30000-texts", png(4, 4, zlib.compress(bytes(52)), many), None
    yield "png-chunk-of-2-gb", plain[:33] + struct.pack(">I4s", 0x7FFFFFFF, b"tEXt"), (Corrupt,)
    yield "png-only-signature", plain[:8], (Corrupt,)
    yield "png-bad-crc", plain[:29] + b"\0\0\0\0" + plain[33:], (Corrupt,)

    at = jpeg.find(b"\xff\xc0") + 5
    yield "jpeg-65500", jpeg[:at] + struct.pack(">HH", 65500, 65500) + jpeg[at + 4 :], (TooLarge,)
    yield "jpeg-lies-3000", jpeg[:at] + struct.pack(">HH", 3000, 3000) + jpeg[at + 4 :], None
    yield "jpeg-no-height", jpeg[:at] + b"\0\0" + jpeg[at + 2 :], (Corrupt,)
    yield "jpeg-only-soi", b"\xff\xd8\xff", (Corrupt,)
    yield "jpeg-segments-for-ever", b"\xff\xd8" + b"\xff\xfe\0\2" * 4_000_000, (Corrupt,)
    yield "jpeg-fill-for-ever", b"\xff\xd8" + b"\xff" * 20_000_000, (Corrupt,)
    yield "jpeg-length-zero", b"\xff\xd8\xff\xe1\0\0" + jpeg[2:], None
    exif = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 65535) + b"\x12\x01\x03\0" * 100
    segment = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
    yield "jpeg-lying-exif", jpeg[:2] + segment + jpeg[2:], None
    exif = b"Exif\0\0II*\0" + struct.pack("<IHHHIII", 8, 1, 274, 3, 1, 77, 8)
    segment = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
    yield "jpeg-orientation-77", jpeg[:2] + segment + jpeg[2:], None

    def tiff(*entries: tuple[int, int, int, int], after: int = 8, tail: bytes = b"") -> bytes:
        body = struct.pack("<H", len(entries))
        for entry in entries:
            body += struct.pack("<HHII", *entry)
        return b"II*\0" + struct.pack("<I", 8) + body + struct.pack("<I", after) + tail

    grey = ((256, 4, 1, 4), (257, 4, 1, 4), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1),
            (273, 4, 1, 110), (277, 3, 1, 1), (278, 4, 1, 4), (279, 4, 1, 16))  # fmt: skip
    data = tiff(*grey, tail=bytes(64))
    yield "tiff-cyclic-directory", data, None
    huge = ((256, 4, 1, 0x7FFFFFFF), (257, 4, 1, 0x7FFFFFFF), *grey[2:])
    yield "tiff-huge", tiff(*huge, tail=bytes(64)), (TooLarge,)
    yield "tiff-directory-beyond-end", b"II*\0" + struct.pack("<I", 0x7FFFFFFF), (Corrupt,)
    yield "tiff-directory-in-header", b"II*\0" + bytes(4) + bytes(64), (Corrupt,)
    long = (*grey[:-1], (279, 4, 0x3FFFFFFF, 200))
    yield "tiff-billion-strips", tiff(*long, tail=bytes(64)), None
    yield "tiff-4-gb-profile", tiff(*grey, (34675, 7, 0xFFFFFFFF, 0)), None
    yield "bigtiff-garbage", b"II+\0\x08\0\0\0" + bytes(range(200)), (Corrupt,)
    bmp = saved("BMP", small)
    wide = bmp[:18] + struct.pack("<ii", 2**31 - 1, 2**31 - 1) + bmp[26:]
    yield "bmp-huge", wide, (TooLarge,)
    yield "bmp-negative-width", bmp[:18] + struct.pack("<i", -16) + bmp[22:], (Corrupt, TooLarge)
    yield (
        "bmp-lowest-height",
        bmp[:22] + struct.pack("<i", -(2**31)) + bmp[26:],
        (TooLarge, Corrupt),
    )
    webp = saved("WEBP", small)
    yield "webp-garbage", webp[:20] + bytes(range(250)), (Corrupt,)
    yield "webp-nothing", b"RIFF\x04\0\0\0WEBP", (Corrupt,)
    gif = saved("GIF", small)
    yield "gif-header-only", gif[:13], (Corrupt,)
    first = gif.find(b"\x2c")
    frame = gif[first:-1]
    yield "gif-100000-frames", gif[:first] + frame * 100_000 + b";", None
    yield "gif-sub-blocks-for-ever", gif[:first] + b"\x21\xfe" + b"\xff" * 3_000_000, (Corrupt,)
    yield "gif-65535", gif[:6] + b"\xff" * 4 + gif[10:], (TooLarge,)
    avif, meta = saved("AVIF", small), box(b"ftyp", b"heic\0\0\0\0mif1heic")
    yield "avif-garbage", avif[:60] + bytes(range(256)) * 4, (Corrupt,)
    yield "heic-no-boxes", meta, (Corrupt,)
    yield "heic-garbage", meta + bytes(range(256)) * 8, (Corrupt,)
    yield "heic-box-of-4-gb", meta + struct.pack(">I4s", 0xFFFFFFFF, b"meta"), (Corrupt,)


def containers() -> Iterator[Attack]:
    deep = b""
    for _ in range(20_000):
        deep = struct.pack(">I4s", len(deep) + 8, b"moov") + deep
    yield "mp4-deep-boxes", FTYP + deep, (Corrupt, NotMedia)
    yield "mp4-no-boxes", FTYP, (Corrupt,)
    yield "mp4-empty-moov", FTYP + box(b"moov", b""), (Corrupt, NotMedia)
    yield "mp4-box-of-0", FTYP + bytes(8) + bytes(100), (Corrupt,)
    yield "mp4-moov-of-4-gb", FTYP + struct.pack(">I4s", 0xFFFFFFFF, b"moov"), (Corrupt, NotMedia)
    yield "mp4-million-boxes", FTYP + box(b"free", b"") * 1_000_000, (Corrupt, NotMedia)
    video = bytearray((SAMPLES / "portrait.mp4").read_bytes())
    at = video.find(b"mvhd") + 4

    def patched(kind: bytes, offset: int, value: bytes) -> bytes:
        data = bytearray(video)
        place = data.find(kind) + 4 + offset
        data[place : place + len(value)] = value
        return bytes(data)

    assert at > 4
    yield "mp4-timescale-0", patched(b"mdhd", 12, bytes(4)), None
    yield "mp4-timescale-huge", patched(b"mdhd", 12, b"\x7f\xff\xff\xff"), None
    yield "mp4-duration-huge", patched(b"mvhd", 16, b"\xff\xff\xff\xfe"), None
    yield "mp4-negative-timescale", patched(b"mdhd", 12, b"\xff\xff\xff\xff"), None
    yield "mp4-4-billion-samples", patched(b"stsz", 8, b"\xff\xff\xff\xff"), (Corrupt, NotMedia)
    yield "mp4-frames-of-30000", patched(b"avc1", 24, struct.pack(">HH", 65535, 65535)), None
    yield "mp4-frame-times", patched(b"stts", 8, b"\x00\x00\x00\x64\x7f\xff\xff\xff"), None
    outside = patched(b"dinf", 0, b"\0\0\0\x1cdref\0\0\0\0\0\0\0\1\0\0\0\x0curl \0\0\0\0")
    yield "mp4-external-track", outside, None
    yield "mkv-garbage", b"\x1aE\xdf\xa3" + bytes(range(256)) * 40, (Corrupt,)
    yield "mkv-size-unknown", b"\x1aE\xdf\xa3\x01" + b"\xff" * 5000, (Corrupt,)
    yield "avi-garbage", b"RIFF\xff\xff\xff\xffAVI " + bytes(range(256)) * 40, (Corrupt, NotMedia)
    yield "ts-garbage", (b"G" + bytes(187)) * 5000, (Corrupt, NotMedia)
    yield "ps-garbage", b"\0\0\x01\xba" + bytes(range(256)) * 40, (Corrupt, NotMedia)
    yield "ogg-garbage", b"OggS" + bytes(range(256)) * 40, (Corrupt, NotMedia)
    yield "flv-garbage", b"FLV\x01\x05\0\0\0\x09" + bytes(range(256)) * 40, (Corrupt, NotMedia)
    yield "asf-garbage", bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c") + bytes(9000), (Corrupt,)


def sounds() -> Iterator[Attack]:
    samples = np.zeros(8000, "<i2").tobytes()

    def wav(size: int, data: int, rate: int = 8000, channels: int = 1, bits: int = 16) -> bytes:
        layout = struct.pack(
            "<HHIIHH", 1, channels, rate, rate * 2 & 0xFFFFFFFF, channels * bits // 8 & 0xFFFF, bits
        )
        return (
            b"RIFF" + struct.pack("<I", size) + b"WAVEfmt \x10\0\0\0" + layout
            + b"data" + struct.pack("<I", data) + samples
        )  # fmt: skip

    yield "wav-4-gb", wav(0xFFFFFFFF, 0xFFFFFFFF), None
    yield "wav-2-gb", wav(0x7FFFFFFF, 0x7FFFFFFF), None
    yield "wav-rate-0", wav(16036, 16000, rate=0), (Corrupt,)
    yield "wav-rate-1", wav(16036, 16000, rate=1), (Corrupt,)
    yield "wav-rate-4-billion", wav(16036, 16000, rate=0xFFFFFFFF), (Corrupt,)
    yield "wav-65535-channels", wav(16036, 16000, channels=65535), (Corrupt,)
    yield "wav-no-channels", wav(16036, 16000, channels=0), (Corrupt,)
    yield "wav-no-bits", wav(16036, 16000, bits=0), (Corrupt, Unsupported, NotMedia)
    yield "wav-no-samples", wav(36, 0)[:44], (Corrupt, NotMedia)
    yield "wav-only-header", b"RIFF\xff\xff\xff\xffWAVE", (Corrupt,)
    yield "flac-garbage", b"fLaC" + bytes(range(256)) * 40, (Corrupt,)
    yield "flac-only-magic", b"fLaC", (Corrupt,)
    yield "mp3-id3-for-ever", b"ID3\x04\0\0\x7f\x7f\x7f\x7f" + bytes(1000), (NotMedia,)
    yield "mp3-empty-frames", (b"\xff\xfb\x90\x64" + bytes(413)) * 500, None
    yield "aiff-garbage", b"FORM\0\0\0\x20AIFF" + bytes(range(256)), (Corrupt, NotMedia)
    yield "caf-garbage", b"caff\0\1\0\0" + bytes(range(256)), (Corrupt, NotMedia)
    yield "amr-garbage", b"#!AMR\n" + bytes(range(256)) * 20, None
    yield "au-garbage", b".snd" + b"\xff" * 500, (Corrupt, Unsupported)


def pointers(target: Path) -> Iterator[Attack]:
    """Files that ask for another file or host."""
    there = str(target).encode()
    hls = b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n" + there + b"\n#EXT-X-ENDLIST\n"
    yield "playlist.m3u8", hls, (NotMedia,)
    yield "playlist-as.mp4", b"\xef\xbb\xbf \n" + hls, (NotMedia,)
    yield "list.ffconcat", b"ffconcat version 1.0\nfile '" + there + b"'\n", (NotMedia,)
    yield "concat.txt", b"file '" + there + b"'\n", (NotMedia,)
    sdp = b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    yield "session.sdp", sdp + b"m=video 5004 RTP/AVP 96\r\n", (NotMedia,)
    dash = b'<?xml version="1.0"?><MPD><BaseURL>file://' + there + b"</BaseURL></MPD>"
    yield "stream.mpd", dash, (NotMedia,)
    yield "picture.svg", b'<svg><image href="file://' + there + b'"/></svg>', (NotMedia,)
    yield "reference.asx", b'<asx><entry><ref href="http://127.0.0.1/"/></entry></asx>', (NotMedia,)
    rmra = box(b"moov", box(b"rmra", box(b"rmda", box(b"rdrf", bytes(4) + b"url " + struct.pack(
        ">I", len(there)) + there))))  # fmt: skip
    yield "reference.mov", rmra, (Corrupt, NotMedia)


def polyglots() -> Iterator[Attack]:
    """The first magic decides; what stands behind it is never another format."""
    small = Pillow.new("RGB", (16, 16), (10, 200, 30))
    jpeg, plain = saved("JPEG", small), saved("PNG", small)
    yield "jpeg-then-zip", jpeg + b"PK\x03\x04" + bytes(100), None
    yield "png-then-mp4", plain + (SAMPLES / "portrait.mp4").read_bytes(), None
    yield "pdf-then-jpeg", b"%PDF-1.5\n" + jpeg, (NotMedia,)
    yield "text-then-png", b"hello\n" + plain, (NotMedia,)
    yield "gif-script", b"GIF89a/*" + bytes(5) + b"*/=1;alert(1)" + bytes(200), (Corrupt, TooLarge)
    yield "bmp-script", b"BM/*" + bytes(50) + b"*/", (NotMedia, Corrupt)
    yield "heic-brand-jpeg-inside", box(b"ftyp", b"heic\0\0\0\0heic") + jpeg, (Corrupt,)
    yield "webp-form-in-wav", b"RIFF\x20\0\0\0WAVE" + saved("WEBP", small), (Corrupt, NotMedia)


def nothing() -> Iterator[Attack]:
    yield "empty", b"", (NotMedia,)
    yield "one-byte", b"\xff", (NotMedia,)
    yield "zeros", bytes(1_000_000), (NotMedia,)
    noise = np.random.default_rng(3).bytes(1_000_000)
    yield "noise", b"\x01" + noise, (NotMedia,)


def attacks(target: Path = SAMPLES / "speech.flac") -> Iterator[Attack]:
    for room in (pictures(), containers(), sounds(), pointers(target), polyglots(), nothing()):
        yield from room


def whole() -> dict[str, bytes]:
    """One small sound file of every format, to be cut and mutated."""
    face = Pillow.open(SAMPLES / "astronaut.png").convert("RGB").resize((64, 64))
    files = {
        "a.jpg": saved("JPEG", face, quality=80, progressive=False),
        "p.jpg": saved("JPEG", face, quality=80, progressive=True),
        "a.png": saved("PNG", face),
        "a.webp": saved("WEBP", face),
        "a.tif": saved("TIFF", face, compression="tiff_lzw"),
        "a.bmp": saved("BMP", face),
        "a.avif": saved("AVIF", face),
        "s.gif": saved("GIF", face.quantize(16)),
        "a.gif": saved("GIF", face, save_all=True, append_images=[face.rotate(9)], duration=90),
        "speech.flac": (SAMPLES / "speech.flac").read_bytes()[:40_000],
    }
    import pillow_heif

    out = io.BytesIO()
    pillow_heif.from_pillow(face).save(out)
    files["a.heic"] = out.getvalue()
    for name, form, codec, sound in (
        ("v.mp4", "mp4", "libx264", "aac"),
        ("v.mkv", "matroska", "libx264", "aac"),
        ("v.webm", "webm", "libvpx-vp9", "libopus"),
        ("v.avi", "avi", "mpeg4", "libmp3lame"),
        ("v.ts", "mpegts", "libx264", "aac"),
        ("v.mpg", "mpeg", "mpeg2video", "mp2"),
        ("s.wav", "wav", "", "pcm_s16le"),
        ("s.mp3", "mp3", "", "libmp3lame"),
        ("s.ogg", "ogg", "", "libopus"),
        ("s.m4a", "ipod", "", "aac"),
        ("s.aac", "adts", "", "aac"),
    ):
        files[name] = moving(form, codec, sound)
    return files


def moving(form: str, codec: str, sound: str) -> bytes:
    face = Pillow.open(SAMPLES / "astronaut.png").convert("RGB").resize((96, 96))
    # Not in memory: "faststart" reads back what it wrote.
    folder = tempfile.TemporaryDirectory()
    path = Path(folder.name) / "made"
    options = {"movflags": "faststart"} if form == "mp4" else {}
    with folder, av.open(str(path), "w", format=form, options=options) as container:
        if codec:
            stream = container.add_stream(codec, rate=25, options={"g": "5"})
            stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        voice = container.add_stream(sound, rate=48000, layout="mono")
        if codec:
            for i in range(20):
                pixels = np.ascontiguousarray(np.asarray(face)[i : i + 64, i : i + 64])
                frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                frame.pts = i
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        tone = (0.3 * np.sin(np.arange(38400) * 0.06)).astype(np.float32)[None]
        frame = av.AudioFrame.from_ndarray(tone, format="flt", layout="mono")
        frame.sample_rate, frame.pts = 48000, 0
        context = voice.codec_context
        fit = av.AudioResampler(
            format=context.format, layout="mono", rate=48000, frame_size=context.frame_size or None
        )
        for ready in (*fit.resample(frame), *fit.resample(None)):
            container.mux(voice.encode(ready))
        container.mux(voice.encode(None))
        container.close()
        return path.read_bytes()


if __name__ == "__main__":
    from assay.media import decode

    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for title, content, _ in attacks():
        path = folder / title
        path.write_bytes(content)
        try:
            print(f"{title:28} {type(decode(path)).__name__}")
        except MediaError as error:
            print(f"{title:28} {type(error).__name__}: {error.cause}")
