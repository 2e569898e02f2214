"""A page that repeats whatever is typed into it everywhere a page can, and a look into all that a database keeps."""

import base64
import html
import json
from urllib.parse import quote, quote_plus

import asyncpg

PARROT = """<!doctype html><title>Sign in</title>
<input id="user"><input id="password" type="password"><input id="shown"><button id="go">Go</button>
<p id="text"></p><pre id="loud" style="text-transform: uppercase"></pre><ul id="list"></ul>
<iframe id="frame" srcdoc="<p>nothing yet</p>"></iframe>
<script>
const say = value => {
  document.title = "Hello " + value;
  history.replaceState(null, "", "?typed=" + encodeURIComponent(value) + "#" + value);
  document.getElementById("text").textContent = "You typed " + value;
  document.getElementById("loud").textContent = value;
  document.getElementById("shown").value = value;
  document.getElementById("frame").srcdoc = "<p>framed " + value + "</p>";
  const item = document.createElement("li");
  item.innerHTML = "<a></a>";
  item.firstChild.textContent = btoa(unescape(encodeURIComponent("ada:" + value)));
  item.firstChild.href = "/sent?form=" + new URLSearchParams({value}).get("value").replaceAll(" ", "+");
  item.dataset.json = JSON.stringify({value});
  document.getElementById("list").append(item);
  console.log("typed", value);
  console.error(JSON.stringify({password: value}));
  document.cookie = "typed=" + encodeURIComponent(value);
  localStorage.setItem("typed", value);
  setTimeout(() => { throw new Error("can't use " + value); });
  fetch("/status/500?typed=" + encodeURIComponent(value)).catch(() => {});
};
for (const field of document.querySelectorAll("input")) field.oninput = event => say(event.target.value);
document.getElementById("go").onclick = () => {
  location = "/landed?typed=" + encodeURIComponent(document.getElementById("password").value);
};
</script>"""


def forms_of(secret: str) -> set[str]:
    """The spellings of a secret that are looked for."""
    data = secret.encode()
    inner = {base64.b64encode(b"\0" * offset + data).decode()[4:-4] for offset in range(3)}
    asked = {quote(secret, safe=""), quote(secret), quote(secret, safe="!'()*~"), quote_plus(secret)}
    whole = {
        "".join(f"%{byte:02x}" for byte in data),
        *(
            "".join(write(ord(char)) for char in secret)
            for write in ("&#{};".format, "&#x{:x};".format, "\\u{:04x}".format)
        ),
    }
    return {secret, html.escape(secret), json.dumps(secret)[1:-1], data.hex(), *asked, *inner, *whole}


def find_leaks(secret: str, text: str) -> list[str]:
    """Where the secret stands in a text, with what is around it."""
    lowered, found = text.lower(), []
    for form in forms_of(secret):
        at = lowered.find(form.lower())
        if at >= 0:
            found.append(text[max(0, at - 120) : at + len(form) + 40])
    return found


async def dump(dsn: str, *schemas: str) -> dict[str, str]:
    """Every row of every table as text, bytes as hex, by table."""
    connection = await asyncpg.connect(dsn)
    try:
        tables = await connection.fetch(
            "SELECT schemaname, tablename FROM pg_tables WHERE schemaname = ANY($1::text[])", list(schemas)
        )
        return {
            f"{schema}.{table}": "\n".join(
                row[0] for row in await connection.fetch(f'SELECT t::text FROM "{schema}"."{table}" t')
            )
            for schema, table in tables
        }
    finally:
        await connection.close()
