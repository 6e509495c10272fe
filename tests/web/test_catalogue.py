"""Languages: nothing on a page escapes translation, and no translation is missing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from assay.web import catalogue, compare, words
from assay.web.render import environment

TEMPLATES = sorted(Path(catalogue.__file__).with_name("templates").glob("*.html"))
# Names, formats and units, alike in every language.
SAME_EVERYWHERE = {"Assay", "SHA-256", "PDF", "HTML", "JSON", "HTTP", "assay__", "v", "s"}
HOLES = re.compile(r"%\(\w+\)s|%%|\{\w+\}")


def _messages() -> Iterator[tuple[str, ...]]:
    """Message, or message and plural, of everything that is translated."""
    for path in TEMPLATES:
        for _, _, said in environment("en").extract_translations(path.read_text("utf-8")):
            parts = said if isinstance(said, tuple) else (said,)
            found = tuple(p for p in parts if p)
            if found:
                yield found
    for mapping in words.ALL:
        yield from ((text,) for text in mapping.values())
    yield from ((what,) for what, _, _ in compare.LINES)


@pytest.mark.parametrize("language", [x for x in catalogue.LANGUAGES if x != "en"])
def test_every_message_is_translated(language: str) -> None:
    chosen = catalogue.load(language)
    assert chosen.language == language
    asked = {m[0]: m for m in _messages()}
    assert len(asked) > 400
    lacking = [m for m in asked if m not in chosen.forms or not all(chosen.forms[m])]
    assert lacking == []
    assert [m for m in chosen.forms if m not in asked] == [], "no longer used"
    for message, parts in asked.items():
        forms = chosen.forms[message]
        assert len(forms) == (chosen.count if len(parts) == 2 else 1), message
        for form in forms:
            assert sorted(HOLES.findall(form)) == sorted(HOLES.findall(message)), message


def test_plural_forms() -> None:
    german = catalogue.load("de")
    said = [german.ngettext("%(n)s day", "%(n)s days", n) for n in (0, 1, 2, 21)]
    assert said == ["%(n)s Tage", "%(n)s Tag", "%(n)s Tage", "%(n)s Tage"]
    english = catalogue.load("en")
    assert english.ngettext("%(n)s day", "%(n)s days", 1) == "%(n)s day"
    polish = catalogue.parse(
        'msgid ""\nmsgstr ""\n"Plural-Forms: nplurals=3; plural=(n==1 ? 0 : '
        'n%10>=2 && n%10<=4 && (n%100<10 || n%100>=20) ? 1 : 2);\\n"\n\n'
        'msgid "%(n)s file"\nmsgid_plural "%(n)s files"\n'
        'msgstr[0] "plik"\nmsgstr[1] "pliki"\nmsgstr[2] "plików"\n',
        "pl",
    )
    said = [polish.ngettext("%(n)s file", "%(n)s files", n) for n in (1, 2, 5, 12, 22, 25)]
    assert said == ["plik", "pliki", "plików", "plików", "pliki", "plików"]


def test_a_po_file_is_read_as_gettext_reads_it() -> None:
    read = catalogue.parse(
        '# a comment\n#: somewhere.html\nmsgid "one "\n"two \\"three\\"\\n"\nmsgstr "eins"\n\n'
        '#, fuzzy\nmsgid "guess"\nmsgstr "geraten"\n\nmsgid "empty"\nmsgstr ""\n',
        "de",
    )
    assert read.gettext('one two "three"\n') == "eins"
    assert read.gettext("guess") == "guess"
    assert read.gettext("empty") == "empty"
    with pytest.raises(ValueError, match=r"broken\.po.*nonsense"):
        catalogue.parse("msgid nonsense", "de", "broken.po")


@pytest.mark.parametrize(
    ("accepted", "preferred", "expected"),
    [
        ("de-AT,de;q=0.9,en;q=0.8", "", "de"),
        ("fr,de;q=0.3,en;q=0.8", "", "en"),
        ("de", "en", "en"),
        ("", "xx", "en"),
        ("*;q=x,,;;,de;q=0", "", "en"),
    ],
)
def test_choice_of_language(accepted: str, preferred: str, expected: str) -> None:
    assert catalogue.choose(accepted, preferred) == expected


class _Text(HTMLParser):
    """Words that stand on a page as they are."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_data(self, data: str) -> None:
        self._look(data)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("alt", "title", "aria-label", "placeholder", "data-confirm", "data-done"):
                self._look(value or "")

    def _look(self, text: str) -> None:
        self.found += re.findall(r"[A-Za-zÄÖÜäöüß][\w-]*", text)


def _bare_words(source: str) -> list[str]:
    """Words in a template outside its expressions, blocks, comments and ``trans`` blocks."""
    bare: list[str] = []
    inside = tag = ""
    for _, kind, value in environment("en").lex(source):
        if kind == "block_begin":
            tag = "?"
        elif kind == "name" and tag == "?":
            tag = value
            inside = {"trans": "trans", "endtrans": ""}.get(value, inside)
        elif kind == "data" and not inside:
            bare.append(value)
    reader = _Text()
    # The one macro that gives an attribute instead of an element.
    reader.feed("".join(bare).replace(' lang="en"', ""))
    return [w for w in reader.found if w not in SAME_EVERYWHERE and not w.startswith("https")]


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda p: p.stem)
def test_no_text_bypasses_translation(path: Path) -> None:
    assert _bare_words(path.read_text("utf-8")) == []


def test_text_that_bypasses_translation_is_seen() -> None:
    assert _bare_words('<p title="Two">One {{ _("x") }}</p>{% if a %}Three{% endif %}') == [
        "Two",
        "One",
        "Three",
    ]
    assert _bare_words("{% trans n=2 %}One{% pluralize %}Many{% endtrans %}") == []
