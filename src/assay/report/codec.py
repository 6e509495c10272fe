"""Frozen dataclasses to JSON values and back, directed by their annotations.

Understands ``str``, ``int``, ``float``, ``bool``, ``X | None``, string enumerations,
``tuple[X, ...]``, ``tuple[X, Y]``, ``dict[str, X]``, ``Any`` (any JSON value) and
dataclasses of these. What is written is what is read: no coercion except that a whole
number stands for a float where a float is expected. Errors name the path of the value,
as in ``evidence[3].where.box``.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from enum import Enum
from typing import Any

from assay.errors import ReportError

__all__ = ["MAX_DEPTH", "decode", "encode", "field_types", "has_default"]

MAX_DEPTH = 32
"""Levels of lists and objects within one another."""
_MAX_BITS = 1024  # of a whole number; more is no count or size of anything


_TYPES: dict[type, dict[str, Any]] = {}  # resolving annotations is slow, so once a class


def field_types(cls: Any) -> dict[str, Any]:
    """Resolved annotations of the dataclass ``cls``, by field name in order."""
    if cls not in _TYPES:
        hints = typing.get_type_hints(cls)
        _TYPES[cls] = {f.name: hints[f.name] for f in dataclasses.fields(cls)}
    return _TYPES[cls]


def has_default(field: dataclasses.Field[Any]) -> bool:
    """Whether the field may be left out."""
    missing = dataclasses.MISSING
    return field.default is not missing or field.default_factory is not missing


def encode(value: Any, kind: Any, path: str = "report", depth: int = 0) -> Any:
    """``value`` of the annotated type ``kind`` as dicts, lists and scalars.

    Raises:
        ReportError: the value is not of its type, not finite, or nested too deeply.
    """
    _check_depth(path, depth)
    if kind is Any:
        return _plain(value, path, depth)
    if kind in (str, bool, int, float):
        return _scalar(value, kind, path)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        if type(value) is not kind:
            raise _wrong(path, kind.__name__, value)
        return {
            name: encode(getattr(value, name), hint, f"{path}.{name}", depth + 1)
            for name, hint in field_types(kind).items()
        }
    if isinstance(kind, type) and issubclass(kind, Enum):
        if not isinstance(value, kind):
            raise _wrong(path, kind.__name__, value)
        return value.value
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return None if value is None else encode(value, _optional(inner), path, depth)
    if origin is tuple:
        if not isinstance(value, tuple):
            raise _wrong(path, "a tuple", value)
        return [
            encode(item, hint, f"{path}[{i}]", depth + 1)
            for i, (item, hint) in enumerate(_paired(value, inner, path))
        ]
    if origin is dict:
        if not isinstance(value, Mapping):
            raise _wrong(path, "a mapping", value)
        return {
            _key(key, path): encode(item, inner[1], f"{path}.{_key(key, path)[:80]}", depth + 1)
            for key, item in value.items()
        }
    raise TypeError(f"{path}: the codec does not know {kind!r}")


def decode(
    value: Any, kind: Any, path: str = "report", depth: int = 0, *, extra: bool = False
) -> Any:
    """The inverse of :func:`encode` for parsed JSON; ``extra``: skip unknown fields.

    Raises:
        ReportError: wrong type, unknown enumeration value, missing or unknown field,
            a number that is not finite, too deep, or refused by the dataclass itself.
    """
    _check_depth(path, depth)
    if kind is Any:
        return _plain(value, path, depth)
    if kind in (str, bool, int, float):
        return _scalar(value, kind, path)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _decode_dataclass(value, kind, path, depth, extra)
    if isinstance(kind, type) and issubclass(kind, Enum):
        try:
            return kind(value)
        except (ValueError, TypeError):
            known = ", ".join(str(member.value) for member in kind)
            raise ReportError(f"{path}: unknown value {_shown(value)}; known: {known}") from None
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        if value is None:
            return None
        return decode(value, _optional(inner), path, depth, extra=extra)
    if origin is tuple:
        if not isinstance(value, list):
            raise _wrong(path, "a list", value)
        return tuple(
            decode(item, hint, f"{path}[{i}]", depth + 1, extra=extra)
            for i, (item, hint) in enumerate(_paired(value, inner, path))
        )
    if origin is dict:
        if not isinstance(value, dict):
            raise _wrong(path, "an object", value)
        return {
            key: decode(item, inner[1], f"{path}.{key[:80]}", depth + 1, extra=extra)
            for key, item in value.items()
        }
    raise TypeError(f"{path}: the codec does not know {kind!r}")


def _decode_dataclass(value: Any, kind: type, path: str, depth: int, extra: bool) -> Any:
    if not isinstance(value, dict):
        raise _wrong(path, "an object", value)
    hints = field_types(kind)
    unknown = [name for name in value if name not in hints]
    if unknown and not extra:
        raise ReportError(f"{path}: unknown field {_shown(unknown[0])}")
    found = {}
    for field in dataclasses.fields(kind):
        name = field.name
        if name in value:
            found[name] = decode(value[name], hints[name], f"{path}.{name}", depth + 1, extra=extra)
        elif not has_default(field):
            raise ReportError(f"{path}: field {name!r} is missing")
    try:
        return kind(**found)
    except ValueError as error:
        raise ReportError(f"{path}: {error}") from None


def _scalar(value: Any, kind: Any, path: str) -> Any:
    if kind is float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise _wrong(path, "a number", value)
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise ReportError(f"{path}: a number must be finite")
        return number
    if kind is int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise _wrong(path, "a whole number", value)
        return _bounded(value, path)
    if not isinstance(value, kind):
        raise _wrong(path, "true or false" if kind is bool else "a string", value)
    return str(value) if kind is str else value


def _plain(value: Any, path: str, depth: int) -> Any:
    """Any JSON value, copied; tuples become lists."""
    _check_depth(path, depth)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int):
        return _bounded(value, path)
    if isinstance(value, float):
        return _scalar(value, float, path)
    if isinstance(value, list | tuple):
        return [_plain(item, f"{path}[{i}]", depth + 1) for i, item in enumerate(value)]
    if isinstance(value, Mapping):
        return {
            _key(key, path): _plain(item, f"{path}.{_key(key, path)[:80]}", depth + 1)
            for key, item in value.items()
        }
    raise _wrong(path, "a JSON value", value)


def _paired(value: Any, inner: tuple[Any, ...], path: str) -> list[tuple[Any, Any]]:
    if len(inner) == 2 and inner[1] is Ellipsis:
        return [(item, inner[0]) for item in value]
    if len(value) != len(inner):
        raise ReportError(f"{path}: expected {len(inner)} values, got {len(value)}")
    return list(zip(value, inner, strict=True))


def _optional(inner: tuple[Any, ...]) -> Any:
    kinds = [kind for kind in inner if kind is not type(None)]
    if len(kinds) != 1:
        raise TypeError(f"the codec does not know the union {inner!r}")
    return kinds[0]


def _bounded(value: int, path: str) -> int:
    if value.bit_length() > _MAX_BITS:
        raise ReportError(f"{path}: a whole number beyond {_MAX_BITS} bits")
    return int(value)


def _key(key: Any, path: str) -> str:
    if not isinstance(key, str):
        raise _wrong(path, "a string as key", key)
    return str(key)


def _check_depth(path: str, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise ReportError(f"{path[:200]}: nested more than {MAX_DEPTH} levels deep")


def _wrong(path: str, wanted: str, value: Any) -> ReportError:
    return ReportError(f"{path}: expected {wanted}, got {_shown(value)}")


def _shown(value: Any) -> str:
    if isinstance(value, dict | list | tuple):
        return type(value).__name__
    if isinstance(value, int) and value.bit_length() > _MAX_BITS:
        return "a huge number"
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
