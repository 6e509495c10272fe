"""What is documented exists, and what exists is documented."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest
import typer

from assay import errors
from assay.analyzers.catalog import analyzers
from assay.cli.app import app
from assay.fusion import Verdict
from assay.limits import Limits

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
        if not target.startswith(("http:", "https:", "mailto:")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_command_and_option_is_in_the_reference() -> None:
    text = (ROOT / "docs/reference/cli.md").read_text("utf-8")
    command = typer.main.get_command(app)
    for name, sub in command.commands.items():  # type: ignore[attr-defined]
        assert f"`assay {name}" in text
        for parameter in sub.params:
            for option in (*parameter.opts, *parameter.secondary_opts):
                if option.startswith("--"):
                    assert option in text, f"{name} {option}"


def test_every_verdict_is_explained() -> None:
    text = (ROOT / "docs/explanation/verdicts.md").read_text("utf-8")
    assert all(f"`{v}`" in text for v in Verdict)


def test_every_analyzer_is_in_the_reference() -> None:
    text = (ROOT / "docs/reference/analyzers.md").read_text("utf-8")
    for analyzer in analyzers():
        assert f"`{analyzer.info.name}`" in text
        assert analyzer.info.limitations
        assert analyzer.info.question.endswith("?")


@pytest.mark.parametrize("name", ["analyzers.md", "models.md", "api.md", "settings.md"])
def test_generated_pages_are_current(name: str) -> None:
    pages = runpy.run_path(str(ROOT / "docs/generate.py"))["PAGES"]
    current = (ROOT / "docs/reference" / name).read_text("utf-8")
    assert current == pages[name](), "run: python docs/generate.py"


def test_the_error_tree_is_whole() -> None:
    drawn = set(re.findall(r"(?:──|^) ?(\w+)", errors.__doc__ or "", re.M))
    assert set(errors.__all__) <= drawn | {"AssayError"}


def test_limits_are_all_explained() -> None:
    source = (ROOT / "src/assay/limits.py").read_text("utf-8")
    for name in Limits.__dataclass_fields__:
        assert re.search(rf'{name}: .*\n    """', source), name


def test_the_readme_commands_exist() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    for script in re.findall(r"scripts/(\w+)", text):
        assert (ROOT / "scripts" / script).is_file()


def test_the_ci_calls_the_two_scripts_and_nothing_else() -> None:
    lines = (ROOT / ".ci/run").read_text("utf-8").splitlines()
    calls = [line for line in lines if line and not line.startswith(("#", "set ", "cd "))]
    assert calls == ["scripts/check", "scripts/test"]
