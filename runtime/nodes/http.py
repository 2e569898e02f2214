"""Requests over HTTP, without a browser."""

import asyncio
import base64
import email.utils
import json
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlencode, urlsplit

from pydantic import Field, JsonValue, StringConstraints

from contracts.credential import CredentialKind
from contracts.execution import ArtifactKind, FailureCode
from contracts.model import MAX_DEPTH, is_too_deep
from runtime.charsets import UTF_8, read_text
from runtime.handles import CredentialName, FileRef, FromJsonText, JsonData, MayHoldSecret, NoEdge, Values, WebAddress
from runtime.node import Node, NodeFailure, Opened, Stage
from runtime.tools.http import Answer, HttpClient, HttpFailure, Limits, Outgoing, open_client, show
from runtime.tools.record import Moved, record_use

Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
BodyType = Literal["json", "form", "text"]
Scalar = str | int | float | bool
IDEMPOTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
"""Methods that do no more when repeated (RFC 9110, 9.2.2)."""
_KEY: Final = "Idempotency-Key"

INLINE_BYTES: Final = 262_144
"""Of a text that is handed on as it is; a larger one is kept as an artifact, as anything but text is."""
MAX_BYTES: Final = 64 * 1_048_576
_BUSY: Final = frozenset({429, 502, 503, 504})
"""Answers that may be better a little later."""
_ASKS_TO_WAIT: Final = frozenset({429, 503})
"""Answers that say with Retry-After that the request was not carried out."""
_FIRST_FAULTY_STATUS: Final = 400
_FIRST_UNCERTAIN_STATUS: Final = 500
"""A refusal (4xx) says that nothing was done; a fault of the server says nothing. Behind a redirect neither speaks for
what was asked first."""
_NO_BODY: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_BACKOFF_S: Final = 0.5
_MAX_BACKOFF_S: Final = 10.0
_MARGIN_S: Final = 0.5
_OURS: Final = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer", "expect", "keep-alive"}
)
"""Headers that belong to the connection, in lower case."""
_TYPES: Final = {"json": "application/json", "form": "application/x-www-form-urlencoded", "text": "text/plain"}
_MAX_HEADERS: Final = 100
_MAX_DATE: Final = 100
_MEDIA_TYPE: Final = re.compile(r"[\x20-\x7e]{1,200}")
_UNKNOWN: Final = "application/octet-stream"
_TOO_DEEP: Final = (
    f"The body nests lists and objects more than {MAX_DEPTH} levels deep.",
    "Choose “text” as Body Type, which sends it as it is, with its Content-Type in “Headers”.",
)
_COOKIE: Final = "[cookie]"
"""In place of a cookie's value."""

Pairs = Annotated[dict[str, Scalar | list[Scalar]], Field(max_length=_MAX_HEADERS), FromJsonText]


class HttpInputs(Values):
    """What to ask, and how long."""

    method: Annotated[Method, NoEdge()] = Field(
        default="GET",
        alias="Method",
        description=(
            "GET, HEAD, OPTIONS, PUT and DELETE do no more when repeated, and run again where a worker was lost; POST "
            "and PATCH only where the other side honours an Idempotency-Key."
        ),
    )
    url: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=8_000), WebAddress()] = Field(
        alias="URL", description="Address, with http:// or https://."
    )
    query: Annotated[Pairs, MayHoldSecret()] = Field(
        default={}, alias="Query", description="Parameters to add to the address: a JSON object of name → value."
    )
    headers: Annotated[Pairs, MayHoldSecret()] = Field(
        default={}, alias="Headers", description="A JSON object of name → value."
    )
    credential: CredentialName | None = Field(
        default=None,
        alias="Credential",
        description=(
            "Name of a credential to authenticate with: a login by Basic, a token as Bearer, a header as it is. It is "
            "sent to its domains only, and never along a redirect to another host."
        ),
    )
    body_type: Annotated[BodyType, NoEdge()] = Field(
        default="json",
        alias="Body Type",
        description="How it is sent: json, form (an object of fields), or text.",
    )
    body: Annotated[JsonData, MayHoldSecret()] = Field(
        default=None, alias="Body", description="What to send; not with GET, HEAD and OPTIONS."
    )
    keyed: Annotated[bool, NoEdge()] = Field(
        default=False,
        alias="Idempotency Key",
        description=(
            "The other side honours the header Idempotency-Key: it is sent, the same each time, and the request may be "
            "repeated."
        ),
    )
    timeout_s: Annotated[float, NoEdge(), Field(gt=0, le=3_600)] = Field(
        default=30.0,
        alias="Timeout",
        description="Seconds that one try may take, with redirects and the whole answer.",
    )
    retries: Annotated[int, NoEdge(), Field(ge=0, le=5)] = Field(
        default=2,
        alias="Retries",
        description=(
            "Further tries after a lost connection or a 429, 502, 503 or 504; Retry-After is heeded. What is not "
            "idempotent is sent again only if it can't have been carried out; a redirect may say that it was."
        ),
    )
    redirects: Annotated[int, NoEdge(), Field(ge=0, le=20)] = Field(
        default=5, alias="Redirects", description="How many to follow; 0 answers the redirect itself."
    )
    max_size: Annotated[int, NoEdge(), Field(ge=1, le=MAX_BYTES)] = Field(
        default=16 * 1_048_576, alias="Max Size", description="Bytes that the answer's body may have, decompressed."
    )
    fail_on_error: Annotated[bool, NoEdge()] = Field(
        default=True,
        alias="Fail On Error",
        description="Fail for a status from 400 on; else it is handed on.",
    )


