"""W3C Trace Context: which trace a piece of work belongs to, from a client's request to the run that it caused.

Whoever calls may send `traceparent`; whoever sends none gets a trace of their own. Each process that takes part works
in a span of its own and hands its own id on, as the recommendation says (https://www.w3.org/TR/trace-context/, 3.4).
Nothing is exported: the ids stand in every line of the log, under the names that OpenTelemetry gives them.
"""

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

HEADER = "traceparent"
_SHAPE = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_KNOWN_FLAGS = 0b11
"""sampled and random; others are not ours to pass on."""


@dataclass(frozen=True, slots=True)
class Trace:
    """A place in a trace."""

    trace_id: str
    """32 hex digits, the same for all that one request has caused."""
    span_id: str
    """16 hex digits: this part of it."""
    flags: int = 0

    @property
    def header(self) -> str:
        """As `traceparent` of what is asked of others from here."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags:02x}"


_current: ContextVar[Trace | None] = ContextVar("trace", default=None)


def current_trace() -> Trace | None:
    """Where the running task stands; None outside of any trace."""
    return _current.get()


def current_parent() -> str | None:
    """What goes on from here later, or elsewhere, has as its `traceparent`."""
    trace = _current.get()
    return None if trace is None else trace.header


def trace_headers() -> dict[str, str]:
    """The header for a call from here; empty outside of any trace."""
    trace = _current.get()
    return {} if trace is None else {HEADER: trace.header}


@contextmanager
def in_trace(parent: str | None) -> Iterator[Trace]:
    """Work in a span of its own: below `parent`, a `traceparent`, or in a new trace where that is none."""
    trace = _begin(parent)
    token = _current.set(trace)
    try:
        yield trace
    finally:
        _current.reset(token)


def _begin(parent: str | None) -> Trace:
    span_id = secrets.token_hex(8)
    above = read_trace(parent) if parent else None
    return Trace(secrets.token_hex(16), span_id) if above is None else Trace(above.trace_id, span_id, above.flags)


def read_trace(header: str) -> Trace | None:
    """What a `traceparent` says; None for what is none, which then counts as not sent (3.2.2.3)."""
    found = _SHAPE.fullmatch(header.strip())
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    if version == "ff" or (version == "00" and more) or not trace_id.strip("0") or not span_id.strip("0"):
        return None
    return Trace(trace_id, span_id, int(flags, 16) & _KNOWN_FLAGS)
