"""The one table of routes: which path goes to which tier. Everything that Traefik reads is derived from it.

Two traps decide its form, both measured on Traefik 3.7.15:
- A rule without a priority gets its own length as one, so an agent route of "priority 20" loses to
  PathPrefix(`/api/runtime`), whose length is 25. Every route names its priority.
- PathPrefix has no segment boundary (`/api/runtime` also matches `/api/runtimeX`), and Path does not match the
  trailing slash. Every row but the last is a regular expression that ends a segment.
"""

from dataclasses import dataclass
from enum import IntEnum, StrEnum


class Tier(StrEnum):
    """Who answers."""

    EXPERIENCE = "experience"
    RUNTIME = "runtime"


class Priority(IntEnum):
    """Higher wins. Rows of one priority never overlap."""

    EXCEPTION = 300
    """A path below another row's path that goes elsewhere."""
    ROW = 200
    REST = 1
    """Everything that no row named."""


@dataclass(frozen=True, kw_only=True)
class Route:
    """One row: `path` and everything below it goes to `tier`."""

    name: str
    path: str
    tier: Tier
    priority: Priority = Priority.ROW
    why: str = ""

    @property
    def rule(self) -> str:
        """Traefik's rule for the row; `/` alone means every path."""
        if self.path == "/":
            return "PathPrefix(`/`)"
        return f"PathRegexp(`^{self.path}(/|$)`)"


def _to_experience(path: str, why: str = "") -> Route:
    return Route(name=path.removeprefix("/").replace("/", "-"), path=path, tier=Tier.EXPERIENCE, why=why)


ROUTES: tuple[Route, ...] = (
    Route(
        name="agent",
        path="/api/runtime/agent",
        tier=Tier.EXPERIENCE,
        priority=Priority.EXCEPTION,
        why="guide-agent chat WebSocket",
    ),
    Route(
        name="runtime",
        path="/api/runtime",
        tier=Tier.RUNTIME,
        why="reachable, but Runtime answers only to its signed internal token",
    ),
    Route(name="realms", path="/api/realms", tier=Tier.RUNTIME, why="as above"),
    _to_experience("/api/execution", "status (proxied to Runtime), stream and screen WebSockets"),
    _to_experience("/api/session"),
    _to_experience("/api/intent"),
    _to_experience("/api/auth"),
    _to_experience("/api/ws"),
    _to_experience("/api/admin"),
    _to_experience("/api/workflow"),
    _to_experience("/api/credential"),
    _to_experience("/api/browser-profile"),
    _to_experience("/api/artifact"),
    _to_experience("/api/hooks"),
    _to_experience("/api/v1"),
    _to_experience("/ws"),
    _to_experience("/health"),
    Route(name="page", path="/", tier=Tier.EXPERIENCE, priority=Priority.REST, why="the web page"),
)

STRIPPED_HEADERS: tuple[str, ...] = (
    # Who one is, is said by a login or a signed token and never by a header. The middleware takes exact names only
    # (no X-Tenant-*), so these are the known ones; Experience drops the three families whole.
    "X-Tenant",
    "X-Tenant-Id",
    "X-Tenant-Name",
    "X-Tenant-Role",
    "X-Tenant-Slug",
    "X-User",
    "X-User-Email",
    "X-User-Id",
    "X-User-Name",
    "X-User-Role",
    "X-User-Roles",
    "X-Internal",
    "X-Internal-Auth",
    "X-Internal-Key",
    "X-Internal-Request",
    "X-Internal-Tenant",
    "X-Internal-Token",
    "X-Internal-User",
    # Other spellings of the same claims, from other proxies.
    "Remote-User",
    "X-Auth-Request-Email",
    "X-Auth-Request-User",
    "X-Forwarded-Email",
    "X-Forwarded-Groups",
    "X-Forwarded-User",
    "X-Remote-User",
    # Traefik writes X-Forwarded-* and X-Real-Ip itself but lets these pass.
    "Forwarded",
    "X-Cluster-Client-Ip",
    "X-Http-Method-Override",
    "X-Original-Host",
    "X-Original-Uri",
    "X-Original-Url",
    "X-Rewrite-Url",
)
