"""The shipped JSON Schema is current, valid, and says what the codec does."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import jsonschema
import pytest

from assay.report import schema
from assay.report.as_json import to_json
from assay.report.document import Report

SHIPPED = json.loads(schema.PATH.read_text("utf-8"))


def test_it_is_current() -> None:
    assert schema.PATH.read_text("utf-8") == schema.text(), "run: python -m assay.report.schema"


def test_it_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SHIPPED)


def test_golden_reports_are_valid(golden: Path) -> None:
    jsonschema.validate(
        json.loads(golden.read_text("utf-8")), SHIPPED, jsonschema.Draft202012Validator
    )


def test_broken_reports_are_not(still: Report) -> None:
    good = json.loads(to_json(still))
    for path, value in (
        (("verdict",), "certain"),
        (("schema_version",), "2.0"),
        (("prior",), "0.5"),
        (("evidence", 2, "where", "box"), [1, 2, 3]),
        (("evidence", 2, "where", "box"), [1, 2, 3, 4, 5]),
        (("media", "bytes"), None),
        (("timing",), {"decode": "1"}),
    ):
        bad = copy.deepcopy(good)
        place = bad
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(bad, SHIPPED, jsonschema.Draft202012Validator)


def test_docstrings_are_its_descriptions() -> None:
    assert "three separate answers" in SHIPPED["$defs"]["ProvenanceSummary"]["description"]
    assert SHIPPED["properties"]["timing"]["description"] == "Seconds by stage."
    assert "(" not in SHIPPED["$defs"]["Coverage"].get("description", "")
