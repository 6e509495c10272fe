"""The JSON Schema (2020-12) of the report, made from the dataclasses and their docstrings.

It is shipped as ``schema.json`` beside this file. Refresh it with
``python -m assay.report.schema`` after a change of the document.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
import textwrap
import types
import typing
from enum import Enum
from pathlib import Path
from typing import Any

from assay.report.codec import field_types, has_default
from assay.report.document import SCHEMA_VERSION, Report

__all__ = ["PATH", "schema", "text"]

PATH = Path(__file__).with_name("schema.json")


def schema() -> dict[str, Any]:
    """The schema of :class:`assay.report.document.Report` as a JSON value.

    Unknown fields are allowed, because a newer minor version may add some. Bounds that a
    dataclass checks itself (grid sizes, times in order) are not repeated.
    """
    defs: dict[str, Any] = {}
    _definition(Report, defs)
    root = defs.pop("Report")
    major = SCHEMA_VERSION.split(".", maxsplit=1)[0]
    root["properties"]["schema_version"]["pattern"] = rf"^{major}\.[0-9]{{1,4}}$"
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:assay:report:{SCHEMA_VERSION}",
        "title": "Assay report",
        **root,
        "$defs": dict(sorted(defs.items())),
    }


def text() -> str:
    """The content of ``schema.json``."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def _definition(cls: type, defs: dict[str, Any]) -> None:
    if cls.__name__ in defs:
        return
    defs[cls.__name__] = entry = {"type": "object"}
    own = _description(cls)
    if own:
        entry["description"] = own
    notes = _attribute_docstrings(cls)
    properties = {}
    for name, hint in field_types(cls).items():
        properties[name] = _value(hint, defs)
        if name in notes:
            properties[name]["description"] = notes[name]
    entry["properties"] = properties  # type: ignore[assignment]
    required = [f.name for f in dataclasses.fields(cls) if not has_default(f)]
    if required:
        entry["required"] = required  # type: ignore[assignment]


def _value(kind: Any, defs: dict[str, Any]) -> dict[str, Any]:
    if kind is Any:
        return {}
    if kind in (str, bool, int, float):
        names = {str: "string", bool: "boolean", int: "integer", float: "number"}
        return {"type": names[kind]}
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        _definition(kind, defs)
        return {"$ref": f"#/$defs/{kind.__name__}"}
    if isinstance(kind, type) and issubclass(kind, Enum):
        defs[kind.__name__] = {
            "type": "string",
            "description": _description(kind),
            "enum": [member.value for member in kind],
        }
        return {"$ref": f"#/$defs/{kind.__name__}"}
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        (one,) = (arg for arg in inner if arg is not type(None))
        return {"anyOf": [_value(one, defs), {"type": "null"}]}
    if origin is tuple and inner[-1] is Ellipsis:
        return {"type": "array", "items": _value(inner[0], defs)}
    if origin is tuple:
        items = [_value(arg, defs) for arg in inner]
        return {"type": "array", "prefixItems": items, "minItems": len(items), "items": False}
    if origin is dict:
        return {"type": "object", "additionalProperties": _value(inner[1], defs)}
    raise TypeError(f"no schema for {kind!r}")


def _description(cls: type) -> str:
    doc = cls.__doc__ or ""
    # A dataclass without a docstring gets its signature as one; that explains nothing.
    if doc.startswith(f"{cls.__name__}("):
        return ""
    return _joined(doc)


def _attribute_docstrings(cls: type) -> dict[str, str]:
    """Strings that follow a field in the source of ``cls``."""
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    assert isinstance(body, ast.ClassDef)
    found = {}
    for field, after in zip(body.body, body.body[1:], strict=False):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(after, ast.Expr)
            and isinstance(after.value, ast.Constant)
            and isinstance(after.value.value, str)
        ):
            found[field.target.id] = _joined(after.value.value)
    return found


def _joined(doc: str) -> str:
    paragraphs = inspect.cleandoc(doc).split("\n\n")
    return "\n\n".join(" ".join(p.split()) for p in paragraphs).replace("``", "`")


if __name__ == "__main__":
    PATH.write_text(text(), "utf-8")
