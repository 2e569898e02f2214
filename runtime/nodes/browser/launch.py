"""Nodes that open a browser, and how it presents itself."""

from typing import Annotated

from pydantic import Field, StringConstraints

from contracts.credential import CredentialKind
from contracts.execution import FailureCode
from runtime.browser.options import VIEWPORT_HEIGHT, VIEWPORT_WIDTH, ContextOptions
from runtime.egress.upstream import Upstream, read_upstream
from runtime.handles import CredentialName, NoEdge, Values
from runtime.node import Node, NodeFailure, Stage
from runtime.nodes.browser.login import ProfileName
from runtime.nodes.browser.pages import Address, PageOutputs, open_address

Locale = Annotated[str, StringConstraints(max_length=35, pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8})*$")]
Timezone = Annotated[str, StringConstraints(max_length=64, pattern=r"^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*$")]
Proxy = Annotated[str, StringConstraints(strip_whitespace=True, max_length=300, pattern=r"^(https?|socks5)://")]
UserAgent = Annotated[str, StringConstraints(max_length=512, pattern=r"^[\x20-\x7e]+$")]


class LaunchInputs(Values):
    """Where to begin, and as whom."""

    website_url: Annotated[Address, NoEdge()] = Field(
        alias="Website URL", description="Address of the first page, with http:// or https://."
    )
    profile: Annotated[ProfileName | None, NoEdge()] = Field(
        default=None, alias="Profile", description="Name of a browser profile to begin with: a login that was saved."
    )
    proxy: Annotated[Proxy | None, NoEdge()] = Field(
        default=None,
        alias="Proxy",
        description=(
            "Address of an HTTP or SOCKS5 proxy that this browser's traffic goes through, such as "
            "http://proxy.example:8080 or socks5://proxy.example:1080. It is asked by CONNECT, for addresses that this "
            "installation has checked."
        ),
    )
    proxy_credential: Annotated[CredentialName | None, NoEdge()] = Field(
        default=None,
        alias="Proxy Credential",
        description="Name of a credential of kind login that the proxy asks for; bound to the proxy's host.",
    )
    locale: Annotated[Locale | None, NoEdge()] = Field(
        default=None, alias="Locale", description="Language that sites are asked for, such as en-GB or de-AT."
    )
    timezone: Annotated[Timezone | None, NoEdge()] = Field(
        default=None, alias="Timezone", description="Time zone that pages see, such as Europe/Vienna."
    )
    viewport_width: Annotated[int, NoEdge(), Field(ge=200, le=3_840)] = Field(
        default=VIEWPORT_WIDTH, alias="Viewport Width", description="Width of what is in view, in CSS pixels."
    )
    viewport_height: Annotated[int, NoEdge(), Field(ge=200, le=2_160)] = Field(
        default=VIEWPORT_HEIGHT, alias="Viewport Height", description="Height of what is in view, in CSS pixels."
    )
    user_agent: Annotated[UserAgent | None, NoEdge()] = Field(
        default=None, alias="User Agent", description="What the browser calls itself, in place of its own name."
    )
    trace: Annotated[bool, NoEdge()] = Field(
        default=False,
        alias="Trace",
        description=(
            "Keep Playwright's trace of this browser as a file. Slows it down; left out where credentials or profiles "
            "are used, since a trace can't be masked."
        ),
    )
    video: Annotated[bool, NoEdge()] = Field(
        default=False,
        alias="Video",
        description=(
            "Keep pictures of the page as it changes, with their times, as a file. Left out where credentials are "
            "used, since pictures can't be masked."
        ),
    )


class LaunchStandardBrowser(Node[LaunchInputs, PageOutputs]):
    """Opens a browser context of its own, so that two of them share no cookies and no storage."""

    type_id, title, group, icon = "launch_standard_browser", "Launch browser", "Browser", "globe"
    description = "Opens a fresh browser on a page. Each one has cookies and storage of its own."
    credits = 5
    can_be_start_node = True

    async def run(self, inputs: LaunchInputs, stage: Stage) -> PageOutputs:
        """Open a page and load the address."""
        options = ContextOptions(
            width=inputs.viewport_width,
            height=inputs.viewport_height,
            locale=inputs.locale,
            timezone=inputs.timezone,
            user_agent=inputs.user_agent,
            proxy=await _find_proxy(inputs, stage),
            trace=inputs.trace,
            video=inputs.video,
        )
        ref = await stage.open_page(options, inputs.profile)
        await open_address(stage.page(ref), inputs.website_url, stage)
        return PageOutputs(web_page=ref)


async def _find_proxy(inputs: LaunchInputs, stage: Stage) -> Upstream | None:
    if inputs.proxy is None:
        if inputs.proxy_credential is not None:
            raise _refuse("There is a credential for a proxy, and no proxy.", "Fill in “Proxy”, or leave both away.")
        return None
    opened = await stage.open_credential("Proxy Credential", inputs.proxy)
    if opened is not None and opened.kind is not CredentialKind.LOGIN:
        raise _refuse("The proxy's credential is no login.", "Name one of kind login: a user's name and a password.")
    values = opened.values if opened is not None else {}
    try:
        return read_upstream(inputs.proxy, **values)
    except ValueError as error:
        hint = (
            "Write http://, https:// or socks5://, the host and the port; a name and password belong into a credential."
        )
        raise _refuse(f"“Proxy” can't be used. {error}", hint) from error


def _refuse(message: str, hint: str) -> NodeFailure:
    return NodeFailure(FailureCode.INVALID_INPUT, message, hint)


NODES = (LaunchStandardBrowser,)
