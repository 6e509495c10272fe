"""What a file is, judged by its bytes and never by its name.

The first valid magic at offset 0 decides, so that a file has exactly one format here even
when other programs could read it as something else. Playlists and other text that point
at further files (``.m3u8``, ``ffconcat``, SDP, DASH) are deliberately not in the table:
nothing in it can make a decoder open a second file.
"""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from typing import BinaryIO

__all__ = ["FORMATS", "Format", "gif_pictures", "refusal", "sniff"]

_HEAD = 4096
_MOST_TAGS = 8
_MAX_GIF_SCAN = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Format:
    """A container this build reads.

    ``still`` says whether it is decoded as a picture; ``demuxer`` names FFmpeg's reader
    for everything else.
    """

    name: str
    mime: str
    extensions: tuple[str, ...]
    still: bool = False
    demuxer: str = ""


FORMATS: dict[str, Format] = {
    f.name: f
    for f in (
        Format("jpeg", "image/jpeg", ("jpg", "jpeg", "jpe", "jfif", "mpo"), still=True),
        Format("png", "image/png", ("png", "apng"), still=True),
        Format("gif", "image/gif", ("gif",), still=True, demuxer="gif"),
        Format("webp", "image/webp", ("webp",), still=True),
        Format("tiff", "image/tiff", ("tif", "tiff"), still=True),
        Format("bmp", "image/bmp", ("bmp", "dib"), still=True),
        Format("heic", "image/heic", ("heic", "heif", "hif", "heics", "heifs"), still=True),
        Format("avif", "image/avif", ("avif", "avifs"), still=True),
        Format("mp4", "video/mp4", ("mp4", "m4v", "f4v", "mpg4", "m4a"), demuxer="mp4"),
        Format("mov", "video/quicktime", ("mov", "qt"), demuxer="mov"),
        Format("m4a", "audio/mp4", ("m4a", "m4b", "mp4"), demuxer="mp4"),
        Format("3gp", "video/3gpp", ("3gp", "3g2", "3gpp", "mp4"), demuxer="mp4"),
        Format("matroska", "video/matroska", ("mkv", "mka", "mk3d"), demuxer="matroska"),
        Format("webm", "video/webm", ("webm", "weba"), demuxer="matroska"),
        Format("avi", "video/x-msvideo", ("avi",), demuxer="avi"),
        Format("mpegts", "video/mp2t", ("ts", "mts", "m2ts", "m2t"), demuxer="mpegts"),
        Format("mpegps", "video/mpeg", ("mpg", "mpeg", "vob", "m2p"), demuxer="mpeg"),
        Format("flv", "video/x-flv", ("flv",), demuxer="flv"),
        Format("asf", "video/x-ms-asf", ("wmv", "wma", "asf"), demuxer="asf"),
        Format("ogg", "application/ogg", ("ogg", "ogv", "oga", "opus", "spx"), demuxer="ogg"),
        Format("wav", "audio/wav", ("wav", "wave", "bwf", "rf64"), demuxer="wav"),
        Format("w64", "audio/x-w64", ("w64",), demuxer="w64"),
        Format("flac", "audio/flac", ("flac",), demuxer="flac"),
        Format("mp3", "audio/mpeg", ("mp3", "mp2", "mpga"), demuxer="mp3"),
        Format("aac", "audio/aac", ("aac", "adts"), demuxer="aac"),
        Format("aiff", "audio/aiff", ("aif", "aiff", "aifc"), demuxer="aiff"),
        Format("caf", "audio/x-caf", ("caf",), demuxer="caf"),
        Format("amr", "audio/amr", ("amr", "awb"), demuxer="amr"),
        Format("au", "audio/basic", ("au", "snd"), demuxer="au"),
    )
}

_ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_W64 = bytes.fromhex("726966662e91cf11a5d628db04c10000")

