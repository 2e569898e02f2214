"""Nodes that open a browser, and how it presents itself."""

from typing import Annotated

from pydantic import Field, StringConstraints

from runtime.browser.options import VIEWPORT_HEIGHT, VIEWPORT_WIDTH, ContextOptions
from runtime.handles import NoEdge, Values
from runtime.node import Node, Stage
from runtime.nodes.browser.login import ProfileName
from runtime.nodes.browser.pages import Address, PageOutputs, open_address

Locale = Annotated[str, StringConstraints(max_length=35, pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8})*$")]
Timezone = Annotated[str, StringConstraints(max_length=64, pattern=r"^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*$")]
UserAgent = Annotated[str, StringConstraints(max_length=512, pattern=r"^[\x20-\x7e]+$")]


class LaunchInputs(Values):
    """Where to begin, and as whom."""

    website_url: Annotated[Address, NoEdge()] = Field(
        alias="Website URL", description="Address of the first page, with http:// or https://."
    )
    profile: Annotated[ProfileName | None, NoEdge()] = Field(
        default=None, alias="Profile", description="Name of a browser profile to begin with: a login that was saved."
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
            trace=inputs.trace,
            video=inputs.video,
        )
        ref = await stage.open_page(options, inputs.profile)
        await open_address(stage.page(ref), inputs.website_url, stage)
        return PageOutputs(web_page=ref)


NODES = (LaunchStandardBrowser,)
