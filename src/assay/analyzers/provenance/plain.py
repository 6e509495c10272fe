"""Text from hostile files, made fit for sentences and JSON."""

from __future__ import annotations

from collections.abc import Mapping

from assay.findings import Json

__all__ = ["clean", "jsonable"]

_MOST_ITEMS = 40


def clean(value: object, most: int = 200) -> str:
    """``value`` as one line of at most ``most`` printable characters."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    text = str(value)[: 4 * most]
    text = "".join(c if c.isprintable() else " " for c in text)
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 3].rstrip() + "..."


def jsonable(value: object, most: int = 500, depth: int = 6) -> Json:
    """``value`` as bounded JSON: long texts, lists and deep nesting are cut."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if abs(value) < 2**63 else clean(value, 40)
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, Mapping) and depth:
        items = list(value.items())[:_MOST_ITEMS]
        return {clean(k, 80): jsonable(v, most, depth - 1) for k, v in items}
    if isinstance(value, list | tuple) and depth:
        return [jsonable(v, most, depth - 1) for v in value[:_MOST_ITEMS]]
    if isinstance(value, Mapping | list | tuple):
        return "..."
    return clean(value, most)
