"""The login cookie: opaque, out of scripts' reach, sent to this host only."""

from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from contracts.wiring.server import Call
from experience.settings import Settings

LOGIN_LONGEST = timedelta(days=90)
"""A login ends then, however much it is used."""


class LoginCookie:
    """Name and attributes of the cookie in this installation.

    `__Host-` binds it to exactly this host over a trustworthy connection (https, or localhost). Browsers refuse that on
    plain http elsewhere, so an installation that insists on such an address gets a weaker cookie.
    """

    def __init__(self, settings: Settings) -> None:
        plain = settings.insecure and urlsplit(settings.public_url).scheme == "http"
        self.name = "stagedoor" if plain else "__Host-stagedoor"
        self._secure = not plain

    def set(self, call: Call[Any], secret: str) -> None:
        """Give the cookie to the browser. The server decides when a login ends, so the cookie may live longer."""
        call.set_cookie(self.name, secret, max_age=int(LOGIN_LONGEST.total_seconds()), secure=self._secure)

    def delete(self, call: Call[Any]) -> None:
        """Make the browser forget it."""
        call.delete_cookie(self.name, secure=self._secure)
