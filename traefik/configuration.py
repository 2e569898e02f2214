"""Traefik's two files as data: the static one (entry point, timeouts) and the dynamic one (routes, services)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePath

import yaml

from traefik.routes import ROUTES, STRIPPED_HEADERS, Tier

ENTRY_POINT = "web"
STRIP_MIDDLEWARE = "strip-identity"
DYNAMIC_FILE = "routes.yml"
STATIC_FILE = "traefik.yml"
HEADER = "# Written by `python -m traefik`; the routes are in traefik/routes.py.\n"

MAX_HEADER_BYTES = 65_536
DIAL_TIMEOUT = "5s"
"""A replica that is gone answers nothing, and Traefik's own 30 s would be felt by a person."""

RELOAD_AT_MOST_EVERY = "200ms"
"""Files are replaced whole, so Traefik's own 2 s, meant for noisy providers, would only delay a switch."""

ENCODED_CHARACTERS = ("BackSlash", "Hash", "NullCharacter", "Percent", "QuestionMark", "Semicolon", "Slash")
"""Allowed by default, which lets Traefik route one path and the application read another."""


class Profile(StrEnum):
    """How long an unfinished request may take.

    None of these timeouts touches an open WebSocket: Traefik clears them on the upgrade.
    """

    DEFAULT = "default"
    """No limit, as the product asks: a client that never ends its request keeps its connection for ever."""
    HARDENED = "hardened"
    """A request must have arrived within 60 s, uploads too, which ends slow-header attacks."""


READ_TIMEOUT = {Profile.DEFAULT: "0s", Profile.HARDENED: "60s"}


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where Traefik runs."""

    address: str
    """What to listen on, `host:port` or `:port`."""
    dynamic_dir: PurePath
    """A folder and not the file: a file mounted alone into a container cannot be replaced atomically."""
    grace: str
    """How long Traefik waits for open connections at its end; one idle WebSocket makes it wait the whole of it."""
    watched: bool = True
    """Whether routes that are replaced are taken over.

    It costs one of the inotify instances that a user's programs share, 128 by Linux's default; when an editor and some
    browsers have them all, Traefik starts without any route and answers 404 for ever.
    """


def build_static(place: Place, profile: Profile) -> dict[str, object]:
    """The static file: read once at start."""
    front = build_entry_point(place.address, READ_TIMEOUT[profile], place.grace, [f"{STRIP_MIDDLEWARE}@file"])
    return {
        "global": {"checkNewVersion": False, "sendAnonymousUsage": False},
        "log": {"level": "WARN", "noColor": True},
        "entryPoints": {ENTRY_POINT: front},
        "providers": {
            "providersThrottleDuration": RELOAD_AT_MOST_EVERY,
            "file": {"directory": str(place.dynamic_dir), "watch": place.watched},
        },
    }


def build_entry_point(address: str, read_timeout: str, grace: str, middlewares: Sequence[str]) -> dict[str, object]:
    """Where Traefik listens, and what it takes there from everybody."""
    return {
        "address": address,
        "http": {
            "middlewares": list(middlewares),
            "sanitizePath": True,
            "maxHeaderBytes": MAX_HEADER_BYTES,
            "aliasHeadersStrategy": "delete",
            "encodedCharacters": {f"allowEncoded{name}": False for name in ENCODED_CHARACTERS},
        },
        "transport": {
            "respondingTimeouts": {"readTimeout": read_timeout, "writeTimeout": "0s", "idleTimeout": "3600s"},
            "lifeCycle": {"requestAcceptGraceTimeout": "0s", "graceTimeOut": grace},
        },
    }


def build_dynamic(servers: Mapping[Tier, Sequence[str]]) -> dict[str, object]:
    """The dynamic file: read again whenever it is replaced. `servers` are the base URLs of each tier's replicas."""
    routers = {
        route.name: {
            "entryPoints": [ENTRY_POINT],
            "rule": route.rule,
            "priority": int(route.priority),
            "service": route.tier.value,
        }
        for route in ROUTES
    }
    services = {
        tier.value: {
            "loadBalancer": {
                # Counts open sockets; round robin would leave a restarted replica without its share of them.
                "strategy": "p2c",
                "passHostHeader": True,
                "serversTransport": "tiers",
                "servers": [{"url": url} for url in servers[tier]],
            }
        }
        for tier in Tier
    }
    # An empty value removes the header.
    strip = {"headers": {"customRequestHeaders": dict.fromkeys(STRIPPED_HEADERS, "")}}
    return {
        "http": {
            "routers": routers,
            "services": services,
            "middlewares": {STRIP_MIDDLEWARE: strip},
            "serversTransports": {"tiers": {"forwardingTimeouts": {"dialTimeout": DIAL_TIMEOUT}}},
        }
    }


def render(configuration: Mapping[str, object]) -> str:
    """As YAML, because Traefik's file provider refuses files named .json."""
    return HEADER + yaml.safe_dump(dict(configuration), sort_keys=False, width=120)
