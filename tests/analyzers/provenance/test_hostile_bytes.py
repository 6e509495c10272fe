"""Any bytes at all: parsers answer or stay silent, and never raise."""

from __future__ import annotations

import json
from io import BytesIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.analyzers.provenance.boxes import read_boxes
from assay.analyzers.provenance.container_texts import read_texts
from assay.analyzers.provenance.exif import comment_text, read_exif
from assay.analyzers.provenance.generator_texts import named_generator, recognise
from assay.analyzers.provenance.jpeg_segments import read_jpeg, standard_quality
from assay.analyzers.provenance.plain import clean, jsonable
from assay.analyzers.provenance.source_types import source_type
from assay.analyzers.provenance.xmp import read_iptc, read_xmp

from .conftest import encoded, scene

BYTES = st.binary(max_size=400)
_JPEG = encoded(scene(48, 32))
_LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
JSON = st.recursive(
    _LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["prompt", "nodes", "AIGC", "class_type", "inputs", "seed", "Comment",
                             "sui_image_params", "app_version", "uc", "sampler", "parameters",
                             "type", "Label", "version", "image", "model", "Software"]),
            inner, max_size=5,
        )
    ),
    max_leaves=20,
)  # fmt: skip


@given(BYTES, st.sampled_from([b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08", b""]))
def test_exif(data: bytes, head: bytes) -> None:
    found = read_exif(head + data)
    for value in found.tags.values():
        comment_text(value)


@given(BYTES)
def test_xmp_and_iptc(data: bytes) -> None:
    read_xmp(data)
    read_xmp(b"<x>" + data + b"</x>")
    read_iptc(b"\x1c\x02" + data)


@given(BYTES)
def test_jpeg(data: bytes) -> None:
    found = read_jpeg(b"\xff\xd8" + data)
    assert found is not None
    standard_quality(found.tables)


@given(st.integers(0, len(_JPEG) - 1), st.integers(0, 255))
def test_jpeg_with_one_byte_changed(place: int, value: int) -> None:
    data = bytearray(_JPEG)
    data[place] = value
    found = read_jpeg(bytes(data))
    if found is not None:
        standard_quality(found.tables)
        assert found.subsampling is not None


_KINDS = st.sampled_from(
    [b"moov", b"trak", b"udta", b"meta", b"ilst", b"hdlr", b"elst", b"mvhd", b"mdhd", b"stsd",
     b"keys", b"\xa9too", b"ftyp", b"data", b"edts", b"mdia"]
)  # fmt: skip
_BOXES = st.recursive(
    st.tuples(_KINDS, st.binary(max_size=60)).map(
        lambda p: (8 + len(p[1])).to_bytes(4, "big") + p[0] + p[1]
    ),
    lambda inner: st.tuples(_KINDS, st.lists(inner, max_size=3)).map(
        lambda p: (8 + sum(map(len, p[1]))).to_bytes(4, "big") + p[0] + b"".join(p[1])
    ),
    max_leaves=8,
)


@given(st.one_of(BYTES, _BOXES))
def test_boxes(data: bytes) -> None:
    read_boxes(BytesIO(data), len(data))


@pytest.mark.parametrize(
    "head",
    [b"\x1a\x45\xdf\xa3", b"RIFF\0\0\0\0WAVE", b"ID3\x04\0\0\0\0\x07\x76", b"fLaC", b"OggS",
     b"OggS\x03vorbis", b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\xff", b""],
)  # fmt: skip
@settings(max_examples=60)
@given(data=BYTES)
def test_other_containers(head: bytes, data: bytes) -> None:
    whole = head + data
    for form in ("matroska", "mp3", "wav"):
        read_texts(BytesIO(whole), len(whole), form)


@settings(max_examples=50)
@given(st.text(max_size=200), st.text(max_size=20))
def test_texts(text: str, key: str) -> None:
    for name in (key, "parameters", "Description", "Dream"):
        recognise(name, text)
        recognise(name, "{" + text)
        recognise(name, "p\nSteps: 1, Sampler: a, Seed: 2, " + text)
    named_generator(text)
    source_type(text)
    assert len(clean(text, 40)) <= 40


_KEYS = ["prompt", "workflow", "AIGC", "Comment", "parameters", "sd-metadata"]


@given(JSON, st.sampled_from(_KEYS))
def test_json(value: object, key: str) -> None:
    recognise(key, json.dumps(value))
    found = recognise(key, json.dumps({"x": value} if not isinstance(value, dict) else value))
    if found is not None:
        json.dumps(dict(found.data), allow_nan=False)
    json.dumps(jsonable(value), allow_nan=False)