_SIMPLE: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff", "jpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"II*\x00", "tiff"),
    (b"MM\x00*", "tiff"),
    (b"II+\x00\x08\x00\x00\x00", "tiff"),
    (b"MM\x00+\x00\x08\x00\x00", "tiff"),
    (b"FLV\x01", "flv"),
    (_ASF, "asf"),
    (_W64, "w64"),
    (b"OggS", "ogg"),
    (b"fLaC", "flac"),
    (b"caff\x00\x01", "caf"),
    (b"#!AMR", "amr"),
    (b".snd", "au"),
    (b"\x00\x00\x01\xba", "mpegps"),
    (b"\x00\x00\x01\xb3", "mpegps"),
)

_REFUSED: tuple[tuple[bytes, str, bool], ...] = (  # magic, what it is, whether it is media
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", "a JPEG 2000 picture", True),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 picture", True),
    (b"\x00\x00\x00\x0cJXL \r\n\x87\n", "a JPEG XL picture", True),
    (b"\xff\x0a", "a JPEG XL picture", True),
    (b"8BPS", "a Photoshop document", True),
    (b"FUJIFILMCCD-RAW", "a camera raw picture", True),
    (b"IIRO", "a camera raw picture", True),
    (b"IIU\x00", "a camera raw picture", True),
    (b".RMF", "RealMedia", True),
    (b"%PDF", "a PDF document", False),
    (b"PK\x03\x04", "a ZIP archive or an office document", False),
    (b"Rar!", "a RAR archive", False),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", False),
    (b"\x1f\x8b", "a gzip archive", False),
    (b"\x7fELF", "a program", False),
    (b"MZ", "a program", False),
    (b"#EXTM3U", "a playlist, which only points at media", False),
    (b"ffconcat", "a playlist, which only points at media", False),
    (b"[playlist]", "a playlist, which only points at media", False),
    (b"v=0", "a session description, which only points at media", False),
    (b"<", "a text or markup document", False),
)

_HEIF = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
_AVIF = {b"avif", b"avis"}
_OLD_QUICKTIME = {b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"}


def sniff(file: BinaryIO) -> Format | None:
    """The format of ``file``, or ``None`` when it is none that this build reads.

    Reads a few kilobytes from the beginning (and behind an ID3 tag); the position of
    ``file`` afterwards is undefined.
    """
    file.seek(0)
    head = file.read(_HEAD)
    name = _name(head) or _behind_id3(file, head)
    return FORMATS[name] if name else None


def refusal(file: BinaryIO) -> tuple[str, bool]:
    """What an unread ``file`` seems to be, and whether that is media of another kind."""
    file.seek(0)
    head = file.read(_HEAD)
    if head[4:8] == b"ftyp" and head[8:12] == b"crx ":
        return "a camera raw picture", True
    for magic, what, media in _REFUSED:
        if head.removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n").startswith(magic) or (
            head.startswith(magic)
        ):
            return what, media
    if not head.strip(b"\x00"):
        return "nothing but zero bytes", False
    if all(byte >= 32 or byte in b"\t\r\n\x0c" for byte in head) and _utf8(head):
        return "a text", False
    return "of no known format", False


