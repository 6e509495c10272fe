"""Write a model card as TOML 1.0: scalars, lists, tables and arrays of tables only."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping, Sequence
from typing import Any


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        text = repr(round(value, 6))
        return text if any(c in text for c in ".einf") else text + ".0"
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, Sequence):
        return "[" + ", ".join(_value(v) for v in value) + "]"
    raise TypeError(f"no TOML form for {type(value).__name__}")


def _table(head: str, table: Mapping[str, Any]) -> str:
    return "\n".join([head, *(f"{k} = {_value(v)}" for k, v in table.items() if v is not None), ""])


def dumps(card: Mapping[str, Any]) -> str:
    """TOML text; a list of mappings becomes an array of tables."""
    parts = []
    for name, value in card.items():
        if isinstance(value, Mapping):
            parts.append(_table(f"[{name}]", value))
        elif isinstance(value, list) and all(isinstance(v, Mapping) for v in value):
            parts += [_table(f"[[{name}]]", v) for v in value]
        else:
            raise TypeError(f"{name} is neither a table nor an array of tables")
    return "\n".join(parts)
