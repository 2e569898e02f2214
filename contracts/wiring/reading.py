"""The two documents as one page for people: no script, no third-party request, readable with styles off."""

import re
from html import escape
from typing import Any, Final

Schemas = dict[str, dict[str, Any]]
"""By their names in the document."""

FIRST_CALLS: Final = """
STAGEDOOR=http://localhost:8080   # where it runs

# sign in; POST /api/auth/keys makes a key that stays, for programs
TOKEN=$(curl -s $STAGEDOOR/api/auth/login -H 'content-type: application/json' \\
  -d "{\\"email\\": \\"$EMAIL\\", \\"password\\": \\"$PASSWORD\\"}" |
  python3 -c 'import json, sys; print(json.load(sys.stdin)["access_token"])')

# say what you want: a browser opens the page and reads its headline
ID=$(curl -s $STAGEDOOR/api/intent -H "authorization: Bearer $TOKEN" -H 'content-type: application/json' \\
  -d '{"realm": "browser", "intent": "visit", "parameters": {"url": "https://example.com", "selector": "h1"}}' |
  python3 -c 'import json, sys; print(json.load(sys.stdin)["execution_id"])')

# what has happened; ws://…/api/execution/$ID/stream tells it while it happens
curl -s "$STAGEDOOR/api/execution/$ID/events" -H "authorization: Bearer $TOKEN"
""".strip()
"""From nothing to a browser at work, for a shell."""

STYLESHEET = """
:root { color-scheme: light dark; --ink: light-dark(#211a27, #f2ede4); --quiet: light-dark(#5a5162, #b9afc0);
  --line: light-dark(#e0d8ca, #342d3b); --card: light-dark(#fffdf8, #1b171f); --ground: light-dark(#f6f2ea, #131016);
  --accent: light-dark(#7a1f3d, #f0b95c); }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 15px/1.55 system-ui, sans-serif; }
.layout { display: grid; grid-template-columns: 17rem minmax(0, 1fr); max-width: 80rem; margin: 0 auto; }
nav { position: sticky; top: 0; align-self: start; max-height: 100vh; overflow: auto; padding: 1.5rem 1rem; }
nav a { display: block; padding: .15rem 0; color: var(--quiet); text-decoration: none; font-size: .86rem; }
nav a:hover, nav a:focus-visible { color: var(--accent); }
nav strong { display: block; margin-top: 1rem; text-transform: capitalize; }
nav strong a { color: inherit; font-size: 1rem; }
main { padding: 1.5rem; min-width: 0; }
h1, h2 { font-family: Charter, Palatino, Georgia, "DejaVu Serif Condensed", ui-serif, serif; }
h1 { margin: 0 0 .25rem; } h2 { margin: 2.5rem 0 .5rem; text-transform: capitalize; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 1rem 1.2rem;
  margin: .9rem 0;
  scroll-margin-top: .8rem; }
section:target { border-color: var(--accent); box-shadow: 0 0 0 1px var(--accent); }
section > h3 { margin: 0; font-size: 1rem; font-weight: 600; overflow-wrap: anywhere; }
code, .method { font-family: ui-monospace, monospace; font-size: .88em; }
.method { display: inline-block; min-width: 3.6rem; color: var(--accent); font-weight: 700; }
pre { margin: 0; overflow-x: auto; }
.quiet { color: var(--quiet); }
table { width: 100%; border-collapse: collapse; margin: .6rem 0; font-size: .9rem; }
th, td { text-align: left; vertical-align: top; padding: .3rem .6rem .3rem 0; border-top: 1px solid var(--line);
  overflow-wrap: anywhere; }
th { font-weight: 600; color: var(--quiet); border-top: 0; }
summary { cursor: pointer; } a { color: var(--accent); }
@media (max-width: 50rem) { .layout { display: block; } main { padding: 1rem; }
  nav { position: static; max-height: none; display: flex; flex-wrap: wrap; gap: .1rem 1rem; padding: 1rem 1rem 0; }
  nav > a, nav strong { margin: 0; } nav > .operation { display: none; } section { padding: .8rem .9rem; } }
@media (max-width: 30rem) { th, td:last-child:not(:nth-child(2)) { display: block; }
  tr { display: block; padding: .4rem 0; border-top: 1px solid var(--line); } tr:has(> th) { display: none; }
  td { display: inline; border: 0; padding: 0 .4rem 0 0; } }
""".strip()


def render(openapi: dict[str, Any], asyncapi: dict[str, Any], stylesheet: str) -> str:
    """The page, with a link to `stylesheet` (a path that serves STYLESHEET)."""
    groups: dict[str, list[tuple[str, str, dict[str, Any]]]] = {}
    for path, methods in openapi["paths"].items():
        for method, operation in methods.items():
            groups.setdefault(operation["tags"][0], []).append((path, method, operation))
    title = escape(openapi["info"]["title"])
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>",
        f"<title>{title} API</title><link rel=stylesheet href='{escape(stylesheet)}'><div class=layout><nav>",
        f"<a href='/'>{title}</a><a href='/api/openapi.json'>openapi.json</a>",
        "<a href='/api/asyncapi.json'>asyncapi.json</a>",
        *(_menu(group, operations) for group, operations in groups.items()),
        "<strong><a href='#streams'>streams</a></strong>",
        *(_link(name) for name in asyncapi["channels"]),
        "<strong><a href='#shapes'>shapes</a></strong>",
        f"</nav><main><h1>{title} API</h1><p>{escape(openapi['info']['description'])}</p>{_PREFACE}",
        "<h2 id=first-calls>First calls</h2>",
        f"<section><pre tabindex=0><code>{escape(FIRST_CALLS)}</code></pre></section>",
    ]
    schemas: Schemas = openapi["components"]["schemas"] | asyncapi["components"]["schemas"]
    for group, operations in groups.items():
        parts.append(f"<h2 id='{escape(group)}'>{escape(group)}</h2>")
        parts += [_operation(*operation, schemas) for operation in operations]
    parts.append("<h2 id=streams>streams</h2>")
    parts += [_channel(name, channel) for name, channel in asyncapi["channels"].items()]
    parts.append("<h2 id=shapes>shapes</h2>")
    parts += [_shape(name, schema) for name, schema in sorted(schemas.items())]
    return "".join([*parts, "</main></div></html>"])


