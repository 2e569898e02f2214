"""Node types that do what a test needs: fail, hang, flood, remember."""

import asyncio
import contextlib
from typing import Any, ClassVar

from pydantic import Field

from contracts.execution import ArtifactKind, FailureCode
from runtime.handles import JsonData, Values
from runtime.node import Node, NodeFailure, Stage
from runtime.nodes.flow import Delay


class Line(Values):
    """What a node is told."""

    text: str = Field(default="", alias="Text", description="Some text.")


class Said(Values):
    """What a node says."""

    text: str = Field(alias="Text", description="Some text.")


class Value(Values):
    """Any value."""

    value: JsonData = Field(alias="Value", description="Any value.")


class Echo(Node[Line, Said]):
    """Says what it is told, and how often it was asked."""

    type_id, title, group, icon, description = "echo", "Echo", "Test", "circle", "Says what it is told."
    can_be_start_node = True
    asked: ClassVar[list[str]] = []

    async def run(self, inputs: Line, stage: Stage) -> Said:
        """Echo."""
        Echo.asked.append(stage.node_id)
        await stage.log("info", f"{stage.node_id} says {inputs.text}")
        return Said(text=inputs.text)


class EchoUnsafe(Echo):
    """As Echo, but must not run twice."""

    type_id, title = "echo_unsafe", "Echo unsafe"
    safe = False


class Hang(Node[Line, Said]):
    """Never comes to an end by itself."""

    type_id, title, group, icon, description = "hang", "Hang", "Test", "circle", "Never ends."
    can_be_start_node = True
    left: ClassVar[list[str]] = []

    async def run(self, inputs: Line, stage: Stage) -> Said:
        """Wait for ever."""
        await stage.log("info", "hanging")
        try:
            await asyncio.Event().wait()
        finally:
            Hang.left.append(stage.node_id)
        return Said(text="")


class HangUnsafe(Hang):
    """As Hang, but must not run twice."""

    type_id, title = "hang_unsafe", "Hang unsafe"
    safe = False


class HangOnce(Hang):
    """Hangs the first time, and echoes from then on."""

    type_id, title = "hang_once", "Hang once"

    async def run(self, inputs: Line, stage: Stage) -> Said:
        """Wait for ever, or not any more."""
        return Said(text=inputs.text) if Hang.left else await super().run(inputs, stage)


class PartUnsafe(Hang):
    """Comes to its end at the very moment it is cut off, and must not run twice."""

    type_id, title = "part_unsafe", "Part unsafe"
    safe = False

    async def run(self, inputs: Line, stage: Stage) -> Said:
        """Be done when there is no time left."""
        with contextlib.suppress(asyncio.CancelledError):
            await super().run(inputs, stage)
        return Said(text=inputs.text)


class Slip(Node[Line, Said]):
    """Fails for good, as it is told: it `acted`, it did `nothing`, or it is a `fault` of the node type itself."""

    type_id, title, group, icon, description = "slip", "Slip", "Test", "circle", "Fails for good."
    can_be_start_node = True
    safe = False

    async def run(self, inputs: Line, stage: Stage) -> Said:
        """Fail."""
        if inputs.text == "fault":
            raise RuntimeError("secret detail")
        raise NodeFailure(FailureCode.NAVIGATION_FAILED, "Slipped.", "Look.", acted=inputs.text == "acted")


class Stumble(Node[Line, Said]):
    """Fails as often as it is told, in a way that may pass."""

    type_id, title, group, icon, description = "stumble", "Stumble", "Test", "circle", "Fails at first."
    can_be_start_node = True
    falls: ClassVar[dict[str, int]] = {}

    async def run(self, inputs: Line, stage: Stage) -> Said:
        """Fail, or not any more."""
        Stumble.falls[inputs.text] = Stumble.falls.get(inputs.text, 0) + 1
        if Stumble.falls[inputs.text] < 2:
            raise NodeFailure(FailureCode.TIMEOUT, "Stumbled.", "Wait.", retryable=True)
        return Said(text=inputs.text)


class Stroll(Node[Line, Said]):
    """Takes its time, and gets there."""

    type_id, title, group, icon, description = "stroll", "Stroll", "Test", "circle", "Takes its time."
    can_be_start_node = True
    seconds: ClassVar[float] = 1

    async def run(self, inputs: Line, stage: Stage) -> Said:
        """Take them."""
        await asyncio.sleep(Stroll.seconds)
        return Said(text=inputs.text)


class Ponder(Node[Line, Said]):
    """Is at work until it is let go, and only lets time pass from then on."""

    type_id, title, group, icon, description = "ponder", "Ponder", "Test", "circle", "Works, then waits."
    can_be_start_node = True
    let_go: ClassVar[asyncio.Event]
    """A test's own."""

    async def run(self, inputs: Line, stage: Stage) -> Said:
        """Work, then wait."""
        await Ponder.let_go.wait()
        await stage.wait(300)
        return Said(text=inputs.text)


class Break(Node[Line, Said]):
    """Fails in a way that no node type should."""

    type_id, title, group, icon, description = "break", "Break", "Test", "circle", "Raises what it may not."
    can_be_start_node = True

    async def run(self, inputs: Line, stage: Stage) -> Said:
        """Raise."""
        raise RuntimeError("secret detail \x00")


class Flood(Node[Line, Value]):
    """Hands out more than fits inline, with characters that databases refuse."""

    type_id, title, group, icon, description = "flood", "Flood", "Test", "circle", "Hands out a lot."
    can_be_start_node = True

    async def run(self, inputs: Line, stage: Stage) -> Value:
        """Flood."""
        return Value(value={"text": "x" * 100_000, "odd": "\x00\ud800", "number": float("inf")})


class Dig(Node[Line, Value]):
    """Hands out lists in lists, as many levels as it is told."""

    type_id, title, group, icon, description = "dig", "Dig", "Test", "circle", "Hands out lists in lists."
    can_be_start_node = True

    async def run(self, inputs: Line, stage: Stage) -> Value:
        """Dig."""
        value: list[Any] = []
        for _ in range(int(inputs.text) - 1):
            value = [value]
        return Value(value=value)


class Measure(Node[Value, Said]):
    """Says how long a text it was given."""

    type_id, title, group, icon, description = "measure", "Measure", "Test", "circle", "Measures a text."
    can_be_start_node = True

    async def run(self, inputs: Value, stage: Stage) -> Said:
        """Measure."""
        return Said(text=str(len(inputs.value["text"])))


class Chatter(Node[Line, Said]):
    """Logs a lot, and stores a file."""

    type_id, title, group, icon, description = "chatter", "Chatter", "Test", "circle", "Logs a lot."
    can_be_start_node = True

    async def run(self, inputs: Line, stage: Stage) -> Said:
        """Chatter."""
        for number in range(200):
            await stage.log("debug", f"line {number}")
        artifact = await stage.store_artifact(ArtifactKind.FILE, "x.txt", "text/plain", b"hello")
        return Said(text=str(artifact.artifact_id))


TROUPE: tuple[type[Node[Any, Any]], ...] = (
    Echo,
    EchoUnsafe,
    Hang,
    HangUnsafe,
    HangOnce,
    PartUnsafe,
    Slip,
    Stumble,
    Stroll,
    Ponder,
    Break,
    Flood,
    Dig,
    Measure,
    Chatter,
    Delay,
)
