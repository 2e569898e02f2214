"""References to credentials in what a person typed, `{{credential.NAME.FIELD}}`, where an input may hold one. Pure.

Only what stands in the document is ever resolved. A text that came over an edge may look the same and stays a text: a
page must not be able to ask for a credential.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from contracts.errors import Fault
from contracts.workflow import DataType, NodeType, Port, WorkflowDocument

_REFERENCE: Final = re.compile(
    r"(?<!\$)\{\{\s*credential\.(?P<name>[A-Za-z][\w-]*)\.(?P<field>[A-Za-z]\w*)\s*\}\}", re.ASCII
)
_BEGINNING: Final = re.compile(r"(?<!\$)\{\{\s*credentials?\b", re.ASCII)
HOW: Final = "Write {{credential.NAME.FIELD}}."


@dataclass(frozen=True, order=True)
class Reference:
    """One field of one credential."""

    name: str
    field: str

    def __str__(self) -> str:
        return f"credential.{self.name}.{self.field}"


@dataclass(frozen=True)
class Known:
    """What there is of a credential, as far as a document can be checked against it."""

    fields: Collection[str]
    bound: bool
    """Whether it may go anywhere at all."""


def find_references(value: Any) -> set[Reference]:
    """All that stand anywhere in a value; keys of objects hold none."""
    return {Reference(found["name"], found["field"]) for text in _texts(value) for found in _REFERENCE.finditer(text)}


def fill_references(value: Any, values: Mapping[Reference, str]) -> Any:
    """The value with each reference replaced. Raises KeyError for one without a value."""
    match value:
        case str():
            return _REFERENCE.sub(lambda found: values[Reference(found["name"], found["field"])], value)
        case dict():
            return {key: fill_references(part, values) for key, part in value.items()}
        case list():
            return [fill_references(part, values) for part in value]
        case _:
            return value


def find_reference_fault(value: Any, port: Port) -> tuple[str, str] | None:
    """A broken rule and a sentence, where a text means to refer to a credential and can't."""
    if not any(_BEGINNING.search(text) for text in _texts(value)):
        return None
    if not port.secret:
        said = f"“{port.name}” can't hold a credential, because what it holds is recorded and shown."
        return "credential_not_allowed", said
    if any(_BEGINNING.search(_REFERENCE.sub("", text)) for text in _texts(value)):
        return "credential_reference", f"“{port.name}” holds something like a reference to a credential. {HOW}"
    return None


def name_credentials(value: Any, port: Port) -> set[Reference]:
    """What an input's typed value asks of credentials; an input of type CREDENTIAL asks for one as a whole."""
    if port.type is DataType.CREDENTIAL:
        return {Reference(value, "")} if isinstance(value, str) and value else set()
    return find_references(value) if port.secret else set()


def find_used(document: WorkflowDocument, catalogue: Mapping[str, NodeType]) -> set[str]:
    """Names of the credentials that a document refers to."""
    return {reference.name for *_, reference in _walk(document, catalogue)}


def check_credentials(
    document: WorkflowDocument, catalogue: Mapping[str, NodeType], known: Mapping[str, Known]
) -> list[Fault]:
    """Faults for what a document asks for and the tenant's vault has not.

    They bar running it and not keeping it: a workflow may be drawn, or imported, before its credentials are there.
    """
    faults = []
    for index, node_id, port, reference in _walk(document, catalogue):
        if (complaint := _find_fault(reference, known.get(reference.name))) is not None:
            rule, detail = complaint
            where = f'body.nodes[{index}].data.inputs["{port.name}"]'
            faults.append(Fault(where=where, rule=rule, detail=detail, node_id=node_id, handle=port.name))
    return faults


def _find_fault(reference: Reference, known: Known | None) -> tuple[str, str] | None:
    name, field = reference.name, reference.field
    if known is None:
        return "unknown_credential", f"There is no credential “{name}”; an admin can add it under Credentials."
    if field and field not in known.fields:
        there = ", ".join(sorted(known.fields))
        return "unknown_credential_field", f"The credential “{name}” has no field “{field}”; it has {there}."
    if not known.bound:
        said = f"The credential “{name}” may go nowhere yet; an admin has to say to which domains."
        return "credential_without_domains", said
    return None


def _walk(document: WorkflowDocument, catalogue: Mapping[str, NodeType]) -> Iterator[tuple[int, str, Port, Reference]]:
    for index, node in enumerate(document.nodes):
        ports = catalogue[node.type].inputs if node.type in catalogue else []
        for port in ports:
            for reference in sorted(name_credentials(node.data.inputs.get(port.name), port)):
                yield index, node.id, port, reference


def _texts(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
        case dict():
            for part in value.values():
                yield from _texts(part)
        case list():
            for part in value:
                yield from _texts(part)
        case _:
            return
