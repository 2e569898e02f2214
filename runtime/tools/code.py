"""run_code: code in the sandbox, its result as JSON, what it printed as text, and its failures by kind.

There is no network in it at all; a brokered API, which the code could ask for pages, comes with the code agent.
"""

import re
from dataclasses import dataclass
from typing import Any, Final

from pydantic_core import from_json

from contracts.execution import FailureCode
from contracts.model import TenantId
from runtime.node import NodeFailure
from runtime.sandbox.limits import Bound, Ended, Limits
from runtime.sandbox.programs import Language
from runtime.sandbox.sandbox import Sandbox, SandboxUnavailable

MAX_S: Final = 60.0
"""Seconds of wall clock that one run may have (spec T3)."""
_LAST_LINES: Final = 12
_SAID: Final = 2_000
_LIMITS: Final = Limits()
_HINTS: Final = {
    Bound.MEMORY: f"All its processes together may hold {_LIMITS.memory >> 20} MiB; work on the data in parts.",
    Bound.PROCESSES: f"It may have {_LIMITS.processes} processes and threads; start fewer at once.",
    Bound.OUTPUT: f"It may print {_LIMITS.output >> 20} MiB; hand large values on as the result.",
    Bound.RESULT: f"The result's JSON may have {_LIMITS.result >> 20} MiB; hand on what is needed.",
    Bound.SCRATCH: f"Its temporary folder holds {_LIMITS.scratch >> 20} MiB in {_LIMITS.entries} files.",
}
_MEND: Final = "Mend the code; the log has what it printed."
_NO_NETWORK: Final = "Code has no network: fetch it with http_request or in a browser, and hand it in as an input."
_WANTS_NETWORK: Final = re.compile(r"name resolution|Network is unreachable|EAI_AGAIN|ENETUNREACH|getaddrinfo")
_OUT_OF_MEMORY: Final = (b"JavaScript heap out of memory", b"Fatal process out of memory")


@dataclass(frozen=True)
class Outcome:
    """What came of a run."""

    ended: Ended
    result: Any = None
    failure: NodeFailure | None = None
    """Why there is no result."""

    @property
    def received(self) -> int:
        """Bytes that came back."""
        return len(self.ended.frame or b"") + len(self.ended.stdout) + len(self.ended.stderr)

    @property
    def stdout(self) -> str:
        """What it printed."""
        return self.ended.stdout.decode(errors="replace")

    @property
    def stderr(self) -> str:
        """What it complained about."""
        return self.ended.stderr.decode(errors="replace")


async def run_code(
    sandbox: Sandbox, language: Language, code: str, inputs: Any, timeout_s: float, *, tenant_id: TenantId
) -> Outcome:
    """Run code that is given `inputs`, for at most `timeout_s` from the moment at which it has a place.

    Raises:
        NodeFailure: sandbox_unavailable; nothing of the code was run. Failures of the code are in the outcome, beside
            what it printed before.
    """
    try:
        ended = await sandbox.run(language, code, inputs, Limits(wall_s=timeout_s), tenant=tenant_id)
    except SandboxUnavailable as reason:
        raise NodeFailure(FailureCode.SANDBOX_UNAVAILABLE, reason.message, reason.hint) from reason
    if ended.late:
        message = f"The code was not done within {timeout_s:g} s."
        hint = f"Give it less to do, or up to {MAX_S:g} s of time."
        return Outcome(ended, failure=NodeFailure(FailureCode.CODE_TIMEOUT, message, hint))
    if ended.bound is not None:
        return Outcome(ended, failure=_exceed(ended.bound))
    if ended.frame is None:
        return Outcome(ended, failure=_explain_end(ended))
    return _read(ended, ended.frame)


def _read(ended: Ended, frame: bytes) -> Outcome:
    """What the code handed back; it may have written anything there."""
    try:
        answer = from_json(frame)
    except ValueError:
        answer = None
    match answer:
        case {"result": result}:
            return Outcome(ended, result)
        case {"error": "memory"}:
            return Outcome(ended, failure=_exceed(Bound.MEMORY))
        case {"error": "result", "message": str(message)}:
            failure = _fail(
                f"The result can't be handed on: {message}", "Make it of objects, lists, texts and numbers."
            )
            return Outcome(ended, failure=failure)
        case {"error": _, "message": str(message), "traceback": str(trace)}:
            hint = _NO_NETWORK if _WANTS_NETWORK.search(message) else _MEND
            return Outcome(ended, failure=_fail(_tell(message, trace), hint))
        case _:
            return Outcome(
                ended, failure=_fail("The code handed back what can't be read.", "Set a result of plain JSON.")
            )


def _tell(message: str, trace: str) -> str:
    """What was raised, and below it where."""
    raised = message.strip().rpartition("\n")[2].strip()  # of a mistake in the language itself, the place comes first
    lines = "\n".join(trace.strip().splitlines()[-_LAST_LINES:])[-_SAID:]
    if lines.startswith(raised):  # as JavaScript has it
        return lines
    return f"{raised[:_SAID]}\n{lines}".strip()


def _explain_end(ended: Ended) -> NodeFailure:
    """It ended by itself, and handed nothing back."""
    if any(words in ended.stderr for words in _OUT_OF_MEMORY):
        return _exceed(Bound.MEMORY)
    last = "\n".join(ended.stderr.decode(errors="replace").strip().splitlines()[-_LAST_LINES:])[-_SAID:]
    message = f"The code ended with status {ended.status} before it had a result."
    return _fail(f"{message}\n{last}".strip(), "Let it run to its end instead of ending the process.")


def _exceed(bound: Bound) -> NodeFailure:
    return NodeFailure(FailureCode.CODE_LIMIT, f"The code exceeded its limit on {bound}.", _HINTS[bound])


def _fail(message: str, hint: str) -> NodeFailure:
    return NodeFailure(FailureCode.CODE_FAILED, message, hint)
