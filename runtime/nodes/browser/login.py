"""Nodes that keep a login and bring it back: sign in once, and begin signed in from then on."""

from typing import Annotated

from pydantic import Field, StringConstraints

from runtime.handles import NoEdge
from runtime.node import Node, Stage
from runtime.nodes.browser.pages import PageInputs, PageOutputs

ProfileName = Annotated[str, StringConstraints(strip_whitespace=True, pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,63}$")]
_GROUP = "Browser"


class LoginInputs(PageInputs):
    """Which profile."""

    profile: Annotated[ProfileName, NoEdge()] = Field(
        alias="Profile", description="Name of the browser profile: letters, digits, _ and -, first a letter."
    )


class SaveLogin(Node[LoginInputs, PageOutputs]):
    """Keeps cookies, local storage and databases of the page's browser, sealed; again is the newer state of it."""

    type_id, title, group, icon = "save_login", "Save login", _GROUP, "save"
    description = "Keeps cookies and storage of this browser under a name, so that others can begin signed in."

    async def run(self, inputs: LoginInputs, stage: Stage) -> PageOutputs:
        """Keep them."""
        await stage.save_login(inputs.profile, stage.page(inputs.web_page))
        return PageOutputs(web_page=inputs.web_page)


class LoadLogin(Node[LoginInputs, PageOutputs]):
    """Brings a kept state back, in place of what is there; the page is loaded anew, as who was signed in."""

    type_id, title, group, icon = "load_login", "Load login", _GROUP, "log-in"
    description = "Puts a saved login in place of this browser's cookies and storage, and loads the page again."

    async def run(self, inputs: LoginInputs, stage: Stage) -> PageOutputs:
        """Bring it back."""
        await stage.load_login(inputs.profile, inputs.web_page)
        return PageOutputs(web_page=inputs.web_page)


NODES = (SaveLogin, LoadLogin)
