"""Whether a request comes from this installation's own page. Pure.

Writes: the algorithm of Go 1.25's http.CrossOriginProtection. Browsers that send Sec-Fetch-Site tell the truth with it;
older ones, and plain http on a LAN, send Origin; what sends neither is no browser and needs no protection from itself.
SameSite alone is not enough: a page on another port or a sibling subdomain is same-site, and its requests carry the
cookie.
"""

from collections.abc import Mapping
from urllib.parse import urlsplit

from experience.settings import LOCAL_HOSTS

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_OWN_SITES = frozenset({"same-origin", "none"})


class Origins:
    """The origins that are this installation."""

    def __init__(self, public_url: str) -> None:
        parts = urlsplit(public_url)
        self._accepted = {public_url}
        if parts.hostname in LOCAL_HOSTS:
            # the same server by its other names; a page there is ours too
            port = f":{parts.port}" if parts.port else ""
            self._accepted |= {f"{parts.scheme}://{host}{port}" for host in ("localhost", "127.0.0.1", "[::1]")}

    def are_own(self, origin: str) -> bool:
        """Whether an Origin header names this installation: exactly, with scheme and port."""
        return origin in self._accepted

    def allow_write(self, method: str, headers: Mapping[str, str]) -> bool:
        """Whether a request that a browser may have been talked into is one that our page sent."""
        if method in _SAFE_METHODS:
            return True
        origin = headers.get("origin")
        site = headers.get("sec-fetch-site")
        if origin is not None and self.are_own(origin):
            return True
        if site is not None:
            return site in _OWN_SITES
        return origin is None

    def allow_socket(self, headers: Mapping[str, str], *, with_cookie: bool) -> bool:
        """Whether a handshake may go on: browsers always send Origin, and with a cookie it must be there."""
        origin = headers.get("origin")
        return not with_cookie if origin is None else self.are_own(origin)
