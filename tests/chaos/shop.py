"""A shop that keeps its own book: what was asked for, by whom, and how often an order landed.

Everything a browser does to its pages is told to the server by a request that the page waits for, so a test that holds
that request holds the step that caused it.
"""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

HOLD_S = 60.0
"""A held request is let go after this at the latest."""

STAGE = """<!doctype html><title>Stage</title><h1>Stage</h1>
<input id="name"><select id="act"><option value="1">one</option><option value="2">two</option></select>
<div id="curtain" hidden>open</div>
<form method="post"><button id="buy">Buy</button></form>
<script>
function tell(path) { const r = new XMLHttpRequest(); r.open("GET", path, false); r.send(); }
document.getElementById("name").addEventListener("input", (event) => {
  document.cookie = "name=" + event.target.value; tell("/told/name");
});
document.getElementById("act").addEventListener("change", async (event) => {
  document.cookie = "act=" + event.target.value; tell("/told/act");
  await fetch("/told/curtain"); document.getElementById("curtain").hidden = false;
});
</script>"""
TICKET = '<!doctype html><title>Ticket</title><h1>Ticket</h1><p class="of">{name}</p><p class="of">act {act}</p>'
RECEIPT = '<!doctype html><title>Receipt</title><h1>Receipt</h1><p id="receipt">Thank you</p>'
HOSTILE = (
    "<!doctype html><title>Hostile</title><script>onload = async () => {{ await fetch('/told/deed'); {deed} }}</script>"
)
DEEDS = {
    "alerts": "while (true) alert('x')",
    "hangs": "while (true) {}",
    "windows": "setInterval(() => open(location), 5)",
    "memory": "const kept = []; setInterval(() => kept.push(new Uint8Array(5e7).fill(1)), 20)",
    "download": "location = '/flood'",
}
"""What a hostile page does once it has come."""
FLOOD_BYTES = 500_000_000
BUSY = "<!doctype html><title>Busy</title><h1>Busy</h1><p>{text}</p>"


@dataclass
class Shop:
    """A running shop. Paths: /stage (POST buys), /ticket, /receipt, /told/…, /busy?n=<kilobytes>, /hostile?deed=…."""

    host: str
    asked: list[str] = field(default_factory=list)
    """`METHOD path?query` in the order of arrival."""
    orders: Counter[str] = field(default_factory=Counter)
    """Orders that landed, by the `who` of the address."""
    flooded: int = 0
    """Bytes of downloads that somebody took."""
    _held: dict[str, threading.Event] = field(default_factory=dict)
    _arrived: dict[str, threading.Event] = field(default_factory=dict)

    def url(self, path: str = "/stage", who: str = "") -> str:
        """The address of a path, for one customer."""
        return f"http://{self.host}{path}" + (f"?who={who}" if who else "")

    def hold(self, call: str) -> threading.Event:
        """Answer no `METHOD path` until `release`; the event says that one has come."""
        self._held[call] = threading.Event()
        self._arrived[call] = threading.Event()
        return self._arrived[call]

    def release(self) -> None:
        """Answer everything."""
        held, self._held = self._held, {}
        for gate in held.values():
            gate.set()

    def note(self, method: str, path: str, who: str) -> None:
        """A request has arrived: write it down, and wait if it is held."""
        self.asked.append(f"{method} {path}?who={who}")
        if method == "POST":
            self.orders[who] += 1  # before the answer: an order whose receipt got lost is an order
        call = f"{method} {path}"
        if (gate := self._held.get(call)) is not None:
            self._arrived[call].set()
            gate.wait(HOLD_S)


@contextmanager
def run_shop() -> Iterator[Shop]:
    """Open a shop on a free port of 127.0.0.1 for as long as the context lasts."""
    shop = Shop("")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            shop.note("GET", parts.path, query.get("who", ""))
            if parts.path == "/flood":
                self._flood()
                return
            self._answer(200, _render(parts.path, query, SimpleCookie(self.headers.get("cookie", ""))))

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            who = parse_qs(urlsplit(self.path).query).get("who", [""])[0]
            shop.note("POST", urlsplit(self.path).path, who)
            self._answer(303, "", location=f"/receipt?who={who}")

        def _answer(self, status: int, page: str, location: str | None = None) -> None:
            body = page.encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            if location is not None:
                self.send_header("Location", location)
            self.end_headers()
            self.wfile.write(body)

        def _flood(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/octet-stream")
            self.send_header("Content-Length", str(FLOOD_BYTES))
            self.end_headers()
            chunk = bytes(100_000)
            for _ in range(FLOOD_BYTES // len(chunk)):
                self.wfile.write(chunk)
                shop.flooded += len(chunk)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 — the base class's name
            return

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            return  # a browser that was killed in the middle of a request

    server = Server(("127.0.0.1", 0), Handler)
    shop.host = f"127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield shop
    finally:
        shop.release()
        server.shutdown()
        thread.join()
        server.server_close()


def _render(path: str, query: dict[str, str], cookies: "SimpleCookie") -> str:
    match path:
        case "/stage":
            return STAGE
        case "/ticket":
            told = {name: cookies[name].value if name in cookies else "nobody" for name in ("name", "act")}
            return TICKET.format(**told)
        case "/receipt":
            return RECEIPT
        case "/hostile":
            return HOSTILE.format(deed=DEEDS[query["deed"]])
        case "/busy":
            return BUSY.format(text="x" * 1_024 * int(query.get("n", "1")))
        case _:
            return "<!doctype html><title>.</title>"
