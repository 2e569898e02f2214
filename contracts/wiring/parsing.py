"""A request's path, query, headers and body → the declared request model, or a problem that names every fault.

Bodies are validated in pydantic's strict JSON mode, and query values become the JSON they look like first, so that
what the document promises (an integer, a boolean) is what is accepted, nothing looser.
"""

import asyncio
import math
import re
from collections.abc import Mapping
from functools import reduce
from operator import getitem
from typing import Any, TypeVar, cast

from pydantic import ValidationError
from pydantic_core import from_json, to_json
from starlette.requests import ClientDisconnect, Request

from contracts.declare import Endpoint
from contracts.errors import ApiError, Code, Fault, Path, explain_validation
from contracts.model import MAX_DEPTH, Contract, Whence, is_too_deep

ReqT = TypeVar("ReqT", bound=Contract)

_DRAIN_LIMIT = 32 * 1_048_576
_DRAIN_S = 5.0
_LONGEST_LENGTH = 18
"""Digits of a Content-Length."""
_MAX_FAULTS = 50
"""Of one answer."""
_INTEGER = re.compile(r"-?(0|[1-9]\d{0,18})")
_NUMBER = re.compile(r"-?(0|[1-9]\d{0,18})(\.\d{1,18})?([eE][+-]?\d{1,3})?")
_JSON_TYPE = re.compile(r"application/(json|[\w.+-]+\+json)\s*(;.*)?", re.IGNORECASE)


class Parser:
    """Parses requests of one endpoint; what can be known from the declaration is worked out once."""

    def __init__(self, endpoint: Endpoint[ReqT, Any], max_depth: int = MAX_DEPTH) -> None:
        """`max_depth`: levels of lists and objects that a field of a body may have."""
        self._endpoint = endpoint
        self._max_depth = max_depth
        self._model = endpoint.request
        places = endpoint.places
        self._query = {name for name, place in places.items() if place == "query"}
        self._body = {name for name, place in places.items() if place == "body"}
        self._kinds = _json_kinds(self._model)

    async def parse(self, request: Request) -> Any:
        """The request model.

        Raises:
            ApiError: MALFORMED, INVALID, TOO_LARGE, UNSUPPORTED_MEDIA_TYPE, or NOT_FOUND for an id that is none.
        """
        faults: list[Fault] = []
        fields = self._from_query(request, faults)
        if self._endpoint.has_body:
            fields |= await self._from_body(request, faults)
        fields |= self._from_headers(request)
        fields |= {name: _read_value(text, self._kinds[name]) for name, text in request.path_params.items()}
        if _holds_unstorable(fields):
            detail = "NUL characters and infinite numbers can't be stored."
            faults.append(Fault(where="request", rule="unstorable", detail=detail))
        try:
            parsed = self._validate(fields)
        except ValidationError as error:
            raise self._refuse(faults, error, fields) from None
        if faults:
            raise ApiError(Code.INVALID, _sentence(faults), faults=faults[:_MAX_FAULTS])
        return parsed

    def _validate(self, fields: dict[str, Any]) -> Contract:
        try:
            return self._model.model_validate_json(to_json(fields), strict=True)
        except ValidationError as error:
            if not _write_whole_numbers(fields, error):
                raise
        return self._model.model_validate_json(to_json(fields), strict=True)

    def _from_query(self, request: Request, faults: list[Fault]) -> dict[str, Any]:
        fields: dict[str, Any] = {}
        for name in request.query_params:
            values = request.query_params.getlist(name)
            if name not in self._query:
                known = ", ".join(sorted(self._query)) or "none"
                detail = f"Unknown parameter; known here: {known}."
                faults.append(Fault(where=f"query.{name[:100]}", rule="unknown", detail=detail))
            elif len(values) > 1 and "array" not in self._kinds[name]:
                faults.append(Fault(where=f"query.{name}", rule="repeated", detail="Give this parameter once."))
            elif self._counts_seconds(name, values):
                faults.append(_no_instant(f"query.{name}"))
            else:
                read = [_read_value(value, self._kinds[name]) for value in values]
                fields[name] = read if "array" in self._kinds[name] else read[0]
        return fields

    def _from_headers(self, request: Request) -> dict[str, Any]:
        named = self._endpoint.header_names.items()
        sent = {name: request.headers[header] for name, header in named if header in request.headers}
        return {name: _read_value(text, self._kinds[name]) for name, text in sent.items()}

    async def _from_body(self, request: Request, faults: list[Fault]) -> dict[str, Any]:
        raw = await read_body(request, self._endpoint.body_limit)
        if not raw:
            return {}
        coding = request.headers.get("content-encoding", "identity")
        if coding.lower() != "identity":
            detail = f"The body came with Content-Encoding {coding[:100]}."
            raise ApiError(Code.UNSUPPORTED_MEDIA_TYPE, detail, "Send the body as it is, without Content-Encoding.")
        if not _JSON_TYPE.fullmatch(request.headers.get("content-type", "")):
            sent = request.headers.get("content-type", "no content type")[:100]
            raise ApiError(Code.UNSUPPORTED_MEDIA_TYPE, f"The body came as {sent}, not as application/json.")
        try:
            body = from_json(raw, allow_inf_nan=False)
        except ValueError as error:
            raise ApiError(Code.MALFORMED, f"The body is not JSON: {error}.") from None
        if not isinstance(body, dict):
            raise ApiError(Code.INVALID, "The body must be a JSON object.", faults=[_NOT_OBJECT])
        unknown = sorted(body.keys() - self._body)[:_MAX_FAULTS]
        faults += [Fault(where=f"body.{name[:100]}", rule="unknown", detail="Unknown field.") for name in unknown]
        known = {name: value for name, value in body.items() if name in self._body}
        faults += [_no_instant(f"body.{name}") for name, value in known.items() if self._counts_seconds(name, [value])]
        too_deep = f"Lists and objects may nest {self._max_depth} levels deep, no deeper."
        faults += [
            Fault(where=f"body.{name}", rule="too_deep", detail=too_deep)
            for name, value in known.items()
            if is_too_deep(value, self._max_depth)
        ]
        return known

    def _counts_seconds(self, name: str, values: list[Any]) -> bool:
        # pydantic takes a number for an instant: seconds of the epoch, or milliseconds where it is large
        return "date-time" in self._kinds[name] and any(
            isinstance(value, int | float) or (isinstance(value, str) and _NUMBER.fullmatch(value)) for value in values
        )

    def _refuse(self, before: list[Fault], error: ValidationError, fields: dict[str, Any]) -> ApiError:
        found = explain_validation(error, fields)
        faults = [*before, *(self._fault(*one) for one in found)][:_MAX_FAULTS]
        in_path = [fault for fault in faults if fault.where.startswith("path.")]
        if in_path and not before:  # what else is wrong of the request comes first
            # an id that can't be one is an id of nothing; answering 404 leaves no way to tell the two apart
            name, said = in_path[0].where.removeprefix("path."), in_path[0].detail
            detail = f"Nothing has that {name}: {said[:1].lower()}{said[1:]}"
            return ApiError(Code.NOT_FOUND, detail, faults=faults)
        return ApiError(Code.INVALID, _sentence(faults), faults=faults)

    def _fault(self, loc: Path, rule: str, detail: str) -> Fault:
        if not loc:
            return Fault(where="request", rule=rule, detail=f"{detail}.")
        head = str(loc[0])
        place = self._endpoint.places.get(head, "body")
        name = self._endpoint.header_names.get(head, head)
        path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc[1:])
        return Fault(where=f"{place}.{name}{path}", rule=rule, detail=f"{detail}{self._say_whence(head)}.")

    def _say_whence(self, name: str) -> str:
        field = self._model.model_fields.get(name)
        marks = () if field is None else field.metadata
        return next((f"; {mark.clause}" for mark in marks if isinstance(mark, Whence)), "")