class HttpOutputs(Values):
    """The answer. `Body` or `Artifact` is dead, depending on where the body is."""

    status: int = Field(alias="Status", description="The answer's status code.")
    headers: JsonData = Field(
        alias="Headers", description="An object of name, in lower case → value. What cookies hold is masked."
    )
    url: str = Field(alias="Final URL", description="Where the last redirect led, without the query.")
    body: JsonData = Field(
        default=None, alias="Body", description="The answer's body: as data where it is JSON, else as text."
    )
    artifact: FileRef | None = Field(
        default=None, alias="Artifact", description="The body as a file, where it is no text or a large one."
    )


class HttpRequest(Node[HttpInputs, HttpOutputs]):
    """One request and its answer. Whether it may run twice depends on its method, or on the other side (spec W7)."""

    type_id, title, group, icon = "http_request", "HTTP request", "Data", "send"
    description = "Sends a request to an API or a site, without a browser, and hands on the answer."
    credits = 2
    can_be_start_node = True
    safe = False
    safe_if = ({"Method": tuple(sorted(IDEMPOTENT))}, {"Idempotency Key": (True,)})

    async def run(self, inputs: HttpInputs, stage: Stage) -> HttpOutputs:
        """Send it, again where that helps and does no harm, and hand on what came back."""
        _check(inputs)
        with record_use(stage, self.type_id, f"{inputs.method} {show(inputs.url)}") as moved:
            answer = await _exchange(inputs, stage, moved)
            return await _conclude(inputs, answer, stage)


async def _exchange(inputs: HttpInputs, stage: Stage, moved: Moved) -> Answer:
    try:
        async with open_client(stage.network) as client:
            request = await _prepare(inputs, stage)
            moved.sent = len(request.body or b"")
            answer = await _send(client, request, inputs, stage)
            moved.received = len(answer.body)
            return answer
    except HttpFailure as failure:
        raise NodeFailure(failure.code, failure.message, failure.hint, acted=failure.sent) from failure


async def _conclude(inputs: HttpInputs, answer: Answer, stage: Stage) -> HttpOutputs:
    if inputs.fail_on_error and answer.status >= _FIRST_FAULTY_STATUS:
        led = f" led to {show(answer.url)}, which" if answer.redirected else ""
        raise NodeFailure(
            FailureCode.HTTP_FAILED,
            f"{show(inputs.url)}{led} answered {answer.status}: {_excerpt(answer)}",
            "Check what was sent, or turn “Fail On Error” off to go on with the status.",
            acted=answer.redirected or answer.status >= _FIRST_UNCERTAIN_STATUS,
        )
    try:
        return await _hand_on(answer, stage)
    except NodeFailure as failure:
        failure.acted = True
        raise


# --- the request


def _check(inputs: HttpInputs) -> None:
    try:
        parts = urlsplit(inputs.url)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fits, parts = False, urlsplit("")
    if not fits:
        raise _refuse(f"“{show(inputs.url)}” is no http or https address.", "Give the whole address, with https://.")
    if "@" in parts.netloc:
        raise _refuse(
            "The address holds a user's name or password.", "Put them into a credential and name that as “Credential”."
        )
    if inputs.body is not None and inputs.method in _NO_BODY:
        raise _refuse(f"{inputs.method} takes no body.", "Use POST, PUT or PATCH, or leave the body away.")
    ours = sorted(name for name in inputs.headers if name.strip().lower() in _OURS)
    if ours:
        raise _refuse(f"The header {ours[0]} is not yours to set.", "Leave it away: the connection takes care of it.")


def _refuse(message: str, hint: str) -> NodeFailure:
    return NodeFailure(FailureCode.INVALID_INPUT, message, hint)


