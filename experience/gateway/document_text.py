"""Workflow documents as text, JSON or YAML: what export writes and import reads (spec W1).

Both say the same. Of YAML the part is taken that JSON can say too: no aliases (a few lines of them unfold to
gigabytes), no tags, and a plain scalar is a number, a truth value or null only where JSON would read it so. Dates,
`yes` and `12:30` stay the texts they look like.
"""

import math
import re
from collections.abc import Iterator
from typing import Any, assert_never

import yaml
from pydantic import ValidationError
from pydantic_core import from_json, to_json

from contracts.errors import ApiError, Code, Fault, explain_validation
from contracts.model import MAX_DEPTH as FIELD_DEPTH
from contracts.model import is_too_deep
from contracts.workflow import CreateWorkflow, TextFormat, WorkflowDocument

MAX_DEPTH = 1 + FIELD_DEPTH
"""Levels of lists and objects: the document, and those that a field of a request may have."""
MAX_EVENTS = 400_000
"""Parts of a YAML text (scalars, beginnings and ends): about twice what the largest document has."""
_MAX_FAULTS = 50
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")


class _Loader(yaml.CSafeLoader):
    """Reads plain scalars as JSON does."""

    yaml_implicit_resolvers: dict[str, list[Any]] = {}  # noqa: RUF012 — declared so by the library


class _Dumper(yaml.CSafeDumper):
    """Writes no anchors, and quotes what either this reader or an older one would not take for a text."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"(?:null|~|)$"), ["n", "~", ""])
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"(?:true|false)$"), ["t", "f"])
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"-?(0|[1-9][0-9]{0,18})$"), list("-0123456789"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(_NUMBER.pattern + "$"), list("-0123456789"))
_Dumper.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(_NUMBER.pattern + "$"), list("-0123456789"))


def write_document(document: WorkflowDocument, form: TextFormat) -> str:
    """The document as text that `read_document` reads back as the same."""
    match form:
        case "json":
            return document.model_dump_json(indent=2) + "\n"
        case "yaml":
            data = document.model_dump(mode="json")
            text: str = yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
            return text
        case _:
            assert_never(form)


def read_document(text: str, form: TextFormat | None) -> CreateWorkflow:
    """The document that a text holds; without `form`, a text that begins with a brace is JSON.

    Raises:
        ApiError: MALFORMED when the text can't be read as its format, INVALID when it is no workflow document; the
            faults name the line of the text or the place in the document.
    """
    text = text.removeprefix("\ufeff")
    chosen = form or ("json" if text.lstrip().startswith("{") else "yaml")
    value = _read_json(text) if chosen == "json" else _read_yaml(text)
    if not isinstance(value, dict):
        fault = Fault(where="document", rule="object", detail="Expected an object.")
        raise _refuse([fault])
    if is_too_deep(value, MAX_DEPTH):
        detail = f"Lists and objects may nest {MAX_DEPTH} levels deep, no deeper."
        raise _refuse([Fault(where="document", rule="too_deep", detail=detail)])
    if faults := list(_find_unstorable(value, "document")):
        raise _refuse(faults[:_MAX_FAULTS])
    try:
        return CreateWorkflow.model_validate_json(to_json(value), strict=True)
    except ValidationError as error:
        found = explain_validation(error, value)[:_MAX_FAULTS]
        places = [("document" + "".join(map(_step, path)), rule, clause) for path, rule, clause in found]
        faults = [Fault(where=where, rule=rule, detail=f"{clause}.") for where, rule, clause in places]
        raise _refuse(faults) from None


def _read_json(text: str) -> Any:
    try:
        return from_json(text, allow_inf_nan=False)
    except ValueError as error:
        raise _malformed("JSON", str(error)) from None


def _read_yaml(text: str) -> Any:
    try:
        _check_events(text)
        return yaml.load(text, Loader=_Loader)  # noqa: S506 — a safe loader, with fewer types
    except yaml.MarkedYAMLError as error:
        raise _malformed("YAML", error.problem or "can't be read", error.problem_mark) from None
    except (yaml.YAMLError, UnicodeError) as error:
        raise _malformed("YAML", str(error).splitlines()[0]) from None


def _check_events(text: str) -> None:
    """Look at a text's parts before anything is built from them."""
    depth = 0
    for number, event in enumerate(yaml.parse(text, Loader=_Loader)):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if isinstance(event, yaml.AliasEvent):
            raise _malformed("YAML", "aliases are not taken: write the value out", event.start_mark)
        if getattr(event, "tag", None) is not None:
            raise _malformed("YAML", "tags are not taken", event.start_mark)
        if depth > MAX_DEPTH:
            raise _malformed("YAML", f"nested deeper than {MAX_DEPTH}", event.start_mark)
        if number > MAX_EVENTS:
            raise _malformed("YAML", "it has too many parts", event.start_mark)


def _find_unstorable(value: Any, where: str) -> Iterator[Fault]:
    match value:
        case dict():
            for key, item in value.items():
                if not isinstance(key, str) or "\x00" in key:
                    yield Fault(where=where, rule="key", detail=f"The key {key!r:.100} is not a text.")
                else:
                    yield from _find_unstorable(item, where + _step(key))
        case list():
            for place, item in enumerate(value):
                yield from _find_unstorable(item, where + _step(place))
        case str() if "\x00" in value:
            yield Fault(where=where, rule="unstorable", detail="NUL characters can't be stored.")
        case float() if not math.isfinite(value):
            yield Fault(where=where, rule="unstorable", detail="A number this large can't be stored.")


def _step(part: int | str) -> str:
    return f"[{part}]" if isinstance(part, int) else f".{part:.100}"


def _malformed(form: str, why: str, mark: Any = None) -> ApiError:
    where = "body.text" if mark is None else f"body.text line {mark.line + 1}, column {mark.column + 1}"
    fault = Fault(where=where, rule="malformed", detail=f"{why}.")
    hint = "Send a workflow document as JSON or YAML text; `format` says which."
    return ApiError(Code.MALFORMED, f"The text can't be read as {form}: {where}: {why}.", hint, faults=[fault])


def _refuse(faults: list[Fault]) -> ApiError:
    more = f" And {len(faults) - 1} more." if len(faults) > 1 else ""
    hint = "Mend the named places of the document and import it again."
    detail = f"The text is not a workflow document: {faults[0].where}: {faults[0].detail}{more}"
    return ApiError(Code.INVALID, detail, hint, faults=faults)
