"""One log format for every process: structured JSON for machines, aligned lines for a person at a terminal.

Fields that say where a line belongs, on every line from there on: `request_id`, `trace_id` and `span_id` (wiring/server
and wiring/tracing), `tenant_id` and `user_id` once it is known who asks, `execution_id`, `epoch`, `node_id` and
`attempt` in a run. docs/OPERATING.md lists them.
"""

import logging
import re
import sys
from collections.abc import Callable
from typing import Any, Literal, TextIO
from uuid import UUID

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from contracts.wiring.tracing import current_trace

_SECRETS = re.compile(
    r"(?P<kept>[?&;](?:token|ticket|code|password|secret|signature)=|\bBearer\s+|stagedoor=|://[^/\s:@\"]+:(?=[^/\s@\"]+@))"
    r"[^&\s\"'\\@,;)]+"
    r"|\b(?:rt|ss|iv|ln|tk)_[A-Za-z0-9_-]{32,}"
    r"|\bsd_[0-9a-f]{32}\.[A-Za-z0-9_-]+"
    r"|\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+"
)
"""The shapes of our credentials, and the places where others stand. What writes a line leaves them out by itself; this
is the second wall, for the words of libraries and the messages of exceptions."""


def configure(
    service: str,
    fmt: Literal["json", "console"],
    *,
    stream: TextIO = sys.stderr,
    scrub: Callable[[str], str] | None = None,
) -> None:
    """Route structlog and the standard library's loggers to `stream` in one format.

    Called once per process, before anything is logged. Context bound with `structlog.contextvars` is on every line.

    Args:
        scrub: takes out of a finished line what this process knows to be secret, beyond the shapes that all know.
    """

    def name_service(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event.setdefault("service", service)
        return event

    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        _name_trace,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        name_service,
    ]

    def scrub_line(_logger: WrappedLogger, _method: str, line: Any) -> str:
        return scrub(str(line)) if scrub is not None else str(line)

    final: list[Any] = (
        [_json_traces(), structlog.processors.JSONRenderer()]
        if fmt == "json"
        else [
            _drop_machine_ids,
            structlog.dev.ConsoleRenderer(colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback),
        ]
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *final, scrub_line, _redact],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    # uvicorn's own access log prints query strings, and with them tokens; ours (wiring/server) does not
    logging.getLogger("uvicorn.access").disabled = True
    logging.getLogger("uvicorn.error").addFilter(_names_no_handshake)
    for noisy in ("httpx", "httpcore", "websockets", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def bind_caller(tenant_id: UUID, user_id: UUID | None) -> None:
    """From here on, every line of this request says whose it is."""
    structlog.contextvars.bind_contextvars(tenant_id=str(tenant_id), user_id=str(user_id) if user_id else None)


def _name_trace(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    trace = current_trace()
    if trace is not None:
        event["trace_id"], event["span_id"] = trace.trace_id, trace.span_id
    return event


def _drop_machine_ids(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    # a person at a terminal looks for words, and each of these is half a line
    for name in ("trace_id", "span_id"):
        event.pop(name, None)
    return {name: value for name, value in event.items() if value is not None}


def _redact(_logger: WrappedLogger, _method: str, line: Any) -> str:
    return _SECRETS.sub(lambda found: f"{found['kept'] or ''}[redacted]", str(line))


def _names_no_handshake(record: logging.LogRecord) -> bool:
    # the same for sockets, also those that no route has taken, where nothing could redact the query
    return '"WebSocket %s"' not in str(record.msg)


def _json_traces() -> Processor:
    # without locals: they hold passwords, tokens and page text
    return structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False))
