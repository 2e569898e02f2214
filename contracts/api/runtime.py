"""RuntimeApi: what Runtime answers to Experience. The tenant is in the internal token, never in a parameter."""

from contracts.browser_profile import (
    BrowserProfile,
    BrowserProfileRef,
    BrowserProfileUse,
    ListBrowserProfiles,
    ListProfileUses,
)
from contracts.credential import (
    ChangeCredential,
    CreateCredential,
    Credential,
    CredentialRef,
    CredentialUse,
    ListCredentials,
    ListUses,
    ReplaceValues,
)
from contracts.declare import Blob, Channel, Endpoint
from contracts.egress import EgressRefusal, EgressSettings, ListRefusals, SetEgress
from contracts.errors import Code
from contracts.events import EventPage
from contracts.execution import (
    AdoptTenant,
    Artifact,
    ArtifactRef,
    Artifacts,
    CancelExecution,
    Execution,
    ExecutionRef,
    ExecutionSummary,
    ListExecutions,
    Moved,
    ReadArtifact,
    ReadEvents,
    ReadExecution,
    Realms,
    ResolveArtifacts,
    RuntimeExport,
    Steps,
    SubmitExecution,
    TenantState,
)
from contracts.frames import DownstreamFrame, OpenEvents, UpstreamFrame
from contracts.model import Nothing, Page
from contracts.recovery import DeadLetter, DeadLetterDetail, DiscardDeadLetter, ListDeadLetters, PauseExecution
from contracts.shortcoming import ListShortcomings, Shortcomings
from contracts.tool import Acts, ListToolEvents, ReadActs, ToolEvent
from contracts.workflow import (
    CreateWorkflow,
    DeleteWorkflow,
    ListWorkflows,
    NodeTypes,
    ReadWorkflow,
    SaveWorkflow,
    ValidateDocument,
    Validation,
    Workflow,
    WorkflowRef,
    WorkflowSummary,
    WorkflowVersions,
)

WORKFLOW_LIMIT = 4 * 1_048_576


