"""Media for everybody's tests: the real samples, and what ``tests/media/make.py`` makes of them."""

from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from PIL import Image as Pillow

_HERE = Path(__file__).parent
SAMPLES = _HERE / "media" / "samples"


def _load(file: Path) -> ModuleType:
    """A module of the tests that several folders use; the folders are no packages."""
    name = f"assay_test_{file.stem}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


@pytest.fixture(scope="session")
def make() -> ModuleType:
    """The module ``tests/media/make.py``: functions that write media files."""
    return _load(_HERE / "media" / "make.py")


@pytest.fixture(scope="session")
def houses() -> ModuleType:
    """The module ``tests/house.py``: real servers with real workers."""
    return _load(_HERE / "house.py")


@pytest.fixture(scope="session")
def house(houses: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A server on loopback with one worker; every test brings its own users."""
    made = houses.House(tmp_path_factory.mktemp("house"))
    yield made
    made.close()


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A private PostgreSQL server; ``.database()`` makes a new empty one and gives its URL.

    Fails where the server's binaries are missing, unless the environment allows to skip.
    """
    module = _load(_HERE / "postgres.py")
    if os.environ.get(module.SKIP) == "1":
        pytest.skip(f"{module.SKIP} is set")
    # Unix sockets have short paths; pytest's folders have long ones.
    with tempfile.TemporaryDirectory(prefix="assay-pg-", ignore_cleanup_errors=True) as folder:
        made = module.Server(Path(folder))
        yield made
        made.stop()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database of either kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'test.db'}"
    return str(request.getfixturevalue("postgres").database())


@pytest.fixture(scope="session")
def samples() -> Path:
    """The folder of the committed samples; see ``tests/media/MANIFEST.toml``."""
    return SAMPLES


@pytest.fixture(scope="session")
def astronaut_png() -> Path:
    """A portrait photograph with a face, 512 x 512."""
    return SAMPLES / "astronaut.png"


@pytest.fixture(scope="session")
def chelsea_png() -> Path:
    """A photograph of a cat, 451 x 300."""
    return SAMPLES / "chelsea.png"


@pytest.fixture(scope="session")
def rocket_jpeg() -> Path:
    """A photograph of a rocket as a JPEG from the web, 640 x 427."""
    return SAMPLES / "rocket.jpg"


@pytest.fixture(scope="session")
def astronaut_jpeg(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The portrait as a JPEG of quality 92."""
    path = tmp_path_factory.mktemp("made") / "astronaut.jpg"
    with Pillow.open(SAMPLES / "astronaut.png") as picture:
        picture.convert("RGB").save(path, quality=92)
    return path


@pytest.fixture(scope="session")
def portrait_video() -> Path:
    """A face in slow motion with speech: 4 s, 320 x 240, 25/s, H.264 and AAC at 16 kHz."""
    return SAMPLES / "portrait.mp4"


@pytest.fixture(scope="session")
def silent_video(tmp_path_factory: pytest.TempPathFactory, make: ModuleType) -> Path:
    """2 s of the same without a sound."""
    return Path(make.video(tmp_path_factory.mktemp("made") / "silent.mp4", make.pan(50, 320, 240)))


@pytest.fixture(scope="session")
def speech_flac() -> Path:
    """3 s of a person speaking, 16 kHz mono FLAC."""
    return SAMPLES / "speech.flac"


@pytest.fixture(scope="session")
def speech_wav(tmp_path_factory: pytest.TempPathFactory, make: ModuleType) -> Path:
    """The same as 16-bit WAV."""
    return Path(make.wav(tmp_path_factory.mktemp("made") / "speech.wav", *make.speech()))


@pytest.fixture
def save(tmp_path: Path) -> Callable[[str, bytes], Path]:
    """(name, bytes) -> path of a file with these bytes."""

    def write(name: str, data: bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return write
