"""``scripts/setup`` on machines that lack Debian packages, with stand-ins for apt and pip."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_PYTHON = """#!/bin/sh
case "$*" in
  *"-m venv"*) mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
  *"-m pip"*) echo "$*" >>pip.log ;;
esac
"""


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A checkout whose PATH holds stand-ins; no Debian package is installed."""
    (tmp_path / "scripts").mkdir()
    for name in ("pyproject.toml", "constraints.txt", "scripts/setup", "scripts/apt-packages.txt"):
        shutil.copy(_ROOT / name, tmp_path / name)
    stubs = tmp_path / "stubs"
    stubs.mkdir()
    for name, text in {
        "python3.13": _PYTHON,
        "dpkg-query": "#!/bin/sh\nexit 1\n",
        "apt-get": '#!/bin/sh\necho "$*" >>apt.log\n',
        "id": "#!/bin/sh\necho 1000\n",
        "sudo": "#!/bin/sh\nexit 1\n",
    }.items():
        (stubs / name).write_text(text)
        (stubs / name).chmod(0o755)
    return tmp_path


def _setup(machine: Path, what: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", machine / "scripts" / "setup", what],
        env={"PATH": f"{machine / 'stubs'}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_without_root_the_pdf_libraries_are_missed_but_not_needed(machine: Path) -> None:
    done = _setup(machine, "run")
    assert done.returncode == 0, done.stderr
    assert "no PDF reports until these are installed: libpango-1.0-0" in done.stderr
    assert not (machine / "apt.log").exists()
    assert (machine / ".venv" / ".ready-run").exists()


def test_as_root_they_are_installed_and_a_failure_is_a_warning(machine: Path) -> None:
    (machine / "stubs" / "id").write_text("#!/bin/sh\necho 0\n")
    assert _setup(machine, "run").returncode == 0
    asked = (machine / "apt.log").read_text()
    assert "libpangoft2-1.0-0" in asked
    assert "postgresql" not in asked
    shutil.rmtree(machine / ".venv")
    (machine / "stubs" / "apt-get").write_text("#!/bin/sh\nexit 100\n")
    done = _setup(machine, "run")
    assert done.returncode == 0
    assert "no PDF reports" in done.stderr


def test_what_tests_need_must_be_had(machine: Path) -> None:
    (machine / "stubs" / "id").write_text("#!/bin/sh\necho 0\n")
    assert _setup(machine, "dev").returncode == 0
    asked = (machine / "apt.log").read_text()
    assert "postgresql" in asked
    assert "chromium-driver" in asked
    shutil.rmtree(machine / ".venv")
    (machine / "stubs" / "apt-get").write_text("#!/bin/sh\nexit 100\n")
    assert _setup(machine, "dev").returncode != 0
