"""Many files, each analysed in a bounded child process, results as they come."""

from __future__ import annotations

import json as jsonlib
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

from assay.errors import AssayError, MediaError, NotMedia, ReportError
from assay.fusion.outcome import Sensitivity
from assay.isolation import Analyst
from assay.limits import Limits
from assay.report.as_html import to_html
from assay.report.as_json import load, to_json
from assay.report.as_text import to_line, to_text
from assay.report.document import Report, Verdict

__all__ = ["Options", "find", "run", "show_stored"]

_FOUND = frozenset({Verdict.MANIPULATED, Verdict.SYNTHETIC, Verdict.SUSPICIOUS})
_INTERRUPTED = 130


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the user asked for; see the help of ``assay analyze``."""

    json: bool = False
    html: Path | None = None
    pdf: Path | None = None
    out: Path | None = None
    recursive: bool = False
    jobs: int = 1
    prior: float = 0.5
    sensitivity: Sensitivity = Sensitivity.STANDARD
    stability: bool = False
    explain: bool = False
    pictures: bool = True
    timeout: float = 900.0


@dataclass(frozen=True, slots=True)
class _Item:
    path: Path
    named: bool  # given on the command line, not met in a folder


def find(paths: Sequence[Path], *, recursive: bool) -> Iterator[_Item]:
    """The files to look at: named ones, and those in named folders, in a stable order.

    Hidden files and folders met on the way are left out; symbolic links to folders are
    not followed, so that no loop keeps the search from ending.
    """
    for path in paths:
        if not path.is_dir():
            yield _Item(path, True)
            continue
        for folder, folders, names in os.walk(path, onerror=_report_unreadable):
            folders[:] = sorted(f for f in folders if recursive and not f.startswith("."))
            for name in sorted(names):
                if not name.startswith("."):
                    yield _Item(Path(folder) / name, False)


def _report_unreadable(error: OSError) -> None:
    print(f"{error.filename}: {error.strerror}", file=sys.stderr)


def run(paths: Sequence[Path], options: Options) -> int:
    """Analyse and print; returns the exit status of :mod:`assay.cli`."""
    errors = Console(stderr=True, highlight=False)
    items = list(find(paths, recursive=options.recursive))
    for name, page in (("--html", options.html), ("--pdf", options.pdf)):
        if page is not None and (len(items) != 1 or options.json):
            errors.print(f"{name} takes a single file; use --out for several.", markup=False)
            return 2
    if not items:
        errors.print("No files found; use --recursive to descend into folders.", markup=False)
        return 2
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)

    tally = _Tally()
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        console=errors,
        transient=True,
        disable=not errors.is_terminal,
    ) as progress:
        task = progress.add_task("starting", total=len(items))

        def stage(path: Path, name: str) -> None:
            progress.update(task, description=f"{path.name[:32]}: {name}")

        try:
            with _interruptible() as interrupted:
                for item, answer in _analyse(items, options, stage):
                    _deliver(item, answer, options, tally, many=len(items) > 1)
                    progress.advance(task)
                    if interrupted.is_set():
                        raise KeyboardInterrupt
        except KeyboardInterrupt:
            errors.print(f"Interrupted; {tally.done} of {len(items)} files are done.", markup=False)
            return _INTERRUPTED
        except ReportError as error:
            errors.print(str(error), markup=False)
            return 3
        except BrokenPipeError:
            # The reader (head, less) has gone; do not complain about it at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return _INTERRUPTED
    if len(items) > 1:
        errors.print(tally.summary(), markup=False)
    return tally.status()


def show_stored(
    path: Path, *, html: Path | None, pdf: Path | None, json: bool, explain: bool
) -> int:
    """Render a stored report; the media is not needed."""
    try:
        report = load(path)
        if html is not None:
            _write(html, to_html(report))
        if pdf is not None:
            _write_pdf(pdf, report)
        if json:
            print(to_json(report))
        elif html is None and pdf is None:
            _print_text(report, explain=explain)
    except (ReportError, OSError) as error:
        print(_message(path, error), file=sys.stderr)
        return 3
    return 1 if report.verdict in _FOUND else 0


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """An event that Ctrl-C sets besides raising KeyboardInterrupt.

    An exception that comes up while an object is being destroyed is swallowed there.
    """
    came = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield came
        return

    def ring(number: int, frame: object) -> None:
        came.set()
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, ring)
    try:
        yield came
    finally:
        signal.signal(signal.SIGINT, before)


class _Tally:
    def __init__(self) -> None:
        self.done = self.found = self.failed = self.other = 0

    def summary(self) -> str:
        parts = [f"{self.done} analysed", f"{self.found} with findings"]
        if self.failed:
            parts.append(f"{self.failed} could not be analysed")
        if self.other:
            parts.append(f"{self.other} not media")
        return ", ".join(parts) + "."

    def status(self) -> int:
        if self.failed:
            return 3
        return 1 if self.found else 0


def _analyse(
    items: Sequence[_Item], options: Options, stage: Callable[[Path, str], None]
) -> Iterator[tuple[_Item, Report | AssayError]]:
    """Answers in the order in which they are ready."""
    limits = replace(Limits(), timeout_seconds=options.timeout)
    idle: queue.SimpleQueue[Analyst] = queue.SimpleQueue()
    stop = threading.Event()

    def one(item: _Item) -> Report | AssayError:
        if stop.is_set():
            return AssayError("interrupted")
        analyst = idle.get()
        try:
            return analyst.analyze(
                item.path,
                prior=options.prior,
                sensitivity=options.sensitivity,
                stability=options.stability,
                pictures=options.pictures,
                progress=lambda step: stage(item.path, step.stage),
            )
        except AssayError as error:
            return error
        finally:
            idle.put(analyst)

    with ExitStack() as stack:
        jobs = min(options.jobs, len(items))
        analysts = [stack.enter_context(Analyst(limits)) for _ in range(jobs)]
        for analyst in analysts:
            idle.put(analyst)
        pool = ThreadPoolExecutor(jobs)
        waiting: dict[Future[Report | AssayError], _Item] = {}
        left = iter(items)
        try:
            while True:
                # A bounded window: a million files must not become a million futures.
                for item in left:
                    waiting[pool.submit(one, item)] = item
                    if len(waiting) >= 2 * jobs:
                        break
                if not waiting:
                    return
                for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                    yield waiting.pop(future), future.result()
        finally:
            stop.set()
            if waiting:  # interrupted: end the children, which frees the threads
                for analyst in analysts:
                    analyst.close()
            pool.shutdown(wait=True, cancel_futures=True)


def _deliver(
    item: _Item, answer: Report | AssayError, options: Options, tally: _Tally, *, many: bool
) -> None:
    if isinstance(answer, NotMedia) and not item.named:
        tally.other += 1
        return
    if isinstance(answer, AssayError):
        tally.failed += 1
        if options.json:
            cause = answer.cause if isinstance(answer, MediaError) else str(answer)
            error = {"type": type(answer).__name__, "cause": cause}
            print(jsonlib.dumps({"path": str(item.path), "error": error}), flush=True)
        print(_message(item.path, answer), file=sys.stderr)
        return
    tally.done += 1
    tally.found += answer.verdict in _FOUND
    if options.json:
        document = jsonlib.loads(to_json(answer))
        print(jsonlib.dumps({"path": str(item.path), **document}), flush=True)
    if options.html is not None:
        _write(options.html, to_html(answer))
    if options.pdf is not None:
        _write_pdf(options.pdf, answer)
    if options.out is not None:
        # The hash keeps files of the same name in different folders apart.
        stem = options.out / f"{item.path.name}.{answer.media.sha256[:8]}"
        _write(stem.with_name(stem.name + ".json"), to_json(answer, indent=2))
        _write(stem.with_name(stem.name + ".html"), to_html(answer))
    if not options.json:
        if many and not options.explain:
            print(f"{to_line(answer)}  {item.path}", flush=True)
        else:
            _print_text(answer, explain=options.explain)


def _print_text(report: Report, *, explain: bool) -> None:
    console = Console()
    color = console.is_terminal and not os.environ.get("NO_COLOR")
    width = max(60, min(100, console.width)) if console.is_terminal else 80
    print(to_text(report, width=width, color=color, explain=explain), flush=True)


def _write_pdf(path: Path, report: Report) -> None:
    from assay.report.as_pdf import to_pdf  # its libraries take a second to load

    _write(path, to_pdf(report))


def _write(path: Path, content: str | bytes) -> None:
    """Whole file or none: a report half written must not pass for one."""
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(content.encode() if isinstance(content, str) else content)
    part.replace(path)


def _message(path: Path, error: Exception) -> str:
    text = str(error)
    return text if str(path) in text else f"{path}: {text}"
