"""Sound as it arrives: from a pipe, a file or standard input, without an end in sight.

Nothing is read twice and nothing is kept. FFmpeg is fenced in as in :mod:`containers`: one
open file, the one demuxer that the content names, no protocol, no further file.
"""

from __future__ import annotations

import io
import os
import select
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from assay.errors import Corrupt, NotMedia, Unsupported
from assay.media.containers import DECODERS, codec_name
from assay.media.foreign import mapped
from assay.media.sniff import refusal, sniff
from assay.media.sounds import samples_of

__all__ = ["ENCODINGS", "Pcm", "Pipe", "sound_blocks"]

Floats = NDArray[np.float32]

ENCODINGS = ("s16le", "s16be", "s24le", "s32le", "f32le", "u8", "alaw", "mulaw")
_HEAD = 8192  # bytes that tell the format
_LONGEST_TAG = 4 * 1024 * 1024  # of an ID3 tag in front of the sound
_BUFFER = 4096  # bytes FFmpeg asks for at a time: an eighth of a second of 16 kHz PCM
_MOST_ERRORS = 200  # damaged packets in a row


@dataclass(frozen=True, slots=True)
class Pcm:
    """Samples without a header: one of ENCODINGS, rate in Hz, interleaved channels."""

    encoding: str
    rate: int = 16_000
    channels: int = 1

    def __post_init__(self) -> None:
        if self.encoding not in ENCODINGS:
            raise ValueError(f"{self.encoding!r} is not one of {', '.join(ENCODINGS)}")
        if not 1_000 <= self.rate <= 768_000:
            raise ValueError(f"a rate of {self.rate} Hz; 1000 to 768000 are possible")
        if not 1 <= self.channels <= 64:
            raise ValueError(f"{self.channels} channels; 1 to 64 are possible")


class Pipe:
    """A descriptor read as its bytes come, with what was looked at already in front.

    It ends where the sender ends it, or as soon as ``stop``, a second descriptor, can be read.
    """

    def __init__(self, descriptor: int, stop: int | None = None) -> None:
        self._descriptor, self._stop = descriptor, stop
        self._ahead = b""
        self._wait = select.poll()
        for each in (descriptor, stop):
            if each is not None:
                self._wait.register(each, select.POLLIN)

    def peek(self, count: int) -> bytes:
        """The next ``count`` bytes (fewer at the end), which stay to be read."""
        while len(self._ahead) < count:
            more = self._next(count - len(self._ahead))
            if not more:
                break
            self._ahead += more
        return self._ahead[:count]

    def read(self, count: int = -1) -> bytes:
        """At most ``count`` bytes, as soon as there are any; empty at the end."""
        if self._ahead:
            size = len(self._ahead) if count < 0 else count
            part, self._ahead = self._ahead[:size], self._ahead[size:]
            return part
        return self._next(_BUFFER if count < 0 else count)

    def _next(self, count: int) -> bytes:
        if any(ready == self._stop for ready, _ in self._wait.poll()):
            return b""
        return os.read(self._descriptor, count)


class _Readable(Protocol):
    def read(self, count: int = ..., /) -> bytes: ...


def sound_blocks(
    file: Pipe | io.BufferedIOBase, name: Path, rate: int, pcm: Pcm | None = None
) -> Iterator[Floats]:
    """The sound of ``file`` as float32 mono blocks at ``rate`` Hz, as soon as they are there.

    Args:
        file: a pipe, or a file that can be searched (some containers need that).
        name: what errors call it.
        pcm: how to read it, when it is bare samples; otherwise its content tells.

    Raises:
        NotMedia, Unsupported: the content is no sound that this build reads.
        Corrupt: it cannot be opened or decoded (any further).
    """
    if pcm is None:
        demuxer = _demuxer(file, name)
        options = {"probesize": "262144", "analyzeduration": "1000000"}
    else:
        demuxer = pcm.encoding
        layout = {1: "mono", 2: "stereo"}.get(pcm.channels, f"{pcm.channels}C")
        options = {"sample_rate": str(pcm.rate), "ch_layout": layout, "probesize": "4096"}
    with mapped(name, f"read the {demuxer} sound"):
        yield from _decoded(file, name, demuxer, options, rate)


def _demuxer(file: Pipe | io.BufferedIOBase, name: Path) -> str:
    if isinstance(file, Pipe):
        head = file.peek(_HEAD)
        if head.startswith(b"ID3") and len(head) >= 10:
            tag = sum(byte << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
            if tag <= _LONGEST_TAG:
                head = file.peek(tag + _HEAD)
        looked: Any = io.BytesIO(head)
    else:
        looked = file
    if not looked.read(1):
        raise NotMedia(name, "nothing came")
    found = sniff(looked)
    if found is None:
        what, _ = refusal(looked)
        raise NotMedia(
            name, f"the content is {what}, not a sound; for samples without a header use --pcm"
        )
    looked.seek(0)
    if found.still:
        raise NotMedia(name, f"the content is a picture ({found.name}), not a sound")
    return found.demuxer


def _decoded(
    file: _Readable, name: Path, demuxer: str, options: dict[str, str], rate: int
) -> Iterator[Floats]:
    import av

    with av.open(
        file, "r", format=demuxer, metadata_errors="replace", buffer_size=_BUFFER, io_open=_refuse,
        options={
            "protocol_whitelist": "none", "codec_whitelist": ",".join(sorted(DECODERS)),
            "max_streams": "64", **options,
        },
    ) as container:  # fmt: skip
        if not container.streams.audio:
            raise NotMedia(name, "it holds no sound")
        stream = container.streams.audio[0]
        if codec_name(stream) not in DECODERS:
            raise Unsupported(name, f"sound coded as {codec_name(stream)}")
        resampler = _Resampler(rate)
        errors, any_sound = 0, False
        for packet in container.demux(stream):
            try:
                frames = packet.decode()
                errors = 0
            except Exception as error:
                errors += 1
                if errors > _MOST_ERRORS:
                    raise Corrupt(name, f"{errors} damaged packets in a row") from error
                continue
            for frame in frames:
                if frame.samples and 1_000 <= frame.sample_rate <= 1_536_000:
                    any_sound = True
                    block = resampler(samples_of(frame).mean(axis=1), frame.sample_rate)
                    if len(block):
                        yield block
        if not any_sound:
            raise Corrupt(name, "not one sample of the sound can be decoded")
        yield resampler.rest()


def _refuse(url: str, flags: int, options: dict[str, str]) -> Any:
    raise PermissionError("the stream refers to a file, which is never opened")


class _Resampler:
    """To one rate, whatever the rate of the frames, which may change."""

    def __init__(self, rate: int) -> None:
        self._to, self._from = rate, rate
        self._stream: Any = None

    def __call__(self, x: Floats, rate: int) -> Floats:
        before = self.rest() if rate != self._from else np.zeros(0, np.float32)
        if rate != self._from:
            import soxr

            self._from = rate
            self._stream = (
                None
                if rate == self._to
                else soxr.ResampleStream(rate, self._to, 1, dtype="float32", quality="HQ")
            )
        if self._stream is not None:
            x = np.clip(self._stream.resample_chunk(np.ascontiguousarray(x)), -1.0, 1.0)
        return np.concatenate([before, x]) if len(before) else np.asarray(x, np.float32)

    def rest(self) -> Floats:
        """What the filter still holds."""
        if self._stream is None:
            return np.zeros(0, np.float32)
        left = self._stream.resample_chunk(np.zeros(0, np.float32), last=True)
        self._stream = None
        return np.asarray(np.clip(left, -1.0, 1.0), np.float32)