class RuntimeApi:
    """The stage door: only the internal token opens it."""

    get_realms = Endpoint(
        method="GET",
        path="/api/realms",
        request=Nothing,
        result=Realms,
        summary="What Runtime can be asked to do.",
        scope=None,
        tag="realms",
        idempotent=True,
    )
    submit_execution = Endpoint(
        method="POST",
        path="/api/runtime/executions",
        request=SubmitExecution,
        result=ExecutionSummary,
        status=202,
        summary="Record an execution and queue it, once per execution_id.",
        scope=None,
        tag="executions",
        errors=(Code.INVALID, Code.NOT_FOUND, Code.WORKFLOW_INVALID, Code.HOST_REFUSED, Code.FORBIDDEN),
        idempotent=True,
    )
    list_executions = Endpoint(
        method="GET",
        path="/api/runtime/executions",
        request=ListExecutions,
        result=Page[ExecutionSummary],
        summary="Executions of the tenant, newest first.",
        scope=None,
        tag="executions",
        idempotent=True,
    )
    get_execution = Endpoint(
        method="GET",
        path="/api/runtime/executions/{execution_id}",
        request=ReadExecution,
        result=Execution,
        summary="Where an execution stands.",
        scope=None,
        tag="executions",
        errors=(Code.NOT_FOUND,),
        idempotent=True,
    )
    read_events = Endpoint(
        method="GET",
        path="/api/runtime/executions/{execution_id}/events",
        request=ReadEvents,
        result=EventPage,
        summary="Events after a sequence number.",
        scope=None,
        tag="executions",
        errors=(Code.NOT_FOUND,),
        idempotent=True,
    )
    read_steps = Endpoint(
        method="GET",
        path="/api/runtime/executions/{execution_id}/steps",
        request=ExecutionRef,
        result=Steps,
        summary="Recorded attempts.",
        scope=None,
        tag="executions",
        errors=(Code.NOT_FOUND,),
        idempotent=True,
    )
    list_artifacts = Endpoint(
        method="GET",
        path="/api/runtime/executions/{execution_id}/artifacts",
        request=ExecutionRef,
        result=Artifacts,
        summary="What an execution has stored.",
        scope=None,
        tag="executions",
        errors=(Code.NOT_FOUND,),
        idempotent=True,
    )
    cancel_execution = Endpoint(
        method="POST",
        path="/api/runtime/executions/{execution_id}/cancel",
        request=CancelExecution,
        result=Execution,
        status=202,
        summary="Ask for the end of an execution.",
        scope=None,
        tag="executions",
        errors=(Code.NOT_FOUND, Code.CONFLICT),
        idempotent=True,
    )
    pause_execution = Endpoint(
        method="POST",
        path="/api/runtime/executions/{execution_id}/pause",
        request=PauseExecution,
        result=Execution,
        status=202,
        summary="Start nothing more of an execution until it is resumed.",
        scope=None,
        tag="executions",
        errors=(Code.NOT_FOUND, Code.CONFLICT),
        idempotent=True,
    )
    resume_execution = Endpoint(
        method="POST",
        path="/api/runtime/executions/{execution_id}/resume",
        request=ExecutionRef,
        result=Execution,
        status=202,
        summary="Go on with a paused execution.",
        scope=None,
        tag="executions",
        errors=(Code.NOT_FOUND, Code.CONFLICT),
        idempotent=True,
    )
    list_dead_letters = Endpoint(
        method="GET",
        path="/api/runtime/dead-letters",
        request=ListDeadLetters,
        result=Page[DeadLetter],
        summary="Executions that are not tried again by themselves, newest first.",
        scope=None,
        tag="executions",
        idempotent=True,
    )
    get_dead_letter = Endpoint(
        method="GET",
        path="/api/runtime/dead-letters/{execution_id}",
        request=ExecutionRef,
        result=DeadLetterDetail,
        summary="One of them, with its runs and suspects.",
        scope=None,
        tag="executions",
        errors=(Code.NOT_FOUND,),
        idempotent=True,
    )
    discard_dead_letter = Endpoint(
        method="POST",
        path="/api/runtime/dead-letters/{execution_id}/discard",
        request=DiscardDeadLetter,
        result=DeadLetter,
        summary="Take it off the list; the execution stays as it ended.",
        scope=None,
        tag="executions",
        errors=(Code.NOT_FOUND, Code.CONFLICT),
        idempotent=True,
    )
    get_artifact = Endpoint(
        method="GET",
        path="/api/runtime/artifacts/{artifact_id}",
        request=ArtifactRef,
        result=Artifact,
        summary="What is known of an artifact.",
        scope=None,
        tag="artifacts",
        errors=(Code.NOT_FOUND,),
        idempotent=True,
    )
    resolve_artifacts = Endpoint(
        method="POST",
        path="/api/runtime/artifacts/resolve",
        request=ResolveArtifacts,
        result=Artifacts,
        summary="Metadata of those of the ids that exist.",
        scope=None,
        tag="artifacts",
        idempotent=True,
    )
    read_artifact: Endpoint[ReadArtifact, Blob] = Endpoint(
        method="GET",
        path="/api/runtime/artifacts/{artifact_id}/content",
        request=ReadArtifact,
        result=Blob,  # type: ignore[type-abstract]  # the protocol is the type of the answer
        summary="An artifact's bytes.",
        scope=None,
        tag="artifacts",
        errors=(Code.NOT_FOUND, Code.RANGE_NOT_SATISFIABLE),
        media_type="application/octet-stream",
        deadline_s=300,
    )
    get_node_types = Endpoint(
        method="GET",
        path="/api/runtime/node-types",
        request=Nothing,
        result=NodeTypes,
        summary="The node catalogue.",
        scope=None,
        tag="workflows",
        idempotent=True,
    )
    create_workflow = Endpoint(
        method="POST",
        path="/api/runtime/workflows",
        request=CreateWorkflow,
        result=Workflow,
        status=201,
        summary="Store a new workflow.",
        scope=None,
        tag="workflows",
        errors=(Code.LIMIT_REACHED,),
        body_limit=WORKFLOW_LIMIT,
    )
    list_workflows = Endpoint(
        method="GET",
        path="/api/runtime/workflows",
        request=ListWorkflows,
        result=Page[WorkflowSummary],
        summary="Workflows, last changed first.",
        scope=None,
        tag="workflows",
        idempotent=True,
    )
    validate_document = Endpoint(
        method="POST",
        path="/api/runtime/workflows/validate",
        request=ValidateDocument,
        result=Validation,
        summary="Check a document.",
        scope=None,
        tag="workflows",
        body_limit=WORKFLOW_LIMIT,
        idempotent=True,
    )
    get_workflow = Endpoint(
        method="GET",
        path="/api/runtime/workflows/{workflow_id}",
        request=ReadWorkflow,
        result=Workflow,
        summary="Read a workflow.",
        scope=None,
        tag="workflows",
        errors=(Code.NOT_FOUND,),
        idempotent=True,
    )
    save_workflow = Endpoint(
        method="PUT",
        path="/api/runtime/workflows/{workflow_id}",
        request=SaveWorkflow,
        result=Workflow,
        summary="Store the next version.",
        scope=None,
        tag="workflows",
        errors=(Code.NOT_FOUND, Code.VERSION_CONFLICT),
        body_limit=WORKFLOW_LIMIT,
    )
    delete_workflow = Endpoint(
        method="DELETE",
        path="/api/runtime/workflows/{workflow_id}",
        request=DeleteWorkflow,
        result=Nothing,
        status=204,
        summary="Delete a workflow.",
        scope=None,
        tag="workflows",
        errors=(Code.NOT_FOUND, Code.CONFLICT),
    )
    list_versions = Endpoint(
        method="GET",
        path="/api/runtime/workflows/{workflow_id}/versions",
        request=WorkflowRef,
        result=WorkflowVersions,
        summary="Versions, newest first.",
        scope=None,
        tag="workflows",
        errors=(Code.NOT_FOUND,),
        idempotent=True,
    )
    validate_workflow = Endpoint(
        method="POST",
        path="/api/runtime/workflows/{workflow_id}/validate",
        request=WorkflowRef,
        result=Validation,
        summary="Check the latest version as stored.",
        scope=None,
        tag="workflows",
        errors=(Code.NOT_FOUND,),
        idempotent=True,
    )
    create_credential = Endpoint(
        method="POST",
        path="/api/runtime/credentials",
        request=CreateCredential,
        result=Credential,
        status=201,
        summary="Keep a credential. Its values are sealed and never shown again.",
        scope=None,
        tag="credentials",
        errors=(Code.CONFLICT, Code.LIMIT_REACHED, Code.NOT_CONFIGURED),
    )
    list_credentials = Endpoint(
        method="GET",
        path="/api/runtime/credentials",
        request=ListCredentials,
        result=Page[Credential],
        summary="Credentials, newest first, without their values.",
        scope=None,
        tag="credentials",
        idempotent=True,
    )
    get_credential = Endpoint(
        method="GET",
        path="/api/runtime/credentials/{credential_id}",
        request=CredentialRef,
        result=Credential,
        summary="What may be known of a credential.",
        scope=None,
        tag="credentials",
        errors=(Code.NOT_FOUND,),
        idempotent=True,
    )
    change_credential = Endpoint(
        method="PATCH",
        path="/api/runtime/credentials/{credential_id}",
        request=ChangeCredential,
        result=Credential,
        summary="Rename it, or say where it may go.",
        scope=None,
        tag="credentials",
        errors=(Code.NOT_FOUND, Code.CONFLICT),
        idempotent=True,
    )
    replace_values = Endpoint(
        method="PUT",
        path="/api/runtime/credentials/{credential_id}/values",
        request=ReplaceValues,
        result=Credential,
        summary="Replace its values; those before are gone.",
        scope=None,
        tag="credentials",
        errors=(Code.NOT_FOUND, Code.INVALID, Code.NOT_CONFIGURED),
    )
    delete_credential = Endpoint(
        method="DELETE",
        path="/api/runtime/credentials/{credential_id}",
        request=CredentialRef,
        result=Nothing,
        status=204,
        summary="Delete it with its values; workflows that name it fail from then on.",
        scope=None,
        tag="credentials",
        errors=(Code.NOT_FOUND,),
    )
    list_uses = Endpoint(
        method="GET",
        path="/api/runtime/credentials/{credential_id}/uses",
        request=ListUses,
        result=Page[CredentialUse],
        summary="Where it went, newest first.",
        scope=None,
        tag="credentials",
        errors=(Code.NOT_FOUND,),
        idempotent=True,
    )
    list_browser_profiles = Endpoint(
        method="GET",
        path="/api/runtime/browser-profiles",
        request=ListBrowserProfiles,
        result=Page[BrowserProfile],
        summary="Browser profiles, newest first, without what is in them.",
        scope=None,
        tag="browser profiles",
        idempotent=True,
    )
    get_browser_profile = Endpoint(
        method="GET",
        path="/api/runtime/browser-profiles/{browser_profile_id}",
        request=BrowserProfileRef,
        result=BrowserProfile,
        summary="What may be known of a browser profile.",
        scope=None,
        tag="browser profiles",
        errors=(Code.NOT_FOUND,),
        idempotent=True,
    )
    delete_browser_profile = Endpoint(
        method="DELETE",
        path="/api/runtime/browser-profiles/{browser_profile_id}",
        request=BrowserProfileRef,
        result=Nothing,
        status=204,
        summary="Delete it with all that is in it; workflows that load it fail from then on.",
        scope=None,
        tag="browser profiles",
        errors=(Code.NOT_FOUND,),
    )
    list_profile_uses = Endpoint(
        method="GET",
        path="/api/runtime/browser-profiles/{browser_profile_id}/uses",
        request=ListProfileUses,
        result=Page[BrowserProfileUse],
        summary="Which executions saved and loaded it, newest first.",
        scope=None,
        tag="browser profiles",
        errors=(Code.NOT_FOUND,),
        idempotent=True,
    )
    get_egress = Endpoint(
        method="GET",
        path="/api/runtime/egress",
        request=Nothing,
        result=EgressSettings,
        summary="What the tenant allows and denies its executions to reach.",
        scope=None,
        tag="egress",
        idempotent=True,
    )
    set_egress = Endpoint(
        method="PUT",
        path="/api/runtime/egress",
        request=SetEgress,
        result=EgressSettings,
        summary="Replace both lists.",
        scope=None,
        tag="egress",
        idempotent=True,
    )
    list_refusals = Endpoint(
        method="GET",
        path="/api/runtime/egress/refusals",
        request=ListRefusals,
        result=Page[EgressRefusal],
        summary="What executions were refused to reach, newest first.",
        scope=None,
        tag="egress",
        idempotent=True,
    )
    list_tool_events = Endpoint(
        method="GET",
        path="/api/runtime/tool-events",
        request=ListToolEvents,
        result=Page[ToolEvent],
        summary="What executions used tools for, newest first.",
        scope=None,
        tag="tools",
        idempotent=True,
    )
    list_acts = Endpoint(
        method="GET",
        path="/api/runtime/acts",
        request=ReadActs,
        result=Acts,
        summary="What executions did, or were refused, that belongs into the audit trail; newest first.",
        scope=None,
        tag="tools",
        idempotent=True,
    )
    list_shortcomings = Endpoint(
        method="GET",
        path="/api/runtime/shortcomings",
        request=ListShortcomings,
        result=Shortcomings,
        summary="What protects less on the workers than it could.",
        scope=None,
        tag="tools",
        idempotent=True,
    )
    set_tenant = Endpoint(
        method="PUT",
        path="/api/runtime/tenants/{tenant_id}",
        request=TenantState,
        result=Nothing,
        status=204,
        summary="Make a tenant known, with its limits.",
        scope=None,
        tag="tenants",
        idempotent=True,
    )
    adopt_tenant = Endpoint(
        method="POST",
        path="/api/runtime/tenants/adopt",
        request=AdoptTenant,
        result=Moved,
        summary="Move what a guest's tenant owns to the tenant in the token.",
        scope=None,
        tag="tenants",
        errors=(Code.CONFLICT,),
        idempotent=True,
    )
    export_tenant = Endpoint(
        method="GET",
        path="/api/runtime/tenant-export",
        request=Nothing,
        result=RuntimeExport,
        summary="Everything the tenant owns in Runtime.",
        scope=None,
        tag="tenants",
        idempotent=True,
        deadline_s=300,
    )
    delete_tenant = Endpoint(
        method="DELETE",
        path="/api/runtime/tenant",
        request=Nothing,
        result=Nothing,
        status=204,
        summary="Delete all that the tenant owns in Runtime; refused while something runs.",
        scope=None,
        tag="tenants",
        errors=(Code.CONFLICT,),
        idempotent=True,
        deadline_s=300,
    )
    events: Channel[OpenEvents, DownstreamFrame, UpstreamFrame] = Channel(
        path="/api/runtime/events",
        open=OpenEvents,
        sends=DownstreamFrame,
        receives=UpstreamFrame,
        summary="One multiplexed subscription channel between an Experience and a Runtime process.",
        scope=None,
        tag="executions",
    )
