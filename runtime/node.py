"""What a node type is, and what the worker lends it while it runs.

A node type is one class: typed inputs and outputs, a few facts about it, and `run`. The catalogue, the validator, the
editor's palette and the documents all derive from it.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO, ClassVar, Generic, Literal, Protocol, TypeVar, get_args, get_origin

from pydantic import ValidationError

from contracts.credential import CredentialKind
from contracts.errors import explain_validation
from contracts.execution import Artifact, ArtifactKind, Failure, FailureCode
from contracts.model import TenantId
from contracts.workflow import JsonObject, NodeType
from runtime.browser.failure import BrowserFailure
from runtime.browser.options import DEFAULT, ContextOptions
from runtime.browser.page import Page
from runtime.egress.backend import DoorBackend
from runtime.handles import EXECUTE_CONDITION, FileRef, PageRef, Values, derive_ports
from runtime.sandbox.sandbox import Sandbox
from runtime.store.tool_events import ToolUse

Level = Literal["debug", "info", "warning", "error"]


class NodeFailure(Exception):  # noqa: N818 — a failure is what it is called everywhere
    """Why an attempt at a node failed, for the machine to decide by and for a person to act on."""

    def __init__(
        self,
        code: FailureCode,
        message: str,
        hint: str,
        *,
        retryable: bool = False,
        acted: bool = False,
        page_url: str | None = None,
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.hint = hint
        self.retryable = retryable
        """Whether the same attempt may succeed a little later, by itself."""
        self.acted = acted
        """Whether the node may have had its effect all the same: one that must not run twice then asks a person."""
        self.page_url = page_url

    def describe(self, node_id: str) -> Failure:
        """The failure as it is recorded and shown."""
        return Failure(code=self.code, message=self.message, hint=self.hint, node_id=node_id, page_url=self.page_url)


@dataclass(frozen=True)
class Opened:
    """A credential on its way to one host."""

    kind: CredentialKind
    values: Mapping[str, str] = field(repr=False)


class Stage(Protocol):
    """What the worker lends a node for one attempt."""

    @property
    def node_id(self) -> str:
        """The node that runs."""
        ...

    @property
    def tenant_id(self) -> TenantId:
        """Whose execution it is."""
        ...

    @property
    def idempotency_key(self) -> str:
        """Names what the node does in this execution: the same for each attempt, whichever worker makes it."""
        ...

    @property
    def seconds_left(self) -> float:
        """Until this attempt's deadline; never negative."""
        ...

    @property
    def network(self) -> DoorBackend:
        """Connections of this run through the checked door."""
        ...

    async def wait(self, seconds: float) -> None:
        """Let time pass that counts neither against this attempt's deadline nor the execution's (spec W1).

        What attempts before have waited that a pause or the loss of a worker cut short counts, and so does the pause.
        """
        ...

    @property
    def sandbox(self) -> Sandbox:
        """Where code of strangers runs."""
        ...

    async def open_page(self, options: ContextOptions = DEFAULT, login: str | None = None) -> PageRef:
        """Open a page in a browser context of its own, named after this node, signed in as a saved login is.

        Raises BrowserFailure, NodeFailure as `load_login`.
        """
        ...

    async def save_login(self, name: str, page: Page) -> None:
        """Keep what sites keep in the page's context, under a name of the tenant's.

        Raises BrowserFailure, NodeFailure (credential_sealed, invalid_input).
        """
        ...

    async def load_login(self, name: str, ref: PageRef) -> None:
        """Open a page anew, at its address, where sites find a saved login in place of what they have kept.

        Raises BrowserFailure, NodeFailure (credential_missing, credential_sealed).
        """
        ...

    def page(self, ref: PageRef) -> Page:
        """The page behind a handle. Raises BrowserFailure (page_closed) when this run has no such page."""
        ...

    def holds_credentials(self, handle: str) -> bool:
        """Whether what a person typed into this input asks for credentials, and no edge put a value in its place."""
        ...

    async def reveal(self, handle: str, value: Any, url: str) -> Any:
        """The input's value with the credentials in it, to be typed or sent to that address at once and kept nowhere.

        Raises NodeFailure (credential_missing, credential_refused, credential_sealed).
        """
        ...

    async def open_credential(self, handle: str, url: str) -> Opened | None:
        """The credential that an input of type CREDENTIAL names, for that address; None where none is named.

        Raises NodeFailure as `reveal`.
        """
        ...

    async def store_artifact(
        self,
        kind: ArtifactKind,
        name: str,
        media_type: str,
        data: bytes,
        *,
        width: int | None = None,
        height: int | None = None,
        page_url: str | None = None,
    ) -> Artifact:
        """Store a blob and record it with the execution. Raises NodeFailure (artifact_store, output_too_large)."""
        ...

    async def store_file(
        self, name: str, media_type: str, source: BinaryIO, *, page_url: str | None = None
    ) -> Artifact:
        """Store a copy of a file and record it with the execution, as `store_artifact`."""
        ...

    async def read_file(self, file: FileRef, max_bytes: int) -> bytes:
        """What is in a stored file. Raises NodeFailure (not_found, output_too_large, artifact_store)."""
        ...

    def note_tool(self, use: ToolUse) -> None:
        """Write down a call of a tool, with what comes of the node."""
        ...

    async def log(self, level: Level, message: str) -> None:
        """Write a line to the execution's log."""
        ...


