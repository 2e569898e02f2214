"""PublicApi: everything that Experience answers to people and programs."""

from contracts.api.account import AdminApi, AuthApi, SessionApi
from contracts.api.credential import CredentialApi
from contracts.api.egress import EgressApi
from contracts.api.work import ArtifactApi, DeadLetterApi, ExecutionApi, IntentApi, WorkflowApi


class PublicApi(
    AuthApi,
    SessionApi,
    IntentApi,
    ExecutionApi,
    ArtifactApi,
    WorkflowApi,
    CredentialApi,
    AdminApi,
    DeadLetterApi,
    EgressApi,
):
    """The front door. A client of it inherits from this class and from `contracts.wiring.client.Client`."""
