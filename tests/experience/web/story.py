"""Made-up executions: documents, logs and snapshots that agree with each other, in the wire's own models."""

import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from contracts.events import (
    Cancelled,
    Completed,
    CompletionResult,
    Event,
    ExecutionAccepted,
    Failed,
    LogEntry,
    Logged,
    NodeStateData,
    NodeUpdated,
    Screenshot,
    StatusChanged,
    StatusData,
    StepData,
    StepUpdated,
)
from contracts.execution import (
    Artifact,
    ArtifactKind,
    Cost,
    Execution,
    ExecutionStatus,
    ExecutionSummary,
    Failure,
    FailureCode,
    NodeState,
    PhaseState,
    Question,
    StepStatus,
)
from contracts.model import ArtifactId, ExecutionId, LogId, StepId, WorkflowId
from contracts.workflow import Edge, Node, Position, WorkflowDocument


def paint(width: int, height: int, colour: tuple[int, int, int]) -> bytes:
    """A PNG of one colour, small to send and large to look at."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = (b"\0" + bytes(colour) * width) * height
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def chain(name: str, titles: Sequence[str], *, per_row: int = 5) -> WorkflowDocument:
    """A workflow of one node after the other, drawn in rows."""
    nodes = [
        Node(
            id=f"node-{index}",
            type="click_element",
            name=title,
            position=Position(x=280 * (index % per_row), y=150 * (index // per_row)),
        )
        for index, title in enumerate(titles)
    ]
    edges = [
        Edge(
            id=f"edge-{index}",
            source=f"node-{index}",
            target=f"node-{index + 1}",
            sourceHandle="Web Page",
            targetHandle="Web Page",
        )
        for index in range(len(nodes) - 1)
    ]
    return WorkflowDocument(name=name, nodes=nodes, edges=edges)


@dataclass
class Story:
    """One execution as far as it has been told. Every method writes the next events."""

    document: WorkflowDocument
    began: datetime = field(default_factory=lambda: datetime.now(UTC) - timedelta(seconds=20))
    intent: str = "run"
    is_stored: bool = True
    """Whether its workflow can still be read."""

    def __post_init__(self) -> None:
        self.execution_id = ExecutionId(uuid4())
        self.workflow_id = WorkflowId(uuid4())
        self.log_id = LogId(uuid4())
        self.now = self.began
        self.events: list[Event] = []
        self.status = ExecutionStatus.PENDING
        self.states = {node.id: StepStatus.QUEUED for node in self.document.nodes}
        self.times: dict[str, tuple[datetime | None, datetime | None]] = {}
        self.failures: dict[str, Failure] = {}
        self.pictures: dict[UUID, bytes] = {}
        self.artifacts: list[Artifact] = []
        self.result: dict[str, Any] | None = None
        self.error: Failure | None = None
        self.started: datetime | None = None
        self.finished: datetime | None = None
        self.cancel_requested = False
        self.pause_requested = False
        self.retry_of: ExecutionId | None = None
        self.question: Question | None = None
        self.reused: set[str] = set()
        workflow = {"workflow_id": self.workflow_id, "workflow_version": 3} if self.is_stored else {}
        self._tell(
            ExecutionAccepted,
            name=self.document.name,
            realm="workflow",
            intent=self.intent,
            **({"workflow_id": None, "workflow_version": None} | workflow),
        )

    @property
    def head(self) -> int:
        return len(self.events)

    def start(self) -> None:
        """A worker takes it."""
        self.started = self.now
        self._status(ExecutionStatus.RUNNING)
        self.log("info", "A worker has taken this execution.")

    def begin(self, node_id: str, attempt: int = 1) -> None:
        """A node's attempt starts."""
        self.states[node_id] = StepStatus.RUNNING
        self.times[node_id] = (self.now, None)
        self._step(node_id, attempt)
        self.wait(0.2)

    def succeed(self, node_id: str, output: dict[str, Any] | None = None, *, seconds: float = 0.8) -> None:
        """It ends well."""
        self.wait(seconds)
        self.states[node_id] = StepStatus.SUCCESS
        self.times[node_id] = (self.times[node_id][0], self.now)
        self._step(node_id, 1, output or {"Web Page": {"page": "p1"}})
        self._status(self.status)

    def retry(self, node_id: str, code: FailureCode = FailureCode.TIMEOUT) -> None:
        """It fails for now."""
        self.wait(2)
        self.states[node_id] = StepStatus.RETRYING
        self._step(node_id, 1, code=code)

    def fail(self, node_id: str, failure: Failure) -> None:
        """It fails for good."""
        self.wait(1.5)
        self.states[node_id] = StepStatus.FAILED
        self.times[node_id] = (self.times[node_id][0], self.now)
        self.failures[node_id] = failure
        self._step(node_id, 2, code=failure.code)

    def take_over(self, node_id: str) -> None:
        """It ended well in the execution that this one is a retry of."""
        self.states[node_id] = StepStatus.SUCCESS
        self.times[node_id] = (None, self.now)
        self.reused.add(node_id)
        self._step(node_id, 1, {"Web Page": {"page": "p1"}})

    def pause(self) -> None:
        """Nothing of it runs any more."""
        self.pause_requested = True
        self._status(ExecutionStatus.PAUSED)

    def cut_short(self, node_id: str) -> None:
        """A pause ends its waiting; it begins anew when the execution is resumed."""
        self.wait(1)
        self.states[node_id] = StepStatus.RETRYING
        self.times[node_id] = (self.times[node_id][0], self.now)
        message = "The execution was paused while it waited."
        self.failures[node_id] = Failure(code=FailureCode.STOPPED, message=message, hint="", node_id=node_id)
        self._step(node_id, 1, code=FailureCode.STOPPED)

    def resume(self) -> None:
        """A worker goes on with it."""
        self.pause_requested = False
        self._status(ExecutionStatus.RUNNING)

    def ask(self, node_id: str, message: str, hint: str) -> None:
        """Ends because only a person knows whether a node happened."""
        failure = Failure(
            code=FailureCode.INTERRUPTED_UNSAFE, message=message, hint=hint, node_id=node_id, asks_about=node_id
        )
        name = next(node.name for node in self.document.nodes if node.id == node_id)
        self.fail(node_id, failure)
        self.question = Question(node_id=node_id, node_name=name or node_id, message=message, hint=hint)
        self.break_off(failure)

    def skip(self, node_id: str) -> None:
        """It is not reached."""
        self.states[node_id] = StepStatus.SKIPPED
        self._step(node_id, 1)

    def log(self, level: str, message: str, node_id: str | None = None) -> None:
        """A line of the log."""
        self.wait(0.03)
        self._tell(Logged, log=LogEntry(level=level, message=message, node_id=node_id, timestamp=self.now))

    def show(
        self, node_id: str, picture: bytes, url: str, *, failed: bool = False, media_type: str = "image/png"
    ) -> None:
        """A screenshot."""
        artifact = Artifact(
            artifact_id=ArtifactId(uuid4()),
            execution_id=self.execution_id,
            node_id=node_id,
            kind=ArtifactKind.FAILURE_SCREENSHOT if failed else ArtifactKind.SCREENSHOT,
            name=f"{node_id}.png",
            media_type=media_type,
            size=len(picture),
            sha256="0" * 64,
            width=1280,
            height=720,
            page_url=url,
            created_at=self.now,
        )
        self.pictures[artifact.artifact_id] = picture
        self.artifacts.append(artifact)
        self._tell(Screenshot, node_id=node_id, artifact=artifact)

    def complete(self, output: dict[str, Any]) -> None:
        """The end as it should be."""
        self.finished, self.result = self.now, output
        self._status(ExecutionStatus.COMPLETED)
        done = sum(state is StepStatus.SUCCESS for state in self.states.values())
        duration = (self.now - (self.started or self.now)).total_seconds()
        self._tell(
            Completed,
            result=CompletionResult(output=output, nodes_completed=done, nodes_failed=0, duration=duration),
        )

    def break_off(self, failure: Failure) -> None:
        """The end of a failed execution."""
        self.finished, self.error = self.now, failure
        self._status(ExecutionStatus.FAILED)
        self._tell(Failed, error=failure.message)

    def cancel(self, reason: str) -> None:
        """The end that somebody asked for."""
        self.finished = self.now
        self._status(ExecutionStatus.CANCELLED)
        self._tell(Cancelled, reason=reason)

    def wait(self, seconds: float) -> None:
        """Time passes in the story."""
        self.now += timedelta(seconds=seconds)

    def snapshot(self) -> Execution:
        """What the status endpoint answers at this moment."""
        summary = self.summary()
        return Execution(
            **summary.model_dump(include=set(Execution.model_fields) & set(ExecutionSummary.model_fields)),
            phases=[
                PhaseState(number=index, nodes=[node.id], status=self.states[node.id])
                for index, node in enumerate(self.document.nodes)
            ],
            nodes=[self._node(index, node) for index, node in enumerate(self.document.nodes)],
            head_seq=self.head,
            result=self.result,
            cost=Cost(credits=4, usd="0"),
            cancel_requested=self.cancel_requested,
            pause_requested=self.pause_requested,
            artifacts=self.artifacts,
        )

    def summary(self) -> ExecutionSummary:
        """Its row in a list."""
        return ExecutionSummary(
            execution_id=self.execution_id,
            status=self.status,
            workflow_id=self.workflow_id if self.is_stored else None,
            workflow_version=3 if self.is_stored else None,
            name=self.document.name,
            realm="workflow",
            intent=self.intent,
            progress=self._progress(),
            current_node=self._current(),
            error=self.error,
            retry_of=self.retry_of,
            question=self.question,
            created_at=self.began,
            started_at=self.started,
            finished_at=self.finished,
        )

    def _node(self, index: int, node: Node) -> NodeState:
        started, finished = self.times.get(node.id, (None, None))
        return NodeState(
            node_id=node.id,
            type=node.type,
            name=node.name or node.type,
            phase=index,
            status=self.states[node.id],
            attempt=1,
            started_at=started,
            finished_at=finished,
            error=self.failures.get(node.id),
        )

    def _step(
        self, node_id: str, attempt: int, output: dict[str, Any] | None = None, code: FailureCode | None = None
    ) -> None:
        started, finished = self.times.get(node_id, (None, None))
        status = self.states[node_id]
        error = self.failures[node_id].message if node_id in self.failures else None
        state = NodeStateData(status=status, output=output, error=error, started_at=started, completed_at=finished)
        self._tell(NodeUpdated, node_id=node_id, node_state=state)
        millis = (
            int((self.now - started).total_seconds() * 1000) if started and status is not StepStatus.RUNNING else None
        )
        step = StepData(
            step_id=StepId(uuid4()),
            node_id=node_id,
            node_type="click_element",
            phase=0,
            attempt=attempt,
            epoch=1,
            status=status,
            code=code,
            duration_ms=millis,
        )
        self._tell(StepUpdated, step=step)

    def _status(self, status: ExecutionStatus) -> None:
        self.status = status
        data = StatusData(progress=self._progress(), current_node=self._current())
        self._tell(StatusChanged, status=status, data=data)

    def _progress(self) -> float:
        return sum(state.final for state in self.states.values()) / max(1, len(self.states))

    def _current(self) -> str | None:
        return next((node for node, state in self.states.items() if state is StepStatus.RUNNING), None)

    def _tell(self, kind: Any, **facts: Any) -> None:
        facts |= {"execution_id": self.execution_id, "seq": self.head + 1, "timestamp": self.now}
        self.events.append(kind(**facts))


