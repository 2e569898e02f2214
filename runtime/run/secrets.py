"""The credentials of one run: handed out at the last moment, where they are bound to, and masked from then on."""

from collections.abc import Iterable, Mapping
from typing import Any

import structlog

from contracts.credential import OPEN_FIELDS, CredentialKind
from contracts.execution import FailureCode
from contracts.model import ExecutionId, TenantId
from contracts.workflow import JsonObject
from runtime.engine.plan import PlannedNode
from runtime.engine.references import Reference, fill_references, find_references
from runtime.masking import Redactor
from runtime.node import NodeFailure, Opened
from runtime.store.vault import Use
from runtime.vault import Held, Vault, VaultLocked, name_host

log = structlog.get_logger()


class RunSecrets:
    """What the nodes of one execution may ask of the tenant's vault."""

    def __init__(self, vault: Vault, tenant_id: TenantId, execution_id: ExecutionId, redactor: Redactor) -> None:
        self._vault = vault
        self._tenant_id = tenant_id
        self._execution_id = execution_id
        self.redactor = redactor

    async def mask_used(self, nodes: Iterable[PlannedNode]) -> None:
        """Mask what these nodes have used in an earlier run: pages that are brought back may still show it."""
        names = {reference.name for node in nodes for reference in ask_for(node)}
        for held in (await self._vault.find(self._tenant_id, names)).values():
            try:
                self._mask(held, self._vault.open(held))
            except VaultLocked as error:  # whoever needs it is told; nobody does yet
                log.warning(
                    "a credential that was used can't be masked", credential=held.row.name, reason=error.message
                )

    async def hand_out(self, node_id: str, references: Iterable[Reference], url: str) -> dict[Reference, str]:
        """Values for an address, noted as used there. Raises NodeFailure."""
        wanted: dict[str, set[str]] = {}
        for reference in references:
            wanted.setdefault(reference.name, set()).add(reference.field)
        found = await self._vault.find(self._tenant_id, list(wanted))
        handed: dict[Reference, str] = {}
        for name, fields in sorted(wanted.items()):
            values = await self._open(found.get(name), name, fields, url, node_id)
            handed |= {Reference(name, field): value for field, value in values.items()}
        return handed

    async def open_whole(self, node_id: str, name: str, url: str) -> Opened:
        """A credential with all its fields, as `hand_out`."""
        held = (await self._vault.find(self._tenant_id, [name])).get(name)
        fields = set(held.row.fields) if held else set()
        values = await self._open(held, name, fields, url, node_id)
        assert held is not None  # noqa: S101 — `_open` refuses what is not there
        return Opened(held.row.kind, values)

    async def _open(self, held: Held | None, name: str, fields: set[str], url: str, node_id: str) -> Mapping[str, str]:
        _check(held, name, fields, url)
        assert held is not None  # noqa: S101 — checked above
        try:
            self._mask(held, self._vault.open(held))  # first, so that no failure on the way can show it
            use = Use(sorted(fields), name_host(url), self._execution_id, node_id)
            return await self._vault.use(self._tenant_id, held, use)
        except VaultLocked as error:
            raise NodeFailure(FailureCode.CREDENTIAL_SEALED, error.message, error.hint) from error

    def _mask(self, held: Held, values: Mapping[str, str]) -> None:
        name, open_field = held.row.name, OPEN_FIELDS.get(held.row.kind)
        for field, value in values.items():
            self.redactor.add(str(Reference(name, field)), value, names=field == open_field)
        if held.row.kind == CredentialKind.LOGIN and values.keys() >= {"username", "password"}:
            # as Basic sends it: in base64 a short name can't be found without what follows
            self.redactor.add(str(Reference(name, "password")), f"{values['username']}:{values['password']}")


class NodeSecrets:
    """The same for one attempt at a node: what its author typed is resolved, and nothing else."""

    def __init__(self, secrets: RunSecrets, node: PlannedNode, inputs: JsonObject) -> None:
        self._secrets = secrets
        self._node_id = node.id
        self.redactor = secrets.redactor
        self._typed = {
            handle: node.literals[handle]
            for handle in node.credential_inputs
            if inputs.get(handle) == node.literals.get(handle)
        }

    def holds(self, handle: str) -> bool:
        """Whether the input's value was typed and asks for credentials."""
        return handle in self._typed

    async def reveal(self, handle: str, value: Any, url: str) -> Any:
        """See `runtime.node.Stage`."""
        if handle not in self._typed:
            return value
        references = find_references(value)
        return fill_references(value, await self._secrets.hand_out(self._node_id, references, url))

    async def open_credential(self, handle: str, url: str) -> Opened | None:
        """See `runtime.node.Stage`."""
        name = self._typed.get(handle)
        return None if name is None else await self._secrets.open_whole(self._node_id, str(name), url)


def ask_for(node: PlannedNode) -> set[Reference]:
    """What a planned node asks of credentials; a whole one has no field."""
    asked: set[Reference] = set()
    for handle in node.credential_inputs:
        typed = node.literals.get(handle)
        asked |= find_references(typed) or ({Reference(typed, "")} if isinstance(typed, str) else set())
    return asked


def _check(held: Held | None, name: str, fields: set[str], url: str) -> None:
    if held is None:
        raise NodeFailure(
            FailureCode.CREDENTIAL_MISSING,
            f"There is no credential “{name}”.",
            "Ask an admin of your tenant to add it under Credentials, or name another one.",
        )
    if missing := fields - set(held.row.fields):
        there = ", ".join(held.row.fields)
        raise NodeFailure(
            FailureCode.CREDENTIAL_MISSING,
            f"The credential “{name}” has no field “{min(missing)}”.",
            f"Its fields are {there}.",
        )
    if not held.may_go_to(url):
        bound = f"It may go to {', '.join(held.domains)}." if held.domains else "It may go nowhere yet."
        host = name_host(url)
        raise NodeFailure(
            FailureCode.CREDENTIAL_REFUSED,
            f"The credential “{name}” may not go to {host or 'a page without a host'}.",
            f"{bound} If it should go there, an admin of your tenant adds the host to its domains.",
        )