def _no_instant(where: str) -> Fault:
    return Fault(where=where, rule="datetime", detail="Write an instant as 2026-01-31T12:00:00Z.")


_NOT_OBJECT = Fault(where="body", rule="object", detail="Expected an object.")


async def read_body(request: Request, limit: int) -> bytes:
    """The whole body, at most `limit` bytes.

    Raises:
        ApiError: TOO_LARGE. What is left of the body is read and thrown away first (bounded), because a proxy that
            can't finish sending shows its client a broken connection instead of the answer.
    """
    chunks: list[bytes] = []
    size = 0
    too_large = ApiError(Code.TOO_LARGE, f"The body is larger than {limit} bytes, the most this endpoint takes.")
    try:
        if _declares_more(request, limit):
            if "expect" not in request.headers:  # who asks first has sent nothing yet, and waits for this answer
                await _drain(request)
            raise too_large
        async for chunk in request.stream():
            size += len(chunk)
            if size <= limit:
                chunks.append(chunk)
                continue
            await _drain(request)
            raise too_large
    except ClientDisconnect as error:
        raise ApiError(Code.MALFORMED, "The client went away before its request had arrived.") from error
    return b"".join(chunks)


def _declares_more(request: Request, limit: int) -> bool:
    declared = request.headers.get("content-length", "")
    return declared.isdecimal() and (len(declared) > _LONGEST_LENGTH or int(declared) > limit)


async def _drain(request: Request) -> None:
    size = 0
    try:
        async with asyncio.timeout(_DRAIN_S):
            while size < _DRAIN_LIMIT:
                message = await request.receive()
                size += len(message.get("body", b""))
                if message["type"] == "http.disconnect" or not message.get("more_body"):
                    return
    except TimeoutError:
        return


def _json_kinds(model: type[Contract]) -> dict[str, frozenset[str]]:
    schema = model.model_json_schema()
    return {name: frozenset(_kinds_of(prop)) for name, prop in schema.get("properties", {}).items()}


def _kinds_of(prop: Mapping[str, Any]) -> set[str]:
    kinds = {prop[key] for key in ("type", "format") if isinstance(prop.get(key), str)}
    for member in prop.get("anyOf", ()):
        kinds |= _kinds_of(member)
    return kinds


def _read_value(text: str, kinds: frozenset[str]) -> Any:
    if "boolean" in kinds and text in ("true", "false"):
        return text == "true"
    if "integer" in kinds and _INTEGER.fullmatch(text):
        return int(text)
    if "number" in kinds and _NUMBER.fullmatch(text):
        return float(text)
    return text


def _write_whole_numbers(fields: dict[str, Any], error: ValidationError) -> bool:
    """Make integers of what was refused as such and is one all the same: JSON Schema counts 1.0 as an integer."""
    found = False
    for path, rule, _ in explain_validation(error, fields):
        holder = reduce(getitem, path[:-1], cast("Any", fields))
        value = holder[path[-1]] if path and rule == "int_type" else None
        if isinstance(value, float) and value.is_integer():
            holder[path[-1]] = int(value)
            found = True
    return found


def _holds_unstorable(value: Any) -> bool:
    match value:
        case str():
            return "\x00" in value
        case float():
            return not math.isfinite(value)
        case dict():
            return any(_holds_unstorable(key) or _holds_unstorable(item) for key, item in value.items())
        case list():
            return any(_holds_unstorable(item) for item in value)
        case _:
            return False


def _sentence(faults: list[Fault]) -> str:
    first = f"{faults[0].where}: {faults[0].detail}"
    return first if len(faults) == 1 else f"{first} And {len(faults) - 1} more."
