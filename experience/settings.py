"""Everything that can be set from outside, read from the environment here and nowhere else in this tier."""

import os
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from contracts.identity import Email

PREFIX = "STAGEDOOR_EXPERIENCE_"
LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})


def _plain_origin(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("an http or https address such as https://stagedoor.example.com")
    if parts.path.strip("/") or parts.query or parts.fragment or parts.username:
        raise ValueError("only scheme, host and port: Stagedoor lives at the root of its origin")
    default = {"http": 80, "https": 443}[parts.scheme]
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    port = "" if parts.port in (None, default) else f":{parts.port}"
    return f"{parts.scheme}://{host}{port}"


def _networks(value: str) -> str:
    for part in filter(None, (piece.strip() for piece in value.split(","))):
        if part != "*":
            ip_network(part, strict=False)
    return value


class Settings(BaseSettings):
    """Each field is `STAGEDOOR_EXPERIENCE_<NAME>`, unless an alias says otherwise."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, frozen=True, use_attribute_docstrings=True, populate_by_name=True
    )

    public_url: Annotated[str, AfterValidator(_plain_origin), Field(validation_alias="STAGEDOOR_PUBLIC_URL")]
    """The one origin people see; decides cookies, accepted origins and links."""
    log_format: Annotated[Literal["json", "console"], Field(validation_alias="STAGEDOOR_LOG_FORMAT")] = "json"
    admin_email: Annotated[Email | None, Field(validation_alias="STAGEDOOR_ADMIN_EMAIL")] = None
    """With admin_password: becomes the first operator when there is none yet."""
    admin_password: Annotated[
        SecretStr | None, Field(validation_alias="STAGEDOOR_ADMIN_PASSWORD", min_length=10, max_length=200)
    ] = None

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 8001
    database_url: SecretStr
    """Role experience_app: `postgresql://experience_app@/stagedoor?host=/socket/dir`."""
    system_database_url: SecretStr
    """Role experience_system."""
    migrate_database_url: SecretStr | None = None
    """Role experience_owner; needed by `migrate` only."""
    runtime_url: str = "http://127.0.0.1:8002"
    internal_key_file: Path
    """Ed25519 private key (PEM) that signs the tokens for Runtime."""
    token_key_file: Path
    """Ed25519 private keys (PEM), newest first: the first signs access tokens and links, all of them verify."""
    trusted_proxies: Annotated[str, AfterValidator(_networks)] = "127.0.0.1"
    """Comma list of addresses or networks whose X-Forwarded-For and X-Forwarded-Proto are believed."""
    registration: Literal["open", "invite"] = "open"
    guests: bool = False
    """Whether anonymous sessions are welcome."""
    insecure: bool = False
    """Allow plain http on an address that is not this machine: the login cookie can be read on the way."""
    link_ttl_s: Annotated[int, Field(ge=10, le=86_400)] = 600
    """Life of a sign-in link."""
    web_dir: Path = Path(__file__).parent / "web" / "dist"
    """The built page."""
    ping_interval_s: Annotated[float, Field(gt=0, le=3_600)] = 30
    guide_ping_interval_s: Annotated[float, Field(gt=0, le=3_600)] = 20
    """Of the API guide's stream; with the timeout, of the WebSocket protocol's own ping."""
    guide_ping_timeout_s: Annotated[float, Field(gt=0, le=3_600)] = 60
    metrics_host: str = "127.0.0.1"
    """Where `/metrics` is served: an address that the open internet does not reach."""
    metrics_port: Annotated[int, Field(ge=0, le=65_535)] = 0
    """0: nowhere."""
    drain_s: Annotated[float, Field(ge=0, le=600)] = 5
    """Longest time a stopping process waits for what is under way."""

    @model_validator(mode="after")
    def _refuse_unsafe(self) -> Self:
        if urlsplit(self.public_url).scheme == "http" and not self.is_local and not self.insecure:
            raise ValueError(
                f"{self.public_url} is plain http beyond this machine: browsers refuse the login cookie there. "
                f"Serve https, or set {PREFIX}INSECURE=true and accept that logins can be read on the way."
            )
        if (self.admin_email is None) != (self.admin_password is None):
            raise ValueError("STAGEDOOR_ADMIN_EMAIL and STAGEDOOR_ADMIN_PASSWORD go together")
        return self

    @property
    def is_local(self) -> bool:
        """Whether the public address is this machine's own loopback."""
        return urlsplit(self.public_url).hostname in LOCAL_HOSTS

    @property
    def is_exposed(self) -> bool:
        """Whether logins travel as plain text over a network; the page shows it in red."""
        return urlsplit(self.public_url).scheme == "http" and not self.is_local


def load_settings() -> Settings:
    """Read the environment; an unknown key under this tier's prefix is refused, since it is most likely a typo."""
    known = {f"{PREFIX}{name.upper()}" for name, info in Settings.model_fields.items() if not info.validation_alias}
    unknown = sorted(name for name in os.environ if name.upper().startswith(PREFIX) and name.upper() not in known)
    if unknown:
        raise ValueError(f"unknown settings {', '.join(unknown)}; known are {', '.join(sorted(known))}")
    return Settings()
