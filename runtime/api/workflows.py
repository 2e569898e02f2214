"""Workflows: create, list, read, save, delete, versions, validate; and the node catalogue."""

from contracts.api.runtime import RuntimeApi
from contracts.declare import NOTHING
from contracts.model import Nothing, Page
from contracts.wiring.internal import InternalCaller
from contracts.wiring.server import Call, Server
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
    WorkflowDocument,
    WorkflowRef,
    WorkflowSummary,
    WorkflowVersions,
)
from runtime.catalogue import Catalogue
from runtime.egress.lists import Policies
from runtime.store.executions import Executions
from runtime.store.sandboxes import Sandboxes
from runtime.store.workflows import Stored, Workflows
from runtime.vault import CredentialCheck
from runtime.workflows import describe, describe_version, make_draft, summarize, validate

Caller = Call[InternalCaller]


class WorkflowHandlers:
    """The tenant is the token's; whatever is another's is not found."""

    def __init__(
        self,
        workflows: Workflows,
        executions: Executions,
        catalogue: Catalogue,
        credentials: CredentialCheck,
        sandboxes: Sandboxes,
        policies: Policies,
    ) -> None:
        self._policies = policies
        self._credentials = credentials
        self._workflows = workflows
        self._sandboxes = sandboxes
        self._executions = executions
        self._catalogue = catalogue

    def serve(self, server: Server[InternalCaller]) -> None:
        """Bind the handlers."""
        server.on(RuntimeApi.get_node_types, self.get_node_types)
        server.on(RuntimeApi.create_workflow, self.create)
        server.on(RuntimeApi.list_workflows, self.list_workflows)
        server.on(RuntimeApi.validate_document, self.validate_document)
        server.on(RuntimeApi.get_workflow, self.get)
        server.on(RuntimeApi.save_workflow, self.save)
        server.on(RuntimeApi.delete_workflow, self.delete)
        server.on(RuntimeApi.list_versions, self.list_versions)
        server.on(RuntimeApi.validate_workflow, self.validate_workflow)

    async def get_node_types(self, call: Caller, _: Nothing) -> NodeTypes:
        """The catalogue, with what no worker can run now."""
        return self._catalogue.list_types(await self._sandboxes.find_reason(call.caller.tenant_id))

    async def create(self, call: Caller, document: CreateWorkflow) -> Workflow:
        """Version 1 of a new one."""
        draft = make_draft(document, self._catalogue.types)
        return await self._describe(
            call, await self._workflows.create(call.caller.tenant_id, call.caller.user_id, draft)
        )

    async def list_workflows(self, call: Caller, wanted: ListWorkflows) -> Page[WorkflowSummary]:
        """Last changed first."""
        found, cursor = await self._workflows.list_page(call.caller.tenant_id, wanted)
        return Page(items=[summarize(stored) for stored in found], next_cursor=cursor)

    async def validate_document(self, call: Caller, document: ValidateDocument) -> Validation:
        """Without storing it."""
        return await self._validate(call, document)

    async def get(self, call: Caller, wanted: ReadWorkflow) -> Workflow:
        """The latest version or the one asked for."""
        stored = await self._workflows.get(call.caller.tenant_id, wanted.workflow_id, wanted.version)
        return await self._describe(call, stored)

    async def save(self, call: Caller, document: SaveWorkflow) -> Workflow:
        """The next version."""
        caller = call.caller
        draft = make_draft(document, self._catalogue.types)
        stored = await self._workflows.save(
            caller.tenant_id, document.workflow_id, caller.user_id, draft, document.if_match
        )
        return await self._describe(call, stored)

    async def delete(self, call: Caller, wanted: DeleteWorkflow) -> Nothing:
        """With `force` also what still runs is cancelled."""
        tenant_id = call.caller.tenant_id
        for execution_id in await self._workflows.delete(tenant_id, wanted.workflow_id, force=wanted.force):
            await self._executions.cancel_if_running(tenant_id, execution_id, "its workflow was deleted")
        return NOTHING

    async def list_versions(self, call: Caller, wanted: WorkflowRef) -> WorkflowVersions:
        """Newest first."""
        rows = await self._workflows.list_versions(call.caller.tenant_id, wanted.workflow_id)
        return WorkflowVersions(items=[describe_version(row) for row in rows])

    async def validate_workflow(self, call: Caller, wanted: WorkflowRef) -> Validation:
        """Against the catalogue as it is now, which may know more than when the version was stored."""
        stored = await self._workflows.get(call.caller.tenant_id, wanted.workflow_id)
        return await self._validate(call, WorkflowDocument.model_validate(stored.version.document))

    async def _validate(self, call: Caller, document: WorkflowDocument) -> Validation:
        tenant_id = call.caller.tenant_id
        faults = await self._credentials.find_faults(tenant_id, document)
        types = self._catalogue.mark(await self._sandboxes.find_reason(tenant_id))
        return validate(document, types, faults, await self._policies.find(tenant_id))

    async def _describe(self, call: Caller, stored: Stored) -> Workflow:
        document = WorkflowDocument.model_validate(stored.version.document)
        return describe(stored, await self._credentials.find_faults(call.caller.tenant_id, document))
