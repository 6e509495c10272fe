"""Templates to pages, in a language."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assay.report import wording
from assay.web import catalogue, words

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["REPORT_SCRIPT", "STATIC", "environment", "render"]

_HERE = Path(__file__).parent
_REPORT = Path(wording.__file__).with_name("templates")
STATIC = _HERE / "static"
REPORT_SCRIPT = _REPORT / "report.js"
"""The script of the HTML report, which the result page shares."""


def render(template: str, language: str, values: Mapping[str, Any]) -> str:
    """The page. Every string among ``values`` is neutralised and escaped on its way."""
    return environment(language).get_template(template).render(values)


@cache
def environment(language: str) -> Environment:
    """The templates with everything that they may call, for one language."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    chosen = catalogue.load(language)

    def shown(value: Any) -> Any:
        # The last gate: no string reaches a page with invisible or direction-changing marks.
        if isinstance(value, str) and not isinstance(value, Markup):
            return wording.clean(value, 4000)
        return value

    made = Environment(
        loader=FileSystemLoader([_HERE / "templates", _REPORT]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=shown,
        extensions=["jinja2.ext.i18n"],
    )
    made.install_gettext_callables(  # type: ignore[attr-defined]
        chosen.gettext, chosen.ngettext, newstyle=True
    )
    made.filters.update(
        clean=wording.clean,
        date=_date,
        moment=_moment,
        iso=_iso,
        percent=wording.percent,
        size=_size,
        short=lambda text: str(text)[:12],
    )
    made.globals.update(
        language=chosen.language,
        languages=catalogue.LANGUAGES,
        version=_version(),
        words=words,
        w=wording,
    )
    return made


@cache
def _version() -> str:
    """Changes when a static file does, so that no browser keeps an old one."""
    digest = hashlib.sha256(REPORT_SCRIPT.read_bytes())
    for path in sorted(STATIC.rglob("*")):
        if path.is_file():
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _when(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)


def _date(at: float) -> str:
    return _when(at).strftime("%Y-%m-%d")


def _moment(at: float) -> str:
    return _when(at).strftime("%Y-%m-%d %H:%M UTC")


def _iso(at: float) -> str:
    return _when(at).isoformat(timespec="seconds")


def _size(count: int) -> str:
    return f"{count} B" if count < 1000 else wording.rounded_size(count)
