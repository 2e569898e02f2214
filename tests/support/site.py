"""A site of hand-made pages on loopback that notes every request, in a thread of its own."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


@dataclass
class Site:
    """A running site. A path that has no page answers 404; `/go?to=…` redirects; `/status/<code>` answers it."""

    host: str
    pages: dict[str, str] = field(default_factory=dict)
    slow: dict[str, float] = field(default_factory=dict)
    """Seconds that the answer to a path takes."""
    requests: list[str] = field(default_factory=list)
    """Paths asked for, with their query."""
    connections: list[object] = field(default_factory=list)
    """Where each connection came from, also of one that asked for nothing."""

    def url(self, path: str = "/") -> str:
        """The address of a path."""
        return f"http://{self.host}{path}"


@contextmanager
def run_site(pages: dict[str, str] | None = None) -> Iterator[Site]:
    """Serve pages on a free port of 127.0.0.1 for as long as the context lasts."""
    site = Site("", dict(pages or {}))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            site.requests.append(self.path)
            parts = urlsplit(self.path)
            time.sleep(site.slow.get(parts.path, 0))
            if parts.path == "/go":
                self._answer(302, "", location=parse_qs(parts.query)["to"][0])
            elif parts.path.startswith("/status/"):
                self._answer(int(parts.path.rsplit("/", 1)[1]), "<h1>status</h1>")
            else:
                page = site.pages.get(parts.path)
                self._answer(200 if page is not None else 404, page or "<h1>no such page</h1>")

        do_POST = do_GET  # noqa: N815

        def _answer(self, status: int, page: str, location: str | None = None) -> None:
            body = page.encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            if location is not None:
                self.send_header("Location", location)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 — the base class's name
            return

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def verify_request(self, request: object, client_address: object) -> bool:
            site.connections.append(client_address)
            return True

        def handle_error(self, request: object, client_address: object) -> None:
            return  # a browser that is ended in the middle of a request

    server = Server(("127.0.0.1", 0), Handler)
    site.host = f"127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
