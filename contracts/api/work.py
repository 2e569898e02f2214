"""Intents, executions, artifacts and workflows, as people and programs meet them (public side)."""

from contracts.api.account import ListPage
from contracts.declare import Blob, Channel, Endpoint
from contracts.errors import Code
from contracts.events import Event, EventPage
from contracts.execution import (
    Accepted,
    Artifact,
    ArtifactRef,
    Artifacts,
    CancelExecution,
    Execution,
    ExecutionRef,
    ExecutionSummary,
    Intent,
    IntentRef,
    ListExecutions,
    ListPendingIntents,
    ReadEvents,
    ReadPublicArtifact,
    ReadStatus,
    Realms,
    ResolveArtifacts,
    ResolvedArtifacts,
    Steps,
    SubmitIntent,
)
from contracts.frames import ClientFrame, GuideFrame, OpenGuideStream, OpenStream, ServerFrame
from contracts.identity import Scope
from contracts.model import Nothing, Page
from contracts.recovery import (
    AnswerExecution,
    AnswerIntent,
    DeadLetter,
    DeadLetterDetail,
    DiscardDeadLetter,
    ListDeadLetters,
    PauseExecution,
    RetryDeadLetter,
    RetryExecution,
)
from contracts.workflow import (
    CreateWorkflow,
    DeleteWorkflow,
    ExportWorkflow,
    ImportWorkflow,
    ListWorkflows,
    NodeTypes,
    ReadWorkflow,
    RunWorkflow,
    SaveWorkflow,
    ValidateDocument,
    Validation,
    Workflow,
    WorkflowRef,
    WorkflowSummary,
    WorkflowVersions,
)

__all__ = ["ArtifactApi", "DeadLetterApi", "ExecutionApi", "IntentApi", "ListPage", "WorkflowApi"]

WORKFLOW_LIMIT = 4 * 1_048_576


class IntentApi:
    """`/api/intent`: say what you want."""

    submit_intent = Endpoint(
        method="POST",
        path="/api/intent",
        request=SubmitIntent,
        result=Accepted,
        status=202,
        summary="Submit an intent. Stored before the answer: it runs exactly once, even if Runtime is away.",
        scope=Scope.EXECUTION_WRITE,
        tag="intent",
        errors=(
            Code.IDEMPOTENCY_MISMATCH,
            Code.NOT_FOUND,
            Code.WORKFLOW_INVALID,
            Code.HOST_REFUSED,
            Code.FORBIDDEN,
            Code.CONFLICT,
        ),
        idempotent=True,
    )
    get_catalogue = Endpoint(
        method="GET",
        path="/api/intent/catalogue",
        request=Nothing,
        result=Realms,
        summary="What can be asked for, by realm, each with the JSON Schema of its parameters.",
        scope=Scope.EXECUTION_READ,
        tag="intent",
    )
    list_pending_intents = Endpoint(
        method="GET",
        path="/api/intent/pending",
        request=ListPendingIntents,
        result=Page[Intent],
        summary="Intents that wait for a person, or for Runtime to come back.",
        scope=Scope.EXECUTION_READ,
        tag="intent",
    )
    get_intent = Endpoint(
        method="GET",
        path="/api/intent/{intent_id}",
        request=IntentRef,
        result=Intent,
        summary="Read an intent.",
        scope=Scope.EXECUTION_READ,
        tag="intent",
        errors=(Code.NOT_FOUND,),
    )
    cancel_intent = Endpoint(
        method="POST",
        path="/api/intent/{intent_id}/cancel",
        request=IntentRef,
        result=Intent,
        status=202,
        summary="Cancel an intent and its execution.",
        scope=Scope.EXECUTION_CANCEL,
        tag="intent",
        errors=(Code.NOT_FOUND, Code.CONFLICT),
    )
    answer_intent = Endpoint(
        method="POST",
        path="/api/intent/{intent_id}/answer",
        request=AnswerIntent,
        result=Accepted,
        status=202,
        summary="Answer the question that an intent's execution ended with; a new execution goes on from there.",
        scope=Scope.EXECUTION_WRITE,
        tag="intent",
        errors=(Code.NOT_FOUND, Code.CONFLICT, Code.IDEMPOTENCY_MISMATCH, Code.WORKFLOW_INVALID),
        idempotent=True,
    )


