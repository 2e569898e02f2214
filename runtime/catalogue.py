"""Node types and realms as data, derived from the classes that runtime.app chose."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from contracts.execution import IntentType, Realm, Realms
from contracts.workflow import JsonObject, NodeType, NodeTypes
from runtime.node import Node


class Catalogue:
    """What workflows of this Runtime can be drawn from, and what it can be asked to do."""

    def __init__(self, nodes: Iterable[type[Node[Any, Any]]]) -> None:
        classes: dict[str, Node[Any, Any]] = {}
        for cls in nodes:
            if cls.type_id in classes:
                raise TypeError(f"node type {cls.type_id} is chosen twice")
            classes[cls.type_id] = cls()
        self._nodes = classes
        self.types: Mapping[str, NodeType] = MappingProxyType({name: node.describe() for name, node in classes.items()})
        """For the validator and the planner."""

    def node(self, type_: str) -> Node[Any, Any]:
        """The node type that runs. Raises KeyError for an unknown one, which the validator has refused before."""
        return self._nodes[type_]

    def list_types(self, no_sandbox: str | None = None) -> NodeTypes:
        """The catalogue as the editor reads it, by group and title.

        Args:
            no_sandbox: why no worker can run code, if so.
        """
        types = self.mark(no_sandbox).values()
        return NodeTypes(items=sorted(types, key=lambda one: (one.group, one.title)))

    def mark(self, no_sandbox: str | None) -> Mapping[str, NodeType]:
        """The node types, with those that can't be run now marked by the reason."""
        if no_sandbox is None:
            return self.types
        marked = {
            name: kind.model_copy(update={"unavailable": no_sandbox})
            for name, kind in self.types.items()
            if self._nodes[name].runs_code
        }
        return {**self.types, **marked}


def list_realms() -> Realms:
    """What Runtime can be asked to do, each with the JSON Schema of its parameters."""
    return Realms(realms=[_BROWSER, _WORKFLOW, _EXECUTION])


def _intent(intent: str, title: str, description: str, parameters: JsonObject, example: JsonObject) -> IntentType:
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object", **parameters}
    return IntentType(intent=intent, title=title, description=description, parameters=schema, example=example)


_ALLOWED_DOMAINS: JsonObject = {
    "type": "array",
    "items": {"type": "string", "minLength": 1, "maxLength": 300},
    "maxItems": 100,
    "description": "All that may be reached: host, *.host, address or network, each with :port or without.",
}
_BROWSER = Realm(
    realm="browser",
    title="Browser",
    intents=[
        _intent(
            "visit",
            "Visit a page",
            "Open a page in a real browser, and bring back a screenshot, a text, or both.",
            {
                "properties": {
                    "url": {
                        "type": "string",
                        "minLength": 1,
                        "maxLength": 4_000,
                        "pattern": "^https?://",
                        "description": "Where to go: an http or https address of an allowed host.",
                    },
                    "screenshot": {
                        "type": "boolean",
                        "default": True,
                        "description": "Keep a picture of the page.",
                    },
                    "selector": {
                        "type": "string",
                        "minLength": 1,
                        "maxLength": 2_000,
                        "description": "CSS: the text of what matches is the result.",
                    },
                    "allowed_domains": _ALLOWED_DOMAINS,
                },
                "required": ["url"],
                "additionalProperties": False,
            },
            {"url": "https://shop.example/products", "screenshot": True, "selector": "h1"},
        )
    ],
)
_WORKFLOW = Realm(
    realm="workflow",
    title="Workflows",
    intents=[
        _intent(
            "run",
            "Run a workflow",
            "Start an execution of a stored workflow.",
            {
                "properties": {
                    "workflow_id": {"type": "string", "format": "uuid", "description": "Which workflow."},
                    "version": {
                        "type": "integer",
                        "minimum": 1,
                        "maximum": 2**31 - 1,
                        "description": "Which version; by default the latest.",
                    },
                    "inputs": {
                        "type": "object",
                        "default": {},
                        "description": "Kept with the execution; no node reads them yet.",
                    },
                    "allowed_domains": _ALLOWED_DOMAINS,
                },
                "required": ["workflow_id"],
                "additionalProperties": False,
            },
            {"workflow_id": "01890a5d-ac96-774b-bcce-b302099a8057", "inputs": {}},
        )
    ],
)
_EXECUTION = Realm(
    realm="execution",
    title="Executions",
    intents=[
        _intent(
            "retry",
            "Retry an execution",
            "Do a finished execution once more, as a new one that takes over what ended well.",
            {
                "properties": {
                    "execution_id": {"type": "string", "format": "uuid", "description": "Which execution."},
                    "start_at": {
                        "enum": ["failed", "node", "beginning"],
                        "default": "failed",
                        "description": "At what did not end well, at a node and all that follows it, or whole.",
                    },
                    "node_id": {
                        "type": ["string", "null"],
                        "minLength": 1,
                        "maxLength": 200,
                        "description": "With start_at: node.",
                    },
                    "version": {
                        "enum": ["same", "latest"],
                        "default": "same",
                        "description": "The version that ran, or the workflow's latest; changed nodes run again.",
                    },
                    "answers": {
                        "type": "object",
                        "default": {},
                        "additionalProperties": {"enum": ["happened", "run_again"]},
                        "description": "For nodes that were interrupted and must not run twice by themselves.",
                    },
                    "dead_letter": {
                        "type": "boolean",
                        "default": False,
                        "description": "Only while its dead letter waits for a decision, and as that decision.",
                    },
                },
                "required": ["execution_id"],
                "if": {"properties": {"start_at": {"const": "node"}}, "required": ["start_at"]},
                "then": {"properties": {"node_id": {"type": "string"}}, "required": ["node_id"]},
                "else": {"properties": {"node_id": {"const": None}}},
                "additionalProperties": False,
            },
            {"execution_id": "01890a5d-ac96-774b-bcce-b302099a8057", "start_at": "failed"},
        )
    ],
)
