"""Every attack of the gallery comes to what the gallery says, and takes little."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from assay.errors import MediaError
from assay.media import Image, Media, Video

Endure = Callable[[Path], Media | MediaError]
ROOMS = ("pictures", "containers", "sounds", "polyglots", "nothing")
MUST_SAY = ("jpeg-lies-3000", "tiff-4-gb-profile", "wav-2-gb", "gif-100000-frames")


@pytest.mark.parametrize("room", ROOMS)
def test_every_attack(room: str, gallery: ModuleType, endure: Endure, tmp_path: Path) -> None:
    wrong = []
    for name, content, expected in getattr(gallery, room)():
        path = tmp_path / name
        path.write_bytes(content)
        before = time.process_time()
        came = endure(path)
        spent = time.process_time() - before
        allowed = expected if expected is not None else (Media.__args__)  # type: ignore[attr-defined]
        if not isinstance(came, allowed):
            wrong.append(f"{name}: {came!r}")
        if spent > 10:
            wrong.append(f"{name}: took {spent:.1f} s")
        if name in MUST_SAY and name != "gif-100000-frames" and not getattr(came, "notes", ()):
            wrong.append(f"{name}: says nothing")
    assert wrong == []


def test_no_other_file_is_opened(gallery: ModuleType, endure: Endure, tmp_path: Path) -> None:
    """The target is a pipe: whoever opened it would wait for ever."""
    pipe = tmp_path / "target.ts"
    os.mkfifo(pipe)
    for name, content, expected in gallery.pointers(pipe):
        path = tmp_path / name
        path.write_bytes(content)
        assert isinstance(endure(path), expected), name


@pytest.mark.parametrize("demuxer", ["hls", "concat", "dash", "sdp"])
def test_the_fence_holds_even_for_playlists(
    demuxer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Were a playlist ever let through by ``sniff``, FFmpeg could still open nothing."""
    from assay.limits import Limits
    from assay.media import containers, opening
    from assay.media.sniff import FORMATS, Format
    from assay.media.source import Source

    pipe = tmp_path / "target.ts"
    os.mkfifo(pipe)
    text = {
        "hls": f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{pipe}\n#EXT-X-ENDLIST\n",
        "concat": f"ffconcat version 1.0\nfile '{pipe}'\n",
        "dash": '<?xml version="1.0"?><MPD type="static" mediaPresentationDuration="PT9S"><Period>'
        f'<AdaptationSet mimeType="video/mp4"><Representation id="1" bandwidth="9"><BaseURL>{pipe}'
        "</BaseURL></Representation></AdaptationSet></Period></MPD>",
        "sdp": "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
        "m=audio 5004 RTP/AVP 0\r\n",
    }[demuxer]
    path = tmp_path / "list"
    path.write_text(text)
    monkeypatch.setitem(FORMATS, "list", Format("list", "x", (), demuxer=demuxer))
    source = Source(
        path=path, sha256="", size=path.stat().st_size, format="list", mime="x",
        extension_matches=True,
    )  # fmt: skip
    assert opening.format_of(source).demuxer == demuxer
    with pytest.raises(MediaError):
        containers.survey(source, Limits())


def test_the_whole_gallery_in_little_memory(tmp_path: Path) -> None:
    """As a program, under 3 GiB of address space."""
    program = Path(__file__).parent / "gallery.py"
    limit = 3 * 1024**3

    def bound() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

    done = subprocess.run(
        [sys.executable, str(program), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=bound,
        timeout=200,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(done.stdout.splitlines()) > 100
    assert done.stderr == "", "decoders keep quiet"


def test_every_format_cut_at_every_sixteenth(
    gallery: ModuleType, endure: Endure, tmp_path: Path
) -> None:
    wrong = []
    for name, data in gallery.whole().items():
        full = endure(_written(tmp_path / f"full-{name}", data))
        if isinstance(full, MediaError):
            wrong.append(f"{name}: {full}")
            continue
        for part in range(1, 16):
            path = _written(tmp_path / name, data[: len(data) * part // 16])
            came = endure(path)
            if isinstance(came, MediaError):
                continue
            if type(came) is not type(full) and not came.notes:
                wrong.append(f"{name} {part}/16: {type(came).__name__} without a note")
            if isinstance(came, Image) and not came.notes:
                wrong.append(f"{name} {part}/16: a whole picture from a part")
            if isinstance(came, Video) and isinstance(full, Video):
                some = [f.pixels for f in came.frames()]
                every = [f.pixels for f in full.frames()]
                assert len(some) <= len(every)
                if some and not np.array_equal(some[0], every[0]):
                    wrong.append(f"{name} {part}/16: another first frame")
    assert wrong == []


def _written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path
