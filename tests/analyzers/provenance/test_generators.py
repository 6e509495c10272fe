"""Parameters as generators write them, in every place they write them."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image as Pillow
from PIL import PngImagePlugin

from assay.analyzers.checks import check_analyzer, check_answer
from assay.analyzers.provenance.generators import Generators
from assay.findings import Claim, Finding, Kind, Strength
from assay.media import decode

from .conftest import encoded, scene

pytestmark = pytest.mark.disable_socket

Write = Callable[[bytes, str], Path]

WEB_UI = (
    "a lighthouse at dusk, (oil painting:1.2)\nNegative prompt: blurry, text\n"
    "Steps: 28, Sampler: DPM++ 2M Karras, CFG scale: 7, Seed: 1234567890, Size: 512x768, "
    'Model hash: abcdef1234, Model: exampleModel_v2, Lora hashes: "a: 1, b: 2", Version: v1.9.4'
)
COMFY = {
    "3": {"class_type": "KSampler", "inputs": {"seed": 42, "steps": 20}},
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "m.safetensors"}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a lighthouse", "clip": ["4", 1]}},
}
NOVEL = {"prompt": "lighthouse", "uc": "lowres", "seed": 7, "sampler": "k_euler", "steps": 28}


def findings(path: Path) -> list[Finding]:
    analyzer = Generators()
    media = decode(path)
    answer = analyzer.analyze(media)
    check_answer(analyzer.info, media, answer)
    assert isinstance(answer, tuple)
    return list(answer)


def png(**texts: str) -> bytes:
    info = PngImagePlugin.PngInfo()
    for key, text in texts.items():
        info.add_text(key, text)
    return encoded(scene(), "PNG", pnginfo=info)


def test_the_contract() -> None:
    check_analyzer(Generators())


def test_web_ui(write: Write) -> None:
    (found,) = findings(write(png(parameters=WEB_UI), "a.png"))
    assert found.code == "generators.parameters"
    assert (found.kind, found.claim) == (Kind.PROVENANCE, Claim.SYNTHETIC)
    assert found.strength is Strength.STRONG
    assert found.data["generator"] == "Stable Diffusion web UI"
    assert found.data["seed"] == "1234567890"
    assert found.data["model"] == "exampleModel_v2"
    assert found.data["negative_prompt"] == "blurry, text"
    assert any("anyone can write" in text for text in found.limits)


@pytest.mark.parametrize("encoding", ["utf-16-be", "utf-16-le", "ascii"])
def test_web_ui_in_a_jpeg_comment_tag(write: Write, encoding: str) -> None:
    exif = Pillow.Exif()
    code = b"ASCII\0\0\0" if encoding == "ascii" else b"UNICODE\0"
    exif.get_ifd(0x8769)[0x9286] = code + WEB_UI.encode(encoding)
    (found,) = findings(write(encoded(scene(), exif=exif.tobytes()), "a.jpg"))
    assert found.data["seed"] == "1234567890"
    assert "UserComment" in found.because


def test_comfy_prompt_and_workflow(write: Write) -> None:
    workflow = {"nodes": [{"id": 1, "type": "KSampler"}], "links": []}
    data = png(prompt=json.dumps(COMFY), workflow=json.dumps(workflow))
    (found,) = findings(write(data, "a.png"))
    assert found.data["generator"] == "ComfyUI"
    assert found.data["prompt"] == "a lighthouse"
    assert found.data["model"] == "m.safetensors"
    assert found.data["seed"] == "42"


def test_comfy_without_a_generating_node_is_only_mentioned(write: Write) -> None:
    nodes = {"1": {"class_type": "LoadImage", "inputs": {}}, "2": {"class_type": "SaveImage"}}
    (found,) = findings(write(png(prompt=json.dumps(nodes)), "a.png"))
    assert (found.code, found.claim) == ("generators.mentioned", Claim.NEUTRAL)


@pytest.mark.parametrize(
    ("texts", "generator"),
    [
        ({"Software": "NovelAI", "Comment": json.dumps(NOVEL)}, "NovelAI"),
        (
            {"invokeai_metadata": json.dumps({"app_version": "4.2", "positive_prompt": "x"})},
            "InvokeAI",
        ),
        ({"Dream": '"a lighthouse" -s 50 -S 12345 -W 512 -H 512 -C 7.5'}, "InvokeAI"),
        (
            {"fooocus_scheme": "fooocus", "parameters": json.dumps({"version": "Fooocus v2.5"})},
            "Fooocus",
        ),
        ({"parameters": json.dumps({"sui_image_params": {"prompt": "x", "seed": 5}})}, "SwarmUI"),
        (
            {"Description": "a pier --v 6.1 Job ID: 0a1b2c3d-1111-2222-3333-444455556666"},
            "Midjourney",
        ),
        (
            {"AIGC": json.dumps({"Label": "1", "ContentProducer": "Example Model"})},
            "the service 'Example Model'",
        ),
    ],
)
def test_other_programs(write: Write, texts: dict[str, str], generator: str) -> None:
    (found,) = findings(write(png(**texts), "a.png"))
    assert found.code == "generators.parameters"
    assert found.data["generator"] == generator


def test_software_tag_names_a_generator(write: Write) -> None:
    exif = Pillow.Exif()
    exif[0x0131] = "Adobe Firefly"
    (found,) = findings(write(encoded(scene(), exif=exif.tobytes()), "a.jpg"))
    assert (found.code, found.data["generator"]) == ("generators.named", "Adobe Firefly")


@pytest.mark.parametrize("alpha", [True, False])
@pytest.mark.parametrize("packed", [True, False])
def test_stealth_parameters(write: Write, alpha: bool, packed: bool) -> None:
    """Written here bit by bit, in the order of the programs: columns, rows, channels."""
    payload = gzip.compress(WEB_UI.encode()) if packed else WEB_UI.encode()
    sign = f"stealth_{'png' if alpha else 'rgb'}{'comp' if packed else 'info'}".encode()
    stream = sign + (8 * len(payload)).to_bytes(4, "big") + payload
    bits = "".join(f"{byte:08b}" for byte in stream)
    picture = scene(96, 80).convert("RGBA")
    pixels = picture.load()
    assert pixels is not None
    at = 0
    for x in range(96):
        for y in range(80):
            value = list(pixels[x, y])
            for channel in [3] if alpha else [0, 1, 2]:
                if at < len(bits):
                    value[channel] = (value[channel] & 254) | int(bits[at])
                    at += 1
            pixels[x, y] = tuple(value)
    assert at == len(bits)
    (found,) = findings(write(encoded(picture, "PNG"), "a.png"))
    assert found.data["seed"] == "1234567890"
    assert "lowest bits" in found.because


def test_bomb_in_the_lowest_bits_stays_small(write: Write) -> None:
    payload = gzip.compress(bytes(50_000_000), 9)
    stream = b"stealth_pngcomp" + (8 * len(payload)).to_bytes(4, "big") + payload
    bits = np.unpackbits(np.frombuffer(stream, np.uint8))
    side = int(np.ceil(np.sqrt(len(bits))))
    alpha = np.zeros(side * side, np.uint8)
    alpha[: len(bits)] = bits
    picture = np.zeros((side, side, 4), np.uint8)
    picture[:, :, 3] = alpha.reshape(side, side).T | 254
    assert findings(write(encoded(Pillow.fromarray(picture), "PNG"), "a.png")) == []


def test_tags_of_a_video(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w", options={"movflags": "use_metadata_tags"}) as file:
        file.metadata["prompt"] = json.dumps(COMFY)
        stream = file.add_stream("mpeg4", rate=Fraction(10))
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(3):
            frame = av.VideoFrame.from_ndarray(np.asarray(scene(64, 48)), format="rgb24")
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    (found,) = findings(path)
    assert found.data["generator"] == "ComfyUI"


@pytest.mark.parametrize(
    "texts",
    [
        {"Description": "The steps: 12, a lighthouse by the sea"},
        {"parameters": "Steps: 20, a walk"},
        {"Comment": "Created with GIMP", "Software": "GIMP 2.10"},
        {"prompt": json.dumps({"question": "what is this?"})},
        {"AIGC": json.dumps({"Label": "0"})},
        {"Author": "Press office of OpenAI"},
        {"workflow": "[" * 100_000},
    ],
)
def test_ordinary_texts_accuse_nobody(write: Write, texts: dict[str, str]) -> None:
    assert findings(write(png(**texts), "a.png")) == []
