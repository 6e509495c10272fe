"""What the operator sets: environment variables ``ASSAY_...``, or files for secrets."""

from __future__ import annotations

import os
import secrets as random
from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from assay.worker.outbound import Policy

__all__ = ["Settings"]

_MIB = 1024 * 1024


def _data_home() -> Path:
    home = os.environ.get("XDG_DATA_HOME")
    return (Path(home) if home else Path.home() / ".local" / "share") / "assay" / "server"


class Settings(BaseSettings):
    """Settings of the server and its workers.

    Every field is read from the environment variable ``ASSAY_<NAME>``; a secret also from
    a file of its lower-case name (``assay_secret_key``) in the folder that
    ``ASSAY_SECRETS_DIR`` names.
    """

    model_config = SettingsConfigDict(
        env_prefix="ASSAY_",
        extra="ignore",
        secrets_dir=os.environ.get("ASSAY_SECRETS_DIR") or None,
    )

    data_dir: Path = Field(
        default_factory=_data_home, description="Folder for the database and the media."
    )
    database_url: str = Field(
        default="",
        description="`sqlite:///file` or `postgresql://user@host/name`; "
        "empty: `assay.db` in the data folder.",
    )
    media_dir: Path | None = Field(
        default=None,
        description="Folder for uploaded media, shared by all machines of a fleet; "
        "unset: `media` in the data folder.",
    )
    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=8321, ge=1, le=65535, description="Port to listen on.")
    public_url: str = Field(
        default="",
        description="Address under which people reach the server, for links and cookies; "
        "empty: host and port.",
    )
    workers: int = Field(
        default=1, ge=0, le=64, description="Worker processes that `assay serve` starts."
    )
    at_once: int = Field(
        default=1, ge=1, le=64, description="Files that one worker analyses at the same time."
    )
    timeout_seconds: float = Field(default=900.0, ge=1, description="Time that one file may take.")
    lease_seconds: float = Field(
        default=30.0,
        ge=1,
        description="A worker that says nothing for so long loses its jobs to the others; the "
        "same in the whole fleet.",
    )
    max_upload_bytes: int = Field(
        default=2048 * _MIB, ge=1, description="Largest file that is accepted."
    )
    min_free_bytes: int = Field(
        default=1024 * _MIB, ge=0, description="Uploads are refused below this free disk space."
    )
    max_queued: int = Field(
        default=10_000, ge=1, description="Analyses that one user may have waiting."
    )
    max_open_uploads: int = Field(
        default=16, ge=1, description="Resumable uploads that one user may have under way."
    )
    upload_hours: float = Field(
        default=24.0, gt=0, description="Time after which a resumable upload is forgotten."
    )
    rate_per_minute: int = Field(
        default=600, ge=1, description="Requests a minute and user, or address before login."
    )
    allowed_paths: list[Path] = Field(
        default_factory=list,
        description="Folders of the server whose files may be analysed by path (JSON list).",
    )
    zero_retention: bool = Field(
        default=False, description="Keep no media and no picture of any, whatever a request says."
    )
    webhook_allow_http: bool = Field(default=False, description="Allow webhooks without TLS.")
    webhook_allow_private: bool = Field(
        default=False, description="Allow webhooks to addresses of the local network."
    )
    webhook_tries: int = Field(
        default=8, ge=1, le=20, description="Tries after which a delivery is given up."
    )
    webhook_retry_seconds: float = Field(
        default=10.0,
        gt=0,
        description="Time between the first two tries; five times as long after each, at "
        "most six hours.",
    )
    trusted_proxies: str = Field(
        default="",
        description="Addresses of reverse proxies whose forwarding headers count, by commas.",
    )
    metrics_token: SecretStr = Field(
        default=SecretStr(""),
        description="Bearer token that `/metrics` asks for; empty: only loopback may read it.",
    )
    secret_key: SecretStr = Field(
        default=SecretStr(""),
        description="Key that signs cursors and links; empty: made once and kept in the data "
        "folder. Machines of a fleet share one.",
    )

    @property
    def url_of_database(self) -> str:
        return self.database_url or f"sqlite:///{self.data_dir / 'assay.db'}"

    @property
    def folder_of_media(self) -> Path:
        return self.media_dir or self.data_dir / "media"

    @property
    def base_url(self) -> str:
        return (self.public_url or f"http://{self.host}:{self.port}").rstrip("/")

    @property
    def secure_cookies(self) -> bool:
        return self.base_url.startswith("https://")

    def outbound(self) -> Policy:
        """What webhooks may reach, and how often they are tried."""
        return Policy(
            allow_http=self.webhook_allow_http,
            allow_private=self.webhook_allow_private,
            tries=self.webhook_tries,
            first_delay=self.webhook_retry_seconds,
        )

    def key(self) -> bytes:
        """The signing key, made on first use."""
        given = self.secret_key.get_secret_value()
        if given:
            return given.encode()
        path = self.data_dir / "secret_key"
        self.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(random.token_hex(32))
        except FileExistsError:
            pass
        return path.read_bytes()
