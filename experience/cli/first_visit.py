"""What `up` does once the stack is ready: sign its owner in, start the demo, and make the one link to open."""

import json
from dataclasses import dataclass
from pathlib import Path

from contracts.errors import ApiError, Code
from contracts.identity import CreateSignInLink, LogIn
from contracts.wiring.client import PublicClient, connect_public
from contracts.workflow import (
    CreateWorkflow,
    ListWorkflows,
    ReadWorkflow,
    RunWorkflow,
    SaveWorkflow,
    Workflow,
    WorkflowDocument,
)
from experience.cli.data_dir import Admin

DEMO_FILE = Path(__file__).parents[1] / "demo" / "workflow.json"
SHOP_PLACEHOLDER = "{{shop}}"
HOME = "/"
LAUNCH_NODE = "launch_standard_browser"
LAUNCH_INPUT = "Website URL"


@dataclass(frozen=True)
class Visit:
    """Where a person goes first."""

    url: str
    valid_s: int = 0
    """How long the one-time code in it works; 0 when it carries none."""
    shows_demo: bool = False
    problem: str = ""
    """Why it does not sign in or does not show the demo."""


async def prepare_visit(public_url: str, admin: Admin, shop_url: str | None) -> Visit:
    """Sign in over the public API, start the demo against `shop_url` where there is a shop, and make the link.

    Raises:
        ApiError: the stack answered something that is neither a sign-in nor its refusal.
    """
    headers: dict[str, str] = {}
    async with connect_public(public_url, lambda: headers) as client:
        try:
            grant = await client.log_in(LogIn(email=admin.email, password=admin.password))
        except ApiError as refusal:
            if refusal.code is not Code.UNAUTHENTICATED:
                raise
            problem = f"{admin.email} has another password by now; sign in with that one."
            return Visit(f"{public_url}/sign-in", problem=problem)
        headers["Authorization"] = f"Bearer {grant.access_token}"
        path, problem = await _start_demo(client, shop_url)
        link = await client.create_link(CreateSignInLink(next=path))
        return Visit(link.url, link.expires_in, shows_demo=path != HOME, problem=problem)


async def _start_demo(client: PublicClient, shop_url: str | None) -> tuple[str, str]:
    """The page to show, and why it is not the demo's."""
    if shop_url is None:
        return HOME, ""
    try:
        workflow = await ensure_demo(client, shop_url)
        accepted = await client.run_workflow(RunWorkflow(workflow_id=workflow.workflow_id))
    except ApiError as failure:
        reasons = " ".join([failure.detail, *(fault.detail for fault in failure.faults or ())])
        return HOME, f"The demo could not be started: {reasons}"
    return f"/executions/{accepted.execution_id}", ""


async def ensure_demo(client: PublicClient, shop_url: str) -> Workflow:
    """The demo workflow of this tenant: created when it is not there, moved along when the shop has moved.

    One that cannot run any more gets the shipped one as its next version; what it was stays in its history.
    """
    shipped = load_demo(shop_url)
    found = await client.list_workflows(ListWorkflows(text=shipped.name))
    known = next((item for item in found.items if item.name == shipped.name), None)
    if known is None:
        return await client.create_workflow(CreateWorkflow(**dict(shipped)))
    workflow = await client.get_workflow(ReadWorkflow(workflow_id=known.workflow_id))
    moved = move_shop(workflow.document, shop_url) if workflow.valid else shipped
    if moved == workflow.document:
        return workflow
    return await client.save_workflow(
        SaveWorkflow(**dict(moved), workflow_id=workflow.workflow_id, if_match=workflow.etag)
    )


def load_demo(shop_url: str) -> WorkflowDocument:
    """The demo as it ships, for the shop at `shop_url`."""
    return WorkflowDocument.model_validate_json(DEMO_FILE.read_text().replace(SHOP_PLACEHOLDER, shop_url))


def move_shop(document: WorkflowDocument, shop_url: str) -> WorkflowDocument:
    """The same workflow for the shop's address of today; what a person changed in it stays."""
    launched = next((node.data.inputs.get(LAUNCH_INPUT) for node in document.nodes if node.type == LAUNCH_NODE), None)
    if not isinstance(launched, str) or launched.count("/") < len("//"):
        return document
    before = "/".join(launched.split("/")[:3])
    return WorkflowDocument.model_validate(json.loads(document.model_dump_json().replace(before, shop_url)))
