"""The tables, in SQLAlchemy Core; the migrations must lead to exactly these.

Times are POSIX seconds (float, UTC). Ids are 32 hex digits from ``uuid4`` unless said
otherwise. Secrets are stored only as hashes, webhook secrets excepted: a signature cannot
be made from a hash.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

__all__ = [
    "analyses",
    "api_keys",
    "audit",
    "deliveries",
    "idempotency",
    "metadata",
    "options",
    "reports",
    "reviews",
    "sessions",
    "shares",
    "tickets",
    "uploads",
    "users",
    "webhooks",
    "workers",
]

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

users = Table(
    "users",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("email", String(254), nullable=False, unique=True),  # lower case
    Column("name", String(120), nullable=False),
    Column("role", String(12), nullable=False),  # owner, reviewer, analyst, viewer
    Column("password_hash", String(200), nullable=False),  # argon2id; "" until it is set
    Column("language", String(8), nullable=False, default="en"),
    Column("created_at", Float, nullable=False),
    Column("disabled_at", Float),
)

tickets = Table(  # single-use links: first-start set-up, invitation, new password
    "tickets",
    metadata,
    Column("token_hash", String(64), primary_key=True),  # SHA-256 of the token
    Column("purpose", String(12), nullable=False),  # setup, invite, password
    Column("user_id", String(32), ForeignKey("users.id", ondelete="CASCADE")),
    Column("expires_at", Float, nullable=False),
)

sessions = Table(
    "sessions",
    metadata,
    Column("token_hash", String(64), primary_key=True),  # SHA-256 of the cookie
    Column("user_id", String(32), ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("csrf", String(64), nullable=False),
    Column("created_at", Float, nullable=False),
    Column("seen_at", Float, nullable=False),
    Column("expires_at", Float, nullable=False),
    Index("ix_sessions_user_id", "user_id"),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String(16), primary_key=True),  # public part of the key
    Column("user_id", String(32), ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("name", String(120), nullable=False),
    Column("secret_hash", String(200), nullable=False),  # argon2id
    Column("scopes", JSON, nullable=False),  # of access.SCOPES
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float),
    Column("used_at", Float),
    Column("revoked_at", Float),
    Index("ix_api_keys_user_id", "user_id"),
)

analyses = Table(
    "analyses",
    metadata,
    Column("id", String(32), primary_key=True),  # also the id of the workflow
    Column("owner_id", String(32), ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    # queued, running, done, failed, cancelled
    Column("status", String(12), nullable=False),
    Column("name", String(255), nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("kind", String(8)),  # image, video, audio; known when done
    Column("prior", Float, nullable=False),
    Column("priority", Integer, nullable=False),  # 1 first ... 9 last
    Column("zero_retention", Boolean, nullable=False),
    Column("source_path", Text),  # a file of the server's own, analysed where it lies
    Column("created_at", Float, nullable=False),
    Column("started_at", Float),
    Column("finished_at", Float),
    Column("media_expires_at", Float),  # then the media go; None: kept
    Column("media_deleted_at", Float),
    Column("worker", String(80)),
    Column("attempts", Integer, nullable=False, default=0),
    Column("stage", String(80), nullable=False, default=""),
    Column("progress", Float, nullable=False, default=0.0),  # 0 to 1
    Column("partial", JSON, nullable=False, default=list),  # findings so far, while running
    Column("verdict", String(16)),
    Column("probability", Float),
    Column("headline", Text),
    Column("error_type", String(40)),
    Column("error_cause", Text),
    Column("review_state", String(12), nullable=False, default="none"),  # none, open, second, done
    Column("revision", Integer, nullable=False, default=1),  # grows with every change: the ETag
    Index("ix_analyses_owner_id_created_at", "owner_id", "created_at"),
    Index("ix_analyses_created_at_id", "created_at", "id"),
    Index("ix_analyses_status", "status"),
    Index("ix_analyses_sha256", "sha256"),
    Index("ix_analyses_review_state", "review_state"),
)

reports = Table(
    "reports",
    metadata,
    Column(
        "analysis_id",
        String(32),
        ForeignKey("analyses.id", ondelete="CASCADE"),
        primary_key=True,
    ),
    Column("document", LargeBinary, nullable=False),  # zlib of the JSON report
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("owner_id", String(32), primary_key=True),
    Column("key", String(200), primary_key=True),
    Column("request_hash", String(64), nullable=False),
    Column("analysis_id", String(32), nullable=False),
    Column("created_at", Float, nullable=False),
)

uploads = Table(  # resumable uploads under way
    "uploads",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("owner_id", String(32), ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("name", String(255), nullable=False),
    Column("length", BigInteger, nullable=False),
    Column("offset", BigInteger, nullable=False),
    Column("sha256", String(64)),  # once it is complete
    Column("taken_at", Float),  # once an analysis was made of it
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float, nullable=False),
)

shares = Table(
    "shares",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("token_hash", String(64), nullable=False, unique=True),
    Column(
        "analysis_id", String(32), ForeignKey("analyses.id", ondelete="CASCADE"), nullable=False
    ),
    Column("created_by", String(32), nullable=False),
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float, nullable=False),
    Column("revoked_at", Float),
    Index("ix_shares_analysis_id", "analysis_id"),
)

reviews = Table(  # what people said of an analysis; never changed, only added to
    "reviews",
    metadata,
    Column("id", String(32), primary_key=True),
    Column(
        "analysis_id", String(32), ForeignKey("analyses.id", ondelete="CASCADE"), nullable=False
    ),
    Column("user_id", String(32), nullable=False),
    # request, confirm, overrule, second_opinion, appeal, answer
    Column("action", String(16), nullable=False),
    Column("verdict", String(16)),  # with confirm and overrule: what the person holds it to be
    Column("reason", Text, nullable=False),
    Column("created_at", Float, nullable=False),
    Index("ix_reviews_analysis_id", "analysis_id"),
)

webhooks = Table(
    "webhooks",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("owner_id", String(32), ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("url", Text, nullable=False),
    Column("secret", String(80), nullable=False),
    Column("events", JSON, nullable=False),  # analysis.done, analysis.failed, review.done
    Column("created_at", Float, nullable=False),
    Column("disabled_at", Float),
    Index("ix_webhooks_owner_id", "owner_id"),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("webhook_id", String(32), ForeignKey("webhooks.id", ondelete="CASCADE"), nullable=False),
    Column("event", String(32), nullable=False),
    Column("subject", String(32), nullable=False),  # the analysis
    Column("body", Text, nullable=False),
    Column("status", String(12), nullable=False),  # waiting, delivered, given_up
    Column("attempts", Integer, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("tried_at", Float),
    Column("response", Integer),  # HTTP status of the last try
    Column("error", Text, nullable=False),
    Index("ix_deliveries_webhook_id_created_at", "webhook_id", "created_at"),
)

audit = Table(  # chained by hash; see assay.storage.audit
    "audit",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("at", Float, nullable=False),
    Column("actor", String(80), nullable=False),  # user id, key:<id>, worker:<id>, system
    Column("action", String(40), nullable=False),  # e.g. analysis.create
    Column("subject", String(80), nullable=False),
    Column("detail", Text, nullable=False),  # canonical JSON
    Column("prev_hash", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
)

options = Table(  # settings changed on the pages: retention, operating point
    "options",
    metadata,
    Column("name", String(40), primary_key=True),
    Column("value", JSON, nullable=False),
    Column("changed_at", Float, nullable=False),
    Column("changed_by", String(32), nullable=False),
)

workers = Table(  # leases: a worker that stops renewing loses its jobs to the others
    "workers",
    metadata,
    Column("id", String(80), primary_key=True),  # executor id of its workflows
    Column("host", String(120), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("started_at", Float, nullable=False),
    Column("seen_at", Float, nullable=False),
    Column("stopped_at", Float),
)
