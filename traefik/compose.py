"""What Traefik has more of in containers: replicas that come and go, a door between the tiers, TLS.

The local stack has one process per tier at an address that never changes. In containers a tier is any number of
replicas; docs/adr says how Traefik learns of them (`traefik/follow.py`) and why Experience calls Runtime through here.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Any, Final

from traefik.configuration import (
    ENTRY_POINT,
    READ_TIMEOUT,
    STRIP_MIDDLEWARE,
    Place,
    Profile,
    build_dynamic,
    build_entry_point,
    build_static,
)
from traefik.routes import Tier

DYNAMIC_DIR: Final = PurePosixPath("/etc/traefik/dynamic")
PLAIN: Final = "plain"
TLS: Final = "tls"
"""Folders below DYNAMIC_DIR: with TLS the routes hang on another entry point and name the certificate's host."""

COMPOSE_SERVERS: Final[Mapping[Tier, Sequence[str]]] = {
    Tier.EXPERIENCE: ("http://experience:8001",),
    Tier.RUNTIME: ("http://runtime:8002",),
}
"""The tiers by the names of their services."""

_GRACE = "5s"
_INTERNAL_ENTRY_POINT = "internal"
_INTERNAL_ADDRESS = ":8002"
_PING_ENTRY_POINT = "ping"
_PING_ADDRESS = "127.0.0.1:8082"
"""For `traefik healthcheck` inside the container alone."""
_TLS_ENTRY_POINT = "websecure"
_TLS_ADDRESS = ":8443"
_TLS_PORT_OUTSIDE = ":443"
_RESOLVER = "acme"
_CERTIFICATES = "/acme/acme.json"
_HSTS_MIDDLEWARE = "hsts"
_HSTS_S = 31_536_000

_RETRY_MIDDLEWARE = "retry"
_RETRY = {"attempts": 60, "initialInterval": "100ms", "timeout": "15s"}
"""Only where no connection came about: Traefik never repeats a request that was sent.

The attempts have to last longer than it takes to leave a dead replica out: up to three seconds by the health check,
more on a busy machine. One that is leaving refuses at once, one that is gone lets each attempt wait for
`_DIAL_TIMEOUT`, and of two servers p2c picks the one with fewer connections, which is the dead one each time. Sixty
attempts that are refused take about nine seconds.
"""
_INTERNAL_RETRY_MIDDLEWARE = "retry-internal"
_INTERNAL_RETRY = {"attempts": 30, "initialInterval": "100ms", "timeout": "5s"}
"""Between the tiers it ends in time for Experience, which waits for ten seconds, to ask again where that is safe."""
_HEALTH_CHECK = {"path": "/health", "interval": "1s", "unhealthyInterval": "1s", "timeout": "2s"}
"""`/health` and not `/ready`: an Experience without Runtime still takes intents."""
_DIAL_TIMEOUT = "500ms"
"""Below the local stack's: a container that is gone answers nothing, and then the next one is tried."""


class Edition(StrEnum):
    """The static files that compose chooses from."""

    DEFAULT = "default"
    HARDENED = "hardened"
    TLS = "tls"
    """Hardened, with a certificate by ACME, and http sent to https."""


def build_compose_static(edition: Edition) -> dict[str, object]:
    """The static file of an edition."""
    with_tls = edition is Edition.TLS
    profile = Profile.DEFAULT if edition is Edition.DEFAULT else Profile.HARDENED
    place = Place(address=":8080", dynamic_dir=DYNAMIC_DIR / (TLS if with_tls else PLAIN), grace=_GRACE)
    static = build_static(place, profile)
    limit = READ_TIMEOUT[profile]
    front = [f"{STRIP_MIDDLEWARE}@file", f"{_RETRY_MIDDLEWARE}@file"]
    points: dict[str, Any] = {
        ENTRY_POINT: build_entry_point(place.address, limit, _GRACE, front),
        # No header is stripped here: only the tiers' network leads to it, and Runtime believes signed tokens alone.
        _INTERNAL_ENTRY_POINT: build_entry_point(
            _INTERNAL_ADDRESS, "0s", _GRACE, [f"{_INTERNAL_RETRY_MIDDLEWARE}@file"]
        ),
        _PING_ENTRY_POINT: build_entry_point(_PING_ADDRESS, "60s", "0s", []),
    }
    if with_tls:
        points[_TLS_ENTRY_POINT] = build_entry_point(_TLS_ADDRESS, limit, _GRACE, [*front, f"{_HSTS_MIDDLEWARE}@file"])
        points[_TLS_ENTRY_POINT]["http"]["tls"] = {"certResolver": _RESOLVER}
        points[ENTRY_POINT] = build_entry_point(place.address, limit, _GRACE, [])
        redirection = {"to": _TLS_PORT_OUTSIDE, "scheme": "https", "permanent": True}
        points[ENTRY_POINT]["http"]["redirections"] = {"entryPoint": redirection}
        static["certificatesResolvers"] = {_RESOLVER: {"acme": {"storage": _CERTIFICATES, "tlsChallenge": {}}}}
    return static | {"entryPoints": points, "ping": {"entryPoint": _PING_ENTRY_POINT}}


def build_compose_dynamic(servers: Mapping[Tier, Sequence[str]], tls_host: str | None = None) -> dict[str, object]:
    """The dynamic file for these replicas; `tls_host`, for the TLS edition, is the name that the certificate is for."""
    dynamic: dict[str, Any] = build_dynamic(servers)
    http = dynamic["http"]
    for service in http["services"].values():
        service["loadBalancer"]["healthCheck"] = dict(_HEALTH_CHECK)
    http["serversTransports"]["tiers"]["forwardingTimeouts"]["dialTimeout"] = _DIAL_TIMEOUT
    http["middlewares"][_RETRY_MIDDLEWARE] = {"retry": dict(_RETRY)}
    http["middlewares"][_INTERNAL_RETRY_MIDDLEWARE] = {"retry": dict(_INTERNAL_RETRY)}
    if tls_host is not None:
        for router in http["routers"].values():
            router["entryPoints"] = [_TLS_ENTRY_POINT]
        http["middlewares"][_HSTS_MIDDLEWARE] = {"headers": {"stsSeconds": _HSTS_S}}
        generated = {"resolver": _RESOLVER, "domain": {"main": tls_host}}
        dynamic["tls"] = {"stores": {"default": {"defaultGeneratedCert": generated}}}
    http["routers"]["internal"] = {
        "entryPoints": [_INTERNAL_ENTRY_POINT],
        "rule": "PathPrefix(`/`)",
        "priority": 1,
        "service": Tier.RUNTIME.value,
    }
    return dynamic
