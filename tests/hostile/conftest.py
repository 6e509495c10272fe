from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from assay.errors import MediaError
from assay.limits import Limits
from assay.media import Audio, Image, Media, Video, decode


def _load_gallery() -> ModuleType:
    name = "assay_test_gallery"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).parent / "gallery.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


@pytest.fixture(scope="session")
def gallery() -> ModuleType:
    return _load_gallery()


def _check_error(error: MediaError, path: Path) -> None:
    assert error.cause
    assert str(path) in str(error)


def _check_sound(sound: Audio) -> None:
    total = 0
    for block in islice(sound.blocks(16_000, seconds=1.0), 30):
        assert block.dtype == np.float32
        assert block.ndim == 1
        assert np.abs(block).max(initial=0) <= 1
        total += len(block)
    assert total <= 30 * 16_000
    assert 0 <= sound.duration <= Limits().max_audio_seconds


def _check(media: Media) -> None:
    """Uses everything of ``media``, and holds it to the contracts of ``assay.media``."""
    if isinstance(media, Audio):
        _check_sound(media)
    elif isinstance(media, Image):
        assert media.pixels.shape == (media.height, media.width, 3)
        assert media.width > 0
        assert media.height > 0
    elif isinstance(media, Video):
        assert 0 <= media.duration <= Limits().max_video_seconds
        assert 0 <= media.frame_rate < 1e9
        last = -1.0
        for frame in islice(media.frames(), 60):
            assert frame.pixels.shape == (media.height, media.width, 3)
            assert frame.time is not None
            assert frame.time > last
            last = frame.time
        assert len(list(media.frames(media.sample_times(4)))) <= 4
        for packet in islice(media.packets(), 200):
            assert packet.size > 0
        if media.sound is not None:
            _check_sound(media.sound)


@pytest.fixture(scope="session")
def endure() -> Callable[[Path], Media | MediaError]:
    """path -> the media, fully used, or the MediaError; anything else fails the test."""

    def run(path: Path) -> Media | MediaError:
        try:
            media = decode(path)
        except MediaError as error:
            _check_error(error, path)
            return error
        try:
            _check(media)
        except MediaError as error:
            return error
        return media

    return run
