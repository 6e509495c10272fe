"""Whatever the bytes, the answer is a Media or a MediaError, in bounded time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assay.errors import MediaError
from assay.media import Media
from assay.media.sniff import _SIMPLE

Endure = Callable[[Path], Media | MediaError]

# The same examples every time: a decoder that dies takes the test run with it, so new
# ones are tried by hand, with more examples and a child process (see gallery.py).
calm = settings(
    max_examples=120,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

MAGICS = [magic for magic, _ in _SIMPLE] + [
    b"RIFF\xff\xff\xff\x00WAVEfmt ",
    b"RIFF\xff\xff\xff\x00AVI LIST",
    b"RIFF\xff\xff\xff\x00WEBPVP8X",
    b"\0\0\0\x18ftypisom\0\0\2\0isomavc1",
    b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
    b"\0\0\0\x18ftypavif\0\0\0\0mif1avif",
    b"\x1aE\xdf\xa3\x01\0\0\0\0\0\0\x1fB\x82\x84webm",
    b"FORM\0\0\xff\xffAIFFCOMM",
    b"ID3\x03\0\0\0\0\0\0",
    b"BM\xff\xff\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0",
    b"",
]


@calm
@given(magic=st.sampled_from(MAGICS), rest=st.binary(max_size=4000))
def test_random_bytes_behind_real_magic(
    magic: bytes, rest: bytes, tmp_path: Path, endure: Endure
) -> None:
    path = tmp_path / "f"
    path.write_bytes(magic + rest)
    endure(path)


@pytest.fixture(scope="session")
def whole(gallery: ModuleType) -> list[bytes]:
    return list(gallery.whole().values())


@calm
@given(data=st.data())
def test_real_files_with_damage(
    data: st.DataObject, whole: list[bytes], tmp_path: Path, endure: Endure
) -> None:
    content = bytearray(whole[data.draw(st.integers(0, len(whole) - 1))])
    for _ in range(data.draw(st.integers(1, 6))):
        # Most of the damage goes where the headers are.
        reach = data.draw(st.sampled_from([64, 600, len(content)]))
        at = data.draw(st.integers(0, min(reach, len(content)) - 1))
        patch = data.draw(
            st.one_of(st.binary(min_size=1, max_size=8), st.sampled_from([bytes(4), b"\xff" * 4]))
        )
        if data.draw(st.booleans()):
            content[at : at + len(patch)] = patch
        else:
            content[at:at] = patch
    path = tmp_path / "f"
    path.write_bytes(content)
    endure(path)
