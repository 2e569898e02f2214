"""Workflows: what a document means to this Runtime, before it is stored and after.

`cron` and `triggers` are checked and stored with each version; nothing fires them yet.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic_core import to_json

from contracts.errors import Fault
from contracts.workflow import (
    NodeType,
    Validation,
    Workflow,
    WorkflowDocument,
    WorkflowSummary,
    WorkflowVersion,
)
from runtime.browser.hosts import BLANK
from runtime.egress.hosts import NotAHost, Target, read_web_target
from runtime.egress.policy import Policy, find_entry_faults, read_lists
from runtime.engine.document import normalize_document
from runtime.engine.literals import coerce_literal
from runtime.engine.plan import Plan, make_plan
from runtime.engine.validate import check_document, find_unavailable
from runtime.handles import ADDRESS_FORMAT
from runtime.store.tables import WorkflowVersionRow
from runtime.store.workflows import Draft, Stored

_LAYOUT: dict[str, Any] = {"nodes": {"__all__": {"position"}}, "id": True, "status": True}
"""What says where things stand and not what they do."""
_DOCUMENT_FIELDS = frozenset(WorkflowDocument.model_fields)

Catalogue = Mapping[str, NodeType]


def make_draft(document: WorkflowDocument, catalogue: Catalogue) -> Draft:
    """A document as it is stored: normalised, with its faults, and its plan when it has none."""
    whole = WorkflowDocument.model_validate(document.model_dump(include=set(_DOCUMENT_FIELDS)))
    normal = normalize_document(whole, catalogue).model_copy(update={"id": None, "status": None})
    faults = _check(normal, catalogue)
    plan = None if faults else make_plan(normal, catalogue)
    return Draft(
        name=normal.name,
        description=normal.description,
        document=normal.model_dump(mode="json"),
        nodes=len(normal.nodes),
        faults=[fault.model_dump(mode="json") for fault in faults],
        plan=plan.model_dump(mode="json") if plan else None,
        content_hash=hash_content(normal),
    )


def hash_content(document: WorkflowDocument) -> str:
    """SHA-256 of the canonical document without layout: equal hashes do the same."""
    canonical = document.model_dump(mode="json", exclude=_LAYOUT)
    return hashlib.sha256(to_json(_sort(canonical))).hexdigest()


def validate(
    document: WorkflowDocument, catalogue: Catalogue, credentials: Sequence[Fault], policy: Policy
) -> Validation:
    """Whether the document could run, and every reason why not.

    Args:
        document: as it was sent.
        catalogue: the node types there are.
        credentials: the faults of what it asks for of the vault.
        policy: what the tenant may reach. It may change, so what it refuses is a warning.
    """
    faults = _check(document, catalogue)
    phases = [] if faults else make_plan(document, catalogue).phases
    every = [*faults, *credentials]
    warnings = [*find_unavailable(document, catalogue), *_find_refused(document, catalogue, policy)]
    return Validation(valid=not every, faults=every, phases=phases, warnings=warnings)


def _check(document: WorkflowDocument, catalogue: Catalogue) -> list[Fault]:
    domains = find_entry_faults("body.settings.allowed_domains", document.settings.allowed_domains)
    addresses = [address.complain() for address in _find_addresses(document, catalogue) if address.target is None]
    return [*check_document(document, catalogue), *addresses, *domains]


def _find_refused(document: WorkflowDocument, catalogue: Catalogue, policy: Policy) -> Iterator[Fault]:
    """Typed addresses that executions may not reach as things stand, as far as their names tell."""
    if (domains := document.settings.allowed_domains) and not find_entry_faults("", domains):
        policy = policy.narrow(read_lists(domains))
    for address in _find_addresses(document, catalogue):
        if address.target is not None and (refusal := policy.judge_name(address.target)) is not None:
            yield address.fault("host_refused", f"{refusal.message} {refusal.hint}")


@dataclass(frozen=True)
class _TypedAddress:
    """An address that a person typed into a node, and where it leads, or what is wrong with it."""

    index: int
    node_id: str
    handle: str
    target: Target | None
    reason: str

    def complain(self) -> Fault:
        """The fault of one that leads nowhere."""
        detail = f"“{self.handle}”: {self.reason}. Give the whole address, with https:// before the host."
        return self.fault("wrong_address", detail)

    def fault(self, rule: str, detail: str) -> Fault:
        """A fault at its place."""
        where = f'body.nodes[{self.index}].data.inputs["{self.handle}"]'
        return Fault(where=where, rule=rule, detail=detail, node_id=self.node_id, handle=self.handle)


def _find_addresses(document: WorkflowDocument, catalogue: Catalogue) -> Iterator[_TypedAddress]:
    """Those that are known before anything runs: no edge brings another, and nothing is to be filled in."""
    normal = normalize_document(document, catalogue)
    connected = {(edge.target, edge.targetHandle) for edge in normal.edges}
    for index, node in enumerate(normal.nodes):
        ports = catalogue[node.type].inputs if node.type in catalogue else []
        for port in ports:
            text = coerce_literal(node.data.inputs.get(port.name), port.type)
            if port.value_schema.get("format") != ADDRESS_FORMAT or (node.id, port.name) in connected:
                continue
            if not isinstance(text, str) or text.strip() in ("", BLANK) or "{{" in text:
                continue
            try:
                yield _TypedAddress(index, node.id, port.name, read_web_target(text), "")
            except NotAHost as error:
                yield _TypedAddress(index, node.id, port.name, None, str(error))


def describe(stored: Stored, credentials: Sequence[Fault] = ()) -> Workflow:
    """A stored workflow as the wire shows it, with what its credentials lack now."""
    row, version = stored.workflow, stored.version
    return Workflow.model_validate(
        {
            "workflow_id": row.workflow_id,
            "name": version.document["name"],
            "description": version.document["description"],
            "status": row.status,
            "version": version.version,
            "etag": version.etag,
            "document": WorkflowDocument.model_validate(version.document),
            "valid": version.plan is not None and not credentials,
            "faults": [*(Fault.model_validate(fault) for fault in version.faults), *credentials],
            "phases": Plan.model_validate(version.plan).phases if version.plan is not None else [],
            "created_at": row.created_at,
            "updated_at": row.updated_at,
            "created_by": row.created_by,
        }
    )


def summarize(stored: Stored) -> WorkflowSummary:
    """A stored workflow as lists show it."""
    row, version = stored.workflow, stored.version
    return WorkflowSummary.model_validate(
        {
            "workflow_id": row.workflow_id,
            "name": row.name,
            "description": row.description,
            "status": row.status,
            "version": row.version,
            "valid": not version.faults,
            "nodes": version.nodes,
            "created_at": row.created_at,
            "updated_at": row.updated_at,
        }
    )


def describe_version(row: WorkflowVersionRow) -> WorkflowVersion:
    """A version as the wire shows it."""
    return WorkflowVersion.model_validate(
        {name: getattr(row, name) for name in WorkflowVersion.model_fields},
    )


def _sort(value: object) -> object:
    """Keys in order, so that equal documents have equal text."""
    match value:
        case dict():
            return {key: _sort(value[key]) for key in sorted(value)}
        case list():
            return [_sort(item) for item in value]
        case _:
            return value
