"""Declarations → OpenAPI 3.1 and AsyncAPI 3.0, as checked in under contracts/generated and served by Experience.

`python -m contracts.wiring.documents` writes the files, `--check` fails when they are not what the code says.
"""

import json
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from contracts.api.public import PublicApi
from contracts.api.runtime import RuntimeApi
from contracts.declare import Channel, Endpoint, channels, endpoints
from contracts.errors import Code, Problem
from contracts.events import EVENT
from contracts.frames import Close
from contracts.model import Nothing

GENERATED = Path(__file__).parent.parent / "generated"
_ANY_MEDIA = "*/*"
_BYTES = {"schema": {"type": "string", "format": "binary"}}
_REF = "#/components/schemas/{model}"
_ALWAYS = (Code.INTERNAL, Code.TIMEOUT, Code.UNAVAILABLE)
_SECURITY = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "An access token, an API key, or an anonymous session's token.",
    },
    "cookie": {
        "type": "apiKey",
        "in": "cookie",
        "name": "__Host-stagedoor",
        "description": "The login cookie of the page; writes must come from this origin.",
    },
}


def openapi(api: type[Any], title: str, description: str, *, bearer_only: bool = False) -> dict[str, Any]:
    """The OpenAPI 3.1 document of every endpoint of `api`."""
    declared = list(endpoints(api))
    pairs: set[tuple[type[BaseModel], JsonSchemaMode]] = {(Problem, "serialization")}
    for _, endpoint in declared:
        pairs.add((endpoint.request, "validation"))
        if not endpoint.is_download:
            pairs.add((endpoint.result, "serialization"))
    ordered = sorted(pairs, key=lambda pair: (pair[0].__name__, pair[1]))
    refs, definitions = models_json_schema(ordered, ref_template=_REF)
    schemas = definitions.get("$defs", {}) | EVENT.json_schema(mode="serialization", ref_template=_REF)["$defs"]
    paths: dict[str, dict[str, Any]] = {}
    for name, endpoint in declared:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(
            name, endpoint, refs, bearer_only=bearer_only
        )
    security = {"bearer": _SECURITY["bearer"]} if bearer_only else _SECURITY
    _require_tags(schemas)
    document = {
        "openapi": "3.1.0",
        "info": {
            "title": title,
            "version": version("stagedoor"),
            "description": description,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": tag} for tag in dict.fromkeys(endpoint.tag for _, endpoint in declared)],
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": security},
    }
    return _prune(document)


def _operation(name: str, endpoint: Endpoint[Any, Any], refs: dict[Any, Any], *, bearer_only: bool) -> dict[str, Any]:
    schema = endpoint.request.model_json_schema(ref_template=_REF)
    operation: dict[str, Any] = {
        "operationId": name,
        "summary": endpoint.summary,
        "tags": [endpoint.tag],
        "parameters": _parameters(endpoint, schema),
        "responses": _responses(endpoint, refs),
    }
    if endpoint.scope is not None:
        operation["description"] = f"Needs the scope `{endpoint.scope}`."
    if bearer_only:
        operation["security"] = [{"bearer": []}]
    elif endpoint.scope is None:
        operation["security"] = []
    else:
        operation["security"] = [{"bearer": []}, {"cookie": []}]
    body = [name for name, place in endpoint.places.items() if place == "body"]
    if body:
        operation["requestBody"] = _request_body(endpoint, schema, body)
    return operation


def _parameters(endpoint: Endpoint[Any, Any], schema: dict[str, Any]) -> list[dict[str, Any]]:
    properties = schema.get("properties", {})
    required = set(schema.get("required", ()))
    found = []
    for name, place in endpoint.places.items():
        if place == "body":
            continue
        shown = endpoint.header_names.get(name, name)
        parameter = {
            "name": shown,
            "in": place,
            "required": name in required,
            "schema": _without_null(properties[name]),
        }
        if description := properties[name].get("description"):
            parameter["description"] = description
        found.append(parameter)
    return found


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    # a parameter is absent, never null
    kept = {key: value for key, value in schema.items() if not (key == "default" and value is None)}
    members = [member for member in kept.get("anyOf", ()) if member != {"type": "null"}]
    if not members:
        return kept
    rest = {key: value for key, value in kept.items() if key != "anyOf"}
    return rest | members[0] if len(members) == 1 else rest | {"anyOf": members}


def _request_body(endpoint: Endpoint[Any, Any], schema: dict[str, Any], names: list[str]) -> dict[str, Any]:
    required = [name for name in schema.get("required", ()) if name in names]
    if len(names) == len(endpoint.places):
        content: dict[str, Any] = {"$ref": _REF.format(model=endpoint.request.__name__)}
    else:
        # fields that travel in the path, the query or a header are no part of the body
        content = {
            "type": "object",
            "title": endpoint.request.__name__,
            "properties": {name: schema["properties"][name] for name in names},
            "additionalProperties": False,
        } | ({"required": required} if required else {})
    return {"required": bool(required), "content": {"application/json": {"schema": content}}}


def _responses(endpoint: Endpoint[Any, Any], refs: dict[Any, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": endpoint.summary}
    if endpoint.is_download:
        answer["content"] = {endpoint.media_type: _BYTES, _ANY_MEDIA: {}}  # or as the stored blob has it
    elif endpoint.result is not Nothing:
        answer["content"] = {"application/json": {"schema": refs[(endpoint.result, "serialization")]}}
    responses = {str(endpoint.status): answer}
    if "Range" in endpoint.header_names.values():
        responses["206"] = answer | {"description": "The asked-for range."}
    by_status: dict[int, list[str]] = {}
    for code in dict.fromkeys((*_refusals(endpoint), *endpoint.errors, *_ALWAYS)):
        by_status.setdefault(code.status, []).append(code.value)
    problem = {"application/problem+json": {"schema": refs[(Problem, "serialization")]}}
    for status, codes in sorted(by_status.items()):
        responses[str(status)] = {"description": f"Problem: {', '.join(codes)}.", "content": problem}
    return responses


def _refusals(endpoint: Endpoint[Any, Any]) -> list[Code]:
    codes: list[Code] = []
    places = set(endpoint.places.values())
    if endpoint.scope is not None:
        codes += [Code.UNAUTHENTICATED, Code.FORBIDDEN]
    if endpoint.has_body:
        codes += [Code.MALFORMED, Code.INVALID, Code.TOO_LARGE, Code.UNSUPPORTED_MEDIA_TYPE, Code.CROSS_SITE]
    # an unknown query parameter is refused everywhere
    codes += [Code.INVALID, Code.CROSS_SITE] if endpoint.method == "DELETE" else [Code.INVALID]
    if "path" in places:
        codes.append(Code.NOT_FOUND)
    return codes


def _require_tags(schemas: dict[str, Any]) -> None:
    """Make the field that tells the members of a union apart a required one of each, as both formats demand.

    Every model has a default for it, so that nobody writes it in Python; on the wire it is always there.
    """
    for union in _unions_of(schemas):
        for ref in union["discriminator"]["mapping"].values():
            member = schemas[ref.rsplit("/", 1)[1]]
            name = union["discriminator"]["propertyName"]
            member["required"] = [key for key in member["properties"] if key in {*member.get("required", ()), name}]


def _unions_of(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        if "mapping" in node.get("discriminator", ()):
            yield node
        for value in node.values():
            yield from _unions_of(value)
    elif isinstance(node, list):
        for item in node:
            yield from _unions_of(item)


def _prune(document: dict[str, Any]) -> dict[str, Any]:
    """Drop schemas that nothing refers to (request models whose fields all travel outside the body)."""
    schemas: dict[str, Any] = document["components"]["schemas"]
    text = json.dumps(document["paths"]) + json.dumps([schemas[name] for name in _event_names() if name in schemas])
    kept: set[str] = set(_event_names())
    frontier = {name for name in schemas if f'schemas/{name}"' in text}
    while frontier:
        kept |= frontier
        text = json.dumps([schemas[name] for name in frontier])
        frontier = {name for name in schemas if f'schemas/{name}"' in text} - kept
    document["components"]["schemas"] = {name: schemas[name] for name in sorted(schemas) if name in kept}
    return document


def _event_names() -> list[str]:
    mapping = EVENT.json_schema(ref_template=_REF)["discriminator"]["mapping"]
    return [ref.rsplit("/", 1)[1] for ref in mapping.values()]


def asyncapi(api: type[Any], title: str, description: str) -> dict[str, Any]:
    """The AsyncAPI 3.0 document of every WebSocket of `api`."""
    document: dict[str, Any] = {
        "asyncapi": "3.0.0",
        "info": {"title": title, "version": version("stagedoor"), "description": description},
        "channels": {},
        "operations": {},
        "components": {"schemas": {}, "messages": {}},
    }
    for name, channel in channels(api):
        _add_channel(document, name, channel)
    schemas = document["components"]["schemas"]
    document["components"]["schemas"] = dict(sorted(schemas.items()))
    return document


def _add_channel(document: dict[str, Any], name: str, channel: Channel[Any, Any, Any]) -> None:
    opened = channel.open.model_json_schema(ref_template=_REF)
    properties = opened.get("properties", {})
    query = {key: value for key, value in properties.items() if key not in channel.path_fields}
    entry: dict[str, Any] = {"address": channel.path, "summary": channel.summary, "messages": {}}
    if channel.path_fields:
        entry["parameters"] = {key: {"description": f"The {key.replace('_', ' ')}."} for key in channel.path_fields}
    bindings: dict[str, Any] = {"method": "GET", "bindingVersion": "0.1.0"}
    if query:
        bindings["query"] = {"type": "object", "properties": query}
    entry["bindings"] = {"ws": bindings}
    if channel.closes:
        entry["description"] = "Close codes: " + _close_codes(channel)
    document["components"]["schemas"] |= opened.get("$defs", {})
    # seen from the application that serves the channel: it sends `sends` and receives `receives`
    for action, union in (("send", channel.sends), ("receive", channel.receives)):
        names = _add_messages(document, union)
        entry["messages"] |= {key: {"$ref": f"#/components/messages/{key}"} for key in names}
        document["operations"][f"{name}.{action}"] = {
            "action": action,
            "channel": {"$ref": f"#/channels/{name}"},
            "messages": [{"$ref": f"#/channels/{name}/messages/{key}"} for key in names],
        }
    document["channels"][name] = entry


def _add_messages(document: dict[str, Any], union: Any) -> list[str]:
    schema = TypeAdapter(union).json_schema(mode="serialization", ref_template=_REF)
    schemas = schema.get("$defs", {})
    for found in [*_unions_of(schema)]:
        _require_tags(schemas | {"": found})
        found["discriminator"] = found["discriminator"]["propertyName"]  # AsyncAPI knows no mapping
    document["components"]["schemas"] |= schemas
    names = sorted({ref.rsplit("/", 1)[1] for ref in _refs_of(schema)})
    for key in names:
        document["components"]["messages"][key] = {
            "name": key,
            "contentType": "application/json",
            "payload": {"$ref": _REF.format(model=key)},
        }
    return names


def _refs_of(schema: dict[str, Any]) -> list[str]:
    found = [schema["$ref"]] if "$ref" in schema else []
    for member in (*schema.get("oneOf", ()), *schema.get("anyOf", ())):
        found += _refs_of(member)
    return found


def _close_codes(channel: Channel[Any, Any, Any]) -> str:
    codes = [Close(code) for code in channel.closes]
    renewal = " (come back with a renewed credential, if the reason says `retry`)"
    then = {Close.UNAUTHENTICATED: renewal} | {code: " (come back)" for code in Close if code.retry}
    return ", ".join(f"{int(code)} {code.name.lower()}{then.get(code, '')}" for code in codes) + "."


def public_openapi() -> dict[str, Any]:
    """What `/api/openapi.json` serves."""
    about = "Say what you want; real browsers do it; everyone who may watch sees it live."
    return openapi(PublicApi, "Stagedoor", about)


def public_asyncapi() -> dict[str, Any]:
    """What `/api/asyncapi.json` serves."""
    return asyncapi(PublicApi, "Stagedoor streams", "WebSockets of the public tier; frames are JSON texts.")


def _documents() -> dict[str, dict[str, Any]]:
    internal = "What Runtime answers to Experience's signed internal token."
    return {
        "openapi.json": public_openapi(),
        "asyncapi.json": public_asyncapi(),
        "runtime-openapi.json": openapi(RuntimeApi, "Stagedoor Runtime", internal, bearer_only=True),
        "runtime-asyncapi.json": asyncapi(RuntimeApi, "Stagedoor Runtime channel", internal),
    }


def main(arguments: list[str]) -> int:
    """Write the generated documents, or with `--check` compare them; 1 when one is stale."""
    stale = []
    for name, document in _documents().items():
        path = GENERATED / name
        text = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(name)
        if "--check" not in arguments:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
    if stale and "--check" in arguments:
        sys.stderr.write(f"stale: {', '.join(stale)}; run `make contracts`\n")
        return 1
    sys.stdout.write(f"written: {', '.join(stale)}\n" if stale else "the generated documents are fresh\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
