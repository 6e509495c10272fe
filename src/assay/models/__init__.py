"""Trained networks and calibration curves as versioned data.

A model is a folder ``zoo/<name>-v<N>/`` that never changes once released:
``card.toml`` (what it is, how to feed it, how good it is, where it fails),
``model.onnx`` or ``model.npz`` (absent when the model is a calibration curve only) and
``golden.json`` (outputs it must reproduce). Not in here: opinions about media.
"""

from __future__ import annotations

from assay.models.card import Calibration, Card, InputSpec, OperatingPoints
from assay.models.store import available, card, model_path

__all__ = [
    "Calibration",
    "Card",
    "InputSpec",
    "OperatingPoints",
    "available",
    "card",
    "model_path",
]
