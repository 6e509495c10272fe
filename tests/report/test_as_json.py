"""JSON loses nothing and believes nothing."""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assay.errors import ReportError
from assay.findings import Grid, Series, Where
from assay.report import as_json, codec
from assay.report.as_json import from_json, load, to_json
from assay.report.document import SCHEMA_VERSION, Evidence, Report

_NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
# Undecodable bytes of a file name stand as lone low surrogates.
# Halves of surrogates as file names bring them (PEP 383); a pair of halves is one character
# to JSON, so no first halves.
_TEXTS = st.text(
    st.one_of(st.characters(exclude_categories=("Cs",)), st.integers(0xDC80, 0xDCFF).map(chr)),
    max_size=12,
)
_VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), _NUMBERS, _TEXTS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(_TEXTS, inner, max_size=3)
    ),
    max_leaves=6,
)
_TIMES = st.floats(0, 1e6)


@st.composite
def _where(draw: st.DrawFn) -> Where:
    start, end = sorted((draw(_TIMES), draw(_TIMES)))
    size = st.floats(0, 1e5)
    return Where(
        box=draw(st.none() | st.tuples(_NUMBERS, _NUMBERS, size, size)),
        start=draw(st.sampled_from([None, start])),
        end=draw(st.sampled_from([None, end])),
        face=draw(st.none() | st.integers(0, 9)),
    )


@st.composite
def _grid(draw: st.DrawFn) -> Grid:
    rows, columns = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    count = rows * columns
    values = draw(st.lists(st.floats(0, 1), min_size=count, max_size=count))
    return Grid(rows=rows, columns=columns, values=tuple(values), meaning=draw(_TEXTS))


@st.composite
def _series(draw: st.DrawFn) -> Series:
    points = draw(st.lists(st.tuples(_TIMES, _NUMBERS), max_size=4))
    times = tuple(sorted(t for t, _ in points))
    return Series(times=times, values=tuple(v for _, v in points), meaning=draw(_TEXTS))


_SPECIAL = {Where: _where(), Grid: _grid(), Series: _series()}


def _anything(kind: Any) -> st.SearchStrategy[Any]:
    """A strategy for any annotation that the document uses."""
    if kind in _SPECIAL:
        return _SPECIAL[kind]
    if kind is Any:
        return _VALUES
    if kind in (str, int, float, bool):
        return {str: _TEXTS, int: st.integers(), float: _NUMBERS, bool: st.booleans()}[kind]
    if dataclasses.is_dataclass(kind):
        fields = {n: _anything(h) for n, h in codec.field_types(kind).items()}
        if kind is Report:
            fields["schema_version"] = st.just(SCHEMA_VERSION)
        return st.builds(kind, **fields)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return st.sampled_from(kind)
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is types.UnionType:
        return st.none() | _anything(next(k for k in inner if k is not type(None)))
    if origin is tuple and inner[-1] is Ellipsis:
        return st.lists(_anything(inner[0]), max_size=2).map(tuple)
    if origin is tuple:
        return st.tuples(*map(_anything, inner))
    assert origin is dict
    return st.dictionaries(_TEXTS, _anything(inner[1]), max_size=2)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(_anything(Report))
def test_nothing_is_lost(report: Report) -> None:
    text = to_json(report)
    again = from_json(text)
    assert again == report
    assert to_json(again) == text
    assert text.isascii()
    assert "\n" not in text


def test_golden_documents_are_written_as_they_were(golden: Path) -> None:
    assert to_json(load(golden), indent=1) + "\n" == golden.read_text("utf-8")


def test_whole_numbers_in_number_fields_are_stable(still: Report) -> None:
    report = dataclasses.replace(still, prior=1, timing={"decode": 2})
    text = to_json(report)
    assert '"prior":1.0' in text
    assert to_json(from_json(text)) == text


def _edited(report: Report, *path: str | int, to: Any) -> str:
    value = json.loads(to_json(report))
    place = value
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = to
    return json.dumps(value)


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("verdict",), "certain", "report.verdict: unknown value 'certain'"),
        (("verdict",), ["authentic"], "report.verdict: unknown value"),
        (("prior",), "0.5", "report.prior: expected a number"),
        (("prior",), True, "report.prior: expected a number"),
        (("media", "bytes"), 1.5, "report.media.bytes: expected a whole number"),
        (("media", "extension_matches"), 1, "report.media.extension_matches: expected true"),
        (("evidence", 2, "where", "box"), [1, 2, 3], "report.evidence[2].where.box: expected 4"),
        (("evidence", 2, "where", "box"), [1, 2, -3, 4], "report.evidence[2].where: box has"),
        (("evidence", 1, "grid", "values"), [], "report.evidence[1].grid: a grid needs"),
        (("evidence", 0, "because"), None, "report.evidence[0].because: expected a string"),
        (("evidence",), {}, "report.evidence: expected a list"),
        (("timing",), [], "report.timing: expected an object"),
        (("engine",), None, "report.engine: expected an object"),
        (("surprise",), 1, "report: unknown field 'surprise'"),
        (("media", "surprise"), 1, "report.media: unknown field 'surprise'"),
        (("schema_version",), "2.0", "cannot be read by a reader of 1.2"),
        (("schema_version",), "0.9", "cannot be read"),
        (("schema_version",), 1.0, "report.schema_version"),
        (("schema_version",), "1", "report.schema_version"),
        (("media", "bytes"), 1 << 2000, "a whole number beyond"),
    ],
)
def test_errors_name_the_path(
    still: Report, path: tuple[str | int, ...], value: Any, said: str
) -> None:
    with pytest.raises(ReportError) as caught:
        from_json(_edited(still, *path, to=value))
    assert said in str(caught.value)


