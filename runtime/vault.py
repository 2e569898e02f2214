"""The vault: seals the values of credentials, opens them for who types or sends them, and shows them to nobody else.

Values lie in envelopes (runtime/seal.py); what is authenticated with them is tenant, credential and version, so that a
row that is copied elsewhere opens nothing (spec I4).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlsplit
from uuid import UUID

from pydantic_core import from_json, to_json
from uuid_utils.compat import uuid7

from contracts.credential import CreateCredential, Credential, ReplaceValues, find_value_fault
from contracts.errors import ApiError, Code, Fault
from contracts.model import CredentialId, TenantId, UserId
from contracts.workflow import NodeType, WorkflowDocument
from runtime.egress.hosts import Target, read_host
from runtime.egress.policy import read_pattern
from runtime.engine.document import normalize_document
from runtime.engine.references import check_credentials, find_used
from runtime.seal import Envelope, Seal, SealBroken
from runtime.store.tables import CredentialRow
from runtime.store.vault import Credentials, Sealed, Use

NO_KEYS = (
    "Credentials can't be kept: this Runtime has no key to seal them with.",
    "Write one with `openssl rand -base64 32` into a file, and name that in STAGEDOOR_RUNTIME_SEAL_KEY_FILE.",
)
_DEFAULT_PORTS = {"http": 80, "https": 443, "socks5": 1080}


class VaultLocked(Exception):  # noqa: N818 — what is found
    """A credential is there and can't be opened. `hint` says what to do."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


@dataclass(frozen=True)
class Held:
    """A credential as a run holds it: known by its row, its values still sealed."""

    row: CredentialRow

    @property
    def domains(self) -> list[str]:
        """Where it may go."""
        return self.row.domains

    def may_go_to(self, url: str) -> bool:
        """Whether it is bound to the host of an address."""
        return any(_covers(domain, url) for domain in self.row.domains)


class CredentialCheck:
    """Checks what documents ask of the tenant's credentials, as those are now.

    Nothing of it is stored with a version: credentials come and go without it.
    """

    def __init__(self, credentials: Credentials, catalogue: Mapping[str, NodeType]) -> None:
        self._credentials = credentials
        self._catalogue = catalogue

    async def find_faults(self, tenant_id: TenantId, document: WorkflowDocument) -> list[Fault]:
        """Credentials that aren't there, lack a field or may go nowhere."""
        normal = normalize_document(document, self._catalogue)
        known = await self._credentials.find_known(tenant_id, find_used(normal, self._catalogue))
        return check_credentials(normal, self._catalogue, known)


class Vault:
    """Credentials of all tenants, each under its own."""

    def __init__(self, credentials: Credentials, seal: Seal | None) -> None:
        self._credentials = credentials
        self._seal = seal

    async def create(self, tenant_id: TenantId, user_id: UserId | None, asked: CreateCredential) -> Credential:
        """Seal and store a new one. Raises ApiError (NOT_CONFIGURED, CONFLICT, LIMIT_REACHED)."""
        credential_id, now = CredentialId(uuid7()), datetime.now(UTC)
        envelope = self._fill(tenant_id, credential_id, 1, asked.values)
        row = CredentialRow(
            credential_id=credential_id,
            tenant_id=tenant_id,
            name=asked.name,
            kind=asked.kind,
            fields=list(asked.values),
            domains=list(asked.domains),
            version=1,
            data_key=envelope.data_key,
            sealed=envelope.content,
            created_by=user_id,
            created_at=now,
            updated_at=now,
        )
        return await self._credentials.create(tenant_id, row)

    async def replace(self, tenant_id: TenantId, asked: ReplaceValues) -> Credential:
        """Seal new values and throw those before away.

        Raises:
            ApiError: NOT_FOUND, INVALID, CONFLICT, NOT_CONFIGURED.
        """
        known = await self._credentials.get(tenant_id, asked.credential_id)
        if said := find_value_fault(known.kind, asked.values):
            fault = Fault(where="body.values", rule="values", detail=f"{said}.")
            raise ApiError(Code.INVALID, fault.detail, faults=[fault])
        version = known.version + 1
        envelope = self._fill(tenant_id, known.credential_id, version, asked.values)
        return await self._credentials.replace(
            tenant_id, known.credential_id, version, list(asked.values), Sealed(envelope.data_key, envelope.content)
        )

    async def find(self, tenant_id: TenantId, names: Collection[str]) -> dict[str, Held]:
        """Those of the names that there are, still sealed."""
        found = await self._credentials.find_named(tenant_id, names)
        return {name: Held(row) for name, row in found.items()}

    async def use(self, tenant_id: TenantId, held: Held, use: Use) -> dict[str, str]:
        """The values, once it is on record where they go. Raises VaultLocked."""
        values = self.open(held)
        await self._credentials.record_use(tenant_id, held.row, use)
        return {name: values[name] for name in use.fields}

    def open(self, held: Held) -> dict[str, str]:
        """The values by field, for masking what was used before and, in `use`, for using it. Raises VaultLocked."""
        row = held.row
        if self._seal is None:
            raise VaultLocked(f"The credential “{row.name}” can't be opened: this Runtime has no keys.", NO_KEYS[1])
        envelope = Envelope(row.data_key, row.sealed)
        try:
            content = self._seal.empty(envelope, place_of(row.tenant_id, row.credential_id, row.version))
        except SealBroken as error:
            raise VaultLocked(
                f"The credential “{row.name}” can't be opened: {error}.",
                "Put the key it was sealed with back into the key file, or enter its values anew.",
            ) from error
        values: dict[str, str] = from_json(content)
        return values

    def _fill(self, tenant_id: TenantId, credential_id: CredentialId, version: int, values: dict[str, str]) -> Envelope:
        if self._seal is None:
            raise ApiError(Code.NOT_CONFIGURED, *NO_KEYS)
        return self._seal.fill(to_json(values), place_of(tenant_id, credential_id, version))


def place_of(tenant_id: UUID, credential_id: UUID, version: int) -> str:
    """What is authenticated with the values: they open for this version of this credential of this tenant only."""
    return f"credential {tenant_id} {credential_id} {version}"


def name_host(url: str) -> str:
    """The host of an address, with its port if it says one, as it is connected to; empty where it names none."""
    try:
        parts = urlsplit(url)
        host, port = read_host(parts.hostname or ""), parts.port
    except ValueError:
        return ""
    return str(host) if port is None else f"{host}:{port}"


def _covers(domain: str, url: str) -> bool:
    """Whether `host`, `host:port` or `*.host` covers the host of an address; no address of nowhere is covered.

    Both are read as the door reads what it connects to: by another standard, `ß` is `ss`, and another's domain.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or _DEFAULT_PORTS.get(parts.scheme)
        return port is not None and read_pattern(domain).matches(Target(read_host(parts.hostname or ""), port))
    except ValueError:  # NotAHost too
        return False
