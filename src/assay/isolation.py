"""The analysis in a child process with bounds on time and memory, and no network.

Media files are hostile and the libraries that decode them are large. A file that
crashes, hangs or swells the decoder takes the child with it and becomes an
:class:`AssayError` here; the next file gets a fresh child. Parent and child speak JSON
lines over pipes, never pickle, so that a child taken over by a file gains nothing.

The network bar in the child stops Python code; native libraries are kept off the
network by the way they are called (see ``media/`` and ``provenance/credentials``).
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, NoReturn

from assay import errors
from assay.errors import AnalysisCrashed, AnalysisTimeout, AssayError, MediaError
from assay.findings import Step
from assay.fusion.outcome import Sensitivity
from assay.limits import Limits
from assay.report.as_json import from_json, to_json
from assay.report.document import Report

__all__ = ["Analyst", "analyze", "confine"]

_MAX_ANSWER = 256 * 1024 * 1024
_RECYCLE_AFTER = 200  # files, so that a slow leak of a native library stays bounded
_KEPT_NOISE = 4000


def analyze(
    path: str | Path,
    *,
    prior: float = 0.5,
    limits: Limits | None = None,
    pictures: bool = True,
    progress: Callable[[Step], None] | None = None,
    name: str = "",
    sensitivity: Sensitivity = Sensitivity.STANDARD,
    stability: bool = False,
) -> Report:
    """:func:`assay.analyze` in a child process of its own; see :class:`Analyst`."""
    with Analyst(limits) as analyst:
        return analyst.analyze(path, prior=prior, pictures=pictures, progress=progress, name=name)


class Analyst:
    """A child process that analyses files one after the other.

    Not for use from several threads at once; make one for each. Use as a context manager,
    or call :meth:`close`. The child starts with the first file and is replaced when it
    dies, times out, or has done its share.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._child: subprocess.Popen[bytes] | None = None
        self._lines: queue.Queue[bytes | None] = queue.Queue()
        self._noise = b""
        self._done = 0

    def __enter__(self) -> Analyst:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def analyze(
        self,
        path: str | Path,
        *,
        prior: float = 0.5,
        pictures: bool = True,
        progress: Callable[[Step], None] | None = None,
        name: str = "",
        sensitivity: Sensitivity = Sensitivity.STANDARD,
        stability: bool = False,
    ) -> Report:
        """Analyse ``path``; arguments as for :func:`assay.analyze`.

        Raises:
            MediaError: as :func:`assay.analyze`.
            AnalysisTimeout: the file took longer than ``limits.timeout_seconds``.
            AnalysisCrashed: the child died; the message says how.
        """
        if not 0.0 < prior < 1.0:
            raise ValueError(f"the prior must lie strictly between 0 and 1, got {prior!r}")
        if self._done >= _RECYCLE_AFTER:
            self.close()
        child = self._ready(path)
        request = {
            "path": os.fspath(path),
            "prior": prior,
            "pictures": pictures,
            "name": name,
            "sensitivity": sensitivity,
            "stability": stability,
        }
        assert child.stdin is not None
        try:
            child.stdin.write(json.dumps(request).encode() + b"\n")
            child.stdin.flush()
        except OSError:
            self._crashed(path)
        deadline = time.monotonic() + self._limits.timeout_seconds
        try:
            while True:
                answer = self._next(path, deadline)
                if "stage" in answer:
                    if progress is not None:
                        progress(_step(answer))
                elif "error" in answer:
                    self._done += 1
                    raise _error(answer["error"], path)
                else:
                    self._done += 1
                    return from_json(answer["report"])
        except BaseException as error:
            # After Ctrl-C or a broken answer the child may still be at work on this file.
            if not isinstance(error, AssayError) or isinstance(error, errors.ReportError):
                self.close()
            raise

    def close(self) -> None:
        """End the child. Safe to call twice."""
        child, self._child, self._done = self._child, None, 0
        if child is None:
            return
        child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout, child.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def _ready(self, path: object) -> subprocess.Popen[bytes]:
        if self._child is not None and self._child.poll() is None:
            return self._child
        self.close()
        self._lines = queue.Queue()
        self._noise = b""
        child = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-m", "assay.isolation", json.dumps(asdict(self._limits))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for the parent, which ends the child
        )
        self._child = child
        assert child.stdout is not None
        assert child.stderr is not None
        threading.Thread(target=self._read, args=(child.stdout, self._lines), daemon=True).start()
        threading.Thread(target=self._listen, args=(child.stderr,), daemon=True).start()
        return child

    @staticmethod
    def _read(pipe: BinaryIO, lines: queue.Queue[bytes | None]) -> None:
        with contextlib.suppress(OSError, ValueError):
            while line := pipe.readline(_MAX_ANSWER):
                lines.put(line)
        lines.put(None)

    def _listen(self, pipe: BinaryIO) -> None:
        with contextlib.suppress(OSError, ValueError):
            while noise := pipe.read1(65536):  # type: ignore[attr-defined]
                self._noise = (self._noise + noise)[-_KEPT_NOISE:]

    def _next(self, path: object, deadline: float) -> dict[str, Any]:
        try:
            line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            self.close()
            raise AnalysisTimeout(
                f"{path}: stopped after {self._limits.timeout_seconds:g} s"
            ) from None
        if line is None:
            self._crashed(path)
        try:
            answer = json.loads(line)
        except ValueError as error:
            self.close()
            raise AnalysisCrashed(f"{path}: the analysing process answered nonsense") from error
        if not isinstance(answer, dict):
            self.close()
            raise AnalysisCrashed(f"{path}: the analysing process answered nonsense")
        return answer

    def _crashed(self, path: object) -> NoReturn:
        child = self._child
        code = child.wait() if child is not None else None
        last = self._noise.decode("utf-8", "replace").strip().splitlines()
        self.close()
        how = f"signal {-code}" if code is not None and code < 0 else f"status {code}"
        detail = f" ({last[-1][:200]})" if last else ""
        raise AnalysisCrashed(f"{path}: the analysing process ended with {how}{detail}")


