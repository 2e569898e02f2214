"""`/api/browser-profile`: logins that workflows have saved. No endpoint answers what is in one."""

from contracts.browser_profile import (
    BrowserProfile,
    BrowserProfileRef,
    BrowserProfileUse,
    ListBrowserProfiles,
    ListProfileUses,
)
from contracts.declare import Endpoint
from contracts.errors import Code
from contracts.identity import Scope
from contracts.model import Nothing, Page


class BrowserProfileApi:
    """Whoever may draw workflows may see their names; owners and admins delete them."""

    list_browser_profiles = Endpoint(
        method="GET",
        path="/api/browser-profile",
        request=ListBrowserProfiles,
        result=Page[BrowserProfile],
        summary="Browser profiles, newest first, without what is in them.",
        scope=Scope.BROWSER_PROFILE_READ,
        tag="browser profile",
    )
    get_browser_profile = Endpoint(
        method="GET",
        path="/api/browser-profile/{browser_profile_id}",
        request=BrowserProfileRef,
        result=BrowserProfile,
        summary="What may be known of a browser profile.",
        scope=Scope.BROWSER_PROFILE_READ,
        tag="browser profile",
        errors=(Code.NOT_FOUND,),
    )
    delete_browser_profile = Endpoint(
        method="DELETE",
        path="/api/browser-profile/{browser_profile_id}",
        request=BrowserProfileRef,
        result=Nothing,
        status=204,
        summary="Delete it with all that is in it; workflows that load it fail from then on.",
        scope=Scope.BROWSER_PROFILE_WRITE,
        tag="browser profile",
        errors=(Code.NOT_FOUND,),
    )
    list_profile_uses = Endpoint(
        method="GET",
        path="/api/browser-profile/{browser_profile_id}/uses",
        request=ListProfileUses,
        result=Page[BrowserProfileUse],
        summary="Which executions saved and loaded it, newest first.",
        scope=Scope.AUDIT,
        tag="browser profile",
        errors=(Code.NOT_FOUND,),
    )
