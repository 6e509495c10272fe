"""Write a model card as TOML 1.0: scalars, lists, tables and arrays of tables only."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from assay_lab.benchmark import metrics as m

Floats = NDArray[np.float64]


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


def metric(
    source: str, how: str, real: Floats, fake: Floats, strict: float, *, loose: bool = False
) -> dict[str, Any]:
    """One row of validation scores; ``loose`` leaves the interval out where the sample is tiny."""
    y, s = np.r_[real * 0, fake * 0 + 1], np.r_[real, fake]
    row: dict[str, Any] = {
        "set": "validation", "source": source, "corruption": how,
        "real": len(real), "fake": len(fake),
        "auc": round(m.auc(y, s), 4), "tpr_at_1fpr": round(m.rate_at(fake, strict), 4),
        "flagged_real_at_point": round(m.rate_at(real, strict), 4),
    }  # fmt: skip
    if not loose:
        area = m.bootstrap(m.auc, y, s)
        row |= {"auc_low": round(area.low, 4), "auc_high": round(area.high, 4)}
    return row
