"""From an intent to an execution: which workflow it runs, and whether it can ever run."""

from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import urlsplit

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import ValidationError

from contracts.errors import ApiError, Code, Fault, explain_schema_rule
from contracts.execution import Failure, FailureCode, Realms, SubmitExecution
from contracts.model import TenantId, WorkflowId
from contracts.wiring.tracing import current_parent
from contracts.workflow import JsonObject, NodeType, RunWorkflow, WorkflowDocument
from runtime.browser.failure import BrowserFailure
from runtime.browser.hosts import check_address
from runtime.egress.lists import Policies
from runtime.egress.policy import find_entry_faults, read_lists
from runtime.engine.plan import make_plan
from runtime.engine.validate import check_document
from runtime.retries import Retries, read_parameters
from runtime.store.executions import NewExecution
from runtime.store.workflows import Workflows
from runtime.vault import CredentialCheck

_FAILURES: Final = {
    Code.INVALID: FailureCode.INVALID_INPUT,
    Code.NOT_FOUND: FailureCode.NOT_FOUND,
    Code.CONFLICT: FailureCode.INVALID_INPUT,
    Code.WORKFLOW_INVALID: FailureCode.WORKFLOW_INVALID,
    Code.HOST_REFUSED: FailureCode.HOST_REFUSED,
}
"""What a refusal becomes where it comes too late to be answered."""


class Submissions:
    """Turns what Experience hands over into an execution to record."""

    def __init__(
        self,
        workflows: Workflows,
        realms: Realms,
        catalogue: Mapping[str, NodeType],
        policies: Policies,
        retries: Retries,
        credentials: CredentialCheck,
    ) -> None:
        self._credentials = credentials
        self._retries = retries
        self._workflows = workflows
        self._policies = policies
        self._catalogue = catalogue
        self._schemas = {
            (realm.realm, intent.intent): Draft202012Validator(intent.parameters, format_checker=FormatChecker())
            for realm in realms.realms
            for intent in realm.intents
        }

    async def prepare(self, tenant_id: TenantId, asked: SubmitExecution) -> NewExecution:
        """The execution that an intent asks for.

        What can never run is refused; where the caller was told 202 long ago (`deferred`), it becomes an execution that
        has failed already.

        Raises:
            ApiError: INVALID, NOT_FOUND, CONFLICT, HOST_REFUSED or WORKFLOW_INVALID, unless `deferred`.
        """
        try:
            return await self._prepare(tenant_id, asked)
        except ApiError as error:
            if not asked.deferred or error.code not in _FAILURES:
                raise
            return self.refuse(asked, error)

    def refuse(self, asked: SubmitExecution, error: ApiError) -> NewExecution:
        """An execution that has failed already, for what its caller was told would run."""
        failure = Failure(code=_FAILURES[error.code], message=error.detail, hint=error.hint)
        return _name(asked, f"{asked.realm}: {asked.intent}", failure=failure)

    async def _prepare(self, tenant_id: TenantId, asked: SubmitExecution) -> NewExecution:
        self._check(asked)
        match (asked.realm, asked.intent):
            case ("workflow", "run"):
                return await self._run_workflow(tenant_id, asked)
            case ("browser", "visit"):
                return await self._visit(tenant_id, asked)
            case ("execution", "retry"):
                return await self._retries.prepare(tenant_id, asked)
            case _:
                raise AssertionError("a realm that is declared is served")

    def _check(self, asked: SubmitExecution) -> None:
        schema = self._schemas.get((asked.realm, asked.intent))
        if schema is None:
            fault = Fault(
                where="body.intent", rule="unknown_intent", detail=f"There is no {asked.realm}/{asked.intent}."
            )
            raise ApiError(
                Code.INVALID, fault.detail, "GET /api/intent/catalogue lists what can be asked for.", faults=[fault]
            )
        faults = [_explain(error) for error in schema.iter_errors(asked.parameters)]
        if faults:
            raise ApiError(Code.INVALID, f"{faults[0].where}: {faults[0].detail}", faults=faults)

    async def _run_workflow(self, tenant_id: TenantId, asked: SubmitExecution) -> NewExecution:
        wanted = read_parameters(RunWorkflow, asked.parameters)
        _check_domains(wanted.allowed_domains or [])
        stored = await self._workflows.get(tenant_id, wanted.workflow_id, wanted.version)
        document = WorkflowDocument.model_validate(stored.version.document)
        if stored.version.plan is None:
            faults = [Fault.model_validate(fault) for fault in stored.version.faults]
            detail = f"Version {stored.version.version} of “{document.name}” can't run."
            raise ApiError(Code.WORKFLOW_INVALID, detail, faults=faults)
        if faults := await self._credentials.find_faults(tenant_id, document):
            raise ApiError(
                Code.WORKFLOW_INVALID, faults[0].detail, "Add what is missing and start it again.", faults=faults
            )
        return _name(
            asked,
            document.name,
            workflow_id=WorkflowId(stored.workflow.workflow_id),
            workflow_version=stored.version.version,
            trigger={"type": "intent", "inputs": wanted.inputs}
            | ({"allowed_domains": wanted.allowed_domains} if wanted.allowed_domains else {}),
            workflow_concurrency=document.settings.concurrency,
            timeout_s=document.settings.timeout_s,
        )

    async def _visit(self, tenant_id: TenantId, asked: SubmitExecution) -> NewExecution:
        """A one-off workflow: it has no version, so it is kept with the execution."""
        domains = asked.parameters.get("allowed_domains", [])
        _check_domains(domains)
        await self._check_host(tenant_id, str(asked.parameters["url"]), domains)
        document = draw_visit(asked.parameters)
        faults = check_document(document, self._catalogue)
        if faults:
            raise ApiError(Code.INVALID, faults[0].detail, faults=faults)
        plan = make_plan(document, self._catalogue)
        return _name(
            asked,
            document.name,
            document=document.model_dump(mode="json"),
            plan=plan.model_dump(mode="json"),
            trigger={"type": "intent", "inputs": asked.parameters},
            timeout_s=document.settings.timeout_s,
        )

    async def _check_host(self, tenant_id: TenantId, url: str, domains: Sequence[str]) -> None:
        # refused here too, and not by the browser alone: who asks is told at once, and Experience audits it
        policy = await self._policies.find(tenant_id)
        policy = policy.narrow(read_lists(domains)) if domains else policy
        try:
            check_address(url, policy)
        except BrowserFailure as refusal:
            code = Code.HOST_REFUSED if refusal.code is FailureCode.HOST_REFUSED else Code.INVALID
            raise ApiError(code, refusal.message, refusal.hint) from refusal


