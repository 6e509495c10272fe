"""Videos made by code and encoded by FFmpeg into a temporary folder, read by PyAV."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from assay.media import Image, Packet, Source, Stream, Video

Frame = NDArray[np.uint8]


def scene(count: int, seed: int = 0, width: int = 192, height: int = 108) -> list[Frame]:
    """A camera that pans unevenly over a texture, with sensor noise."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(seed)
    texture = gaussian_filter(rng.normal(0, 1, (height + 80, width + 80, 3)), (5, 5, 0))
    texture = 60 * texture / texture.std() + rng.uniform(80, 160, 3)
    angle = np.cumsum(rng.normal(0.1, 0.3, count))
    path = 40 + np.cumsum(3 * np.stack([np.sin(angle), np.cos(angle)], axis=1), axis=0)
    x = (79 - np.abs(np.abs(path) % 158 - 79)).astype(int)  # turns round at the edges
    frames = []
    for a, b in x:
        view = texture[a : a + height, b : b + width] + rng.normal(0, 3, (height, width, 1))
        frames.append(np.clip(view, 0, 255).astype(np.uint8))
    return frames


@pytest.fixture(scope="session")
def make_scene() -> Callable[..., list[Frame]]:
    return scene


@pytest.fixture
def encode(tmp_path: Path) -> Callable[..., Path]:
    """(frames, ticks=None, rate=30, codec="libx264", b_frames=0, **options) -> path."""
    made = 0

    def write(
        frames: Sequence[Frame], *, ticks: Sequence[int] | None = None, rate: int = 30,
        codec: str = "libx264", b_frames: int = 0, **options: str,
    ) -> Path:  # fmt: skip
        nonlocal made
        made += 1
        path = tmp_path / f"{made}.mp4"
        with av.open(str(path), "w") as box:
            stream = box.add_stream(codec, rate=rate, options={"threads": "1", **options})
            assert isinstance(stream, av.VideoStream)
            stream.height, stream.width = frames[0].shape[:2]
            stream.pix_fmt = "yuv420p"
            stream.codec_context.max_b_frames = b_frames
            for i, pixels in enumerate(frames):
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
                frame.pts = ticks[i] if ticks is not None else i
                frame.time_base = Fraction(1, rate)
                box.mux(stream.encode(frame))
            box.mux(stream.encode(None))
        return path

    return write


def read(path: Path) -> Video:
    data = path.read_bytes()
    source = Source(
        path=path, sha256=hashlib.sha256(data).hexdigest(), size=len(data), format="mp4",
        mime="video/mp4", extension_matches=True,
    )  # fmt: skip
    with av.open(str(path)) as box:
        s = box.streams.video[0]
        facts = (s.width, s.height, float((box.duration or 0) / 1e6), float(s.average_rate or 0))
        codec, layout = s.codec_context.name, str(s.pix_fmt)
        encoder = box.metadata.get("encoder", "")

    def frames(times: Sequence[float] | None) -> Iterator[Image]:
        wanted = None if times is None else list(times)
        with av.open(str(path)) as box:
            for frame in box.decode(video=0):
                time = float(frame.time or 0.0)
                if wanted is not None:
                    if not wanted:
                        return
                    if time + 1 / (facts[3] or 30) <= wanted[0]:
                        continue
                    while wanted and wanted[0] < time + 1 / (facts[3] or 30):
                        wanted.pop(0)
                pixels = frame.to_ndarray(format="rgb24")
                pixels.setflags(write=False)
                yield Image(
                    source=source, pixels=pixels, stored_width=facts[0], stored_height=facts[1],
                    time=time,
                )  # fmt: skip

    def packets() -> Iterator[Packet]:
        with av.open(str(path)) as box:
            s = box.streams.video[0]
            for p in box.demux(s):
                if p.size:
                    yield Packet(
                        time=None if p.pts is None else float(p.pts * p.time_base),
                        decode_time=None if p.dts is None else float(p.dts * p.time_base),
                        duration=float((p.duration or 0) * p.time_base) or None,
                        size=p.size, keyframe=p.is_keyframe,
                    )  # fmt: skip

    return Video(
        source=source, width=facts[0], height=facts[1], duration=facts[2], frame_rate=facts[3],
        rotation=0, codec=codec, pixel_format=layout, bit_rate=0,
        streams=(Stream(index=0, kind="video", codec=codec),), encoder=encoder,
        _frames=frames, _packets=packets,
    )  # fmt: skip


@pytest.fixture(scope="session")
def open_video() -> Callable[[Path], Video]:
    return read
