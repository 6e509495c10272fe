"""The offline list of authorities whose signatures count as trusted.

A trust list is a folder with ``list.toml`` (``name``, ``date``, ``signers`` and, if there
are any, ``timestamps``: names of PEM files beside it). Assay ships none: whom to trust is
the user's decision, and a list goes out of date. The folder :data:`FOLDER` is read when it
exists; without it no signer counts as trusted, and the report says so. To use another:
``Credentials(TrustList.load(folder))``.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path

__all__ = ["FOLDER", "NOBODY", "TrustList", "installed"]

FOLDER = Path.home() / ".local" / "share" / "assay" / "trust"
"""Where the user's own trust list is looked for."""

_BLOCK = re.compile(
    r"-----BEGIN CERTIFICATE-----\s+[A-Za-z0-9+/=\s]+?-----END CERTIFICATE-----"
)  # fmt: skip
_MOST_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustList:
    """PEM certificates of authorities, and the day the list was issued.

    ``signers`` vouch for whoever signs a statement, ``timestamps`` for clocks only.
    """

    name: str
    dated: date | None
    signers: str
    timestamps: str = ""

    @property
    def title(self) -> str:
        """How a sentence names the list."""
        return f"the trust list of {self.dated.isoformat()}" if self.dated else "no trust list"

    @property
    def sha256(self) -> str:
        return hashlib.sha256(f"{self.signers}\0{self.timestamps}".encode()).hexdigest()

    @property
    def timestamps_only(self) -> str:
        """The authorities that vouch for clocks and for nothing else, as PEM."""
        signers = set(_BLOCK.findall(self.signers))
        return "".join(f"{b}\n" for b in _BLOCK.findall(self.timestamps) if b not in signers)

    @classmethod
    def load(cls, folder: Path) -> TrustList:
        """Read the list in ``folder``.

        Raises:
            ValueError: the description is incomplete or a PEM file holds no certificate.
            OSError: a file cannot be read.
        """
        described = tomllib.loads((folder / "list.toml").read_text(encoding="utf-8"))
        name, dated = described.get("name"), described.get("date")
        if not isinstance(name, str) or not isinstance(dated, date):
            raise ValueError(f"{folder / 'list.toml'}: needs a name and a date")
        signers = _certificates(folder, described.get("signers"))
        if not signers:
            raise ValueError(f"{folder / 'list.toml'}: names no signers")
        return cls(
            name=name, dated=dated, signers=signers,
            timestamps=_certificates(folder, described.get("timestamps")),
        )  # fmt: skip


def _certificates(folder: Path, name: object) -> str:
    if name is None:
        return ""
    if not isinstance(name, str) or Path(name).name != name:
        raise ValueError(f"{folder / 'list.toml'}: {name!r} is not the name of a file beside it")
    path = folder / name
    if path.stat().st_size > _MOST_BYTES:
        raise ValueError(f"{path}: larger than {_MOST_BYTES} bytes")
    blocks = _BLOCK.findall(path.read_text(encoding="utf-8", errors="replace"))
    if not blocks:
        raise ValueError(f"{path}: holds no certificate")
    return "\n".join(blocks) + "\n"


NOBODY = TrustList(name="", dated=None, signers="")
"""The empty list: no signer counts as trusted."""


@cache
def installed() -> TrustList:
    """The user's list in :data:`FOLDER`, or :data:`NOBODY`.

    Raises:
        ValueError: the list is there but not usable; it must not be ignored in silence.
    """
    if not (FOLDER / "list.toml").is_file():
        return NOBODY
    try:
        return TrustList.load(FOLDER)
    except OSError as error:
        raise ValueError(f"{FOLDER}: the trust list cannot be read: {error}") from error
