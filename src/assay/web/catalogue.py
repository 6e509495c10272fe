"""Languages: a reader of gettext ``.po`` files, and what templates translate with.

English is the source and needs no file. A message that a catalogue lacks stays English.
"""

from __future__ import annotations

import ast
import gettext
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

__all__ = ["LANGUAGES", "Catalogue", "choose", "load", "parse"]

LANGUAGES: Mapping[str, str] = {"en": "English", "de": "Deutsch"}
"""Code and own name of every language there is."""

_FOLDER = Path(__file__).with_name("catalogues")
_LINE = re.compile(r'(?:(msgid|msgid_plural|msgctxt|msgstr)(?:\[(\d)\])?\s+)?("(?:[^"\\]|\\.)*")')
_RULE = re.compile(r"plural=([^;]+);")


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Messages of one language. ``forms`` are by plural number; one form for the others."""

    language: str
    forms: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    plural: Callable[[int], int] = lambda n: int(n != 1)
    count: int = 2

    def gettext(self, message: str) -> str:
        found = self.forms.get(message)
        return found[0] if found and found[0] else message

    def ngettext(self, one: str, many: str, n: int) -> str:
        found = self.forms.get(one)
        which = self.plural(n)
        if found and which < len(found) and found[which]:
            return found[which]
        return one if n == 1 else many


def parse(text: str, language: str, origin: str = "catalogue") -> Catalogue:
    """The catalogue in the text of a ``.po`` file. Fuzzy entries do not count.

    Raises:
        ValueError: a line that is no entry; ``origin`` and the line are named.
    """
    forms: dict[str, tuple[str, ...]] = {}
    for entry in re.split(r"\n\s*\n", text):
        parts: dict[str, str] = {}
        key = ""
        fuzzy = False
        for line in entry.splitlines():
            line = line.strip()
            if not line or line.startswith("#"):
                fuzzy = fuzzy or (line.startswith("#,") and "fuzzy" in line)
                continue
            match = _LINE.fullmatch(line)
            if match is None:
                raise ValueError(f"{origin}: {line!r} is no line of a .po file")
            name, number, quoted = match.groups()
            if name:
                key = name + (number or "")
                parts[key] = ""
            parts[key] += ast.literal_eval(quoted)
        if "msgid" in parts and not fuzzy:
            said = [v for k, v in sorted(parts.items()) if k.startswith("msgstr")]
            forms[parts["msgid"]] = tuple(said)
    rule = _RULE.search(forms.get("", ("",))[0])
    count = re.search(r"nplurals=(\d)", forms.get("", ("",))[0])
    forms.pop("", None)
    # The stdlib's own compiler of plural rules; it admits C arithmetic on n and nothing else.
    plural = gettext.c2py(rule[1].strip()) if rule else (lambda n: int(n != 1))
    return Catalogue(language, forms, plural, int(count[1]) if count else 2)


@cache
def load(language: str) -> Catalogue:
    """The catalogue of one of :data:`LANGUAGES`; English for any other."""
    path = _FOLDER / f"{language}.po"
    if language not in LANGUAGES or not path.is_file():
        return Catalogue("en")
    return parse(path.read_text("utf-8"), language, path.name)


def choose(accepted: str, preferred: str = "") -> str:
    """The language for a reader: ``preferred`` if there is one, else the best of an
    ``Accept-Language`` header, else English."""
    if preferred in LANGUAGES:
        return preferred
    wanted: list[tuple[float, str]] = []
    for part in accepted[:500].split(","):
        name, _, quality = part.strip().partition(";q=")
        try:
            weight = float(quality) if quality else 1.0
        except ValueError:
            continue
        wanted.append((-weight, name.split("-")[0].strip().lower()))
    return next(
        (n for w, n in sorted(wanted, key=lambda i: i[0]) if n in LANGUAGES and w < 0), "en"
    )