async def _prepare(inputs: HttpInputs, stage: Stage) -> Outgoing:
    query = await stage.reveal("Query", inputs.query, inputs.url)
    headers = {name: _join(value) for name, value in inputs.headers.items()}
    headers = await stage.reveal("Headers", headers, inputs.url)
    bound = {name.lower() for name in headers} if stage.holds_credentials("Headers") else set()
    if (opened := await stage.open_credential("Credential", inputs.url)) is not None:
        name, value = _authenticate(opened, str(inputs.credential))
        headers = {key: kept for key, kept in headers.items() if key.lower() != name.lower()} | {name: value}
        bound.add(name.lower())
    body = None
    if inputs.body is not None:
        body = _encode(await stage.reveal("Body", _read_body(inputs), inputs.url), inputs.body_type)
        if not any(key.lower() == "content-type" for key in headers):
            headers["content-type"] = _TYPES[inputs.body_type]
    if inputs.keyed and not any(key.lower() == _KEY.lower() for key in headers):
        headers[_KEY] = stage.idempotency_key
    return Outgoing(
        inputs.method,
        _add_query(inputs.url, query),
        headers,
        body,
        bound_headers=frozenset(bound),
        body_is_bound=stage.holds_credentials("Body"),
    )


def _authenticate(opened: Opened, name: str) -> tuple[str, str]:
    values = opened.values
    match opened.kind:
        case CredentialKind.LOGIN:
            pair = f"{values['username']}:{values['password']}".encode()
            return "Authorization", f"Basic {base64.b64encode(pair).decode()}"
        case CredentialKind.TOKEN:
            return "Authorization", f"Bearer {values['token']}"
        case CredentialKind.HEADER:
            return values["name"], values["value"]
        case CredentialKind.FIELDS:
            raise _refuse(
                f"The credential “{name}” says nothing about how it is sent.",
                "Refer to its fields in “Headers”, “Query” or “Body”: {{credential." + name + ".FIELD}}.",
            )


def _read_body(inputs: HttpInputs) -> Any:
    """The body as data, before any secret is in it: a secret with a quotation mark must not end a JSON string."""
    if inputs.body_type == "text" or not isinstance(inputs.body, str):
        return inputs.body
    try:
        body = json.loads(inputs.body)
    except ValueError:
        return inputs.body
    except RecursionError:
        raise _refuse(*_TOO_DEEP) from None
    if is_too_deep(body):
        raise _refuse(*_TOO_DEEP)
    return body


def _encode(value: JsonValue, kind: BodyType) -> bytes:
    match kind:
        case "json":
            return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
        case "form" if isinstance(value, dict):
            return urlencode(_flatten(value), doseq=True, encoding="utf-8", errors="replace").encode()
        case "form":
            raise _refuse("A form's body must be an object of fields.", 'Write it as JSON: {"name": "value"}.')
        case "text":
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            return text.encode("utf-8", "replace")


def _add_query(url: str, query: Mapping[str, Any]) -> str:
    if not query:
        return url
    bare, hash_, fragment = url.partition("#")
    more = urlencode(_flatten(query), doseq=True, encoding="utf-8", errors="replace")
    return f"{bare}{'&' if '?' in bare else '?'}{more}{hash_}{fragment}"


def _flatten(values: Mapping[str, Any]) -> dict[str, str | list[str]]:
    return {
        name: [_spell(one) for one in value] if isinstance(value, list) else _spell(value)
        for name, value in values.items()
    }


def _join(value: Any) -> str:
    return ", ".join(map(_spell, value)) if isinstance(value, list) else _spell(value)


def _spell(value: Any) -> str:
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case dict() | list() | None:
            return json.dumps(value, ensure_ascii=False)
        case _:
            return str(value)


# --- tries


@dataclass(frozen=True)
class _Setback:
    """Why a try has to be made again, if it may be."""

    reason: str
    asked_s: float | None
    """How long the other side wants to be left alone."""


async def _send(client: HttpClient, request: Outgoing, inputs: HttpInputs, stage: Stage) -> Answer:
    for tried in range(inputs.retries + 1):
        left_s = stage.seconds_left - _MARGIN_S
        limits = Limits(inputs.redirects, inputs.max_size, max(_MARGIN_S, min(inputs.timeout_s, left_s)))
        try:
            answer = await client.send(request, limits)
            setback = _judge(answer, may_repeat=_may_repeat(inputs))
            if setback is None or tried == inputs.retries or not _fits(setback, tried, stage):
                return answer
        except HttpFailure as failure:
            may = failure.passing and (_may_repeat(inputs) or not failure.sent)
            setback = _Setback(failure.message, None)
            if not may or tried == inputs.retries or not _fits(setback, tried, stage):
                raise
        pause_s = _pause(setback, tried)
        await stage.log("warning", f"{setback.reason} It is tried again in {pause_s:.1f} s.")
        await asyncio.sleep(pause_s)
    raise AssertionError("the last try answers or raises")


