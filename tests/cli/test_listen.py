"""``assay listen`` as a user meets it: real processes, pipes and pace."""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from assay.analyzers.audio.synthetic import SyntheticSpeech
from assay.cli import listen as module
from assay.media import Audio, decode

RATE = 16_000
SPEECH = Path(__file__).parents[1] / "media" / "samples" / "speech.flac"
Sound = NDArray[np.float32]


@pytest.fixture(scope="module")
def speech() -> Sound:
    found = decode(SPEECH)
    assert isinstance(found, Audio)
    return found.samples(RATE)


def command(*args: object) -> list[str]:
    return [sys.executable, "-m", "assay", "listen", *map(str, args)]


def listen(*args: object, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(command(*args), input=data, capture_output=True, check=False, timeout=240)


def lines(done: subprocess.CompletedProcess[bytes]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


def pcm(x: Sound) -> bytes:
    return np.round(np.clip(x, -1, 1) * 32767).astype("<i2").tobytes()


def container(x: Sound, name: str, codec: str, **options: str) -> bytes:
    box = io.BytesIO()
    with av.open(box, "w", format=name, options=options) as out:
        stream = out.add_stream(codec, rate=RATE, layout="mono")
        frame = av.AudioFrame.from_ndarray(
            np.frombuffer(pcm(x), np.int16)[None], format="s16", layout="mono"
        )
        frame.sample_rate = RATE
        mixer = av.AudioResampler(
            format=stream.format.name, layout="mono", rate=RATE,
            frame_size=stream.codec_context.frame_size or 0,
        )  # fmt: skip
        for part in (*mixer.resample(frame), *mixer.resample(None)):
            out.mux(stream.encode(part))
        out.mux(stream.encode(None))
    return box.getvalue()


def test_a_file_is_judged_as_analyze_judges_it() -> None:
    done = listen(SPEECH, "--json")
    assert done.returncode == 0, done.stderr
    said = lines(done)
    assert [round(s["time"]) for s in said] == [1, 2, 3, 3]
    assert said[-1]["end"] == "end of the stream"
    media = decode(SPEECH)
    answer = SyntheticSpeech().analyze(media)
    assert isinstance(answer, tuple)
    assert said[-1]["now"] == pytest.approx(answer[0].raw_score, abs=2e-3)
    assert said[-1]["because"] == answer[0].because
    assert 0 < said[-1]["interval"][0] < said[-1]["probability"] < said[-1]["interval"][1] < 1
    text = listen(SPEECH)
    assert text.returncode == 0
    assert b"listening" in text.stdout
    assert b"end of the stream: " in text.stdout


def test_at_the_pace_of_the_speaker(speech: Sound) -> None:
    """Fed in real time, every line comes soon after its sound, and scores keep up."""
    data = pcm(np.tile(speech, 4))
    child = subprocess.Popen(
        command("--json", "--pcm", "s16le"), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdin is not None
    assert child.stdout is not None
    came: list[tuple[float, dict[str, Any]]] = []

    def read(pipe: Any) -> None:
        for line in pipe:
            came.append((time.monotonic(), json.loads(line)))

    reader = threading.Thread(target=read, args=(child.stdout,))
    reader.start()
    # The pace starts once the program does, or its start would count as delay.
    ahead = 3 * RATE  # bytes: 1.5 s
    child.stdin.write(data[:ahead])
    child.stdin.flush()
    while not came and child.poll() is None:
        time.sleep(0.02)
    began = time.monotonic() - 1.5
    for at in range(ahead, len(data), 3200):
        child.stdin.write(data[at : at + 3200])
        child.stdin.flush()
        time.sleep(max(0.0, began + (at + 3200) / (2 * RATE) - time.monotonic()))
    child.stdin.close()
    assert child.wait(60) in (0, 1)
    reader.join()
    child.stdout.close()
    late = [when - began - said["time"] for when, said in came[1:-1]]
    assert len(late) >= 10
    assert np.median(late) < 1.0, late  # a loaded machine stretches single ones
    behind = [said["behind"] for _, said in came if said["time"] > 6.5]
    assert max(behind) < 2.5


def test_faster_than_the_speaker(speech: Sound) -> None:
    seconds = 40
    data = pcm(np.resize(speech, seconds * RATE))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = listen("--json", "--pcm", "s16le", data=data)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode in (0, 1)
    assert len(lines(done)) == seconds + 1
    # Processor time, which a loaded machine does not stretch; start and imports included.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < seconds / 2


def test_silence_and_music_get_no_verdict() -> None:
    t = np.arange(8 * RATE) / RATE
    chord = np.zeros(len(t))
    for bar, root in enumerate((220.0, 174.6, 261.6, 196.0)):
        part = (t >= 2 * bar) & (t < 2 * bar + 2)
        beat = np.exp(-3 * (t % 0.5))
        for ratio in (1, 1.26, 1.5, 2):
            chord += part * beat * np.sin(2 * np.pi * root * ratio * t)
    for x in (np.zeros(5 * RATE), 0.2 * chord):
        done = listen("--json", "--pcm", "s16le", data=pcm(x.astype(np.float32)))
        assert done.returncode == 0, done.stderr
        last = lines(done)[-1]
        assert last["verdict"] == "not_applicable"
        assert last["gates"][0]["code"] == "no_speech"
        assert last["segments"] == []


def test_garbage() -> None:
    data = bytes(np.random.default_rng(0).integers(0, 256, 50_000, np.uint8))
    done = listen("--json", data=data)
    assert done.returncode == 3
    assert "standard input: the content is of no known format" in done.stderr.decode()
    assert b"Traceback" not in done.stderr
    assert lines(done)[0]["error"]["type"] == "NotMedia"


def test_a_stream_that_breaks_off_keeps_its_answer(speech: Sound) -> None:
    data = container(np.tile(speech, 3), "ogg", "libopus")
    half = data[: len(data) // 2] + bytes(np.random.default_rng(1).integers(0, 256, 9000, np.uint8))
    done = listen("--json", data=half)
    assert b"Traceback" not in done.stderr
    said = lines(done)
    assert "end" in said[-1]
    assert said[-1]["time"] > 2


def test_wrong_usage(tmp_path: Path) -> None:
    assert listen("--pcm", "s17le").returncode == 2
    assert listen("--pcm", "s16le", "--rate", 3).returncode == 2
    assert listen("--span", 1).returncode == 2
    missing = listen(tmp_path / "nothing.wav")
    assert missing.returncode == 3
    assert b"nothing.wav" in missing.stderr


@pytest.fixture
def endless(speech: Sound) -> Iterator[subprocess.Popen[bytes]]:
    """A listener on a pipe that never ends."""
    child = subprocess.Popen(
        command("--json", "--pcm", "s16le"), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    stop = threading.Event()

    def feed(pipe: Any) -> None:
        with contextlib.suppress(OSError), pipe:
            while not stop.is_set():
                pipe.write(pcm(speech))
                pipe.flush()
                time.sleep(0.2)

    assert child.stdin is not None
    feeder = threading.Thread(target=feed, args=(child.stdin,))
    feeder.start()
    yield child
    stop.set()
    child.kill()
    child.wait()
    feeder.join()
    for pipe in (child.stdout, child.stderr):
        assert pipe is not None
        pipe.close()


def test_ctrl_c_ends_with_a_last_word(endless: subprocess.Popen[bytes]) -> None:
    assert endless.stdout is not None
    said = [json.loads(endless.stdout.readline()) for _ in range(6)]
    assert said[-1]["time"] >= 6
    os.killpg(endless.pid, signal.SIGINT)  # as a terminal does: parent and child
    said += [json.loads(line) for line in endless.stdout]
    assert endless.wait(30) in (0, 1)
    assert said[-1]["end"] == "interrupted"
    assert endless.stderr is not None
    assert b"Traceback" not in endless.stderr.read()


def test_a_second_ctrl_c_finds_no_handler_that_python_could_take_away() -> None:
    """At its end Python gives handlers back to the system, whose own is death."""
    before = signal.getsignal(signal.SIGINT)
    try:
        interrupt = module._Interrupt()
        assert not interrupt.came
        signal.raise_signal(signal.SIGINT)
        assert interrupt.came
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        signal.raise_signal(signal.SIGINT)
        assert os.read(interrupt.descriptor, 9) == b"."
    finally:
        signal.signal(signal.SIGINT, before)
        os.close(interrupt.descriptor)
        os.close(interrupt._bell)


def test_ctrl_c_while_nothing_comes(speech: Sound) -> None:
    child = subprocess.Popen(
        command("--json", "--pcm", "s16le"), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip
    assert child.stdin is not None
    assert child.stdout is not None
    with child.stdin, child.stdout:
        child.stdin.write(pcm(speech[: 2 * RATE]))
        child.stdin.flush()
        first = json.loads(child.stdout.readline())
        assert "end" not in first
        os.killpg(child.pid, signal.SIGINT)
        said = [json.loads(line) for line in child.stdout]
        assert child.wait(30) in (0, 1)
    assert said[-1]["end"] == "interrupted"
    assert said[-1]["time"] >= 1
