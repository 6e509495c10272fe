"""The texts in which generators keep their parameters, one recogniser a program.

Forms as the programs write them: Stable Diffusion web UI and its kin ("parameters"),
ComfyUI ("prompt", "workflow"), InvokeAI, NovelAI, Fooocus, SwarmUI, Midjourney, and the
implicit label of the Chinese standard GB 45438-2025 ("AIGC").
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from assay.analyzers.provenance.plain import clean, jsonable
from assay.findings import Json

__all__ = ["Declared", "named_generator", "recognise"]

_MOST_JSON = 4 * 1024 * 1024
_PROMPT = 2000
_MOST_NODES = 2000
_MAKES = re.compile(
    r"sampler|generate|generation|text.?to.?(?:image|video)|imagen|dall|flux|ideogram|kling|veo\d",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Declared:
    """``generator`` says how the medium was made. ``data`` are prompt, seed, model and so on.

    ``certain`` is false where the program need not have generated anything.
    ``from_picture`` says that an existing picture went in.
    """

    generator: str
    data: Mapping[str, Json] = field(default_factory=dict)
    certain: bool = True
    from_picture: bool = False


def recognise(key: str, text: str) -> Declared | None:
    """What ``text``, found under the keyword ``key``, declares; ``None`` if nothing known."""
    if not text or len(text) > _MOST_JSON:
        return None
    name = key.strip().lower()
    stripped = text.lstrip("\ufeff \t\r\n")
    if stripped.startswith("{"):
        loaded = _load(stripped)
        if isinstance(loaded, dict):
            return _from_json(name, loaded)
        return None
    if name == "dream" and (seed := re.search(r"\s-S\s?(\d+)", text)):
        return Declared("InvokeAI", {"prompt": clean(text, _PROMPT), "seed": seed[1]})
    if name in ("description", "comment", "imagedescription") and (
        re.search(r"\bJob ID: [0-9a-f]{8}-[0-9a-f]{4}-", text)
    ):
        return Declared("Midjourney", {"prompt": clean(text, _PROMPT)})
    return _web_ui(text)


def _load(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _web_ui(text: str) -> Declared | None:
    """Prompt, "Negative prompt: ...", then one line of settings."""
    start = re.search(r"(?:^|\n)\s*(Steps: \d{1,5}, )", text)
    if start is None:
        return None
    line = text[start.start(1) :].split("\n")[0][:8000]
    settings = dict(re.findall(r"\s*([\w .\-]{1,40}): (\"(?:[^\"\\]|\\.)*\"|[^,]*)(?:,|$)", line))
    known = {"Sampler", "CFG scale", "Seed", "Size", "Model", "Model hash", "Schedule type"}
    if len(known & settings.keys()) < 2:
        return None
    prompt, _, negative = text[: start.start(1)].partition("Negative prompt:")
    version = settings.get("Version", "")
    program = "Stable Diffusion web UI"
    if "fooocus" in version.lower():
        program = "Fooocus"
    elif version.lower() == "comfyui":
        program = "ComfyUI"
    data: dict[str, Json] = {
        "prompt": clean(prompt, _PROMPT),
        "negative_prompt": clean(negative, _PROMPT),
        "seed": clean(settings.get("Seed", ""), 40),
        "model": clean(settings.get("Model", settings.get("Model hash", "")), 120),
        "settings": {clean(k, 40): clean(v, 120) for k, v in list(settings.items())[:40]},
    }
    redrawn = "Denoising strength" in settings and not any(k.startswith("Hires") for k in settings)
    return Declared(program, data, from_picture=redrawn)


def _from_json(name: str, loaded: dict[str, Any]) -> Declared | None:
    if name == "aigc" or isinstance(loaded.get("AIGC"), dict):
        return _aigc(loaded["AIGC"] if isinstance(loaded.get("AIGC"), dict) else loaded)
    if isinstance(loaded.get("sui_image_params"), dict):
        return Declared("SwarmUI", _fields(loaded["sui_image_params"]))
    if "app_version" in loaded and ("positive_prompt" in loaded or "generation_mode" in loaded):
        return Declared("InvokeAI", _fields(loaded))
    if name in ("invokeai_metadata", "invokeai_graph", "sd-metadata"):
        inner = loaded.get("image")
        return Declared("InvokeAI", _fields(inner if isinstance(inner, dict) else loaded))
    if str(loaded.get("version", "")).startswith("Fooocus") or "fooocus" in name:
        return Declared("Fooocus", _fields(loaded))
    if str(loaded.get("Software", "")) == "NovelAI" or (
        "prompt" in loaded and "uc" in loaded and "sampler" in loaded
    ):
        inner = _load(str(loaded.get("Comment", "")))
        return Declared("NovelAI", _fields(inner if isinstance(inner, dict) else loaded))
    inner_text = loaded.get("parameters")
    if isinstance(inner_text, str):
        return _web_ui(inner_text)
    return _comfy(loaded)


def _aigc(label: Mapping[str, Any]) -> Declared | None:
    value = str(label.get("Label", ""))
    if value not in ("1", "2", "3"):
        return None
    producer = clean(label.get("ContentProducer", ""), 80)
    return Declared(
        f"the service '{producer}'" if producer else "an unnamed service",
        {"aigc": jsonable(dict(label), 200)}, certain=value == "1",
    )  # fmt: skip


def _fields(loaded: Mapping[str, Any]) -> dict[str, Json]:
    """Prompt, seed and model under any of their usual names, the rest cut short."""
    found: dict[str, Json] = {}
    for field_name, names in (
        ("prompt", ("prompt", "positive_prompt", "full_prompt")),
        ("negative_prompt", ("negative_prompt", "uc", "full_negative_prompt", "negativeprompt")),
        ("seed", ("seed",)),
        ("model", ("model", "base_model", "model_weights", "base_model_name")),
    ):
        value = next((loaded[n] for n in names if loaded.get(n)), "")
        if isinstance(value, Mapping):
            value = value.get("model_name") or value.get("name") or ""
        found[field_name] = clean(value, _PROMPT if "prompt" in field_name else 120)
    found["settings"] = jsonable(dict(loaded), 120, 3)
    return found


def _nodes(loaded: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """(kind, inputs) of every node of a ComfyUI prompt or workflow."""
    listed = loaded.get("nodes")
    if isinstance(listed, list):
        for node in listed[:_MOST_NODES]:
            if isinstance(node, dict) and isinstance(node.get("type"), str):
                yield node["type"], node.get("widgets_values")
        return
    for node in list(loaded.values())[:_MOST_NODES]:
        if isinstance(node, dict) and isinstance(node.get("class_type"), str):
            yield node["class_type"], node.get("inputs")


def _comfy(loaded: Mapping[str, Any]) -> Declared | None:
    nested = loaded.get("prompt")
    if isinstance(nested, str):  # videos keep both in one JSON text
        inner = _load(nested)
        nested = inner if isinstance(inner, dict) else None
    if isinstance(nested, dict):
        return _comfy(nested) if "prompt" not in nested else None
    nodes = list(_nodes(loaded))
    if not nodes:
        return None
    kinds = [kind for kind, _ in nodes]
    prompts: list[str] = []
    models: list[str] = []
    seeds: list[str] = []
    for _kind, inputs in nodes:
        values = inputs if isinstance(inputs, dict) else {}
        for field_name, into in (("text", prompts), ("ckpt_name", models), ("unet_name", models)):
            if isinstance(values.get(field_name), str):
                into.append(clean(values[field_name], _PROMPT))
        for field_name in ("seed", "noise_seed"):
            if isinstance(values.get(field_name), int):
                seeds.append(clean(values[field_name], 40))
    data: dict[str, Json] = {
        "prompt": clean(" | ".join(dict.fromkeys(prompts)), _PROMPT),
        "model": clean(", ".join(dict.fromkeys(models)), 200),
        "seed": clean(", ".join(dict.fromkeys(seeds)), 120),
        "nodes": [clean(k, 60) for k in dict.fromkeys(kinds)][:60],
    }
    return Declared(
        "ComfyUI", data, certain=any(_MAKES.search(k) for k in kinds),
        from_picture=any(k.startswith(("LoadImage", "VHS_Load")) for k in kinds),
    )  # fmt: skip


_NAMES = (
    (r"\bmidjourney\b", "Midjourney"),
    (r"\bdall[·.\- ]?e\b", "DALL-E"),
    (r"\bstable[ -]?diffusion\b", "Stable Diffusion"),
    (r"\bnovelai\b", "NovelAI"),
    (r"\badobe firefly\b", "Adobe Firefly"),
    (r"\binvokeai\b", "InvokeAI"),
    (r"\bcomfyui\b", "ComfyUI"),
    (r"\bfooocus\b", "Fooocus"),
    (r"\bdraw things\b", "Draw Things"),
    (r"\bdreamstudio\b", "DreamStudio"),
    (r"\bbing image creator\b", "Bing Image Creator"),
    (r"\bmade with google ai\b|\bgoogle imagen\b", "Google AI"),
    (r"\bchatgpt\b|\bopenai\b", "OpenAI"),
    (r"\bmeta ai\b|\bimagined with ai\b", "Meta AI"),
    (r"\bgrok image\b", "Grok"),
    (r"\bideogram(?:\.ai| ai)\b", "Ideogram"),
    (r"\bleonardo\.ai\b", "Leonardo.Ai"),
)


def named_generator(text: str) -> str:
    """The generator that a *software* or *credit* field names, or ``""``."""
    text = text[:400].lower()
    return next((name for pattern, name in _NAMES if re.search(pattern, text)), "")
