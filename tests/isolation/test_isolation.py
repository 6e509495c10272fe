"""The child process: bounds hold, errors keep their kind, the next file is unharmed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest
from PIL import Image as PillowImage

from assay.errors import AnalysisCrashed, AnalysisTimeout, Corrupt, MediaError, NotMedia
from assay.findings import Step
from assay.isolation import Analyst
from assay.isolation import analyze as analyze_isolated
from assay.limits import Limits


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "plain.png"
    PillowImage.radial_gradient("L").convert("RGB").save(path)
    return path


def test_same_answer_as_in_process(picture: Path) -> None:
    import assay

    inside = assay.analyze(picture)
    outside = analyze_isolated(picture)
    assert outside.media == inside.media
    assert outside.evidence == inside.evidence
    assert outside.verdict == inside.verdict
    assert outside.engine == inside.engine


def test_errors_keep_their_kind_and_name_the_file(tmp_path: Path) -> None:
    text = tmp_path / "letter.jpg"
    text.write_text("Dear Sir or Madam, this is not a picture. " * 20)
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 64)
    with Analyst() as analyst:
        with pytest.raises(NotMedia, match=r"letter\.jpg"):
            analyst.analyze(text)
        with pytest.raises(Corrupt, match=r"broken\.png"):
            analyst.analyze(broken)
        with pytest.raises(MediaError, match=r"gone\.jpg"):
            analyst.analyze(tmp_path / "gone.jpg")


def test_a_killed_child_costs_one_file_only(picture: Path) -> None:
    with Analyst() as analyst:
        analyst.analyze(picture)
        assert analyst._child is not None
        os.kill(analyst._child.pid, signal.SIGKILL)
        analyst._child.wait()
        assert analyst.analyze(picture).media.name == "plain.png"


def test_death_during_the_analysis_is_named(picture: Path) -> None:
    with Analyst() as analyst:
        analyst.analyze(picture)

        def kill(step: Step) -> None:
            assert analyst._child is not None
            os.kill(analyst._child.pid, signal.SIGKILL)
            time.sleep(0.2)

        with pytest.raises(AnalysisCrashed, match=r"plain\.png.*signal 9"):
            analyst.analyze(picture, progress=kill)
        assert analyst.analyze(picture).media.name == "plain.png"


def test_time_is_bounded(picture: Path) -> None:
    with (
        Analyst(Limits(timeout_seconds=0.01)) as analyst,
        pytest.raises(AnalysisTimeout, match=r"plain\.png.*0\.01 s"),
    ):
        analyst.analyze(picture)


def test_memory_is_bounded(tmp_path: Path) -> None:
    """The operating system's bound holds in the child: a large allocation fails there."""
    code = textwrap.dedent(
        """
        import sys
        from assay.isolation import confine
        from assay.limits import Limits
        confine(Limits(max_memory_bytes=1 << 30))
        try:
            bytearray(2 << 30)
        except MemoryError:
            sys.exit(7)
        """
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 7


def test_the_child_has_no_network() -> None:
    server = socket.create_server(("127.0.0.1", 0))
    port = server.getsockname()[1]
    code = textwrap.dedent(
        f"""
        import socket, sys
        from assay.isolation import confine
        from assay.limits import Limits
        confine(Limits())
        try:
            socket.create_connection(("127.0.0.1", {port}), timeout=2)
        except OSError as error:
            sys.exit(7 if "without a network" in str(error) else 8)
        """
    )
    with server:
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 7


def test_two_analysts_side_by_side(picture: Path) -> None:
    names: list[str] = []

    def work() -> None:
        with Analyst() as analyst:
            names.append(analyst.analyze(picture).media.name)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert names == ["plain.png", "plain.png"]


def test_impossible_prior(picture: Path) -> None:
    with Analyst() as analyst, pytest.raises(ValueError, match="prior"):
        analyst.analyze(picture, prior=1.5)


def test_steps_say_how_far_it_is_and_what_was_found(astronaut_png: Path) -> None:
    steps: list[Step] = []
    with Analyst() as analyst:
        report = analyst.analyze(astronaut_png, progress=steps.append, name="Wedding photo.png")
    assert report.media.name == "Wedding photo.png"
    assert report.media.extension_matches
    assert [s.stage for s in steps][:1] == ["decode"]
    assert [s.stage for s in steps][-1:] == ["report"]
    shares = [s.share for s in steps]
    assert shares == sorted(shares)
    assert 0 <= shares[0] < shares[-1] < 1
    told = {(s.analyzer, f["because"]) for s in steps for f in s.found}
    assert told == {(e.analyzer, e.because) for e in report.evidence}