PURCHASE = (
    "Open the shop",
    "Type the e-mail",
    "Type the password",
    "Sign in",
    "Look around",
    "Search for a light",
    "Choose the shelf",
    "Show what fits",
    "Read the list",
    "Open the ghost light",
    "Put it into the cart",
    "Check out",
    "Place the order",
    "Keep a picture",
)
LOST = Failure(
    code=FailureCode.ELEMENT_NOT_FOUND,
    message="Nothing on the page matches `#checkout`.",
    hint="Check the selector against the failure's picture; the page may also need more time to load.",
    node_id="node-11",
    page_url="http://127.0.0.1:8003/cart",
)


def purchase(pictures: Iterator[bytes], *, until: int, began: datetime | None = None) -> Story:
    """The demo's story, told up to the node with the number `until`, which is at work."""
    document = chain("Demo: buy a ghost light", PURCHASE)
    story = Story(document, began=began or datetime.now(UTC) - timedelta(seconds=2 + until))
    story.wait(0.1)
    story.start()
    for index in range(until):
        play(story, index, next(pictures))
    if until < len(PURCHASE):
        story.begin(f"node-{until}")
        story.log("info", f"{PURCHASE[until]}…", f"node-{until}")
    return story


def play(story: Story, index: int, picture: bytes, media_type: str = "image/png") -> None:
    """One node of it from begin to end."""
    node_id = f"node-{index}"
    story.begin(node_id)
    story.log("debug", f"Waiting for the page to be ready for {PURCHASE[index]!r}.", node_id)
    story.log("info", f"{PURCHASE[index]}: done on the first element that matches.", node_id)
    story.show(node_id, picture, f"http://127.0.0.1:8003/step/{index}", media_type=media_type)
    if index == 7:
        story.log("warning", "The list took 1.8 s to load; pages of this shop usually take 0.2 s.", node_id)
    story.succeed(node_id)


PRODUCTS = [
    {"name": "Ghost light", "price": "€ 48.00", "link": "/product/ghost-light"},
    {"name": "Footlight, brass", "price": "€ 31.50", "link": "/product/footlight"},
    {"name": "Follow spot", "price": "€ 219.00", "link": "/product/follow-spot"},
    {"name": "Limelight", "price": "€ 77.00", "link": "/product/limelight"},
]