InT = TypeVar("InT", bound=Values)
OutT = TypeVar("OutT", bound=Values)


class Node(ABC, Generic[InT, OutT]):
    """A node type. Instances hold no state: one may serve every execution at once."""

    type_id: ClassVar[str]
    """Stable id, as documents name it."""
    title: ClassVar[str]
    group: ClassVar[str]
    icon: ClassVar[str]
    """Name of a Lucide icon."""
    description: ClassVar[str]
    credits: ClassVar[int] = 1
    can_be_start_node: ClassVar[bool] = False
    safe: ClassVar[bool] = True
    """Whether running it twice does no harm."""
    safe_if: ClassVar[Sequence[Mapping[str, Sequence[str | bool]]]] = ()
    """Of a type that is not safe: what makes it safe nevertheless, each by input the typed values it has to have."""
    edits: ClassVar[bool] = False
    """Whether it changes what stands on a page without going anywhere, so that the page's address can't tell of it."""
    runs_code: ClassVar[bool] = False
    """Whether it needs the sandbox."""
    _inputs: ClassVar[type[Values]]
    _outputs: ClassVar[type[Values]]

    def __init_subclass__(cls) -> None:
        """Read the input and output models off `Node[Inputs, Outputs]`, and refuse a class that lacks a fact."""
        super().__init_subclass__()
        cls._inputs, cls._outputs = _read_models(cls)
        missing = [fact for fact in ("type_id", "title", "group", "icon", "description") if not hasattr(cls, fact)]
        if missing:
            raise TypeError(f"node type {cls.__name__} lacks {', '.join(missing)}")

    @abstractmethod
    async def run(self, inputs: InT, stage: Stage) -> OutT:
        """Do the work. Raises NodeFailure or BrowserFailure; anything else is a fault of the node type itself."""

    @classmethod
    def describe(cls) -> NodeType:
        """The node type as data."""
        return NodeType(
            type=cls.type_id,
            title=cls.title,
            group=cls.group,
            icon=cls.icon,
            description=cls.description,
            inputs=[*derive_ports(cls._inputs, inputs=True), EXECUTE_CONDITION],
            outputs=derive_ports(cls._outputs, inputs=False),
            credits=cls.credits,
            can_be_start_node=cls.can_be_start_node,
            safe=cls.safe,
            safe_if=[{name: list(values) for name, values in one.items()} for one in cls.safe_if],
        )

    async def perform(self, values: JsonObject, stage: Stage) -> JsonObject:
        """Run with resolved inputs and answer the live outputs, both by display name and in JSON's types.

        Raises NodeFailure only: inputs that don't fit and failures of the browser are mapped here.
        """
        inputs = self._read(values)
        try:
            outputs: Values = await self.run(inputs, stage)
        except BrowserFailure as failure:
            raise NodeFailure(
                failure.code,
                failure.message,
                failure.hint,
                retryable=failure.retryable,
                acted=failure.acted,
                page_url=failure.page_url,
            ) from failure
        return outputs.model_dump(mode="json", exclude_unset=True)

    def _read(self, values: JsonObject) -> Any:
        try:
            return self._inputs.model_validate(values)
        except ValidationError as error:
            raise NodeFailure(
                FailureCode.INVALID_INPUT,
                _explain(error, values),
                "Check what the node was given, and where it came from.",
            ) from error


def _read_models(cls: type[Any]) -> tuple[type[Values], type[Values]]:
    for parent in getattr(cls, "__orig_bases__", ()):
        if get_origin(parent) is Node:
            inputs, outputs = get_args(parent)
            return inputs, outputs
    raise TypeError(f"{cls.__name__} must say Node[Inputs, Outputs]")


def _explain(error: ValidationError, values: JsonObject) -> str:
    """Handles and rules without the values: a value may be a secret."""
    found = explain_validation(error, values)
    return "; ".join(f"{'.'.join(str(part) for part in path)}: {clause}" for path, _, clause in found)