class ExecutionApi:
    """`/api/execution`: what became of it."""

    list_executions = Endpoint(
        method="GET",
        path="/api/execution",
        request=ListExecutions,
        result=Page[ExecutionSummary],
        summary="Executions, newest first.",
        scope=Scope.EXECUTION_READ,
        tag="execution",
    )
    get_status = Endpoint(
        method="GET",
        path="/api/execution/{execution_id}/status",
        request=ReadStatus,
        result=Execution,
        summary="Where an execution stands; artifacts and visuals on request.",
        scope=Scope.EXECUTION_READ,
        tag="execution",
        errors=(Code.NOT_FOUND,),
    )
    get_events = Endpoint(
        method="GET",
        path="/api/execution/{execution_id}/events",
        request=ReadEvents,
        result=EventPage,
        summary="Events after a sequence number, oldest first.",
        scope=Scope.EXECUTION_READ,
        tag="execution",
        errors=(Code.NOT_FOUND,),
    )
    get_steps = Endpoint(
        method="GET",
        path="/api/execution/{execution_id}/steps",
        request=ExecutionRef,
        result=Steps,
        summary="Every attempt at every node, in the order they began.",
        scope=Scope.EXECUTION_READ,
        tag="execution",
        errors=(Code.NOT_FOUND,),
    )
    get_artifacts = Endpoint(
        method="GET",
        path="/api/execution/{execution_id}/artifacts",
        request=ExecutionRef,
        result=Artifacts,
        summary="What an execution has stored.",
        scope=Scope.EXECUTION_READ,
        tag="execution",
        errors=(Code.NOT_FOUND,),
    )
    cancel_execution = Endpoint(
        method="POST",
        path="/api/execution/{execution_id}/cancel",
        request=CancelExecution,
        result=Execution,
        status=202,
        summary="Ask for the end; what was done is kept. The `cancelled` event says when it is over.",
        scope=Scope.EXECUTION_CANCEL,
        tag="execution",
        errors=(Code.NOT_FOUND, Code.CONFLICT),
        idempotent=True,
    )
    pause_execution = Endpoint(
        method="POST",
        path="/api/execution/{execution_id}/pause",
        request=PauseExecution,
        result=Execution,
        status=202,
        summary="Start nothing more until it is resumed; nodes at work come to their end first.",
        scope=Scope.EXECUTION_WRITE,
        tag="execution",
        errors=(Code.NOT_FOUND, Code.CONFLICT),
        idempotent=True,
    )
    resume_execution = Endpoint(
        method="POST",
        path="/api/execution/{execution_id}/resume",
        request=ExecutionRef,
        result=Execution,
        status=202,
        summary="Go on with a paused execution.",
        scope=Scope.EXECUTION_WRITE,
        tag="execution",
        errors=(Code.NOT_FOUND, Code.CONFLICT),
        idempotent=True,
    )
    retry_execution = Endpoint(
        method="POST",
        path="/api/execution/{execution_id}/retry",
        request=RetryExecution,
        result=Accepted,
        status=202,
        summary="Do a finished execution once more, from what failed, from a node, or whole, as a new execution.",
        scope=Scope.EXECUTION_WRITE,
        tag="execution",
        errors=(Code.NOT_FOUND, Code.CONFLICT, Code.IDEMPOTENCY_MISMATCH, Code.WORKFLOW_INVALID),
        idempotent=True,
    )
    answer_execution = Endpoint(
        method="POST",
        path="/api/execution/{execution_id}/answer",
        request=AnswerExecution,
        result=Accepted,
        status=202,
        summary="Say whether an interrupted node happened; a new execution goes on from there.",
        scope=Scope.EXECUTION_WRITE,
        tag="execution",
        errors=(Code.NOT_FOUND, Code.CONFLICT, Code.IDEMPOTENCY_MISMATCH, Code.WORKFLOW_INVALID),
        idempotent=True,
    )
    execution_stream: Channel[OpenStream, Event, ClientFrame] = Channel(
        path="/api/execution/{execution_id}/stream",
        open=OpenStream,
        sends=Event | ServerFrame,
        receives=ClientFrame,
        summary="Live events of an execution: hello, everything after `after` in order, pings, the terminal event.",
        scope=Scope.EXECUTION_READ,
        tag="execution",
        closes=(1000, 1001, 1009, 1011, 1012, 1013, 4400, 4401, 4403, 4404, 4408, 4429),
    )
    guide_stream: Channel[OpenGuideStream, GuideFrame, ClientFrame] = Channel(
        path="/api/ws/executions/{execution_id}",
        open=OpenGuideStream,
        sends=GuideFrame,
        receives=ClientFrame,
        summary="The same log in the API guide's message shapes: status, node_update, log, completion, error, pong.",
        scope=Scope.EXECUTION_READ,
        tag="execution",
        closes=(1000, 1001, 1009, 1011, 1012, 1013, 4400, 4401, 4403, 4404, 4408, 4429),
    )


