"""Integrity, trust and meaning of Content Credentials, as three separate answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from assay.report.document import Report

__all__ = ["ROWS", "panel"]

ROWS = ("Integrity", "Trust", "Meaning")

_MEANINGS: Mapping[str, str] = {
    "digitalCapture": "captured by a camera or microphone",
    "computationalCapture": "captured by a camera that computes the picture from several takes",
    "trainedAlgorithmicMedia": "made by a trained generator",
    "compositeWithTrainedAlgorithmicMedia": "put together with parts made by a trained generator",
    "compositeCapture": "put together from captured parts",
    "algorithmicMedia": "made by a program",
    "digitalCreation": "drawn or made by a person with a program",
    "humanEdits": "edited by a person",
    "screenCapture": "a capture of a screen",
    "composite": "put together from several parts",
}


def panel(report: Report) -> list[tuple[str, str, str]]:
    """Rows of question, short answer and explanation, from the document alone."""
    found = report.provenance
    data = next((e.data for e in report.evidence if "c2pa_state" in e.data), {})
    return [
        (ROWS[0], *_integrity(found.c2pa_state, data)),
        (ROWS[1], *_trust(found.c2pa_state, found.signer, data)),
        (ROWS[2], *_meaning(report)),
    ]


def _integrity(state: str, data: Mapping[str, Any]) -> tuple[str, str]:
    if state == "absent":
        return "Not signed", "There is no signature to check. Most files have none."
    if data.get("signature_holds") is False:
        return "Does not hold", "The signature itself does not hold; what it says does not count."
    if data.get("content_hash_holds") is False:
        return (
            "Changed since signing",
            "The signature holds, but the content no longer matches the signed hash. Saving the "
            "file again does that too.",
        )
    if state in ("valid", "trusted"):
        return "Holds", "The content is what was signed, unchanged."
    return "Not confirmed", "The signed statements do not fit the file; see the evidence."


def _trust(state: str, signer: str, data: Mapping[str, Any]) -> tuple[str, str]:
    if state == "absent":
        return "No signer", "Nobody vouches for this file in the file itself."
    who = f"“{signer}”" if signer else "an unnamed signer"
    listed = data.get("trust_list")
    date = str(listed.get("date", "")) if isinstance(listed, Mapping) else ""
    dated = f"the trust list of {date}" if date else "the trust list"
    if state == "trusted":
        return "On the trust list", f"The certificate of {who} leads to an authority on {dated}."
    return (
        "Not vouched for",
        f"The name {who} is what the certificate says; nobody on {dated} confirms it.",
    )


def _meaning(report: Report) -> tuple[str, str]:
    found = report.provenance
    said = []
    if found.digital_source_type:
        key = found.digital_source_type.rstrip("/").rsplit("/", 1)[-1]
        meaning = _MEANINGS.get(key)
        said.append(f"It is declared to be {meaning}." if meaning else f"Declared source: {key}.")
    if report.attribution.top:
        said.append(f"Named as generator: {', '.join(report.attribution.top[:5])}.")
    if not said:
        return "Nothing declared", "The file does not say how it was made."
    said.append("That is what somebody declared; it is not what was measured.")
    return "Declared", " ".join(said)
