"""Checks of what a person typed into a node: literal values against their ports, settings against their meaning."""

import json
import math
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from contracts.errors import explain_schema_rule
from contracts.model import is_too_deep
from contracts.workflow import DataType, JsonObject, NodeType, OnError, Port
from runtime.engine.casts import OPAQUE
from runtime.engine.references import find_reference_fault
from runtime.engine.retry import MAX_ATTEMPTS

EXPRESSION = "${{"
_TRUTHS = {"true": True, "false": False}
_MAX_NODE_TIMEOUT_S = 3_600
_MAX_TEXT = 2_000
"""Characters of a validator's sentence that are shown: it quotes the value."""

Complaint = tuple[str, str]
"""A broken rule and a sentence about it."""


def find_literal_fault(value: Any, port: Port) -> Complaint | None:
    """What is wrong with a literal, or None. A text that says a number counts as one, as forms send it."""
    if holds_expression(value):
        return (
            "expressions_not_supported_yet",
            f"“{port.name}” holds a ${{{{ … }}}} expression; this version takes plain values and edges only.",
        )
    if (complaint := find_reference_fault(value, port)) is not None:
        return complaint
    if port.type in OPAQUE - {DataType.CREDENTIAL}:
        return "literal_not_allowed", f"“{port.name}” takes an edge, not a typed value."
    return _find_type_fault(coerce_literal(value, port.type), port)


def holds_expression(value: Any) -> bool:
    """Whether an expression stands anywhere in a value."""
    if isinstance(value, str):
        return EXPRESSION in value
    if isinstance(value, dict):
        return any(holds_expression(part) for part in value.values())
    return isinstance(value, list) and any(holds_expression(part) for part in value)


def coerce_literal(value: Any, type_: DataType) -> Any:
    """The value that a form's text stands for; whatever doesn't stand for one stays as it is."""
    match type_:
        case DataType.NUMBER if isinstance(value, str):
            return _read_number(value)
        case DataType.BOOLEAN if isinstance(value, str):
            return _TRUTHS.get(value.strip().lower(), value)
        case DataType.STRING if isinstance(value, int | float) and not isinstance(value, bool):
            return str(value)
        case DataType.JSON if isinstance(value, str):
            return _read_json(value)
        case _:
            return value


def _read_number(text: str) -> Any:
    try:
        number = float(text)
    except ValueError:
        return text
    return number if math.isfinite(number) else text


def _read_json(text: str) -> Any:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return text if is_too_deep(value) else value


def _find_type_fault(value: Any, port: Port) -> Complaint | None:
    if not port.value_schema:
        return None
    validator = _make_validator(json.dumps(port.value_schema, sort_keys=True))
    if validator.is_valid(value):
        return None
    error = best_match(validator.iter_errors(value))
    if error is None:
        return "wrong_type", f"“{port.name}” ({port.type}) does not fit."
    said = explain_schema_rule(str(error.validator), error.validator_value, error.schema, error.message[:_MAX_TEXT])
    return "wrong_type", f"“{port.name}” ({port.type}): {said}."


@lru_cache(maxsize=1_024)
def _make_validator(schema: str) -> Draft202012Validator:
    return Draft202012Validator(json.loads(schema))


def find_setting_faults(settings: JsonObject, kind: NodeType) -> Iterator[tuple[str, str, str]]:
    """Setting, rule and sentence for each setting of a node that means nothing or can't mean what it says."""
    for name, value in settings.items():
        check = _SETTINGS.get(name)
        if check is None:
            known = ", ".join(sorted(_SETTINGS))
            yield name, "unknown_setting", f"There is no setting “{name}”; known are {known}."
        elif said := check(value):
            yield name, "wrong_setting", f"“{name}” {said}."
    if settings.get("on_error") == OnError.USE_DEFAULT or "default" in settings:
        yield from _find_default_faults(settings.get("default", {}), kind)
    if "join" in settings and not any(port.mergeable for port in kind.inputs):
        yield (
            "join",
            "wrong_setting",
            f"“join” says nothing here: {kind.title} has no input where several edges may end.",
        )


def _find_default_faults(defaults: Any, kind: NodeType) -> Iterator[tuple[str, str, str]]:
    ports = [port.name for port in kind.outputs if port.type not in OPAQUE]
    if not isinstance(defaults, dict):
        return
    missing = [name for name in ports if name not in defaults]
    if missing:
        yield "default", "missing_default", f"“default” must give a value for {', '.join(missing)}."
    for name in defaults:
        if name not in ports:
            yield "default", "unknown_handle", f"“default” names “{name}”, which {kind.title} does not put out as data."


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _one_of(*options: str) -> Callable[[Any], str]:
    return lambda value: "" if value in options else f"must be one of {', '.join(options)}"


_SETTINGS: dict[str, Callable[[Any], str]] = {
    "attempts": lambda value: (
        ""
        if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_ATTEMPTS
        else f"must be a whole number from 1 to {MAX_ATTEMPTS}"
    ),
    "timeout_s": lambda value: (
        ""
        if _is_number(value) and 0 < value <= _MAX_NODE_TIMEOUT_S
        else f"must be a number of seconds above 0, at most {_MAX_NODE_TIMEOUT_S}"
    ),
    "on_error": _one_of(*OnError),
    "critical": lambda value: "" if isinstance(value, bool) else "must be true or false",
    "join": _one_of("any", "all", "first"),
    "default": lambda value: "" if isinstance(value, dict) else "must be an object: a value by output",
}