class ArtifactApi:
    """`/api/artifact`: stored blobs."""

    resolve_artifacts = Endpoint(
        method="POST",
        path="/api/artifact/resolve",
        request=ResolveArtifacts,
        result=ResolvedArtifacts,
        summary="Metadata and short-lived links for artifact ids.",
        scope=Scope.EXECUTION_READ,
        tag="artifact",
        idempotent=True,
    )
    get_artifact: Endpoint[ReadPublicArtifact, Blob] = Endpoint(
        method="GET",
        path="/api/artifact/{artifact_id}",
        request=ReadPublicArtifact,
        result=Blob,  # type: ignore[type-abstract]  # the protocol is the type of the answer
        summary="An artifact's content; ranges are served, and nothing is ever rendered inline as a page.",
        scope=None,  # credentials or a signed link: checked by the handler
        tag="artifact",
        errors=(Code.UNAUTHENTICATED, Code.NOT_FOUND, Code.RANGE_NOT_SATISFIABLE),
        media_type="application/octet-stream",
        deadline_s=300,
    )
    get_artifact_metadata = Endpoint(
        method="GET",
        path="/api/artifact/{artifact_id}/metadata",
        request=ArtifactRef,
        result=Artifact,
        summary="What is known of an artifact.",
        scope=Scope.EXECUTION_READ,
        tag="artifact",
        errors=(Code.NOT_FOUND,),
    )