def _utf8(data: bytes) -> bool:
    """Whether ``data`` is UTF-8, perhaps cut off within a character."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(data)
    except UnicodeDecodeError:
        return False
    return True


def _name(head: bytes) -> str | None:
    if head[:4] in (b"II*\x00", b"MM\x00*") and head[8:10] == b"CR":
        return None  # Canon raw: a TIFF whose first picture is not the photograph
    for magic, name in _SIMPLE:
        if head.startswith(magic):
            return name
    if head[:4] in (b"RIFF", b"RF64", b"RIFX"):
        form = {b"WAVE": "wav", b"AVI ": "avi", b"WEBP": "webp"}.get(head[8:12])
        return None if form == "webp" and head[:4] != b"RIFF" else form
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return "aiff"
    if head[:2] == b"BM" and len(head) >= 26 and head[14:18] in _BMP_HEADERS:
        return "bmp"
    if head[:4] == b"\x1aE\xdf\xa3":
        return "webm" if b"\x42\x82\x84webm" in head[:256] else "matroska"
    if head[4:8] == b"ftyp":
        return _by_brand(head)
    if head[4:8] in _OLD_QUICKTIME:
        return "mov"
    return _by_sync(head)


_BMP_HEADERS = {size.to_bytes(4, "little") for size in (12, 16, 40, 52, 56, 64, 108, 124)}


def _by_brand(head: bytes) -> str | None:
    size = min(int.from_bytes(head[:4], "big"), len(head))
    major = head[8:12]
    brands = {head[i : i + 4] for i in range(16, size - 3, 4)} | {major}
    if major == b"crx ":
        return None
    if major in _AVIF:
        return "avif"
    if major in _HEIF:
        return "heic"
    if major in (b"mif1", b"msf1", b"miaf"):
        return "avif" if brands & _AVIF else "heic"
    if major == b"qt  ":
        return "mov"
    if major in (b"M4A ", b"M4B ", b"M4P "):
        return "m4a"
    if major[:3] in (b"3gp", b"3g2", b"3ge", b"3gg"):
        return "3gp"
    return "mp4"


def _by_sync(head: bytes) -> str | None:
    for start, step in ((0, 188), (4, 192)):
        marks = range(start, min(len(head), start + step * 5), step)
        if len(marks) >= 3 and all(head[i] == 0x47 for i in marks):
            return "mpegts"
    if _frames(head, _adts_length) >= 2:
        return "aac"
    if _frames(head, _mpeg_audio_length) >= 2:
        return "mp3"
    return None


def _frames(data: bytes, length: object) -> int:
    """How many frames follow each other without a gap from offset 0, at most 3."""
    at = count = 0
    while count < 3:
        step = length(data[at : at + 7])  # type: ignore[operator]
        if not step:
            # The last of the frames may be cut off by the end of a short file.
            return count
        count += 1
        at += step
    return count


def _adts_length(head: bytes) -> int:
    if len(head) < 7 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0 or head[2] >> 2 & 15 > 12:
        return 0
    length = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    return length if length >= 7 else 0


_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
_KBITS = {  # (MPEG-1?, layer): kbit/s by index 1..14
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}


def _mpeg_audio_length(head: bytes) -> int:
    """Length in bytes of an MPEG audio frame (ISO/IEC 11172-3, 2.4.3.1), 0 if it is none."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return 0
    version, layer = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3)
    bit_rate, rate, padding = head[2] >> 4, head[2] >> 2 & 3, head[2] >> 1 & 1
    if version == 1 or layer == 4 or bit_rate in (0, 15) or rate == 3:
        return 0
    bits = _KBITS[(version == 3, layer)][bit_rate - 1] * 1000
    hertz = _RATES[version][rate]
    if layer == 1:
        return (12 * bits // hertz + padding) * 4
    return (72 if layer == 3 and version != 3 else 144) * bits // hertz + padding


def _behind_id3(file: BinaryIO, head: bytes) -> str | None:
    rest, at = head, 0
    for _ in range(_MOST_TAGS):
        if rest[:3] != b"ID3" or len(rest) < 10 or any(byte > 127 for byte in rest[6:10]):
            break
        size = rest[6] << 21 | rest[7] << 14 | rest[8] << 7 | rest[9]
        at += 10 + size + (10 if rest[5] & 0x10 else 0)
        file.seek(at)
        rest = file.read(_HEAD)
    if not at:
        return None
    if rest.startswith(b"fLaC"):
        return "flac"
    # Encoders pad between the tag and the first frame.
    found = _by_sync(rest.lstrip(b"\x00"))
    return found if found in ("mp3", "aac") else None


def gif_pictures(file: BinaryIO, at_most: int = 2) -> int:
    """How many pictures a GIF holds, counted no further than ``at_most``."""
    file.seek(0)
    data = file.read(_MAX_GIF_SCAN)
    if len(data) < 13:
        return 0
    at = 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0)
    count = 0
    while at < len(data) and count < at_most:
        kind = data[at]
        if kind == 0x21:
            at += 2
        elif kind == 0x2C and at + 10 <= len(data):
            count += 1
            packed = data[at + 9]
            at += 11 + (3 << (packed & 7) + 1 if packed & 0x80 else 0)
        else:
            break
        while at < len(data) and data[at]:
            at += data[at] + 1
        at += 1
    return count
