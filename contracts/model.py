"""Base model, identifiers and time: the words every other contract is written in."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Final, Generic, NewType, TypeVar
from uuid import UUID

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    PlainSerializer,
    StringConstraints,
    ValidationError,
    ValidatorFunctionWrapHandler,
)
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

TenantId = NewType("TenantId", UUID)
UserId = NewType("UserId", UUID)
LoginId = NewType("LoginId", UUID)
KeyId = NewType("KeyId", UUID)
SessionId = NewType("SessionId", UUID)
IntentId = NewType("IntentId", UUID)
WorkflowId = NewType("WorkflowId", UUID)
ExecutionId = NewType("ExecutionId", UUID)
StepId = NewType("StepId", UUID)
ArtifactId = NewType("ArtifactId", UUID)
LogId = NewType("LogId", UUID)
CredentialId = NewType("CredentialId", UUID)
BrowserProfileId = NewType("BrowserProfileId", UUID)

NodeId = Annotated[str, StringConstraints(min_length=1, max_length=200)]
"""A node's id: chosen by whoever drew the workflow, unique within it."""


def _place_in_utc(value: datetime) -> datetime:
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError("There is no such time in UTC") from None


Instant = Annotated[AwareDatetime, AfterValidator(_place_in_utc)]
"""A moment, in UTC; RFC 3339 on the wire. Requests may not write a number: wiring/parsing.py sees to that."""


class Words:
    """Marks a text with a pattern by the words that say it to a person, in place of the pattern."""

    def __init__(self, words: str) -> None:
        self.words = words

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Pydantic's hook: the same checks, and these words when the pattern is what failed."""

        def read(value: Any, inner: ValidatorFunctionWrapHandler) -> Any:
            try:
                return inner(value)
            except ValidationError as error:
                if any(one["type"] == _PATTERN for one in error.errors()):
                    raise PydanticCustomError(_PATTERN, "{words}", {"words": self.words}) from None
                raise

        return core_schema.no_info_wrap_validator_function(read, handler(source))


_PATTERN = "string_pattern_mismatch"

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
ShortText = Annotated[str, StringConstraints(max_length=8_000)]
Cursor = Annotated[
    str,
    StringConstraints(min_length=1, max_length=400, pattern=r"^[A-Za-z0-9_\-=.]+$"),
    Words("This is no cursor: take the one of the page before as it is"),
]
Limit = Annotated[int, Field(ge=1, le=200)]
Seq = Annotated[int, Field(ge=0, le=2**53)]
"""Place of an event in its execution's log: 1, 2, 3 … without gaps; 0 means before the first."""

MAX_DEPTH: Final = 100
"""Levels of lists and objects that a JSON value of somebody else's may have, in a request or as an output. Whoever
reads JSON with pydantic reads 200, and what is kept or sent lies a few levels down in what carries it: a deeper value
could be written, and read by nobody."""


def is_too_deep(value: Any, levels: int = MAX_DEPTH) -> bool:
    """Whether lists and objects nest deeper than so many levels, however deep that is."""
    layer = [value]
    for _ in range(levels + 1):
        holders = [one for one in layer if isinstance(one, dict | list | tuple)]
        if not holders:
            return False
        layer = [part for one in holders for part in (one.values() if isinstance(one, dict) else one)]
    return True


class Contract(BaseModel):
    """A value that crosses a process boundary: immutable, unknown fields refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


class Nothing(Contract):
    """An answer without a body (204)."""


ItemT = TypeVar("ItemT")


class Page(Contract, Generic[ItemT]):
    """One page of a list; `next_cursor` is null on the last one."""

    items: list[ItemT]
    next_cursor: str | None


class InHeader:
    """Marks a request field that travels as an HTTP header instead of in the query or the body."""

    def __init__(self, name: str) -> None:
        self.name = name


class Whence:
    """Marks a field of a request by a clause that says where its value is found; faults of the field end with it."""

    def __init__(self, clause: str) -> None:
        self.clause = clause


class InQuery:
    """Marks a field of a request with a body that travels in the query."""


IdempotencyKey = Annotated[
    str,
    StringConstraints(min_length=1, max_length=255, pattern=r"^[\x21-\x7e]+$"),
    Words("Use letters, digits and signs of ASCII, without spaces"),
    InHeader("Idempotency-Key"),
]
"""Chosen by the caller: the same key with the same request answers the same again, within 24 hours at least."""


def _from_unix(value: Any) -> Any:
    if isinstance(value, str):
        try:
            return datetime.fromtimestamp(float(value), UTC)
        except (ValueError, OverflowError, OSError):
            return value
    return value


def unix_text(value: datetime) -> str:
    """The API guide's timestamp: unix seconds with a fraction, as a string (`"1704067200.123"`)."""
    # Through Decimal: a float of today's epoch has too few digits left for microseconds to survive a round trip.
    micros = int(value.timestamp()) * 1_000_000 + value.microsecond
    text = str(Decimal(micros) / 1_000_000)
    return text if "." in text else f"{text}.0"


UnixInstant = Annotated[
    AwareDatetime, BeforeValidator(_from_unix), PlainSerializer(unix_text, return_type=str, when_used="json")
]
"""An instant inside, the API guide's string of unix seconds on the wire."""
