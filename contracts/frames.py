"""WebSocket frames that are not events, close codes, and the frames of the internal channel."""

from enum import IntEnum
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from contracts.events import CompletionResult, Event, LogEntry
from contracts.execution import Execution, ExecutionStatus
from contracts.model import Contract, ExecutionId, LogId, Seq, TenantId, UnixInstant
from contracts.workflow import JsonObject

# --- public execution stream -------------------------------------------------------------------------------------


class Hello(Contract):
    """Always the first frame."""

    type: Literal["hello"] = "hello"
    execution_id: ExecutionId
    log_id: LogId | None
    """Identity of this log; changes only when a backup was restored. Null while Runtime has not heard of it."""
    from_seq: Seq
    """The first event that follows has the number after this one."""
    head_seq: Seq
    status: ExecutionStatus
    resumed: Literal["fresh", "recovered", "reset"]
    ping_interval: float
    """Seconds between pings; silence of more than 1.5 times this means that the connection is dead."""


class Ping(Contract):
    """Sent every ping_interval seconds, whatever else is sent; needs no answer."""

    type: Literal["ping"] = "ping"
    ts: float
    """Unix seconds."""
    seq: Seq
    """Head of the log: a client that has less is behind."""


class Pong(Contract):
    type: Literal["pong"] = "pong"


class Reset(Contract):
    """Continuity can't be shown: forget what you have, take the snapshot, go on after `seq`."""

    type: Literal["reset"] = "reset"
    reason: str
    snapshot: Execution
    seq: Seq


class AuthExpiring(Contract):
    """Renew over HTTP and reconnect with `after`; the socket closes with 4401 at `expires_at`."""

    type: Literal["auth_expiring"] = "auth_expiring"
    expires_at: float
    """Unix seconds."""


class StreamFault(Contract):
    """The last thing said before a close with an error code, in words."""

    type: Literal["fault"] = "fault"
    code: str
    detail: str
    retry: bool


ServerFrame = Annotated[
    Hello | Ping | Pong | Reset | AuthExpiring | StreamFault,
    Field(discriminator="type"),
]
"""What the server sends besides events."""


class ClientPing(Contract):
    type: Literal["ping"] = "ping"


class ClientPong(Contract):
    type: Literal["pong"] = "pong"


ClientFrame = Annotated[ClientPing | ClientPong, Field(discriminator="type")]
"""What a client may send; the bare text `ping` is understood too. Anything else closes with 4400."""


class OpenStream(Contract):
    """How an execution stream is opened."""

    execution_id: ExecutionId
    after: Seq = 0
    log: LogId | None = None
    """The `log_id` of an earlier hello: shows that `after` counts in the same log."""
    batch: bool = False
    """Take several events in one frame, as a JSON array."""
    tenant_id: TenantId | None = None


class OpenGuideStream(Contract):
    """How the API guide's stream is opened."""

    execution_id: ExecutionId
    token: Annotated[str, StringConstraints(max_length=4_000)] | None = None
    """For the guide's clients, which can send a credential nowhere else; redacted from every log."""


class Close(IntEnum):
    """Close codes of the public sockets; the reason is short JSON `{"code":…,"retry":…}`."""

    DONE = 1000
    GOING_AWAY = 1001
    RESTARTING = 1012
    """Come back at once, with jitter; nothing is lost."""
    OVERLOADED = 1013
    TOO_BIG = 1009
    INTERNAL = 1011
    BAD_REQUEST = 4400
    UNAUTHENTICATED = 4401
    """Renew, then resume, where the reason says `retry`: the credential has ended. Any other will be refused again."""
    FORBIDDEN = 4403
    NOT_FOUND = 4404
    DEAD_PEER = 4408
    RATE_LIMITED = 4429

    @property
    def retry(self) -> bool:
        """Whether the same client should come back by itself, unless what was closed for says more."""
        return self in _COME_BACK


_COME_BACK = frozenset(
    {
        Close.GOING_AWAY,
        Close.RESTARTING,
        Close.OVERLOADED,
        Close.INTERNAL,
        Close.DEAD_PEER,
        Close.RATE_LIMITED,
    }
)

# --- the API guide's dialect of the same log -------------------------------------------------------------------------

GuideState = Literal["pending", "running", "completed", "failed"]
"""All that this dialect's clients see of an execution or a node; `data.state` says more of an execution."""


class _GuideMessage(Contract):
    execution_id: ExecutionId
    timestamp: UnixInstant


class GuideStatus(_GuideMessage):
    type: Literal["status"] = "status"
    status: GuideState
    data: JsonObject
    """`progress` and `current_node`; while paused or waiting also `state`, and `reason` where there is one."""


class GuideNodeState(Contract):
    status: GuideState
    output: JsonObject | None
    error: str | None
    started_at: UnixInstant | None
    completed_at: UnixInstant | None


class GuideNodeUpdate(_GuideMessage):
    type: Literal["node_update"] = "node_update"
    node_id: str
    node_state: GuideNodeState


class GuideLog(_GuideMessage):
    type: Literal["log"] = "log"
    log: LogEntry


class GuideCompletion(_GuideMessage):
    """The last message of an execution that went well."""

    type: Literal["completion"] = "completion"
    result: CompletionResult


class GuideError(_GuideMessage):
    """The last message of every other one."""

    type: Literal["error"] = "error"
    error: str


GuideFrame = Annotated[
    GuideStatus | GuideNodeUpdate | GuideLog | GuideCompletion | GuideError | Pong,
    Field(discriminator="type"),
]

# --- internal channel: one multiplexed WebSocket between an Experience and a Runtime process -------------------------


class Subscribe(Contract):
    type: Literal["subscribe"] = "subscribe"
    subscription: int
    """Chosen by the subscriber, unique on this connection."""
    tenant_id: TenantId
    execution_id: ExecutionId
    after: Seq


class Unsubscribe(Contract):
    type: Literal["unsubscribe"] = "unsubscribe"
    subscription: int


UpstreamFrame = Annotated[Subscribe | Unsubscribe, Field(discriminator="type")]


class Subscribed(Contract):
    """The execution is known; batches follow."""

    type: Literal["subscribed"] = "subscribed"
    subscription: int
    log_id: LogId
    head_seq: Seq
    status: ExecutionStatus


class Unknown(Contract):
    """No such execution in that tenant (yet); the subscription is over."""

    type: Literal["unknown"] = "unknown"
    subscription: int


class Batch(Contract):
    """Events in order, without gaps after what was sent before."""

    type: Literal["batch"] = "batch"
    subscription: int
    events: list[Event]


class Ended(Contract):
    """The terminal event has been sent; the subscription is over."""

    type: Literal["ended"] = "ended"
    subscription: int


DownstreamFrame = Annotated[Subscribed | Unknown | Batch | Ended, Field(discriminator="type")]


class OpenEvents(Contract):
    """How the internal channel is opened; the token authorises the process."""