def _step(answer: dict[str, Any]) -> Step:
    """The child's word on how far it is, whatever it says."""
    found = answer.get("found")
    said = [f for f in found if isinstance(f, dict)] if isinstance(found, list) else []
    share = answer.get("share")
    return Step(
        stage=str(answer["stage"])[:80],
        share=float(share) if isinstance(share, int | float) else 0.0,
        analyzer=str(answer.get("analyzer", ""))[:80],
        found=tuple(
            {key: str(f.get(key, ""))[:2000] for key in ("code", "kind", "claim", "because")}
            for f in said[:50]
        ),
    )


def _error(raw: Any, path: object) -> AssayError:
    """The child's error as one of ours; only names of our own tree are honoured."""
    name, cause = str(raw.get("type")), str(raw.get("cause"))
    if name == "MemoryError":
        return AnalysisCrashed(f"{path}: out of the memory that one analysis may use")
    found = getattr(errors, name, None) if name in errors.__all__ else None
    if isinstance(found, type) and issubclass(found, MediaError):
        return found(path, cause)
    if isinstance(found, type) and issubclass(found, AssayError):
        return found(cause)
    return AnalysisCrashed(f"{path}: {name}: {cause}")


def _serve(limits: Limits) -> None:
    """Child: answer requests from standard input until it closes."""
    # Native libraries print to descriptor 1; the protocol gets a descriptor of its own.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    confine(limits)
    from assay.pipeline import analyze as run

    def say(answer: dict[str, Any]) -> None:
        answers.write(json.dumps(answer).encode() + b"\n")
        answers.flush()

    for line in sys.stdin.buffer:
        request = json.loads(line)
        try:
            report = run(
                request["path"],
                prior=request["prior"],
                limits=limits,
                pictures=request["pictures"],
                progress=lambda step: say(asdict(step)),
                name=request["name"],
                sensitivity=Sensitivity(request["sensitivity"]),
                stability=request["stability"],
            )
            say({"report": to_json(report)})
        except MediaError as error:
            say({"error": {"type": type(error).__name__, "cause": error.cause}})
        except MemoryError:
            say({"error": {"type": "MemoryError", "cause": ""}})
            return  # what is left of the heap is not to be trusted with the next file
        except Exception as error:  # noqa: BLE001 - any failure is an answer, not a crash
            say({"error": {"type": type(error).__name__, "cause": str(error)[:2000]}})


def confine(limits: Limits) -> None:
    """Bounds of the operating system, where it has them, and no sockets for Python."""
    try:
        import resource
    except ImportError:  # not a POSIX system: time is still bounded by the parent
        pass
    else:
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        bound = limits.max_memory_bytes
        if hard != resource.RLIM_INFINITY:
            bound = min(bound, hard)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_AS, (bound, hard))
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    import socket

    def refuse(*args: object, **kwargs: object) -> NoReturn:
        raise OSError("Assay analyses without a network")

    socket.socket.connect = refuse  # type: ignore[method-assign]
    socket.socket.connect_ex = refuse  # type: ignore[method-assign]
    socket.getaddrinfo = refuse


if __name__ == "__main__":
    _serve(Limits(**json.loads(sys.argv[1])))
