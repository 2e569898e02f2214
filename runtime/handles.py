"""Values that travel along edges as Python types, and ports derived from the models that hold them.

The Python type of a field decides the type of its port: `str` STRING, `int`/`float` NUMBER, `bool` BOOLEAN, a Literal
SELECT, `Html` HTML, `FileRef` FILE, `PageRef` BROWSER_INSTANCE, `Condition` CONDITIONAL, `dict`/`list`/`JsonData` JSON,
`CredentialName` CREDENTIAL, `Any` ANY.
"""

import json
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, GetCoreSchemaHandler
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, core_schema

from contracts.execution import Artifact
from contracts.model import ArtifactId, Contract
from contracts.workflow import DataType, JsonObject, Port
from runtime.engine.plan import NOT_BLANK


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


class CredentialName(_Text):
    """A credential as a whole, by its name; its values are the stage's to hand out."""


class FileRef(Contract):
    """A stored artifact, as nodes hand it on."""

    artifact_id: ArtifactId
    name: str
    media_type: str
    size: int
    """Bytes."""


def refer_to(artifact: Artifact) -> FileRef:
    """A stored artifact, to be handed on."""
    return FileRef(
        artifact_id=artifact.artifact_id, name=artifact.name, media_type=artifact.media_type, size=artifact.size
    )


def _parse_json_text(value: Any) -> Any:
    """Fields of forms hold JSON as text; a text that is no JSON stays a text."""
    if isinstance(value, str):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
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
class MayHoldSecret:
    """Marks an input whose typed text may refer to credentials; the node asks its stage to reveal them."""


@dataclass(frozen=True)
class WebAddress:
    """Marks an input that takes the address of a page or a service: a typed one is checked before anything runs."""


@dataclass(frozen=True)
class Merging:
    """Marks a list of values from several edges, in edge order; a typed value comes as a list of one.

    The port and its literal are of the list's element. The field has a default, also where its port is required: one
    such input with a value is enough for the node to run, as a join after a branch never waits for the side that was
    not taken (ADR 13).
    """

    required: bool = False


@dataclass(frozen=True)
class Unless:
    """Marks a required input that is needless while the input `handle` is typed as one of `values`.

    The field itself has a default: its node may be run without it.
    """

    handle: str
    values: tuple[str, ...]


ADDRESS_FORMAT = "uri"
"""In the JSON Schema of an input that is marked as a WebAddress."""
EXECUTE_CONDITION = Port(
    name="Execute Condition",
    type=DataType.CONDITIONAL,
    description="Run only if a branch led here; of several ways in, one is enough.",
    mergeable=True,
)
"""The input that puts a node behind a branch. The catalogue gives it to every type; no class declares it."""


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
    """The ports of a model in the order of its fields, pages last. Raises TypeError for a field without a name.

    A page may come from several edges: the sides of a branch hold one page, and one of them hands it on.
    """
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
    merging, waiver = _find_mark(field, Merging), _find_mark(field, Unless)
    required = field.is_required() or waiver is not None or (merging is not None and merging.required)
    return Port(
        name=name,
        type=type_,
        description=field.description or "",
        required=inputs and required,
        connectable=_find_mark(field, NoEdge) is None,
        mergeable=inputs and (type_ is DataType.BROWSER_INSTANCE or merging is not None),
        unless={waiver.handle: list(waiver.values)} if waiver else {},
        secret=_find_mark(field, MayHoldSecret) is not None,
        value_schema=_derive_schema(name, field, type_, schema) if inputs else {},
    )


MarkT = TypeVar("MarkT", NoEdge, MayHoldSecret, WebAddress, Merging, Unless)


def _find_mark(field: FieldInfo, kind: type[MarkT]) -> MarkT | None:
    return next((mark for mark in field.metadata if isinstance(mark, kind)), None)


def _derive_schema(name: str, field: FieldInfo, type_: DataType, schema: JsonObject) -> JsonObject:
    """JSON Schema of a literal; nothing for what can't be typed into a form."""
    if type_ in (DataType.BROWSER_INSTANCE, DataType.CONDITIONAL):
        return {}
    whole = schema["properties"][name]
    if _find_mark(field, Merging):
        whole = whole["items"]
    found = {key: value for key, value in whole.items() if key not in ("title", "description")}
    if _find_mark(field, WebAddress):
        found["format"] = ADDRESS_FORMAT
    if found.get("minLength") and any(getattr(mark, "strip_whitespace", False) for mark in field.metadata):
        found.setdefault("pattern", NOT_BLANK)  # JSON Schema has no word for what is stripped first
    return {**found, "$defs": schema["$defs"]} if "$ref" in str(found) and "$defs" in schema else found


def _derive_type(field: FieldInfo) -> DataType:
    annotation, marks = field.annotation, field.metadata
    if _find_mark(field, Merging):
        if get_origin(annotation) is not list:
            raise TypeError(f"{field.alias} takes several edges, so it must be a list")
        (annotation,) = get_args(annotation)
        if get_origin(annotation) is Annotated:
            annotation, *marks = get_args(annotation)
    if annotation is Any:
        return DataType.JSON if "json" in marks else DataType.ANY
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
    CredentialName: DataType.CREDENTIAL,
}