def draw_visit(parameters: JsonObject) -> WorkflowDocument:
    """The workflow of browser/visit: open the address, then a picture and a text as asked for."""
    url = str(parameters["url"])
    nodes: list[JsonObject] = [_draw("open", "launch_standard_browser", {"Website URL": url})]
    edges: list[JsonObject] = []
    if selector := parameters.get("selector"):
        nodes += [
            _draw("wait", "wait_for_element", {"Selector": selector, "Visibility": "visible"}),
            _draw("html", "get_html", {}),
            _draw("text", "get_text_from_html", {"Selector": selector}),
        ]
        edges += [_connect("open", "wait"), _connect("wait", "html"), _connect("html", "text", "Html Content", "Html")]
    if parameters.get("screenshot", True):
        nodes.append(_draw("picture", "screenshot", {}))
        edges.append(_connect("html" if selector else "open", "picture"))
    name = f"Visit {urlsplit(url).hostname or url}"[:200]
    settings = {"allowed_domains": parameters.get("allowed_domains", [])}
    return WorkflowDocument.model_validate({"name": name, "nodes": nodes, "edges": edges, "settings": settings})


def _draw(node_id: str, kind: str, inputs: JsonObject) -> JsonObject:
    return {"id": node_id, "type": kind, "data": {"inputs": inputs}}


def _connect(source: str, target: str, handle: str = "Web Page", target_handle: str = "Web Page") -> JsonObject:
    return {
        "id": f"{source}-{target}",
        "source": source,
        "target": target,
        "sourceHandle": handle,
        "targetHandle": target_handle,
    }


def _name(asked: SubmitExecution, name: str, **further: object) -> NewExecution:
    values = {
        "execution_id": asked.execution_id,
        "intent_id": asked.intent_id,
        "session_id": asked.session_id,
        "user_id": asked.user_id,
        "realm": asked.realm,
        "intent": asked.intent,
        "parameters": asked.parameters,
        "priority": asked.priority,
        "submitted_at": asked.submitted_at,
        "name": name,
        "trace_parent": current_parent(),
        **further,
    }
    return NewExecution(**values)  # type: ignore[arg-type]  # the names are NewExecution's


def _check_domains(entries: Sequence[str]) -> None:
    if faults := find_entry_faults("body.parameters.allowed_domains", entries):
        raise ApiError(Code.INVALID, faults[0].detail, faults=faults)


def _explain(error: ValidationError) -> Fault:
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path)
    rule = str(error.validator)
    clause = explain_schema_rule(rule, error.validator_value, error.schema, error.message[:500])
    return Fault(where=f"body.parameters{path}", rule=rule, detail=f"{clause}.")