_PREFACE = (
    "<p>Send <code>Authorization: Bearer</code> with an access token from <code>/api/auth/login</code> or an API key. "
    "Every failure is an RFC 9457 problem document: <code>detail</code> says what failed, <code>hint</code> what to "
    "do, <code>code</code> is for programs, and <code>request_id</code> finds it in the log.</p>"
)


def _menu(group: str, operations: list[tuple[str, str, dict[str, Any]]]) -> str:
    links = (_link(operation["operationId"]) for _, _, operation in operations)
    return f"<strong><a href='#{escape(group)}'>{escape(group)}</a></strong>{''.join(links)}"


def _link(name: str) -> str:
    return f"<a class=operation href='#{escape(name)}'>{escape(name)}</a>"


def _operation(path: str, method: str, operation: dict[str, Any], schemas: Schemas) -> str:
    rows = [
        _row(f"{p['name']} ({p['in']})", p["schema"], required=p["required"], description=p.get("description", ""))
        for p in operation["parameters"]
    ]
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    if body:
        shape = schemas[body["$ref"].rsplit("/", 1)[1]] if "$ref" in body else body
        rows += _fields(shape) or [_row("body", body, required=True, description="")]
    answers = [_answer(status, answer) for status, answer in operation["responses"].items()]
    return (
        f"<section id='{operation['operationId']}'><h3><span class=method>{method.upper()}</span> "
        f"<code>{escape(path)}</code></h3><p>{_prose(operation['summary'])} "
        f"<span class=quiet>{_prose(operation.get('description', 'Open to everybody.'))}</span></p>"
        f"{_table(rows)}<details><summary>Answers</summary><table>{''.join(answers)}</table></details></section>"
    )


def _answer(status: str, answer: dict[str, Any]) -> str:
    media: dict[str, Any] = next(iter(answer.get("content", {}).values()), {})
    shape = _type_of(media["schema"]) if media.get("schema") else ""
    return f"<tr><td><code>{status}</code></td><td>{escape(answer['description'])} {shape}</td></tr>"


def _channel(name: str, channel: dict[str, Any]) -> str:
    query = channel.get("bindings", {}).get("ws", {}).get("query", {}).get("properties", {})
    rows = [
        _row(f"{key} (query)", schema, required=False, description=schema.get("description", ""))
        for key, schema in query.items()
    ]
    frames = " · ".join(f"<a href='#shape-{escape(key)}'>{escape(key)}</a>" for key in channel["messages"])
    return (
        f"<section id='{escape(name)}'><h3><span class=method>WS</span> <code>{escape(channel['address'])}</code></h3>"
        f"<p>{_prose(channel['summary'])}</p>{_table(rows)}<p class=quiet>{_prose(channel.get('description', ''))}</p>"
        f"<p>Frames: {frames}</p></section>"
    )


def _shape(name: str, schema: dict[str, Any]) -> str:
    values = ", ".join(f"<code>{escape(str(value))}</code>" for value in schema.get("enum", ()))
    about = _prose(schema.get("description", ""))
    title = f"<section id='shape-{escape(name)}'><h3>{escape(name)}</h3>"
    return f"{title}<p>{about} {values}</p>{_table(_fields(schema))}</section>"


def _fields(schema: dict[str, Any]) -> list[str]:
    needed = schema.get("required", ())
    return [
        _row(name, field, required=name in needed, description=field.get("description", ""))
        for name, field in schema.get("properties", {}).items()
    ]


def _table(rows: list[str]) -> str:
    return f"<table><tr><th>field<th>type<th>meaning</tr>{''.join(rows)}</table>" if rows else ""


def _row(name: str, schema: dict[str, Any], *, required: bool, description: str) -> str:
    mark = "" if required else " <span class=quiet>optional</span>"
    return f"<tr><td><code>{escape(name)}</code>{mark}<td>{_type_of(schema)}<td>{_prose(description)}</tr>"


def _prose(text: str) -> str:
    """Words of a docstring: what stands between backticks is code, and an empty line begins a paragraph."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text)).replace("\n\n", "</p><p>")


def _type_of(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        name = escape(schema["$ref"].rsplit("/", 1)[1])
        return f"<a href='#shape-{name}'>{name}</a>"
    for union in ("anyOf", "oneOf", "allOf"):
        if union in schema:
            return " | ".join(_type_of(member) for member in schema[union])
    if schema.get("type") == "array":
        return f"list of {_type_of(schema.get('items', {}))}"
    if "const" in schema:
        return f"<code>{escape(str(schema['const']))}</code>"
    if "enum" in schema:
        return " | ".join(f"<code>{escape(str(value))}</code>" for value in schema["enum"])
    kind = escape(schema.get("format") or schema.get("type") or "anything")
    bounds = [f"{word} {schema[key]}" for key, word in _BOUNDS.items() if key in schema]
    return f"{kind} <span class=quiet>{escape(', '.join(bounds))}</span>" if bounds else kind


_BOUNDS = {
    "minimum": "≥",
    "maximum": "≤",
    "exclusiveMinimum": ">",
    "minLength": "at least",
    "maxLength": "at most",
    "maxItems": "at most",
}
