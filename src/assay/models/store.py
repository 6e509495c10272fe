"""Finds models in the zoo and proves that their bytes are those of the card."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from assay.errors import ModelError
from assay.models.card import Card, read_card

__all__ = ["ZOO", "available", "card", "model_path", "verify"]

ZOO = Path(__file__).parent / "zoo"


def available() -> tuple[str, ...]:
    """Keys (``faces-v2``) of all models that are installed, sorted."""
    if not ZOO.is_dir():
        return ()
    return tuple(sorted(p.parent.name for p in ZOO.glob("*/card.toml")))


@cache
def card(key: str) -> Card:
    """The card of model ``key``.

    Raises:
        ModelError: no such model, or its card is invalid.
    """
    folder = ZOO / key
    if folder.name != key or folder.parent != ZOO or not (folder / "card.toml").is_file():
        raise ModelError(f"model {key!r} is not installed; installed: {', '.join(available())}")
    return read_card(folder)


def verify(key: str) -> Path:
    """Path of the network file of ``key`` after comparing its SHA-256 with the card.

    Raises:
        ModelError: no network, missing file, or other bytes than the card pins.
    """
    found = card(key)
    if not found.file:
        raise ModelError(f"model {key!r} is a calibration curve without a network")
    path = found.folder / found.file
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from error
    if digest != found.sha256:
        raise ModelError(f"{path}: SHA-256 {digest} differs from the card's {found.sha256}")
    return path


@cache
def model_path(key: str) -> Path:
    """:func:`verify`, once a process."""
    return verify(key)
