"""A site on loopback that hands out files and takes them: `/report.csv`, `/large.bin`, `/slow.bin`; POST to `/take`."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Handout:
    """A running one."""

    host: str = ""
    report: bytes = b"name,price\nlamp,39\n" * 100
    taken: list[bytes] = field(default_factory=list)
    """Bodies that were posted."""
    done: threading.Event = field(default_factory=threading.Event)

    def url(self, path: str) -> str:
        """The address of a path."""
        return f"http://{self.host}{path}"


@contextmanager
def run_handout(page: str) -> Iterator[Handout]:  # noqa: C901 — one class in another
    """Serve on a free port of 127.0.0.1 for as long as the context lasts; `page` stands at every other path."""
    made = Handout()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.startswith("/status/"):
                self._begin(int(self.path.rsplit("/", 1)[1]), {"Content-Length": "0"})
            elif self.path.endswith(".csv"):
                self._begin(200, {"Content-Type": "text/csv", "Content-Disposition": "attachment"})
                self.wfile.write(made.report)
            elif self.path.endswith(".bin"):
                self._hand_out_large(slow=self.path.startswith("/slow"))
            else:
                self._begin(200, {"Content-Type": "text/html; charset=utf-8"})
                self.wfile.write(page.encode())

        def do_POST(self) -> None:
            made.taken.append(self.rfile.read(int(self.headers["content-length"])))
            self._begin(200, {"Content-Type": "text/html"})
            self.wfile.write(b"<h1>Thanks</h1>")

        def _hand_out_large(self, *, slow: bool) -> None:
            self._begin(200, {"Content-Type": "application/octet-stream", "Content-Disposition": "attachment"})
            for _ in range(400):
                self.wfile.write(b"x" * (100 if slow else 50_000))
                if slow and made.done.wait(0.1):
                    return

        def _begin(self, status: int, fields: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in fields.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 — the base class's name
            return

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            return  # a browser that breaks off

    server = Server(("127.0.0.1", 0), Handler)
    made.host = f"127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield made
    finally:
        made.done.set()
        server.shutdown()
        thread.join()
        server.server_close()