@pytest.mark.parametrize("name", ["verdict", "media", "evidence", "schema_version"])
def test_a_missing_field_is_named(still: Report, name: str) -> None:
    value = json.loads(to_json(still))
    del value[name]
    with pytest.raises(ReportError, match=name):
        from_json(json.dumps(value))


def test_fields_with_a_default_may_be_missing(still: Report) -> None:
    value = json.loads(to_json(still))
    del value["audit"]
    del value["evidence"][0]["limits"]
    assert from_json(json.dumps(value)).evidence[0].limits == ()


def test_a_newer_minor_version_is_read_without_its_new_fields(still: Report) -> None:
    value = json.loads(to_json(still))
    value["schema_version"] = "1.7"
    value["weather"] = {"a": 1}
    value["evidence"][0]["mood"] = "good"
    assert from_json(json.dumps(value)) == dataclasses.replace(still, schema_version="1.7")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "1" * 5000])
def test_numbers_must_be_finite(still: Report, number: str) -> None:
    for name in ("prior", "probability"):
        text = _edited(still, name, to=123456789.5).replace("123456789.5", number)
        with pytest.raises(ReportError):
            from_json(text)
    text = _edited(still, "evidence", 0, "data", to=[123456789.5]).replace("123456789.5", number)
    with pytest.raises(ReportError):
        from_json(text)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1: 2}, {1, 2}, b"x", object()])
def test_what_json_cannot_say_is_refused_when_writing(still: Report, value: Any) -> None:
    bad = dataclasses.replace(still.evidence[0], data={"x": [value]})
    with pytest.raises(ReportError, match=r"report.evidence\[0\].data"):
        to_json(dataclasses.replace(still, evidence=(bad,)))


def test_wrong_types_are_refused_when_writing(still: Report) -> None:
    for change in ({"verdict": "authentic"}, {"evidence": []}, {"media": None}, {"headline": 3}):
        with pytest.raises(ReportError):
            to_json(dataclasses.replace(still, **change))


@pytest.mark.parametrize(
    "text",
    ["", "[]", "null", "{", '{"schema_version": "1.0"', '{"a": 1, "a": 2}', "[" * 200_000, "\x00"],
)
def test_what_is_no_report_is_refused(text: str) -> None:
    with pytest.raises(ReportError):
        from_json(text)


def test_depth_is_bounded_both_ways(still: Report) -> None:
    deep: Any = 1
    for _ in range(codec.MAX_DEPTH):
        deep = [deep]
    bad = dataclasses.replace(still.evidence[0], data={"x": deep})
    with pytest.raises(ReportError, match="levels deep"):
        to_json(dataclasses.replace(still, evidence=(bad,)))
    with pytest.raises(ReportError, match="levels deep"):
        from_json(_edited(still, "evidence", 0, "data", "x", to=deep))


def test_size_is_bounded_both_ways(still: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    text = to_json(still)
    monkeypatch.setattr(as_json, "MAX_BYTES", len(text) - 1)
    with pytest.raises(ReportError, match="bound"):
        to_json(still)
    with pytest.raises(ReportError, match="bound"):
        from_json(text)


def test_a_field_named_twice_is_refused(still: Report) -> None:
    text = to_json(still).replace('"headline":', '"headline":"A",' + '"headline":', 1)
    with pytest.raises(ReportError, match="twice"):
        from_json(text)


def test_load_names_the_file(tmp_path: Path, still: Report) -> None:
    path = tmp_path / "old.json"
    with pytest.raises(ReportError, match=r"old\.json"):
        load(path)
    for content in (b"{}", b"\xff\xfe\x00", b"GIF89a", b""):
        path.write_bytes(content)
        with pytest.raises(ReportError, match=r"old\.json"):
            load(path)
    with pytest.raises(ReportError, match=tmp_path.name):
        load(tmp_path)
    path.write_text("\ufeff" + to_json(still, indent=2), "utf-8")
    assert load(path) == still


def test_load_reads_a_line_of_the_command(tmp_path: Path, still: Report) -> None:
    path = tmp_path / "line.json"
    path.write_text(json.dumps({"path": "a.png", **json.loads(to_json(still))}), "utf-8")
    assert load(path) == still


def test_tuples_in_data_come_back_as_lists(still: Report) -> None:
    item = dataclasses.replace(still.evidence[0], data={"x": (1, (2, 3))})
    again = from_json(to_json(dataclasses.replace(still, evidence=(item,))))
    assert again.evidence[0].data == {"x": [1, [2, 3]]}
    assert isinstance(again.evidence[0], Evidence)
