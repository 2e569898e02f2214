"""`/api/workflow` and `/api/node-types`: Runtime's, forwarded as they are; running one is an intent."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from contracts.api.work import WorkflowApi
from contracts.declare import NOTHING, Blob
from contracts.errors import ApiError, Code
from contracts.identity import AuditAct
from contracts.model import Nothing, Page, WorkflowId
from contracts.wiring.server import Call, Download, Server
from contracts.workflow import (
    CreateWorkflow,
    DeleteWorkflow,
    ExportWorkflow,
    ImportWorkflow,
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
from experience.audit import Audit
from experience.auth.principal import Principal, actor_of, caller_of
from experience.gateway.document_text import read_document, write_document
from experience.gateway.filename import name_file
from experience.runtime_calls import NOBODY, RuntimeCalls, TenantClient
from experience.store.db import TenantDatabase

NODE_TYPES_KEPT_S = 5.0
"""How long the node catalogue, the same for everybody, is answered without asking Runtime."""

Caller = Principal | None


@dataclass(slots=True, kw_only=True)
class Workflows:
    """Handlers of `/api/workflow`, but for `run`."""

    runtime: RuntimeCalls
    tenants: TenantDatabase
    audit: Audit
    _node_types: NodeTypes | None = field(default=None, init=False)
    _node_types_until: float = field(default=0.0, init=False)

    def serve(self, server: Server[Caller]) -> None:
        """Bind the handlers."""
        server.on(WorkflowApi.get_node_types, self.get_node_types)
        server.on(WorkflowApi.create_workflow, self.create_workflow)
        server.on(WorkflowApi.list_workflows, self.list_workflows)
        server.on(WorkflowApi.validate_document, self.validate_document)
        server.on(WorkflowApi.get_workflow, self.get_workflow)
        server.on(WorkflowApi.save_workflow, self.save_workflow)
        server.on(WorkflowApi.delete_workflow, self.delete_workflow)
        server.on(WorkflowApi.list_versions, self.list_versions)
        server.on(WorkflowApi.validate_workflow, self.validate_workflow)
        server.on(WorkflowApi.export_workflow, self.export_workflow)
        server.on(WorkflowApi.import_workflow, self.import_workflow)

    async def get_node_types(self, call: Call[Caller], _: Nothing) -> NodeTypes:
        """`GET /api/node-types`."""
        if self._node_types is None or time.monotonic() > self._node_types_until:
            client = self.runtime.speak_for(NOBODY, None, call.request_id)
            self._node_types = await self.runtime.shared.share("node types", lambda: client.get_node_types(NOTHING))
            self._node_types_until = time.monotonic() + NODE_TYPES_KEPT_S
        return self._node_types

    async def create_workflow(self, call: Call[Caller], request: CreateWorkflow) -> Workflow:
        """`POST /api/workflow`."""
        stored = await self._client(call).create_workflow(request)
        await self._note(call, AuditAct.WORKFLOW_SAVED, stored.workflow_id, version=stored.version)
        return _tagged(call, stored)

    async def list_workflows(self, call: Call[Caller], request: ListWorkflows) -> Page[WorkflowSummary]:
        """`GET /api/workflow`."""
        return await self._client(call).list_workflows(request)

    async def validate_document(self, call: Call[Caller], request: ValidateDocument) -> Validation:
        """`POST /api/workflow/validate`."""
        return await self._client(call).validate_document(request)

    async def get_workflow(self, call: Call[Caller], request: ReadWorkflow) -> Workflow:
        """`GET /api/workflow/{id}`."""
        return _tagged(call, await self._client(call).get_workflow(request))

    async def save_workflow(self, call: Call[Caller], request: SaveWorkflow) -> Workflow:
        """`PUT /api/workflow/{id}`. Without If-Match nothing is saved: somebody else's change would be lost (W3)."""
        if request.if_match is None:
            latest = await self._client(call).get_workflow(ReadWorkflow(workflow_id=request.workflow_id))
            raise ApiError(
                Code.PRECONDITION_REQUIRED,
                f"Which version this was made on is not said; the latest is version {latest.version}.",
                f'If it was that one, send the header If-Match: "{latest.etag}"; else put your change on top of it.',
            )
        stored = await self._client(call).save_workflow(request)
        await self._note(call, AuditAct.WORKFLOW_SAVED, stored.workflow_id, version=stored.version)
        return _tagged(call, stored)

    async def delete_workflow(self, call: Call[Caller], request: DeleteWorkflow) -> Nothing:
        """`DELETE /api/workflow/{id}`."""
        await self._client(call).delete_workflow(request)
        await self._note(call, AuditAct.WORKFLOW_DELETED, request.workflow_id)
        return NOTHING

    async def list_versions(self, call: Call[Caller], request: WorkflowRef) -> WorkflowVersions:
        """`GET /api/workflow/{id}/versions`."""
        return await self._client(call).list_versions(request)

    async def validate_workflow(self, call: Call[Caller], request: WorkflowRef) -> Validation:
        """`POST /api/workflow/{id}/validate`."""
        return await self._client(call).validate_workflow(request)

    async def export_workflow(self, call: Call[Caller], request: ExportWorkflow) -> Blob:
        """`GET /api/workflow/{id}/export`."""
        stored = await self._client(call).get_workflow(ReadWorkflow(workflow_id=request.workflow_id))
        # in a thread: writing or reading a large document as YAML takes seconds
        content = (await asyncio.to_thread(write_document, stored.document, request.format)).encode()
        headers = {
            "content-disposition": f"attachment; {name_file(f'{stored.name}.{request.format}')}",
            "x-content-type-options": "nosniff",
            "cache-control": "no-store",
        }
        return Download(f"application/{request.format}", _send(content), len(content), headers=headers)

    async def import_workflow(self, call: Call[Caller], request: ImportWorkflow) -> Workflow:
        """`POST /api/workflow/import`."""
        return await self.create_workflow(call, await asyncio.to_thread(read_document, request.text, request.format))

    async def _note(self, call: Call[Caller], act: AuditAct, workflow_id: WorkflowId, **detail: int) -> None:
        caller = caller_of(call)
        async with self.tenants.transaction(caller.tenant_id) as session:
            await self.audit.record(session, act, f"workflow:{workflow_id}", actor_of(call, caller), **detail)

    def _client(self, call: Call[Caller]) -> TenantClient:
        caller = caller_of(call)
        return self.runtime.speak_for(caller.tenant_id, caller.user_id, call.request_id)


async def _send(content: bytes) -> AsyncIterator[bytes]:
    yield content


def _tagged(call: Call[Caller], workflow: Workflow) -> Workflow:
    call.set_header("etag", f'"{workflow.etag}"')  # as If-Match of the next save
    return workflow