class WorkflowApi:
    """`/api/workflow` and `/api/node-types`: what can be drawn, and what has been."""

    get_node_types = Endpoint(
        method="GET",
        path="/api/node-types",
        request=Nothing,
        result=NodeTypes,
        summary="The node catalogue.",
        scope=Scope.WORKFLOW_READ,
        tag="workflow",
    )
    create_workflow = Endpoint(
        method="POST",
        path="/api/workflow",
        request=CreateWorkflow,
        result=Workflow,
        status=201,
        summary="Store a new workflow; drafts may be invalid, and the answer lists what is missing.",
        scope=Scope.WORKFLOW_WRITE,
        tag="workflow",
        errors=(Code.LIMIT_REACHED, Code.FORBIDDEN),
        body_limit=WORKFLOW_LIMIT,
    )
    list_workflows = Endpoint(
        method="GET",
        path="/api/workflow",
        request=ListWorkflows,
        result=Page[WorkflowSummary],
        summary="Workflows, last changed first.",
        scope=Scope.WORKFLOW_READ,
        tag="workflow",
    )
    validate_document = Endpoint(
        method="POST",
        path="/api/workflow/validate",
        request=ValidateDocument,
        result=Validation,
        summary="Check a document without storing it; all failures in one answer.",
        scope=Scope.WORKFLOW_READ,
        tag="workflow",
        body_limit=WORKFLOW_LIMIT,
    )
    get_workflow = Endpoint(
        method="GET",
        path="/api/workflow/{workflow_id}",
        request=ReadWorkflow,
        result=Workflow,
        summary="Read a workflow, its latest version or the one asked for.",
        scope=Scope.WORKFLOW_READ,
        tag="workflow",
        errors=(Code.NOT_FOUND,),
    )
    save_workflow = Endpoint(
        method="PUT",
        path="/api/workflow/{workflow_id}",
        request=SaveWorkflow,
        result=Workflow,
        summary="Store the next version, on top of the one that If-Match names; the workflow becomes a draft again.",
        scope=Scope.WORKFLOW_WRITE,
        tag="workflow",
        errors=(Code.NOT_FOUND, Code.VERSION_CONFLICT, Code.PRECONDITION_REQUIRED, Code.FORBIDDEN),
        body_limit=WORKFLOW_LIMIT,
    )
    delete_workflow = Endpoint(
        method="DELETE",
        path="/api/workflow/{workflow_id}",
        request=DeleteWorkflow,
        result=Nothing,
        status=204,
        summary="Delete a workflow; finished executions stay readable.",
        scope=Scope.WORKFLOW_WRITE,
        tag="workflow",
        errors=(Code.NOT_FOUND, Code.CONFLICT),
    )
    list_versions = Endpoint(
        method="GET",
        path="/api/workflow/{workflow_id}/versions",
        request=WorkflowRef,
        result=WorkflowVersions,
        summary="Versions, newest first.",
        scope=Scope.WORKFLOW_READ,
        tag="workflow",
        errors=(Code.NOT_FOUND,),
    )
    validate_workflow = Endpoint(
        method="POST",
        path="/api/workflow/{workflow_id}/validate",
        request=WorkflowRef,
        result=Validation,
        summary="Check the latest version as stored.",
        scope=Scope.WORKFLOW_READ,
        tag="workflow",
        errors=(Code.NOT_FOUND,),
    )
    export_workflow: Endpoint[ExportWorkflow, Blob] = Endpoint(
        method="GET",
        path="/api/workflow/{workflow_id}/export",
        request=ExportWorkflow,
        result=Blob,  # type: ignore[type-abstract]  # the protocol is the type of the answer
        summary="The latest document as a JSON or YAML file, which import takes.",
        scope=Scope.WORKFLOW_READ,
        tag="workflow",
        errors=(Code.NOT_FOUND,),
        media_type="application/octet-stream",
    )
    import_workflow = Endpoint(
        method="POST",
        path="/api/workflow/import",
        request=ImportWorkflow,
        result=Workflow,
        status=201,
        summary="Store a JSON or YAML document as a new workflow; drafts may be invalid, as with create.",
        scope=Scope.WORKFLOW_WRITE,
        tag="workflow",
        errors=(Code.MALFORMED, Code.LIMIT_REACHED, Code.FORBIDDEN),
        body_limit=2 * WORKFLOW_LIMIT,  # quoted as a JSON string, a text grows
    )
    run_workflow = Endpoint(
        method="POST",
        path="/api/workflow/{workflow_id}/run",
        request=RunWorkflow,
        result=Accepted,
        status=202,
        summary="Start an execution of a workflow.",
        scope=Scope.EXECUTION_WRITE,
        tag="workflow",
        errors=(Code.NOT_FOUND, Code.WORKFLOW_INVALID, Code.IDEMPOTENCY_MISMATCH, Code.FORBIDDEN),
        idempotent=True,
    )


class DeadLetterApi:
    """`/api/admin/dead-letters`: executions that are not tried again by themselves."""

    list_dead_letters = Endpoint(
        method="GET",
        path="/api/admin/dead-letters",
        request=ListDeadLetters,
        result=Page[DeadLetter],
        summary="Executions that took their workers down and are not tried again by themselves, newest first.",
        scope=Scope.DEAD_LETTERS,
        tag="admin",
    )
    get_dead_letter = Endpoint(
        method="GET",
        path="/api/admin/dead-letters/{execution_id}",
        request=ExecutionRef,
        result=DeadLetterDetail,
        summary="One of them, with the runs that were lost and the nodes that were at work.",
        scope=Scope.DEAD_LETTERS,
        tag="admin",
        errors=(Code.NOT_FOUND,),
    )
    retry_dead_letter = Endpoint(
        method="POST",
        path="/api/admin/dead-letters/{execution_id}/retry",
        request=RetryDeadLetter,
        result=Accepted,
        status=202,
        summary="Go on from what did not finish, as a new execution.",
        scope=Scope.DEAD_LETTERS,
        tag="admin",
        errors=(Code.NOT_FOUND, Code.CONFLICT, Code.IDEMPOTENCY_MISMATCH),
        idempotent=True,
    )
    discard_dead_letter = Endpoint(
        method="POST",
        path="/api/admin/dead-letters/{execution_id}/discard",
        request=DiscardDeadLetter,
        result=DeadLetter,
        summary="Take it off the list; the execution stays as it ended.",
        scope=Scope.DEAD_LETTERS,
        tag="admin",
        errors=(Code.NOT_FOUND, Code.CONFLICT),
    )
