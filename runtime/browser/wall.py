"""The wall that Chromium stands behind: nothing leaves it but through the proxy, and each context says whose it is.

The proxy lies below everything that a page can do; interception by Playwright would miss redirects, workers' WebSockets
and beacons, turn the cache off and cost a round trip for each request. So Playwright is not told the credentials (it
would intercept, to answer for them): a context is asked for them once, by the proxy's greeting, and Chromium keeps them
for the context's life.
"""

import asyncio
from typing import Any, Final

from playwright.async_api import BrowserContext, CDPSession, Error, Page, ProxySettings

from contracts.execution import FailureCode
from runtime.browser.failure import BrowserFailure
from runtime.browser.hosts import check_address, explain_refusal, find_target
from runtime.egress.permit import Permit
from runtime.egress.proxy import GREETING_HOST, EgressProxy
from runtime.egress.upstream import Upstream

LOOPBACK_TOO: Final = "<-loopback>"
"""Chromium sends loopback and link-local addresses past a proxy unless it is told not to (net/docs/proxy.md)."""
_UDP_SWITCHES: Final = ("webrtc-ip-handling-policy", "force-webrtc-ip-handling-policy")
"""A whole Chromium knows the first and a headless shell the second; neither minds the other's."""
_NO_UDP: Final = "disable_non_proxied_udp"
_GREETING: Final = f"http://{GREETING_HOST}/"


def make_arguments(proxy: EgressProxy) -> list[str]:
    """Chromium's arguments for the wall: they hold for a context that nobody has set up, too."""
    return [
        f"--proxy-server={proxy.url}",
        f"--proxy-bypass-list={LOOPBACK_TOO}",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # names are the proxy's to resolve
        *(f"--{switch}={_NO_UDP}" for switch in _UDP_SWITCHES),
    ]


class WayOut:
    """How one browser context gets out. It opens nothing until it is bound to a run."""

    def __init__(self, proxy: EgressProxy) -> None:
        self._proxy = proxy
        self._credentials = proxy.issue()
        self._permit: Permit | None = None

    @property
    def settings(self) -> ProxySettings:
        """For the making of the context."""
        return {"server": self._proxy.url, "bypass": LOOPBACK_TOO}

    async def greet(self, context: BrowserContext, page: Page) -> None:
        """Have Chromium learn the credentials of a new context. Raises playwright's Error."""
        session = await context.new_cdp_session(page)
        events: asyncio.Queue[tuple[str, dict[str, Any]]] = asyncio.Queue()
        for name in ("Fetch.requestPaused", "Fetch.authRequired"):
            session.on(name, lambda event, name=name: events.put_nowait((name, event)))
        await session.send("Fetch.enable", {"handleAuthRequests": True, "patterns": [{"urlPattern": f"{_GREETING}*"}]})
        try:
            async with asyncio.TaskGroup() as tasks:
                answering = tasks.create_task(self._answer(session, events))
                await session.send("Page.navigate", {"url": _GREETING})  # answered by 204: the page stays blank
                answering.cancel()
        except* Error as group:
            raise group.exceptions[0] from None
        await session.send("Fetch.disable")
        await session.detach()

    async def _answer(self, session: CDPSession, events: "asyncio.Queue[tuple[str, dict[str, Any]]]") -> None:
        while True:
            name, event = await events.get()
            request = {"requestId": event["requestId"]}
            if name == "Fetch.requestPaused":
                await session.send("Fetch.continueRequest", request)
                continue
            told = {
                "response": "ProvideCredentials",
                "username": self._credentials.username,
                "password": self._credentials.password,
            }
            await session.send("Fetch.continueWithAuth", {**request, "authChallengeResponse": told})

    def bind(self, permit: Permit, upstream: Upstream | None = None) -> None:
        """From now on, what the context sends is this run's, and goes on through `upstream` if it names one."""
        self._permit = permit
        self._proxy.bind(self._credentials, permit, upstream)

    def close(self) -> None:
        """From now on it is nobody's."""
        self._proxy.revoke(self._credentials)

    def check(self, url: str) -> None:
        """Raise BrowserFailure (invalid_input, host_refused) unless a page may be opened there."""
        if self._permit is None:
            return
        target = find_target(url)
        if target is not None and (refusal := self._permit.policy.judge_name(target)) is not None:
            self._permit.refuse(refusal)  # on record like one that the proxy makes
        check_address(url, self._permit.policy)

    def find_refusal(self, url: str) -> BrowserFailure | None:
        """Why the proxy refused to go there, if it did."""
        target = find_target(url)
        if self._permit is None or target is None:
            return None
        refusal = self._permit.find_refusal(str(target.host), target.port)
        return explain_refusal(refusal, url) if refusal is not None else None

    def find_trouble(self, url: str) -> BrowserFailure | None:
        """Why the proxy reached nobody there, if it did not."""
        target = find_target(url)
        if self._permit is None or target is None:
            return None
        reason = self._permit.find_trouble(str(target.host), target.port)
        if reason is None:
            return None
        return BrowserFailure(
            FailureCode.NAVIGATION_FAILED,
            f"{target} could not be reached: {reason}.",
            "Check the address, and whether the site can be reached from this machine.",
            retryable=True,
            page_url=url,
        )


def explain_forgotten(url: str) -> BrowserFailure:
    """Chromium has lost what the context is to say at the proxy: its network process was started anew."""
    return BrowserFailure(
        FailureCode.BROWSER_CRASHED,
        "The browser's network process crashed.",
        "The page is opened again; a site that crashes it each time can't be visited.",
        retryable=True,
        page_url=url,
    )
