"""``assay listen``: a verdict on speech while it is being heard.

The stream is decoded and judged in a child process with a bound on its memory and no network,
which reads standard input and writes standard output itself; this process waits for it and
says so if the stream has killed it.
"""

from __future__ import annotations

import contextlib
import json as jsonlib
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from assay import isolation
from assay.analyzers.audio.live import Listener
from assay.analyzers.audio.times import clock
from assay.errors import AssayError, MediaError, NotMedia
from assay.findings import NotApplicable, Question
from assay.fusion import Outcome, fuse
from assay.limits import Limits
from assay.media import MediaKind
from assay.media.stream import Pcm, Pipe, sound_blocks
from assay.models import card

__all__ = ["Options", "listen"]

_RATE = 16_000
_FOUND = frozenset({"manipulated", "synthetic", "suspicious"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the user asked for; see the help of ``assay listen``."""

    path: str = "-"
    json: bool = False
    every: float = 1.0
    span: float = 60.0
    prior: float = 0.5
    pcm: str = ""
    rate: int = _RATE
    channels: int = 1


def listen(options: Options) -> int:
    """Listen in a child process until the stream ends. Returns the exit status."""
    try:
        _format(options)
        if not options.span >= 8.0:
            raise ValueError(f"--span must be at least 8 s, got {options.span:g}")
    except ValueError as error:
        print(f"assay listen: {error}", file=sys.stderr)
        return 2
    child = subprocess.Popen(  # noqa: S603 - our own interpreter and module
        [sys.executable, "-m", "assay.cli.listen", jsonlib.dumps(asdict(options))]
    )
    while True:
        try:
            status = child.wait()
            break
        except KeyboardInterrupt:
            # The terminal told the child too; a Ctrl-C sent to this process alone did not.
            with contextlib.suppress(ProcessLookupError):
                child.send_signal(signal.SIGINT)
    if status < 0:
        print(f"{options.path}: the listening process ended with signal {-status}", file=sys.stderr)
        return 3
    return status


def _format(options: Options) -> Pcm | None:
    return Pcm(options.pcm, options.rate, options.channels) if options.pcm else None


def _attend(options: Options) -> int:
    """Child: read, judge, print; returns the exit status."""
    isolation.confine(Limits())  # the bounds that files have
    name = Path("standard input" if options.path == "-" else options.path)
    listener = Listener(options.span)
    interrupt = _Interrupt()
    found, said = False, 0.0
    failed: MediaError | None = None
    try:
        for block in _blocks(options, name, interrupt):
            listener.push(block)
            if listener.heard >= said + options.every:
                said = listener.heard - listener.heard % options.every
                found |= _say(listener, options)
            if interrupt.came:
                break
    except MediaError as error:
        failed = None if interrupt.came else error  # cut off where the user cut it
    cause = "interrupted" if interrupt.came else "end of the stream"
    if failed is not None and not listener.heard:
        _print({"error": {"type": type(failed).__name__, "cause": failed.cause}}, "", options)
        print(failed, file=sys.stderr)
        return 3
    listener.finish()
    found |= _say(listener, options, end=failed.cause if failed else cause)
    if failed is not None:
        print(failed, file=sys.stderr)
        return 3
    return 1 if found else 0


class _Interrupt:
    """Ctrl-C as a wish that the reader looks for, at its next block or while it waits for one.

    Raised as an exception it would come up anywhere, also where FFmpeg calls back into Python
    or an object is being destroyed, and be swallowed there.
    """

    def __init__(self) -> None:
        self.came = False
        self.descriptor, self._bell = os.pipe()  # readable from the first Ctrl-C on
        signal.signal(signal.SIGINT, self._ring)

    def _ring(self, number: int, frame: object) -> None:
        # The parent passes on what the terminal said too. That may come when Python has begun to
        # end: a handler of ours it has replaced then by death, ignoring it leaves alone.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self.came = True
        os.write(self._bell, b".")


def _blocks(options: Options, name: Path, interrupt: _Interrupt) -> Iterator[Any]:
    pcm = _format(options)
    if options.path == "-":
        yield from sound_blocks(Pipe(sys.stdin.fileno(), interrupt.descriptor), name, _RATE, pcm)
        return
    try:
        descriptor = os.open(options.path, os.O_RDONLY)
    except OSError as error:
        raise NotMedia(name, f"cannot be opened: {error.strerror}") from error
    with os.fdopen(descriptor, "rb") as file:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISREG(mode):
            yield from sound_blocks(file, name, _RATE, pcm)
        elif stat.S_ISFIFO(mode):
            yield from sound_blocks(Pipe(descriptor, interrupt.descriptor), name, _RATE, pcm)
        else:
            raise NotMedia(name, "a folder or device, not a file or pipe")


def _say(listener: Listener, options: Options, end: str = "") -> bool:
    """Print how things stand; returns whether something was found."""
    answer = listener.answer()
    refused = (answer,) if isinstance(answer, NotApplicable) else ()
    findings = () if isinstance(answer, NotApplicable) else answer
    outcome = fuse(
        MediaKind.AUDIO, [("audio.synthetic", f) for f in findings], refused,
        asked=() if refused else {Question.SYNTHETIC_SPEECH}, prior=options.prior,
    )  # fmt: skip
    entry = _entry(listener, outcome, refused)
    if end:
        entry["end"] = end
    _print(entry, _line(entry, outcome), options)
    return entry["verdict"] in _FOUND


def _entry(
    listener: Listener, outcome: Outcome, refused: tuple[NotApplicable, ...]
) -> dict[str, Any]:
    windows = listener.windows
    whole = next((e for e in outcome.evidence if e.code == "audio.synthetic"), None)
    points = card(whole.curve).points if whole is not None and whole.curve else None
    until = windows[-1].end if windows else 0.0
    return {
        "time": round(listener.heard, 2),
        "verdict": str(outcome.verdict),
        "probability": _round(outcome.probability),
        "interval": None
        if outcome.interval is None
        else [_round(outcome.interval.low), _round(outcome.interval.high)],
        "llr": None if whole is None else _round(whole.llr),
        "now": None if not windows else round(windows[-1].logit, 3),
        "point": None if points is None else points.fpr_1pct,
        "scored_until": round(until, 2),
        "behind": round(listener.heard - until, 2),
        "speech_seconds": round(listener.speech_seconds, 2),
        "segments": [] if whole is None else whole.data.get("segments", []),
        "gates": [{"code": r.code, "reason": r.reason} for r in refused],
        "because": outcome.headline if whole is None else whole.because,
    }


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _line(entry: dict[str, Any], outcome: Outcome) -> str:
    """One line of at most about a hundred characters."""
    head = f"{clock(entry['time']):>7}  "
    if entry["gates"]:
        text = "  ".join(g["reason"] for g in entry["gates"])
        head += f"{'listening' if entry['gates'][0]['code'] == 'listening' else 'no verdict':<14}"
    else:
        low, high = entry["interval"]
        head += f"{entry['verdict']:<14}"
        text = (
            f"{100 * entry['probability']:3.0f} % ({100 * low:.0f}-{100 * high:.0f})"
            f"  {entry['speech_seconds']:.0f} s of speech, scored to {clock(entry['scored_until'])}"
        )
        if entry["segments"]:
            last = entry["segments"][-1]
            text += f", signs {clock(last['start'])} to {clock(last['end'])}"
    if "end" in entry:
        text += f"\n{entry['end']}: {entry['because']}"
        text += "".join(f"\n  {r}" for r in outcome.reasons if r != entry["because"])
    return head + text


def _print(entry: dict[str, Any], line: str, options: Options) -> None:
    if options.json:
        print(jsonlib.dumps(entry), flush=True)
    elif line:
        print(line, flush=True)


def main() -> int:
    """Child: the options are the only argument, as JSON."""
    options = Options(**jsonlib.loads(sys.argv[1]))
    try:
        return _attend(options)
    except BrokenPipeError:  # the reader has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 130
    except AssayError as error:
        print(f"{options.path}: {error}", file=sys.stderr)
        return 3
    except MemoryError:
        print(f"{options.path}: out of the memory that listening may use", file=sys.stderr)
        return 3


if __name__ == "__main__":
    sys.exit(main())
