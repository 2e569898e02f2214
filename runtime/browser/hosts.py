"""Which hosts browsers may reach, as a check with words and as a wall that Chromium itself stands behind.

The wall lies below everything a page can do: requests to any other host go to a proxy that nobody serves, and their
names are never resolved. Interception by Playwright would miss redirects, workers' WebSockets and beacons, so it plays
no part in this.
"""

import re
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from contracts.execution import FailureCode
from runtime.browser.failure import BrowserFailure

_ENTRY = re.compile(r"^(?P<host>[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?|\[[0-9a-f:.]+\])(?::(?P<port>[0-9]{1,5}))?$")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_MAX_PORT = 65_535
BLANK = "about:blank"


@dataclass(frozen=True)
class _Entry:
    host: str
    port: int | None
    """None allows every port."""

    def __str__(self) -> str:
        return self.host if self.port is None else f"{self.host}:{self.port}"


class AllowedHosts:
    """`host` (any port) or `host:port`, exact names; an empty list allows nothing."""

    def __init__(self, entries: tuple[str, ...] | list[str]) -> None:
        """Raises ValueError naming the entry that is neither a host nor a host with a port."""
        self._entries = [_parse_entry(entry) for entry in entries]

    def check(self, url: str) -> None:
        """Raise BrowserFailure (invalid_input, host_refused) unless a page may be opened at this address."""
        if url == BLANK:
            return
        parts = _split(url)
        if parts.scheme not in _DEFAULT_PORTS:
            raise BrowserFailure(
                FailureCode.HOST_REFUSED if parts.scheme else FailureCode.INVALID_INPUT,
                f"“{_shorten(url)}” is not an http or https address.",
                "Give the whole address, with https:// before the host." if not parts.scheme else "Use http or https.",
            )
        if not parts.hostname:
            raise BrowserFailure(
                FailureCode.INVALID_INPUT, f"“{_shorten(url)}” names no host.", "Give the whole address of a page."
            )
        if not self._allows(parts):
            raise explain_refusal(url)

    def allows(self, url: str) -> bool:
        """Whether the host of an address is one of those; the scheme doesn't matter (ws, https …)."""
        try:
            return self._allows(urlsplit(url))
        except ValueError:
            return False

    def make_arguments(self, dead_port: int) -> list[str]:
        """Chromium's arguments for the wall. `dead_port`: a port of 127.0.0.1 where nobody can ever listen."""
        bypass = ";".join(["<-loopback>", *map(str, self._entries)])
        rules = ", ".join([*(f"MAP {entry} {entry}" for entry in self._entries), "MAP * ~NOTFOUND"])
        return [
            f"--proxy-server=http://127.0.0.1:{dead_port}",
            f"--proxy-bypass-list={bypass}",
            f"--host-resolver-rules={rules}",
            "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
        ]

    def _allows(self, parts: SplitResult) -> bool:
        host = _to_ascii(parts.hostname or "")
        port = parts.port or _DEFAULT_PORTS.get(parts.scheme.replace("ws", "http"))
        return any(entry.host == host and entry.port in (None, port) for entry in self._entries)


def explain_refusal(url: str) -> BrowserFailure:
    """The failure of a page that was sent to a host it may not reach."""
    parts = _split(url)
    host = parts.netloc.rpartition("@")[2] or _shorten(url)
    return BrowserFailure(
        FailureCode.HOST_REFUSED,
        f"Browsers may not reach {host}.",
        f"If they should, add {host} to STAGEDOOR_RUNTIME_ALLOWED_HOSTS and restart Runtime.",
    )


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises ValueError for a port that is none
    except ValueError as error:
        raise BrowserFailure(
            FailureCode.INVALID_INPUT, f"“{_shorten(url)}” is not an address.", "Give the whole address of a page."
        ) from error
    return parts


def _parse_entry(entry: str) -> _Entry:
    match = _ENTRY.match(entry.strip().lower())
    port = int(match["port"]) if match and match["port"] else None
    if match is None or (port is not None and not 0 < port <= _MAX_PORT):
        raise ValueError(f"“{entry}” is no host to allow: write host or host:port, names beyond ASCII in punycode")
    return _Entry(match["host"], port)


def _to_ascii(host: str) -> str:
    if ":" in host:
        return f"[{host}]"
    try:
        return host.rstrip(".").encode("idna").decode()
    except UnicodeError:
        return host


def _shorten(url: str) -> str:
    limit = 200
    return url if len(url) <= limit else url[:limit] + "…"
