"""Values that travel along edges as Python types, and ports derived from the models that hold them.

The Python type of a field decides the type of its port: `str` STRING, `int`/`float` NUMBER, `bool` BOOLEAN, a Literal
SELECT, `Html` HTML, `FileRef` FILE, `PageRef` BROWSER_INSTANCE, `Condition` CONDITIONAL, `dict`/`list`/`JsonData` JSON,
`Any` ANY.
"""

import json
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, GetCoreSchemaHandler
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, core_schema

from contracts.model import ArtifactId, Contract
from contracts.workflow import DataType, JsonObject, Port


class _Text(str):
    """A text with a meaning of its own, a plain string on the wire."""

    __slots__ = ()

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(cls, core_schema.str_schema())


class PageRef(_Text):
    """A page handle: the id of the node that opened it, so that it names the same page after a worker was lost."""


class Html(_Text):
    """Markup."""


class Condition(_Text):
    """Says that a branch was taken."""


class FileRef(Contract):
    """A stored artifact, as nodes hand it on."""

    artifact_id: ArtifactId
    name: str
    media_type: str
    size: int
    """Bytes."""


def _parse_json_text(value: Any) -> Any:
    """Fields of forms hold JSON as text; a text that is no JSON stays a text."""
    if isinstance(value, str):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


FromJsonText = BeforeValidator(_parse_json_text)
"""Accept the JSON text of a value as well as the value."""
JsonData = Annotated[Any, "json"]
"""Any JSON value, where the port is to say JSON rather than ANY."""


@dataclass(frozen=True)
class NoEdge:
    """Marks an input that only a literal may fill (⊘ in the node catalogue)."""


@dataclass(frozen=True)
class Merging:
    """Marks an input where several edges may end; it gets a list in edge order."""


class Values(BaseModel):
    """Inputs or outputs of a node type; each field's alias is its display name.

    An output that was never set is dead: what hangs on it does not run.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        validate_by_alias=True,
        validate_by_name=True,
        serialize_by_alias=True,
        coerce_numbers_to_str=True,
        allow_inf_nan=False,
    )


def derive_ports(model: type[Values], *, inputs: bool) -> list[Port]:
    """The ports of a model in the order of its fields, pages last. Raises TypeError for a field without a name."""
    schema = model.model_json_schema(by_alias=True) if inputs else {}
    ports = [_derive_port(field, schema, inputs=inputs) for field in _checked_fields(model)]
    return sorted(ports, key=lambda port: port.type is DataType.BROWSER_INSTANCE)


def _checked_fields(model: type[Values]) -> list[FieldInfo]:
    for name, field in model.model_fields.items():
        if not field.alias or not field.description:
            raise TypeError(f"{model.__name__}.{name} needs an alias (its display name) and a description")
    return list(model.model_fields.values())


def _derive_port(field: FieldInfo, schema: JsonObject, *, inputs: bool) -> Port:
    name, type_ = str(field.alias), _derive_type(field)
    return Port(
        name=name,
        type=type_,
        description=field.description or "",
        required=inputs and field.is_required(),
        connectable=not any(isinstance(mark, NoEdge) for mark in field.metadata),
        mergeable=any(isinstance(mark, Merging) for mark in field.metadata),
        value_schema=_derive_schema(name, type_, schema) if inputs else {},
    )


def _derive_schema(name: str, type_: DataType, schema: JsonObject) -> JsonObject:
    """JSON Schema of a literal; nothing for what can't be typed into a form."""
    if type_ in (DataType.BROWSER_INSTANCE, DataType.CONDITIONAL):
        return {}
    found = {key: value for key, value in schema["properties"][name].items() if key not in ("title", "description")}
    return {**found, "$defs": schema["$defs"]} if "$ref" in str(found) and "$defs" in schema else found


def _derive_type(field: FieldInfo) -> DataType:
    annotation = field.annotation
    if annotation is Any:
        return DataType.JSON if "json" in field.metadata else DataType.ANY
    options = [option for option in get_args(annotation) if option is not type(None)]
    if get_origin(annotation) in (Union, UnionType) and len(options) == 1:
        annotation = options[0]
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    return _BY_TYPE.get(get_origin(annotation) or annotation, DataType.JSON)


_BY_TYPE: dict[Any, DataType] = {
    str: DataType.STRING,
    int: DataType.NUMBER,
    float: DataType.NUMBER,
    bool: DataType.BOOLEAN,
    Literal: DataType.SELECT,
    Html: DataType.HTML,
    FileRef: DataType.FILE,
    PageRef: DataType.BROWSER_INSTANCE,
    Condition: DataType.CONDITIONAL,
}
