"""Commands and their options."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from assay import __version__
from assay.cli import admin, batch, status
from assay.fusion.outcome import Sensitivity

__all__ = ["app"]

app = typer.Typer(
    name="assay",
    help="Says whether images, videos and sound recordings are authentic. Works offline.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    epilog="Exit status: 0 nothing found, 1 at least one file manipulated, synthetic or "
    "suspicious, 2 wrong usage, 3 at least one file could not be analysed, 130 interrupted.",
)

app.add_typer(admin.app, name="admin")


def _version(asked: bool) -> None:
    if asked:
        print(f"assay {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    for stream in (sys.stdout, sys.stderr):
        # File names may hold bytes that are no text; they must not end a batch.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


@app.command()
def analyze(
    paths: Annotated[list[Path], typer.Argument(help="Files or folders.", show_default=False)],
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON report a line, as files are done.")
    ] = False,
    html: Annotated[
        Path | None, typer.Option(help="Write the report of a single file as one HTML page.")
    ] = None,
    pdf: Annotated[
        Path | None, typer.Option(help="Write the report of a single file as a PDF.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for a JSON and an HTML report of every file.")
    ] = None,
    recursive: Annotated[
        bool, typer.Option("--recursive", "-r", help="Descend into folders.")
    ] = False,
    jobs: Annotated[
        int, typer.Option("--jobs", "-j", min=1, max=64, help="Files analysed at the same time.")
    ] = 1,
    prior: Annotated[
        float,
        typer.Option(
            min=0.0001,
            max=0.9999,
            help="Probability, before looking, that such a file is not authentic.",
        ),
    ] = 0.5,
    sensitivity: Annotated[
        Sensitivity,
        typer.Option(
            help="standard: flag what 1 % of authentic files reach; high: also call "
            "suspicious what 5 % reach."
        ),
    ] = Sensitivity.STANDARD,
    stability: Annotated[
        bool,
        typer.Option(
            "--stability",
            help="Also measure whether the answer survives compression, scaling and the like "
            "(pictures and sounds; about five times slower).",
        ),
    ] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Show every piece of evidence with its limits.")
    ] = False,
    pictures: Annotated[
        bool, typer.Option(help="Keep small pictures of the media in the report.")
    ] = True,
    timeout: Annotated[
        float, typer.Option(min=1.0, help="Seconds that one file may take.")
    ] = 900.0,
) -> None:
    """Analyse files and folders, and say for each what was found and why."""
    raise typer.Exit(
        batch.run(
            paths,
            batch.Options(
                json=json,
                html=html,
                pdf=pdf,
                out=out,
                recursive=recursive,
                jobs=jobs,
                prior=prior,
                sensitivity=sensitivity,
                stability=stability,
                explain=explain,
                pictures=pictures,
                timeout=timeout,
            ),
        )
    )


@app.command()
def listen(
    path: Annotated[
        str, typer.Argument(help="A file, a named pipe, or - for standard input.")
    ] = "-",
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
    every: Annotated[
        float, typer.Option(min=0.25, max=3600.0, help="Seconds of sound between two lines.")
    ] = 1.0,
    span: Annotated[
        float, typer.Option(min=8.0, max=3600.0, help="Seconds of sound that a line is about.")
    ] = 60.0,
    prior: Annotated[
        float,
        typer.Option(
            min=0.0001, max=0.9999, help="Probability, before listening, that it is not authentic."
        ),
    ] = 0.5,
    pcm: Annotated[
        str,
        typer.Option(
            help="Samples without a header, coded as s16le, s16be, s24le, s32le, f32le, u8, alaw "
            "or mulaw."
        ),
    ] = "",
    rate: Annotated[int, typer.Option(help="Sample rate in Hz, with --pcm.")] = 16_000,
    channels: Annotated[int, typer.Option(help="Interleaved channels, with --pcm.")] = 1,
) -> None:
    """Judge speech while it is heard, from a pipe, a file or standard input."""
    from assay.cli import listen as listening

    raise typer.Exit(
        listening.listen(
            listening.Options(
                path=path,
                json=json,
                every=every,
                span=span,
                prior=prior,
                pcm=pcm,
                rate=rate,
                channels=channels,
            )
        )
    )


@app.command()
def report(
    path: Annotated[Path, typer.Argument(help="A stored JSON report.", show_default=False)],
    html: Annotated[Path | None, typer.Option(help="Write it as one HTML page.")] = None,
    pdf: Annotated[Path | None, typer.Option(help="Write it as a PDF.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
    explain: Annotated[bool, typer.Option("--explain", help="Show all evidence.")] = False,
) -> None:
    """Show a stored report again, without the media."""
    raise typer.Exit(batch.show_stored(path, html=html, pdf=pdf, json=json, explain=explain))


@app.command()
def models(
    json: Annotated[bool, typer.Option("--json", help="Print the cards as JSON.")] = False,
) -> None:
    """List the trained networks and calibration curves, how good they are and where."""
    raise typer.Exit(status.models(json=json))


@app.command()
def doctor() -> None:
    """Check the installation: libraries, models and their hashes, a self-test."""
    raise typer.Exit(status.doctor())


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on [127.0.0.1].")] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Port [8321].")] = None,
    workers: Annotated[
        int | None, typer.Option(min=0, max=64, help="Worker processes to start [1].")
    ] = None,
) -> None:
    """Serve the web pages and the API, with workers, until interrupted."""
    from assay.cli import serve as serving

    raise typer.Exit(serving.serve(host=host, port=port, workers=workers))


@app.command()
def worker(
    name: Annotated[
        str | None, typer.Option(help="Name, unique in the fleet and the same at each start.")
    ] = None,
    at_once: Annotated[
        int | None, typer.Option(min=1, max=64, help="Files analysed at the same time [1].")
    ] = None,
    with_parent: Annotated[bool, typer.Option("--with-parent", hidden=True)] = False,
) -> None:
    """Take analyses from the queue of a server, until interrupted."""
    from assay.cli import serve as serving

    raise typer.Exit(serving.worker(name=name, at_once=at_once, with_parent=with_parent))
