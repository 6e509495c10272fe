"""The report as JSON, without loss, and back.

``from_json(to_json(r)) == r``, and writing again gives the same bytes; the one exception
is that tuples inside ``Evidence.data`` come back as lists. The text is pure ASCII, so a
file name that holds undecodable bytes or direction overrides travels unharmed.

A document of a newer *minor* version is read and its unknown fields are left out; one of
another *major* version is refused.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NoReturn

from assay.errors import ReportError
from assay.report.codec import decode, encode
from assay.report.document import SCHEMA_VERSION, Report

__all__ = ["MAX_BYTES", "from_json", "load", "to_json"]

MAX_BYTES = 64 * 1024 * 1024
"""Longest report that is written or read, in bytes of JSON."""


def to_json(report: Report, *, indent: int | None = None) -> str:
    """``report`` as JSON (ASCII, RFC 8259), on one line unless ``indent`` is given.

    Raises:
        ReportError: a value is not of its declared type or not finite, or the text would
            exceed :data:`MAX_BYTES`.
    """
    separators = (",", ":") if indent is None else (",", ": ")
    text = json.dumps(encode(report, Report), indent=indent, separators=separators, allow_nan=False)
    if len(text) > MAX_BYTES:
        raise ReportError(f"report: {len(text)} bytes of JSON exceed the bound of {MAX_BYTES}")
    return text


def from_json(text: str) -> Report:
    """The report that :func:`to_json` wrote.

    Raises:
        ReportError: no JSON, too long, too deep, of another major version, or a field is
            missing, unknown or of the wrong type; the message names its path.
    """
    return _report(_parse(text))


def load(path: str | Path) -> Report:
    """The report stored in the file ``path``, also a line of ``assay analyze --json``.

    Raises:
        ReportError: the file cannot be read or is no report; the message names the file.
    """
    try:
        with Path(path).open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise ReportError(f"longer than {MAX_BYTES} bytes")
        value = _parse(data.decode("utf-8-sig"))
        # The command line puts the path of the media in front of each report.
        value.pop("path", None)
        return _report(value)
    except OSError as error:
        raise ReportError(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise ReportError(f"{path}: not UTF-8 text") from None
    except (ReportError, ValueError) as error:
        raise ReportError(f"{path}: {error}") from None


def _parse(text: str) -> dict[str, Any]:
    if len(text) > MAX_BYTES:
        raise ReportError(f"report: {len(text)} characters exceed the bound of {MAX_BYTES}")
    try:
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_constant)
    except RecursionError:
        raise ReportError("report: nested too deeply") from None
    except ValueError as error:  # also JSONDecodeError and numbers of too many digits
        raise ReportError(f"report: not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise ReportError("report: expected an object")
    return value


def _report(value: dict[str, Any]) -> Report:
    report: Report = decode(value, Report, extra=_is_newer(value.get("schema_version")))
    return report


def _is_newer(version: Any) -> bool:
    """Whether the document has a newer minor version; refuses another major one."""
    found = re.fullmatch(r"(\d{1,4})\.(\d{1,4})", version) if isinstance(version, str) else None
    if found is None:
        raise ReportError("report.schema_version: missing or not of the form '1.0'")
    major, minor = (int(part) for part in SCHEMA_VERSION.split("."))
    if int(found[1]) != major:
        raise ReportError(
            f"report.schema_version: {version} cannot be read by a reader of {SCHEMA_VERSION}"
        )
    return int(found[2]) > minor


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ReportError("report: an object names the same field twice")
    return value


def _constant(name: str) -> NoReturn:
    raise ReportError(f"report: {name} is not a finite number")
