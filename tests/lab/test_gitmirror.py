"""Reading a tiny bare repository made on the spot."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from assay_lab.data.gitmirror import GitMirror, MirrorError


def git(*words: str, at: Path) -> None:
    who = ["-c", "user.name=t", "-c", "user.email=t@example.invalid"]
    subprocess.run(["git", *who, *words], cwd=at, check=True, capture_output=True)


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    work = tmp_path / "work"
    (work / "a b").mkdir(parents=True)
    (work / "a b" / "ü.bin").write_bytes(bytes(range(256)) * 40)
    (work / "empty").write_bytes(b"")
    (work / "link").symlink_to("/etc/passwd")
    git("init", "-q", at=work)
    git("add", "-A", at=work)
    git("commit", "-qm", "one", at=work)
    git("clone", "-q", "--bare", str(work), str(tmp_path / "bare"), at=work)
    return tmp_path / "bare"


def test_lists_and_reads(bare: Path) -> None:
    with GitMirror(bare) as mirror:
        assert mirror.names == ("a b/ü.bin", "empty")  # the link is not a file
        assert "empty" in mirror
        assert "link" not in mirror
        got = dict(mirror.read_many(["empty", "a b/ü.bin", "empty"]))
        assert got["a b/ü.bin"] == bytes(range(256)) * 40
        assert got["empty"] == b""


def test_refuses_what_is_not_there(bare: Path, tmp_path: Path) -> None:
    with GitMirror(bare) as mirror, pytest.raises(MirrorError):
        mirror.read("absent")
    with pytest.raises(MirrorError):
        GitMirror(tmp_path / "nowhere")
    with pytest.raises(MirrorError):
        GitMirror(bare, "--help")


def test_a_blob_left_out_of_the_snapshot(bare: Path) -> None:
    mirror = GitMirror(bare)
    mirror._names["empty"] = "0" * 40
    with pytest.raises(MirrorError, match="absent"):
        mirror.read("empty")
    assert len(mirror.read("a b/ü.bin")) == 256 * 40  # still usable
    mirror.close()
