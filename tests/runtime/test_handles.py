"""Ports derived from models."""

from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from contracts.workflow import DataType
from runtime.handles import (
    Condition,
    FileRef,
    FromJsonText,
    Html,
    JsonData,
    Merging,
    NoEdge,
    PageRef,
    Unless,
    Values,
    derive_ports,
)


class Everything(Values):
    page: PageRef = Field(alias="Page", description=".")
    text: str = Field(alias="Text", description=".", max_length=9)
    maybe: Annotated[str, Field(min_length=1)] | None = Field(default=None, alias="Maybe", description=".")
    whole: int = Field(alias="Whole", description=".")
    number: Annotated[float, NoEdge()] = Field(alias="Number", description=".", ge=0)
    flag: bool = Field(default=False, alias="Flag", description=".")
    choice: Literal["a", "b"] = Field(alias="Choice", description=".")
    html: Html = Field(alias="Html", description=".")
    file: FileRef = Field(alias="File", description=".")
    when: Condition | None = Field(default=None, alias="When", description=".")
    data: JsonData = Field(alias="Data", description=".")
    rows: Annotated[dict[str, str], FromJsonText] = Field(alias="Rows", description=".")
    items: list[int] = Field(alias="Items", description=".")
    any: Annotated[list[Any], Merging(required=True)] = Field(default=[], alias="Any", description=".")
    parts: Annotated[list[JsonData], Merging()] = Field(default=[], alias="Parts", description=".")
    names: Annotated[list[str], Merging()] = Field(default=[], alias="Names", description=".")
    more: Annotated[Any, Unless("Choice", ("a",))] = Field(default=None, alias="More", description=".")


PORTS = {port.name: port for port in derive_ports(Everything, inputs=True)}


def test_a_fields_type_is_its_ports() -> None:
    assert {name: str(port.type) for name, port in PORTS.items()} == {
        "Text": "STRING", "Maybe": "STRING", "Whole": "NUMBER", "Number": "NUMBER", "Flag": "BOOLEAN",
        "Choice": "SELECT", "Html": "HTML", "File": "FILE", "When": "CONDITIONAL", "Data": "JSON", "Rows": "JSON",
        "Items": "JSON", "Any": "ANY", "Parts": "JSON", "Names": "STRING", "More": "ANY", "Page": "BROWSER_INSTANCE",
    }  # fmt: skip


def test_pages_come_last_and_marks_are_read() -> None:
    assert list(PORTS)[-1] == "Page"
    assert {name for name, port in PORTS.items() if not port.required} == {"Maybe", "Flag", "When", "Parts", "Names"}
    assert [name for name, port in PORTS.items() if not port.connectable] == ["Number"]
    assert [name for name, port in PORTS.items() if port.mergeable] == ["Any", "Parts", "Names", "Page"]
    assert {name: port.unless for name, port in PORTS.items() if port.unless} == {"More": {"Choice": ["a"]}}


def test_literals_have_a_schema_and_pages_have_none() -> None:
    assert PORTS["Text"].value_schema == {"maxLength": 9, "type": "string"}
    assert PORTS["Number"].value_schema == {"minimum": 0, "type": "number"}
    assert PORTS["Names"].value_schema == {"type": "string"}
    assert PORTS["Choice"].value_schema["enum"] == ["a", "b"]
    assert PORTS["Page"].value_schema == PORTS["When"].value_schema == {}
    assert "FileRef" in PORTS["File"].value_schema["$defs"]


def test_outputs_have_neither_schema_nor_requirement() -> None:
    outputs = derive_ports(Everything, inputs=False)
    assert not any(port.required or port.mergeable or port.value_schema for port in outputs)


def test_a_field_without_a_display_name_is_refused() -> None:
    class Nameless(Values):
        text: str

    with pytest.raises(TypeError, match=r"Nameless\.text needs an alias"):
        derive_ports(Nameless, inputs=True)


def test_what_takes_several_edges_is_a_list() -> None:
    class Single(Values):
        text: Annotated[str, Merging()] = Field(alias="Text", description=".")

    with pytest.raises(TypeError, match="Text takes several edges, so it must be a list"):
        derive_ports(Single, inputs=True)


def test_texts_with_a_meaning_keep_it_and_are_strings_on_the_wire() -> None:
    class One(Values):
        page: PageRef = Field(alias="Page", description=".")

    one = One.model_validate({"Page": "node-1"})
    assert type(one.page) is PageRef
    assert one.model_dump(mode="json") == {"Page": "node-1"}
    assert DataType.BROWSER_INSTANCE == "BROWSER_INSTANCE"
