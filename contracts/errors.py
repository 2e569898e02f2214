"""The closed list of failures a caller can receive, and the exception that carries one.

ApiError(code, detail, hint)          what a handler raises
  └─ rendered by wiring/server as     Problem (RFC 9457, application/problem+json)
  └─ rebuilt by wiring/client from    Problem, so that a failure crosses the tiers unchanged
"""

import json
import re
from enum import StrEnum
from typing import Any

from pydantic import ValidationError

from contracts.model import Contract


class Code(StrEnum):
    """Why a call failed. Each code has one HTTP status and one answer to "is it worth trying again?"."""

    MALFORMED = "malformed"
    """The body is not JSON, or the request can't be read at all."""
    INVALID = "invalid"
    """The request was read, and a field of it is missing, unknown or wrong; `faults` names each."""
    WORKFLOW_INVALID = "workflow_invalid"
    """The workflow can't run as it stands; `faults` names node, handle and rule."""
    HOST_REFUSED = "host_refused"
    """A browser may not go to that host."""
    UNAUTHENTICATED = "unauthenticated"
    CROSS_SITE = "cross_site"
    """A write that came with a cookie from a page of another origin."""
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    NOT_ACCEPTABLE = "not_acceptable"
    CONFLICT = "conflict"
    """The thing is not in a state that allows this, or it exists already."""
    IDEMPOTENCY_MISMATCH = "idempotency_mismatch"
    """This Idempotency-Key was used before with another request."""
    VERSION_CONFLICT = "version_conflict"
    """Somebody saved in between; `If-Match` no longer names the latest version."""
    PRECONDITION_REQUIRED = "precondition_required"
    """The request does not say on which version it is based (RFC 6585, 3); a header that is named has to."""
    TOO_LARGE = "too_large"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    RANGE_NOT_SATISFIABLE = "range_not_satisfiable"
    BUDGET_EXCEEDED = "budget_exceeded"
    LIMIT_REACHED = "limit_reached"
    """A limit of the tenant (workflows, keys, members …) is used up."""
    RATE_LIMITED = "rate_limited"
    NOT_CONFIGURED = "not_configured"
    """This installation lacks a setting that this needs; the hint says which."""
    UNAVAILABLE = "unavailable"
    """Something behind this answer can't be reached now."""
    TIMEOUT = "timeout"
    INTERNAL = "internal"

    @property
    def status(self) -> int:
        """The HTTP status that goes with the code."""
        return _STATUS[self]

    @property
    def retryable(self) -> bool:
        """Whether the same call may succeed a little later."""
        return self in _RETRYABLE


_RETRYABLE = frozenset({Code.RATE_LIMITED, Code.UNAVAILABLE, Code.TIMEOUT})
_STATUS = {
    Code.MALFORMED: 400,
    Code.INVALID: 422,
    Code.WORKFLOW_INVALID: 422,
    Code.HOST_REFUSED: 422,
    Code.UNAUTHENTICATED: 401,
    Code.CROSS_SITE: 403,
    Code.FORBIDDEN: 403,
    Code.NOT_FOUND: 404,
    Code.METHOD_NOT_ALLOWED: 405,
    Code.NOT_ACCEPTABLE: 406,
    Code.CONFLICT: 409,
    Code.IDEMPOTENCY_MISMATCH: 409,
    Code.VERSION_CONFLICT: 409,
    Code.PRECONDITION_REQUIRED: 428,
    Code.TOO_LARGE: 413,
    Code.UNSUPPORTED_MEDIA_TYPE: 415,
    Code.RANGE_NOT_SATISFIABLE: 416,
    Code.BUDGET_EXCEEDED: 402,
    Code.LIMIT_REACHED: 409,
    Code.RATE_LIMITED: 429,
    Code.NOT_CONFIGURED: 501,
    Code.UNAVAILABLE: 503,
    Code.TIMEOUT: 504,
    Code.INTERNAL: 500,
}


class Fault(Contract):
    """One thing wrong with a request or a workflow."""

    where: str
    """A path into what was sent: `body.nodes[2].data.inputs["Selector"]`, `query.after`."""
    rule: str
    """A stable name of the broken rule, e.g. `missing`, `unknown_node_type`, `cycle`."""
    detail: str
    """The rule in words, about this very value."""
    node_id: str | None = None
    handle: str | None = None


Path = tuple[int | str, ...]
"""Keys and indices down into what was sent."""


