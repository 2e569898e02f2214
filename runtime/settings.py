"""Runtime's settings: the only place in this tier that reads the environment."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

PREFIX = "STAGEDOOR_RUNTIME_"


class SettingsError(Exception):
    """The environment does not describe a Runtime; the message says what to change."""


class Settings(BaseSettings):
    """What `python -m runtime` can be told, each as `STAGEDOOR_RUNTIME_<NAME>`."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True)

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65_535)] = 8002
    database_url: str = ""
    """Role runtime_app: one tenant at a time, held to it by row-level security."""
    system_database_url: str = ""
    """Role runtime_system: the queue, the reconciler, adopting and pruning."""
    migrate_database_url: str = ""
    """Role runtime_owner: migrations only."""
    internal_public_key_file: Path | None = None
    """Ed25519 public key (PEM) of the Experience tier."""
    seal_key_file: Path | None = None
    """Keys under which credentials and browser checkpoints are sealed: base64 of 32 bytes a line, the first one seals.
    Without it no credentials can be kept, and a page that was lost is walked to again."""
    artifact_dir: Path = Path("data/artifacts")
    scratch_dir: Path = Path("data/scratch")
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = ()
    """Hosts in private networks or on this machine that may be reached nevertheless, `host` or `host:port` separated by
    commas. The public internet may be reached without."""
    denied_hosts: Annotated[tuple[str, ...], NoDecode] = ()
    """Public hosts that nobody here may reach: `host`, `*.host`, `host:port` or a network, separated by commas. For
    services of one's own that stand on public addresses behind a firewall."""
    egress_max_bytes: Annotated[int, Field(ge=1_000_000)] = 2_147_483_648
    """Bytes that one execution may send and receive together, whichever workers it goes through."""
    browser_path: Path | None = None
    browser_max_memory: Annotated[int, Field(ge=268_435_456)] = 1_610_612_736
    """Bytes that the pages of one Chromium, and so of one tenant on one worker, may hold; above it, it is ended."""
    multi_tenant: bool = False
    """Whether tenants that don't trust each other share this installation: a worker then does not start where browsers
    would run without Chromium's own sandbox."""
    allow_unsandboxed_browsers: bool = False
    """With `multi_tenant`: start nevertheless."""
    sandbox_require: Literal["any", "namespace"] = "any"
    """What code nodes must be shut in by: any backend whose canary lives, or one with namespaces (bubblewrap)."""
    concurrency: Annotated[int, Field(ge=1, le=64)] = 8
    """Executions one worker process carries out at once."""
    heartbeat_s: Annotated[float, Field(ge=1, le=300)] = 15
    """A worker that is silent for this long has lost its executions."""
    drain_s: Annotated[float, Field(ge=0, le=600)] = 5
    """Seconds between SIGTERM and the end."""
    nats_url: str = ""
    """Core NATS for live wake-ups, `nats://host:4222` or `tls://…`, several of a cluster separated by commas; they may
    carry a token or user:password. Empty: PostgreSQL's NOTIFY, enough for about a thousand commits a second."""
    nats_token_file: Path | None = None
    """Holds the token for NATS where the address carries nothing."""
    log_format: Annotated[Literal["json", "console"], Field(validation_alias="STAGEDOOR_LOG_FORMAT")] = "json"

    @field_validator("allowed_hosts", "denied_hosts", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return tuple(part.strip().lower() for part in value.split(",") if part.strip())

    @field_validator("nats_url")
    @classmethod
    def _check_nats_urls(cls, value: str) -> str:
        if value and not all(_is_nats(url) for url in value.split(",")):
            raise ValueError("nats://host:port or tls://host:port, several separated by commas")
        return value


def _is_nats(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme in ("nats", "tls") and bool(parts.hostname)


def load_settings(*required: str) -> Settings:
    """Read the environment; the fields in `required` must be set.

    Raises:
        SettingsError: an unknown key under the prefix, a value that does not fit, or a required one missing.
    """
    _refuse_unknown(os.environ)
    try:
        settings = Settings()
    except ValidationError as error:
        lines = [f"{PREFIX}{str(fault['loc'][0]).upper()}: {fault['msg']}" for fault in error.errors()]
        raise SettingsError("\n".join(lines)) from None
    missing = [f"{PREFIX}{name.upper()}" for name in required if not getattr(settings, name)]
    if missing:
        raise SettingsError(f"missing: {', '.join(missing)}")
    return settings


def _refuse_unknown(environment: Mapping[str, str]) -> None:
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields if name != "log_format"}
    unknown = sorted(key for key in environment if key.startswith(PREFIX) and key not in known)
    if unknown:
        raise SettingsError(f"unknown: {', '.join(unknown)}; known: {', '.join(sorted(known))}")
