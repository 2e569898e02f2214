"""PublicApi: everything that Experience answers to people and programs."""

from contracts.api.account import AdminApi, AuthApi, SessionApi
from contracts.api.browser_profile import BrowserProfileApi
from contracts.api.credential import CredentialApi
from contracts.api.egress import EgressApi
from contracts.api.tool import ToolApi
from contracts.api.work import ArtifactApi, DeadLetterApi, ExecutionApi, IntentApi, WorkflowApi


class PublicApi(
    AuthApi,
    SessionApi,
    IntentApi,
    ExecutionApi,
    ArtifactApi,
    WorkflowApi,
    CredentialApi,
    BrowserProfileApi,
    AdminApi,
    DeadLetterApi,
    EgressApi,
    ToolApi,
):
    """The front door. A client of it inherits from this class and from `contracts.wiring.client.Client`."""