def _may_repeat(inputs: HttpInputs) -> bool:
    return inputs.keyed or inputs.method in IDEMPOTENT


def _judge(answer: Answer, *, may_repeat: bool) -> _Setback | None:
    if answer.status not in _BUSY:
        return None
    asked_s = _read_retry_after(answer.header("retry-after"))
    was_not_done = answer.status in _ASKS_TO_WAIT and asked_s is not None and not answer.redirected
    if not may_repeat and not was_not_done:
        return None
    return _Setback(f"{show(answer.url)} answered {answer.status}.", asked_s)


def _fits(setback: _Setback, tried: int, stage: Stage) -> bool:
    """Whether there is time for the pause and for another try behind it."""
    return _least_pause(setback, tried) + _MARGIN_S * 2 < stage.seconds_left


def _least_pause(setback: _Setback, tried: int) -> float:
    backoff_s: float = min(_MAX_BACKOFF_S, _BACKOFF_S * 2**tried)
    return backoff_s if setback.asked_s is None else max(setback.asked_s, 0.0)


def _pause(setback: _Setback, tried: int) -> float:
    return _least_pause(setback, tried) + random.uniform(0, _BACKOFF_S / 2)  # noqa: S311 — spreads repetitions


def _read_retry_after(value: str) -> float | None:
    """Seconds or a date (RFC 9110, 10.2.3)."""
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        at = email.utils.parsedate_to_datetime(text[:_MAX_DATE])
        return max(0.0, (at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
    except (ValueError, OverflowError, TypeError, IndexError):  # whatever Python says to a date that is none
        return None


# --- the answer


async def _hand_on(answer: Answer, stage: Stage) -> HttpOutputs:
    known: dict[str, Any] = {"status": answer.status, "headers": _gather(answer), "url": show(answer.url)}
    text = _read_text(answer) if len(answer.body) <= INLINE_BYTES else None
    if text is not None:
        return HttpOutputs(**known, body=_read_data(answer, text))
    said = answer.header("content-type").strip()
    media_type = said if _MEDIA_TYPE.fullmatch(said) else _UNKNOWN
    name = urlsplit(answer.url).path.rpartition("/")[2][:100] or f"{stage.node_id}-answer"
    stored = await stage.store_artifact(ArtifactKind.FILE, name, media_type, answer.body)
    file = FileRef(artifact_id=stored.artifact_id, name=stored.name, media_type=stored.media_type, size=stored.size)
    return HttpOutputs(**known, artifact=file)


def _gather(answer: Answer) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, said in answer.headers:
        value = _mask_cookie(said) if name == "set-cookie" else said
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def _mask_cookie(said: str) -> str:
    """A Set-Cookie header without the cookie's value, which lets in whoever shows it: outputs are kept and shown."""
    pair, semicolon, attributes = said.partition(";")
    name, equals, value = pair.partition("=") if "=" in pair else ("", "", pair)  # RFC 6265bis: one without a name
    return f"{name}{equals}{_COOKIE if value.strip() else ''}{semicolon}{attributes}"


def _is_json(answer: Answer) -> bool:
    kind = answer.header("content-type").partition(";")[0].strip().lower()
    return kind == "application/json" or kind.endswith("+json")


def _read_text(answer: Answer) -> str | None:
    """The body as text, None where it is none."""
    kind, _, parameters = answer.header("content-type").partition(";")
    charset = parameters.lower().partition("charset=")[2].partition(";")[0].strip(' "') or "utf-8"
    is_text = kind.strip().lower().startswith("text/") or _is_json(answer) or "xml" in kind or "javascript" in kind
    if not is_text and (kind.strip() or b"\0" in answer.body):
        return None
    if is_text:
        return read_text(answer.body, charset)
    try:
        return UTF_8.decode(answer.body, "strict")
    except UnicodeDecodeError:
        return None


def _read_data(answer: Answer, text: str) -> Any:
    if not _is_json(answer):
        return text
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return text if is_too_deep(value) else value


def _excerpt(answer: Answer) -> str:
    text = (_read_text(answer) or "") if len(answer.body) <= INLINE_BYTES else ""
    shown = " ".join(text.split())
    limit = 300
    return (shown if len(shown) <= limit else f"{shown[:limit]}…") or "without saying why."


NODES = (HttpRequest,)
