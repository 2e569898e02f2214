"""How a browser introduces itself to a site, for what is fetched on its behalf without it."""

from urllib.parse import SplitResult, urlsplit

from playwright.async_api import BrowserContext, Error

from runtime.browser.options import ContextOptions

_WEB = ("http", "https")


async def introduce(context: BrowserContext, options: ContextOptions, page_url: str, url: str) -> dict[str, str]:
    """Headers for a request for `url` as from the page at `page_url`: cookies, name, language, referrer.

    Cookies are those of an address that a person goes to: SameSite keeps none of them back. Raises playwright's Error.
    """
    told = {
        "user-agent": options.user_agent or await _read_name(context),
        "accept-language": options.locale or "",
        "referer": _choose_referrer(page_url, url),
        "cookie": await _read_cookies(context, url),
    }
    return {name: value for name, value in told.items() if value}


async def _read_name(context: BrowserContext) -> str:
    if context.browser is None:
        raise Error("the context has no browser")
    session = await context.browser.new_browser_cdp_session()  # the page's own word may be its script's
    try:
        return str((await session.send("Browser.getVersion"))["userAgent"])
    finally:
        await session.detach()


async def _read_cookies(context: BrowserContext, url: str) -> str:
    found = sorted(await context.cookies(url), key=lambda cookie: -len(cookie.get("path", "")))  # RFC 6265, 5.4
    pairs = [f"{cookie.get('name', '')}={cookie.get('value', '')}" for cookie in found]
    return "; ".join(pair for pair in pairs if pair.isascii() and pair.isprintable())


def _choose_referrer(page_url: str, url: str) -> str:
    """By the policy that browsers have where a page names none: strict-origin-when-cross-origin."""
    here, there = urlsplit(page_url), urlsplit(url)
    if here.scheme not in _WEB or (here.scheme == "https" and there.scheme != "https"):
        return ""
    bare = here._replace(netloc=_name_host(here), fragment="")
    if (here.scheme, _name_host(here)) != (there.scheme, _name_host(there)):
        bare = bare._replace(path="/", query="")
    return bare.geturl()


def _name_host(parts: SplitResult) -> str:
    host = parts.netloc.rpartition("@")[2].lower()
    return host.removesuffix(":443" if parts.scheme == "https" else ":80")