def explain_validation(error: ValidationError, sent: Any) -> list[tuple[Path, str, str]]:
    """Where what was sent is wrong, the broken rule, and a clause about it, in words of the wire.

    pydantic names Python's classes and its own branches of unions, in places too: a person has sent neither. What no
    branch of a union takes is one fault of one place.
    """
    found: dict[tuple[Path, str], list[str]] = {}
    for one in error.errors(include_url=False, include_input=False):
        rule, clause = _put_in_words(one["type"], one["msg"], one.get("ctx", {}))
        path = _follow(one["loc"], sent, is_missing=rule == "missing")
        place = next((known for known in found if known[0] == path), (path, rule))
        found.setdefault(place, []).append(clause)
    return [(path, rule, _join(clauses)) for (path, rule), clauses in found.items()]


_ID_WORDS = "This is no id; one looks like 01890a5d-ac96-774b-bcce-b302099a8057"
_INSTANT_WORDS = "Write an instant as 2026-01-31T12:00:00Z"
_KINDS = {
    "extra_forbidden": ("unknown", "Unknown field"),
    "missing": ("missing", "Field required"),
    "model_type": ("object", "Expected an object"),
    "model_attributes_type": ("object", "Expected an object"),
    "dict_type": ("object", "Expected an object"),
    "is_instance_of": ("wrong_type", "Input has the wrong type"),
}
"""Rule and clause for those of pydantic's errors that speak of Python."""
_CLAUSES = {
    "bool": "Expected true or false",
    "date": _INSTANT_WORDS,
    "float": "Expected a number",
    "int": "Expected a whole number",
    "list": "Expected a list",
    "string": "Expected a text",
    "timezone": _INSTANT_WORDS,
    "uuid": _ID_WORDS,
}
"""Clause by what a value should be, for errors that only say that it is not that."""
_LENGTHS = {"string_too_short": ("minLength", "min_length"), "string_too_long": ("maxLength", "max_length")}
"""JSON Schema's rule for errors about lengths, and where they say the bound."""
_NOT_THAT = re.compile(r"([a-z]+?)(time)?_(type|parsing|parsing_size|from_float|from_date_parsing|aware|version)")


def _put_in_words(kind: str, said: str, context: dict[str, Any]) -> tuple[str, str]:
    match kind:
        case "union_tag_not_found":
            return "missing", f"The field {context['discriminator']} says what it is, and is missing"
        case "union_tag_invalid":
            return "wrong_value", f"Its {context['discriminator']} must be one of {context['expected_tags']}"
        case "value_error" | "assertion_error":
            return "wrong_value", said.partition(", ")[2] or said
        case _ if kind in _LENGTHS:
            rule, bound = _LENGTHS[kind]
            return kind, _say_bound(rule, context[bound])
        case _ if kind in _KINDS:
            return _KINDS[kind]
        case _:
            shape = _NOT_THAT.fullmatch(kind)
            return kind, _CLAUSES.get(shape[1], said) if shape else said


def _follow(loc: Path, sent: Any, *, is_missing: bool) -> Path:
    """The steps of a place that lead through what was sent; the others name branches of the model."""
    path: list[int | str] = []
    here = sent
    for place, step in enumerate(loc, start=1):
        if _leads_on(here, step):
            here = here[step]
        elif not (is_missing and place == len(loc)):
            continue
        path.append(step)
    return tuple(path)


def _leads_on(here: Any, step: int | str) -> bool:
    if isinstance(here, list):
        return isinstance(step, int) and step < len(here)
    return isinstance(here, dict) and step in here


def _join(clauses: list[str]) -> str:
    first, *others = dict.fromkeys(clauses)
    same = next((start for start in ("Input should be ", "Expected ") if first.startswith(start)), "")
    return " or ".join([first, *(other.removeprefix(same) for other in others)])


def explain_schema_rule(rule: str, wanted: Any, schema: Any, said: str) -> str:
    """A clause about a rule of JSON Schema that a value breaks.

    Validators quote the value, which may be long or secret, and show lists and patterns as programs write them.

    Args:
        rule: the keyword, e.g. `enum`.
        wanted: what the schema says for it.
        schema: what it stands in.
        said: the validator's own message, for rules that nothing is known of here.
    """
    match rule:
        case "enum":
            clause = f"Must be one of {', '.join(map(_show, wanted))}"
        case "const":
            clause = f"Must be {_show(wanted)}"
        case "type":
            kinds = wanted if isinstance(wanted, list) else [wanted]
            clause = f"Expected {' or '.join(_JSON_KINDS.get(kind, str(kind)) for kind in kinds)}"
        case "format":
            clause = _FORMATS.get(wanted, f"This is no {wanted}")
        case "pattern" if isinstance(schema, dict) and "description" in schema:
            clause = f"This does not look like one. {str(schema['description']).rstrip('.')}"
        case _:
            clause = _say_bound(rule, wanted) if rule in _BOUNDS else said
    return clause


