"""Read files from a bare git directory without a work tree.

One ``git cat-file --batch`` process serves all reads (git-cat-file(1)), which
is some thousand small files a second.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

MAX_BLOB = 64 << 20


class MirrorError(Exception):
    """The directory is no readable git mirror, or git answered something unexpected."""


class AbsentBlob(MirrorError):
    """The tree lists the file, but the snapshot does not hold its bytes (too large)."""


class GitMirror:
    """The newest commit of a bare mirror: list names, read blobs.

    Use as a context manager; ``read`` and ``read_many`` raise MirrorError for a
    missing name or a blob above 64 MiB, AbsentBlob for one left out of the snapshot.
    """

    def __init__(self, git_dir: str | Path, ref: str = "HEAD") -> None:
        self._git_dir = str(git_dir)
        self._names = self._list(ref)
        self._process: subprocess.Popen[bytes] | None = None

    def _list(self, ref: str) -> dict[str, str]:
        if ref.startswith("-"):
            raise MirrorError(f"not a ref: {ref!r}")
        command = ["git", f"--git-dir={self._git_dir}", "ls-tree", "-r", "-z", ref]
        done = subprocess.run(command, capture_output=True, check=False)  # noqa: S603
        if done.returncode:
            raise MirrorError(done.stderr.decode(errors="replace").strip())
        names = {}
        for line in done.stdout.split(b"\0"):
            if not line:
                continue
            head, _, name = line.partition(b"\t")
            mode, kind, sha = head.split(b" ")
            if kind == b"blob" and mode != b"120000":
                names[name.decode(errors="surrogateescape")] = sha.decode()
        return names

    @property
    def names(self) -> tuple[str, ...]:
        """Paths of all regular files, in git's order."""
        return tuple(self._names)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __enter__(self) -> GitMirror:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the reading process; the mirror can be used again afterwards."""
        if self._process is not None:
            if self._process.stdin:
                self._process.stdin.close()
            if self._process.stdout:
                self._process.stdout.close()
            self._process.wait()
            self._process = None

    def read(self, name: str) -> bytes:
        """The bytes of one file."""
        sha = self._names.get(name)
        if sha is None:
            raise MirrorError(f"no such file in the mirror: {name!r}")
        if self._process is None:
            self._process = subprocess.Popen(  # noqa: S603
                ["git", f"--git-dir={self._git_dir}", "cat-file", "--batch"],  # noqa: S607
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        pipe_in, pipe_out = self._process.stdin, self._process.stdout
        assert pipe_in is not None
        assert pipe_out is not None
        pipe_in.write(sha.encode() + b"\n")
        pipe_in.flush()
        head = pipe_out.readline().split()
        if len(head) != 3 or head[1] != b"blob":
            self.close()
            raise AbsentBlob(f"{name!r} is absent from the snapshot")
        size = int(head[2])
        if size > MAX_BLOB:
            self.close()
            raise MirrorError(f"{name!r} has {size} bytes")
        data = pipe_out.read(size)
        pipe_out.read(1)
        if len(data) != size:
            self.close()
            raise MirrorError(f"{name!r} ended early")
        return data

    def read_many(self, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Yield (name, bytes) in the order given."""
        for name in names:
            yield name, self.read(name)


def mirror_of(mirrors: Path, repository: str, ref: str = "HEAD") -> GitMirror | None:
    """The fetched mirror of ``owner/name`` at ``ref``, or None."""
    folder = mirrors / repository.replace("/", "+") / "repo"
    if (folder / ".git").is_dir():
        folder = folder / ".git"
    try:
        return GitMirror(folder, ref) if folder.is_dir() else None
    except MirrorError:
        return None