def _say_bound(rule: str, bound: Any) -> str:
    return "Must not be empty" if (rule, bound) == ("minLength", 1) else _BOUNDS[rule].format(bound)


def _show(value: Any) -> str:
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)


_FORMATS = {"uuid": _ID_WORDS, "date-time": _INSTANT_WORDS}
_JSON_KINDS = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "a whole number",
    "null": "null",
    "number": "a number",
    "object": "an object",
    "string": "a text",
}
_BOUNDS = {
    "minimum": "Must be at least {}",
    "maximum": "Must be at most {}",
    "exclusiveMinimum": "Must be more than {}",
    "exclusiveMaximum": "Must be less than {}",
    "minLength": "Must have at least {} characters",
    "maxLength": "Must have at most {} characters",
    "minItems": "Must have at least {} entries",
    "maxItems": "Must have at most {} entries",
    "minProperties": "Must have at least {} fields",
    "maxProperties": "Must have at most {} fields",
}


class Problem(Contract):
    """RFC 9457 problem document, the body of every answer that is not a success."""

    type: str
    title: str
    status: int
    detail: str
    """What failed."""
    hint: str
    """The way out: what the caller can do now."""
    code: Code
    request_id: str
    faults: list[Fault] = []
    retry_after: float | None = None
    """Seconds to wait; also sent as `Retry-After`."""


class ApiError(Exception):
    """A failure that a caller may see. Anything else that escapes a handler becomes `internal`."""

    def __init__(
        self,
        code: Code,
        detail: str,
        hint: str = "",
        *,
        faults: list[Fault] | None = None,
        retry_after: float | None = None,
        renewable: bool = False,
        headers: dict[str, str] | None = None,
    ) -> None:
        """`renewable`: the credential was good and has come to its end, so that a renewed one will do.

        `headers`: what an answer over HTTP has to say besides the problem.
        """
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
        self.hint = hint or _HINT[code]
        self.faults = faults or []
        self.retry_after = retry_after
        self.renewable = renewable
        self.headers = headers or {}


_HINT = {
    Code.MALFORMED: "Send a JSON object, UTF-8, as application/json.",
    Code.INVALID: "Mend the named fields and send it again; /api/docs shows what each endpoint takes.",
    Code.WORKFLOW_INVALID: "Mend the named nodes and validate again.",
    Code.HOST_REFUSED: "Ask the owner of this installation to add the host to the allowed hosts.",
    Code.UNAUTHENTICATED: "Sign in, or send a fresh token or API key in the Authorization header.",
    Code.CROSS_SITE: "Send the request from this installation's own page, or use a token instead of the cookie.",
    Code.FORBIDDEN: "Ask an owner or admin of the tenant for a role that allows this.",
    Code.NOT_FOUND: "Check the id; things of other tenants are not shown either.",
    Code.METHOD_NOT_ALLOWED: "Use one of the methods in the Allow header.",
    Code.NOT_ACCEPTABLE: "This address speaks another protocol; /api/docs says which.",
    Code.CONFLICT: "Read the thing again: its state has changed.",
    Code.IDEMPOTENCY_MISMATCH: "Use a new Idempotency-Key for a new request.",
    Code.VERSION_CONFLICT: "Load the latest version, put your change on top and save again.",
    Code.PRECONDITION_REQUIRED: "Read the thing, and send its ETag back as If-Match.",
    Code.TOO_LARGE: "Send less; large values belong into artifacts.",
    Code.UNSUPPORTED_MEDIA_TYPE: "Send the body as application/json.",
    Code.RANGE_NOT_SATISFIABLE: "Ask for a range inside the artifact's size.",
    Code.BUDGET_EXCEEDED: "Raise the budget or wait for the next period.",
    Code.LIMIT_REACHED: "Delete what is no longer needed, or ask the owner to raise the limit.",
    Code.RATE_LIMITED: "Wait for retry_after seconds and try again.",
    Code.NOT_CONFIGURED: "Ask whoever runs this installation to set what is missing.",
    Code.UNAVAILABLE: "Nothing was lost; try again in a moment.",
    Code.TIMEOUT: "Try again in a moment; the work may have been done, so read before you repeat.",
    Code.INTERNAL: "This is a fault of the server; report it with the request id.",
}
